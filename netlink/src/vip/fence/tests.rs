//! The fence on kernels that cannot own tables, where anybody may flush it; and how verdicts are read. The rest is tested
//! against the kernel in `tests/vip`. Needs root.

use std::process::Command;

use netlink_packet_netfilter::nftables::TableFlags;
use nix::sched::{CloneFlags, unshare};

use super::*;
use crate::vip::Event;
use crate::vip::watch::Watch;

const LEASE: Duration = Duration::from_secs(60);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);

/// Runs a test in an empty network namespace, with a fence whose tables are not owned and a socket that watches it.
fn with_shared_fence(test: impl FnOnce(Fence, NetlinkSocket, Watch) + Send + 'static) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("these tests run as root");
        let watching = NetlinkSocket::open(NETLINK_NETFILTER, &[7]).expect("a socket");
        let ruleset = Ruleset { owned: false, ..Ruleset::new("lo", VIP) };
        let mut fence = Fence { socket: open_socket().expect("a socket"), ruleset, installed: Vec::new() };
        fence.replace().expect("installed");
        fence.installed = fence.list().expect("listed");
        let watch = Watch {
            interface: "lo".to_owned(),
            address: VIP,
            address_port: 0,
            fence_port: Some(fence.port()),
            link: None,
        };
        test(fence, watching, watch);
    });
    thread.join().expect("the test does not panic");
}

fn events(socket: &mut NetlinkSocket, watch: &Watch) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(messages) = socket.receive().expect("received") {
        events.extend(messages.iter().filter_map(|message| watch.nftables(message)));
    }
    events
}

fn nft(arguments: &[&str]) {
    let output = Command::new("nft").args(arguments).output().expect("nft is installed");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_flushed_fence_is_noticed_and_never_taken_for_a_closed_one() {
    with_shared_fence(|mut fence, mut socket, watch| {
        fence.open(LEASE).expect("opened");
        assert_eq!(fence.renew(LEASE).expect("renewed"), Renewed::Open);
        assert_eq!(events(&mut socket, &watch), [], "our own changes are no tampering");
        nft(&["flush", "ruleset"]);
        assert!(events(&mut socket, &watch).contains(&Event::FenceTampered));
        assert!(!fence.is_intact());
        assert!(matches!(fence.renew(LEASE), Err(VipError::FenceMissing)));
        assert!(matches!(fence.open(LEASE), Err(VipError::FenceMissing)));
        assert!(matches!(fence.close(), Err(VipError::FenceMissing)));
        fence.reinstall().expect("installed anew");
        assert!(fence.is_intact());
        assert_eq!(fence.renew(LEASE).expect("asked"), Renewed::WasClosed);
    });
}

#[test]
fn every_change_by_others_is_tampering_and_other_tables_are_not() {
    for change in [
        &["delete", "table", "arp", "raftboot_vip"][..],
        &["flush", "chain", "netdev", "raftboot_vip", "egress"],
        &["add", "element", "ip", "raftboot_vip", "lease", "{ 10.77.0.100 }"],
        &["insert", "rule", "ip", "raftboot_vip", "input", "accept"],
        &["add", "table", "ip", "raftboot_vip", "{ flags dormant; }"],
    ] {
        with_shared_fence(move |_, mut socket, watch| {
            nft(&["add", "table", "ip", "firewall"]);
            nft(&["add", "set", "ip", "firewall", "lease", "{ type ipv4_addr; }"]);
            nft(&["delete", "table", "ip", "firewall"]);
            assert_eq!(events(&mut socket, &watch), [], "somebody else's table");
            nft(change);
            assert!(events(&mut socket, &watch).contains(&Event::FenceTampered), "{change:?}");
        });
    }
}

#[test]
fn a_change_is_found_also_without_its_notification() {
    for change in [
        &["insert", "rule", "ip", "raftboot_vip", "input", "accept"][..],
        &["add", "table", "ip", "raftboot_vip", "{ flags dormant; }"],
        &["delete", "table", "netdev", "raftboot_vip"],
    ] {
        with_shared_fence(move |mut fence, _, _| {
            fence.open(LEASE).expect("opened");
            nft(&["add", "table", "ip", "firewall"]);
            assert!(fence.is_intact(), "neither a lease nor another table is a change");
            nft(change);
            assert!(!fence.is_intact(), "{change:?}");
        });
    }
}

#[test]
fn a_lease_that_ended_in_one_family_is_closed_and_can_be_opened() {
    with_shared_fence(|mut fence, _, _| {
        fence.open(LEASE).expect("opened");
        nft(&["flush", "set", "arp", "raftboot_vip", "lease"]);
        assert_eq!(fence.renew(LEASE).expect("asked"), Renewed::WasClosed);
        fence.open(LEASE).expect("opened in all families");
        assert_eq!(fence.renew(LEASE).expect("renewed"), Renewed::Open);
    });
}

#[test]
fn verdicts_name_the_first_step_that_was_refused() {
    let steps = Ruleset::new("lo", VIP).install();
    let accepted = |sequence| Verdict { sequence, errno: 0 };
    let refused = |sequence, errno: Errno| Verdict { sequence, errno: errno as i32 };
    let last = 100 + u32::try_from(steps.len()).expect("few steps");
    let cases = [
        ("accepted", vec![accepted(last)], None),
        ("no answer at all", vec![], Some((BATCH, None))),
        ("the whole batch", vec![refused(100, Errno::EPERM)], Some((BATCH, Some(Errno::EPERM)))),
        (
            "the ARP table, and what depends on it",
            vec![refused(110, Errno::ENOENT), refused(103, Errno::EAFNOSUPPORT), accepted(last)],
            Some(("the table for ARP", Some(Errno::EAFNOSUPPORT))),
        ),
    ];
    for (name, verdicts, expected) in cases {
        let refusal = outcome(&verdicts, &steps, 100).err();
        let found = refusal.map(|refusal| (refusal.what, refusal.source.raw_os_error().map(Errno::from_raw)));
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn tables_are_owned_only_if_they_outlive_the_owner() {
    let owned = TableFlags::Owner | TableFlags::Persisent;
    assert_eq!(owned.bits(), 0b110, "NFT_TABLE_F_OWNER | NFT_TABLE_F_PERSIST");
}
