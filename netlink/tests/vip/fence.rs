//! The fence: what it mutes, what it lets pass, and when it closes by itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use netlink::vip::{Event, FenceKind, FenceSupport, MacAddress, Refreshed, Renewed, Vip, VipError, fence_support};

use nix::sys::signal::Signal;

use crate::holder::{Holder, LEASE, child};
use crate::lab::{Kind, Lab, Side, VIP, await_event, eventually};
use crate::peer::{Answers, Peer};

const LONG: Duration = Duration::from_secs(60);
/// The kernel counts timeouts in ticks of at most 10 ms, and a frame may wait a moment for a busy processor.
const TOLERANCE: Duration = Duration::from_millis(20);

#[test]
fn a_closed_fence_mutes_and_an_open_one_answers() {
    let lab = Lab::new();
    let (mut vip, peer) = (lab.open(), Peer::new(&lab));
    vip.add_address().expect("added");
    assert_eq!(peer.ask(), Answers::NONE, "while closed");
    assert_eq!(vip.refresh_address().expect("refreshed"), Refreshed::Renewed, "the address was there");
    vip.open_fence(LONG).expect("opened");
    assert_eq!(peer.ask(), Answers::ALL, "while open");
    assert_eq!(vip.refresh_address().expect("refreshed"), Refreshed::Renewed);
    vip.close_fence().expect("closed");
    vip.close_fence().expect("closing twice is nothing new");
    assert_eq!(peer.ask(), Answers::NONE, "after closing");
    assert!(lab.has_vip(Side::Node), "it was the fence that muted");
}

#[test]
fn a_closed_fence_stops_raw_announcements() {
    let lab = Lab::new();
    let (mut vip, peer) = (lab.open(), Peer::new(&lab));
    let refused = vip.announce();
    assert_eq!(peer.heard_announcements(), Vec::<Vec<u8>>::new());
    assert!(refused.is_err(), "the caller learns of it");
    vip.open_fence(LONG).expect("opened");
    vip.announce().expect("sent");
    assert_eq!(peer.heard_announcements().len(), 2);
}

#[test]
fn a_bridge_is_fenced_too() {
    let lab = Lab::with(Kind::Bridge);
    let (mut vip, peer) = (lab.open(), Peer::new(&lab));
    vip.add_address().expect("added");
    assert!(vip.announce().is_err(), "closed");
    assert_eq!(peer.ask(), Answers::NONE, "closed");
    vip.open_fence(LONG).expect("opened");
    vip.announce().expect("sent");
    assert_eq!(peer.heard_announcements().len(), 2);
    assert_eq!(vip.refresh_address().expect("refreshed"), Refreshed::Renewed);
    assert_eq!(peer.ask(), Answers::ALL, "open");
    let third = MacAddress([2, 0, 0, 0, 0, 3]);
    peer.claim(third);
    await_event(&mut vip, |event| *event == Event::ForeignHolder { mac: third });
}

#[test]
fn a_large_ruleset_of_somebody_else_is_no_tampering() {
    let lab = Lab::new();
    let mut vip = lab.open();
    vip.open_fence(LONG).expect("opened");
    let file = lab.config().run_dir.join("rules");
    let elements: Vec<_> = (0..20_000).map(|n| format!("10.{}.{}.{}", 0, n / 250, n % 250)).collect();
    let rules = format!(
        "add table ip big\nadd set ip big s {{ type ipv4_addr; }}\nadd element ip big s {{ {} }}",
        elements.join(",")
    );
    std::fs::write(&file, rules).expect("written");
    let mut worst = Duration::ZERO;
    let mut loading =
        lab.command(Side::Node, &["nft", "-f", file.to_str().expect("a path in UTF-8")]).spawn().expect("it starts");
    while loading.try_wait().expect("a child").is_none() {
        let begin = Instant::now();
        assert_eq!(vip.renew_fence(LONG).expect("renewed"), Renewed::Open);
        worst = worst.max(begin.elapsed());
    }
    println!("worst renewal while {} elements were loaded: {worst:?}", elements.len());
    let events = vip.wait(Duration::ZERO).expect("waiting works");
    assert_eq!(events, [Event::Overflow], "more notifications than the socket holds");
    assert_eq!(vip.renew_fence(LONG).expect("renewed"), Renewed::Open);
}

#[test]
fn a_follower_reaches_the_vip_of_another_node() {
    let lab = Lab::new();
    let (_vip, peer) = (lab.open(), Peer::new(&lab));
    lab.run(Side::Peer, &["ip", "address", "add", &format!("{VIP}/32"), "dev", "lan"]);
    lab.run(Side::Node, &["ping", "-q", "-n", "-c", "1", "-W", "5", &VIP.to_string()]);
    // A takeover by a third machine reaches the follower's own neighbour entry.
    let third = MacAddress([2, 0, 0, 0, 0, 3]);
    eventually("the neighbour entry moves", || {
        peer.claim(third);
        lab.neighbour(Side::Node).contains(&third.to_string())
    });
}

