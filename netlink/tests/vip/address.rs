//! The address: whose it is, how long it lives, and who took it away.

use std::time::{Duration, Instant};

use netlink::vip::{Event, Refreshed, VipError};

use crate::lab::{Lab, Side, VIP, await_event};

#[test]
fn our_address_is_marked_alone_and_ends() {
    let lab = Lab::new();
    let mut vip = lab.open();
    vip.add_address().expect("added");
    let added = Instant::now();
    vip.add_address().expect("adding twice renews");
    let shown = lab.run(Side::Node, &["ip", "-4", "address", "show", "dev", "lan"]);
    assert!(shown.contains("10.77.0.100/32") && shown.contains("noprefixroute"), "{shown}");
    assert!(shown.contains("valid_lft 2sec") || shown.contains("valid_lft 1sec"), "{shown}");
    assert!(shown.contains("proto 0x52") || !shown.contains("proto"), "where iproute2 shows it: {shown}");
    assert!(!lab.config().run_dir.join("vip").exists(), "no record where the kernel keeps the mark");
    await_event(&mut vip, |event| *event == Event::AddressGone);
    let lived = added.elapsed();
    println!("an address of 2 s lived {lived:?}");
    assert!((Duration::from_millis(1900)..Duration::from_secs(4)).contains(&lived), "lived {lived:?}");
}

#[test]
fn a_deleted_address_is_noticed_and_added_again() {
    let lab = Lab::new();
    let mut vip = lab.open();
    vip.add_address().expect("added");
    assert_eq!(vip.refresh_address().expect("refreshed"), Refreshed::Renewed);
    assert_eq!(vip.wait(Duration::ZERO).expect("waiting works"), [], "our own changes are no events");
    lab.run(Side::Node, &["ip", "address", "del", &format!("{VIP}/32"), "dev", "lan"]);
    await_event(&mut vip, |event| *event == Event::AddressGone);
    assert_eq!(vip.refresh_address().expect("refreshed"), Refreshed::WasMissing);
    assert!(lab.has_vip(Side::Node));
    vip.remove_address().expect("removed");
    vip.remove_address().expect("removing twice is nothing new");
    assert!(!lab.has_vip(Side::Node));
    assert_eq!(vip.wait(Duration::ZERO).expect("waiting works"), []);
}

#[test]
fn an_address_of_somebody_else_is_not_touched() {
    for prefix in [32, 24] {
        let lab = Lab::new();
        let foreign = format!("{VIP}/{prefix}");
        lab.run(Side::Node, &["ip", "address", "add", &foreign, "dev", "lan"]);
        let mut vip = lab.open();
        assert_eq!(vip.wait(Duration::ZERO).expect("waiting works"), [Event::AddressTakenByOther]);
        assert!(matches!(vip.add_address(), Err(VipError::AddressTaken { address: VIP, .. })));
        assert!(matches!(vip.refresh_address(), Err(VipError::AddressTaken { .. })));
        vip.remove_address().expect("nothing of ours to remove");
        vip.shutdown().expect("shut down");
        let shown = lab.run(Side::Node, &["ip", "-4", "address", "show", "dev", "lan"]);
        assert!(shown.contains(&foreign) && shown.contains("valid_lft forever"), "{shown}");
    }
}

#[test]
fn an_address_that_somebody_else_adds_is_noticed() {
    let lab = Lab::new();
    let mut vip = lab.open();
    lab.run(Side::Node, &["ip", "address", "add", &format!("{VIP}/32"), "dev", "lo"]);
    await_event(&mut vip, |event| *event == Event::AddressTakenByOther);
    assert!(matches!(vip.add_address(), Err(VipError::AddressTaken { index: 1, .. })), "also on another interface");
}
