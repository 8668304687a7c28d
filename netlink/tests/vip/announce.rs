//! What the link hears of us, and we of others: announcements, probes, claims, carrier.

use std::time::{Duration, Instant};

use netlink::vip::{Event, MacAddress};

use crate::lab::{Lab, Side, VIP, await_event, eventually};
use crate::peer::Peer;

const LONG: Duration = Duration::from_secs(60);
/// A machine that is neither the node nor the peer.
const THIRD: MacAddress = MacAddress([2, 0, 0, 0, 0, 3]);

#[test]
fn an_announcement_moves_a_neighbour_entry() {
    let lab = Lab::new();
    let (mut vip, peer) = (lab.open(), Peer::new(&lab));
    let (ours, before) = (lab.mac(Side::Node), MacAddress([2, 0, 0, 0, 0, 9]));
    assert_eq!(vip.mac(), ours);
    lab.run(
        Side::Peer,
        &["ip", "neigh", "add", &VIP.to_string(), "lladdr", &before.to_string(), "nud", "reachable", "dev", "lan"],
    );
    vip.open_fence(LONG).expect("opened");
    vip.announce().expect("sent");
    eventually("the entry moves", || lab.neighbour(Side::Peer).contains(&ours.to_string()));
    let operations: Vec<_> = peer.heard_announcements().iter().map(|frame| frame[21]).collect();
    assert_eq!(operations, [1, 2], "a request, then a reply");
    assert_eq!(vip.wait(Duration::ZERO).expect("waiting works"), [], "our own frames are no events");
}

#[test]
fn a_probe_finds_the_holder() {
    let lab = Lab::new();
    let mut vip = lab.open();
    lab.run(Side::Peer, &["ip", "address", "add", &format!("{VIP}/32"), "dev", "lan"]);
    let theirs = lab.mac(Side::Peer);
    let begin = Instant::now();
    vip.probe().expect("sent with a closed fence");
    assert_eq!(await_event(&mut vip, |event| *event != Event::Woken), Event::ForeignHolder { mac: theirs });
    println!("a probe was answered within {:?}", begin.elapsed());
}

#[test]
fn a_foreign_claim_is_noticed() {
    let lab = Lab::new();
    let (mut vip, peer) = (lab.open(), Peer::new(&lab));
    peer.claim(THIRD);
    peer.claim(THIRD);
    assert_eq!(await_event(&mut vip, |_| true), Event::ForeignHolder { mac: THIRD });
}

#[test]
fn carrier_comes_and_goes() {
    let lab = Lab::new();
    let mut vip = lab.open();
    assert!(vip.carrier());
    lab.run(Side::Peer, &["ip", "link", "set", "lan", "down"]);
    await_event(&mut vip, |event| *event == Event::LinkDown);
    assert!(!vip.carrier());
    lab.run(Side::Peer, &["ip", "link", "set", "lan", "up"]);
    await_event(&mut vip, |event| *event == Event::LinkUp);
    assert!(vip.carrier());
    lab.run(Side::Node, &["ip", "link", "set", "lan", "down"]);
    await_event(&mut vip, |event| *event == Event::LinkDown);
    assert!(vip.probe().is_err());
    lab.run(Side::Node, &["ip", "link", "set", "lan", "up"]);
    await_event(&mut vip, |event| *event == Event::LinkUp);
    Peer::new(&lab).claim(THIRD);
    await_event(&mut vip, |event| *event == Event::ForeignHolder { mac: THIRD });
}

#[test]
fn a_waker_ends_a_wait() {
    let lab = Lab::new();
    let mut vip = lab.open();
    let waker = vip.waker();
    let thread = std::thread::spawn(move || waker.wake());
    let begin = Instant::now();
    assert_eq!(vip.wait(LONG).expect("waiting works"), [Event::Woken]);
    assert!(begin.elapsed() < LONG);
    thread.join().expect("it does not panic");
    assert_eq!(vip.wait(Duration::ZERO).expect("waiting works"), [], "a wake is reported once");
}

#[test]
fn lost_notifications_are_reported_and_looked_up() {
    let lab = Lab::new();
    let mut vip = lab.open();
    // More address changes than the socket holds, and among them a change of the link.
    let batch = lab.config().run_dir.join("batch");
    let lines: String = (0..4000).map(|n| format!("address add 10.1.{}.{}/32 dev lo\n", n / 250, n % 250)).collect();
    std::fs::write(&batch, lines).expect("written");
    lab.run(Side::Node, &["ip", "-batch", batch.to_str().expect("a path in UTF-8")]);
    lab.run(Side::Node, &["ip", "link", "set", "lan", "down"]);
    assert_eq!(vip.wait(LONG).expect("waiting works"), [Event::LinkDown, Event::Overflow]);
    assert!(!vip.carrier());
    lab.run(Side::Node, &["ip", "link", "set", "lan", "up"]);
    await_event(&mut vip, |event| *event == Event::LinkUp);
}

#[test]
fn the_vip_may_move_to_the_thread_that_owns_it() {
    fn is_send<T: Send>() {}
    fn is_shared<T: Send + Sync>() {}
    is_send::<netlink::vip::Vip>();
    is_shared::<netlink::vip::Waker>();
}