#[test]
fn an_expired_fence_stays_closed_until_it_is_opened() {
    let lab = Lab::new();
    let (mut vip, peer) = (lab.open(), Peer::new(&lab));
    vip.add_address().expect("added");
    assert_eq!(vip.renew_fence(LONG).expect("asked"), Renewed::WasClosed, "never opened");
    vip.open_fence(LEASE).expect("opened");
    assert_eq!(vip.renew_fence(LEASE).expect("renewed"), Renewed::Open);
    eventually("the lease ends", || peer.ask() == Answers::NONE);
    assert_eq!(vip.renew_fence(LONG).expect("asked"), Renewed::WasClosed, "expired");
    assert_eq!(peer.ask(), Answers::NONE, "the renewal did not reopen it");
    let _ = vip.refresh_address().expect("refreshed");
    vip.open_fence(LONG).expect("opened again");
    vip.open_fence(LONG).expect("opening an open one renews it");
    assert_eq!(peer.ask(), Answers::ALL);
    assert!(matches!(vip.renew_fence(Duration::from_millis(5)), Err(VipError::TimeoutTooShort { .. })));
}

#[test]
fn the_kernel_mutes_a_dead_or_frozen_holder_within_its_lease() {
    for signal in [Signal::SIGKILL, Signal::SIGSTOP] {
        let lab = Lab::new();
        let peer = Peer::new(&lab);
        let holder = Holder::start(&lab);
        eventually("the holder answers", || peer.ask() == Answers::ALL);
        let stopped = holder.signal(signal);
        let mut last = stopped;
        while stopped.elapsed() < 3 * LEASE {
            let asked = Instant::now();
            if peer.ask() != Answers::NONE {
                last = asked;
            }
        }
        let mute_after = last.duration_since(stopped);
        println!("last answer {mute_after:?} after {signal}");
        assert!(mute_after <= LEASE + TOLERANCE, "still answered {mute_after:?} after {signal}");
        assert!(lab.has_vip(Side::Node), "it was the fence that muted, not the address' lifetime");
    }
}

#[test]
fn renewing_leaves_no_gap() {
    const QUESTIONS: usize = 500;
    let lab = Lab::new();
    let (mut vip, peer) = (lab.open(), Peer::new(&lab));
    vip.add_address().expect("added");
    vip.open_fence(LONG).expect("opened");
    let asking = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut renewals = 0_u32;
            while asking.load(Ordering::Relaxed) {
                assert_eq!(vip.renew_fence(LONG).expect("renewed"), Renewed::Open);
                if renewals.is_multiple_of(100) {
                    assert_eq!(vip.refresh_address().expect("refreshed"), Refreshed::Renewed);
                }
                renewals += 1;
            }
            println!("{renewals} renewals during {QUESTIONS} questions");
        });
        let gaps = (0..QUESTIONS).filter(|_| peer.ask() != Answers::ALL).count();
        asking.store(false, Ordering::Relaxed);
        assert_eq!(gaps, 0);
    });
}

#[test]
fn a_process_without_rights_is_told_which() {
    let lab = Lab::new();
    let wrapper = ["setpriv", "--bounding-set", "-net_admin,-net_raw"];
    let output = child(&lab, &wrapper, "holder::open_without_rights").output().expect("it runs");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && printed.contains("CAP_NET_ADMIN"), "{printed}");
}

#[test]
fn renewing_is_cheap_and_no_news() {
    const RENEWALS: u32 = 1000;
    let lab = Lab::new();
    let mut vip = lab.open();
    vip.open_fence(LEASE).expect("opened");
    let mut took: Vec<_> = (0..RENEWALS)
        .map(|_| {
            let begin = Instant::now();
            assert_eq!(vip.renew_fence(LEASE).expect("renewed"), Renewed::Open);
            begin.elapsed()
        })
        .collect();
    took.sort();
    println!("renewal: median {:?}, 99th percentile {:?}, worst {:?}", took[500], took[990], took[999]);
    assert!(took[500] < Duration::from_millis(1), "median {:?}", took[500]);
    assert_eq!(vip.wait(Duration::ZERO).expect("waiting works"), [], "our own changes are no events");
}

