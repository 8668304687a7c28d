//! What a killed process leaves behind, and who clears it away.

use std::time::{Duration, Instant};

use netlink::vip::{Event, clear};

use crate::holder::Holder;
use crate::lab::{Lab, Side, eventually};
use crate::peer::{Answers, Peer};

#[test]
fn opening_replaces_a_killed_process_fence_and_removes_its_address() {
    let lab = Lab::new();
    let peer = Peer::new(&lab);
    Holder::start(&lab).kill();
    assert!(lab.has_vip(Side::Node), "the leftover");
    let mut vip = lab.open();
    assert!(!lab.has_vip(Side::Node));
    assert!(vip.fence_owned());
    assert_eq!(vip.wait(Duration::ZERO).expect("waiting works"), [], "clearing up is no event");
    vip.add_address().expect("added");
    assert_eq!(peer.ask(), Answers::NONE, "the new fence is closed");
}

#[test]
fn clear_leaves_nothing_of_a_killed_process() {
    let lab = Lab::new();
    Holder::start(&lab).kill();
    for _ in 0..2 {
        clear(&lab.config()).expect("cleared");
        assert!(!lab.has_vip(Side::Node));
        assert_eq!(lab.run(Side::Node, &["nft", "list", "ruleset"]), "");
    }
}

#[test]
fn clear_leaves_what_is_not_ours() {
    let lab = Lab::new();
    let vip = lab.config().address;
    lab.run(Side::Node, &["ip", "address", "add", &format!("{vip}/32"), "dev", "lan"]);
    lab.run(Side::Node, &["nft", "add", "table", "ip", "firewall"]);
    clear(&lab.config()).expect("cleared");
    assert!(lab.has_vip(Side::Node));
    assert!(lab.run(Side::Node, &["nft", "list", "ruleset"]).contains("firewall"));
}

#[test]
fn the_kernel_removes_a_killed_process_address() {
    let lab = Lab::new();
    let killed = Holder::start(&lab).kill();
    eventually("the address goes", || !lab.has_vip(Side::Node));
    let lived = killed.elapsed();
    println!("the address lived {lived:?} after SIGKILL");
    assert!(lived < Duration::from_secs(4), "lived {lived:?}");
}

#[test]
fn shutdown_leaves_nothing() {
    let lab = Lab::new();
    let mut vip = lab.open();
    vip.add_address().expect("added");
    vip.open_fence(Duration::from_secs(60)).expect("opened");
    let begin = Instant::now();
    vip.shutdown().expect("shut down");
    println!("shutdown took {:?}", begin.elapsed());
    assert!(!lab.has_vip(Side::Node));
    assert_eq!(lab.run(Side::Node, &["nft", "list", "ruleset"]), "");
    let mut again = lab.open();
    assert_eq!(again.wait(Duration::ZERO).expect("waiting works"), Vec::<Event>::new());
}