#[test]
fn claiming_and_releasing_take_milliseconds() {
    const ROUNDS: usize = 20;
    type Operation = fn(&mut Vip);
    let operations: [(&str, Operation); 7] = [
        ("add address", |vip| vip.add_address().expect("added")),
        ("open fence", |vip| vip.open_fence(LONG).expect("opened")),
        ("announce", |vip| vip.announce().expect("sent")),
        ("refresh address", |vip| assert_eq!(vip.refresh_address().expect("refreshed"), Refreshed::Renewed)),
        ("close fence", |vip| vip.close_fence().expect("closed")),
        ("remove address", |vip| vip.remove_address().expect("removed")),
        ("reinstall fence", |vip| vip.reinstall_fence().expect("installed")),
    ];
    let lab = Lab::new();
    let mut vip = lab.open();
    let mut took = operations.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for ((_, operation), took) in operations.iter().zip(&mut took) {
            let begin = Instant::now();
            operation(&mut vip);
            took.push(begin.elapsed());
        }
    }
    for ((name, _), took) in operations.iter().zip(&mut took) {
        took.sort();
        println!("{name}: median {:?}, worst {:?}", took[ROUNDS / 2], took[ROUNDS - 1]);
        assert!(*name == "reinstall fence" || took[ROUNDS / 2] < Duration::from_millis(5), "{name}: {took:?}");
    }
}

#[test]
fn nobody_else_can_flush_an_owned_fence() {
    let lab = Lab::new();
    let (mut vip, peer) = (lab.open(), Peer::new(&lab));
    assert!(vip.fence_owned(), "this kernel has the table flags owner and persist");
    vip.add_address().expect("added");
    lab.run(Side::Node, &["nft", "flush", "ruleset"]);
    let deleted = lab.try_run(Side::Node, &["nft", "delete", "table", "ip", "raftboot_vip"]);
    assert!(!deleted.status.success());
    assert_eq!(peer.ask(), Answers::NONE);
    vip.open_fence(LONG).expect("opened");
    assert_eq!(peer.ask(), Answers::ALL);
}

#[test]
fn two_processes_cannot_hold_one_vip() {
    let lab = Lab::new();
    let mut first = lab.open();
    assert!(matches!(Vip::open(lab.config()), Err(VipError::FenceOwnedByOther)));
    assert!(matches!(netlink::vip::clear(&lab.config()), Err(VipError::FenceOwnedByOther)));
    first.open_fence(LONG).expect("the first is undisturbed");
}

#[test]
fn a_recreated_interface_gets_a_new_fence() {
    let lab = Lab::new();
    let mut vip = lab.open();
    lab.recreate_link();
    await_event(&mut vip, |event| *event == Event::FenceTampered);
    eventually("the new interface has carrier", || {
        vip.wait(Duration::from_millis(10)).expect("waiting works");
        vip.carrier()
    });
    vip.reinstall_fence().expect("installed");
    let peer = Peer::new(&lab);
    vip.add_address().expect("added");
    assert!(vip.announce().is_err(), "egress is closed on the new interface");
    assert_eq!(peer.ask(), Answers::NONE);
    vip.open_fence(LONG).expect("opened");
    assert_eq!(peer.ask(), Answers::ALL);
    vip.announce().expect("sent");
    assert_eq!(peer.heard_announcements().len(), 2);
}

#[test]
fn the_check_installs_nothing() {
    let lab = Lab::new();
    assert_eq!(fence_support("lan").expect("supported"), FenceSupport { owned: true });
    assert_eq!(lab.run(Side::Node, &["nft", "list", "ruleset"]), "");
    let vip = lab.open();
    assert_eq!(fence_support("lan").expect("supported"), FenceSupport { owned: true }, "beside a running node");
    vip.shutdown().expect("shut down");
    assert_eq!(lab.run(Side::Node, &["nft", "list", "ruleset"]), "");
    assert!(matches!(fence_support("nowhere"), Err(VipError::FenceUnsupported { .. } | VipError::NoInterface { .. })));
}

#[test]
fn loopback_is_refused_and_nothing_is_installed() {
    let lab = Lab::new();
    let config = netlink::vip::VipConfig { interface: "lo".into(), ..lab.config() };
    assert!(matches!(Vip::open(config), Err(VipError::NotEthernet { .. })));
    assert_eq!(lab.run(Side::Node, &["nft", "list", "ruleset"]), "");
}

#[test]
fn a_lifetime_alone_needs_no_table_and_removes_an_old_one() {
    let lab = Lab::new();
    drop(lab.open());
    assert!(
        lab.run(Side::Node, &["nft", "list", "ruleset"]).contains("raftboot_vip"),
        "a dead process' fence persists"
    );
    let mut config = lab.config();
    config.fence = FenceKind::Lifetime;
    let mut vip = Vip::open(config).expect("opened");
    assert_eq!(lab.run(Side::Node, &["nft", "list", "ruleset"]), "");
    vip.open_fence(LEASE).expect("nothing to open");
    assert_eq!(vip.renew_fence(LEASE).expect("nothing to renew"), Renewed::Open);
    vip.add_address().expect("added");
    let added = Instant::now();
    assert_eq!(Peer::new(&lab).ask(), Answers::ALL);
    await_event(&mut vip, |event| *event == Event::AddressGone);
    let lived = added.elapsed();
    println!("an address of 1 s lived {lived:?}");
    assert!(lived < Duration::from_secs(3), "lived {lived:?}");
}
