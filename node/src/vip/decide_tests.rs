//! What is decided, told as a sequence of looks.

use std::time::{Duration, Instant};

use netlink::vip::{Event, MacAddress};
use openraft_free::leadership;
use raft::Lease;
use raft::state::VipRecord;
use raft::types::{LogIndex, Timestamp};

use super::*;
use crate::vip::timing::LeaseTiming;

mod openraft_free {
    use raft::type_config::Leadership;

    pub(super) fn leadership(term: u64) -> Leadership {
        Leadership { term, node_id: 1 }
    }
}

const OWN: u64 = 1;
const EPOCH: LogIndex = LogIndex(40);

/// One node's world, moved forward in milliseconds.
struct World {
    decider: Decider,
    base: Instant,
    look: Look,
}

impl World {
    /// A node that follows somebody.
    fn new() -> Self {
        let base = Instant::now();
        let lease = Lease {
            leading: None,
            quorum_acked: None,
            alone: false,
            leader: Some(2),
            silent_for: Some(Duration::ZERO),
            voter: true,
        };
        let look = Look {
            now: base,
            own: OWN,
            lease,
            record: None,
            healthy: true,
            carrier: true,
            asked_to_let_go: false,
            claim: Claim::None,
            survivor: None,
        };
        Self {
            decider: Decider::new(LeaseTiming::of(raft::cluster::Timing::LAN, netlink::vip::FenceKind::Nftables)),
            base,
            look,
        }
    }

    fn at(&mut self, millis: u64) -> &mut Self {
        self.look.now = self.base + Duration::from_millis(millis);
        self
    }

    /// Leads, with a quorum that answered what was sent at that time.
    fn leads(&mut self, acked: u64) -> &mut Self {
        self.look.lease.leading = Some(leadership(3));
        self.look.lease.quorum_acked = Some(self.base + Duration::from_millis(acked));
        self
    }

    fn committed(&mut self, orderly: bool) -> &mut Self {
        self.look.claim = Claim::Committed(EPOCH);
        self.look.record = Some(VipRecord { holder: OWN, epoch: EPOCH, released: false, orderly, since: Timestamp(0) });
        self
    }

    fn step(&mut self) -> Vec<Act> {
        self.decider.step(&self.look)
    }

    /// Steps every five milliseconds with a quorum that keeps answering; says when each act was done.
    fn run(&mut self, from: u64, to: u64) -> Vec<(u64, Act)> {
        let mut done = Vec::new();
        for millis in (from..=to).step_by(5) {
            self.at(millis).leads(millis);
            done.extend(self.step().into_iter().map(|act| (millis, act)));
        }
        done
    }
}

fn takes(done: &[(u64, Act)]) -> Vec<u64> {
    done.iter().filter(|(_, act)| matches!(act, Act::Take(_))).map(|(at, _)| *at).collect()
}

#[test]
fn a_follower_does_nothing() {
    let mut world = World::new();
    for millis in 0..100 {
        assert_eq!(world.at(millis * 10).step(), []);
    }
}

#[test]
fn a_leader_after_an_orderly_release_takes_it_as_soon_as_the_claim_is_committed() {
    let mut world = World::new();
    assert_eq!(world.leads(0).step(), [Act::Propose(leadership(3))]);
    assert_eq!(world.at(5).step(), []);
    let done = world.at(10).committed(true).step();
    assert_eq!(done, [Act::Take(Duration::from_millis(200)), Act::Announce]);
    assert!(world.decider.holds());
}

#[test]
fn a_leader_after_a_crash_waits_until_the_old_holder_is_mute_and_probes_meanwhile() {
    let mut world = World::new();
    world.leads(0).step();
    world.committed(false);
    let done = world.run(5, 400);
    assert_eq!(takes(&done), [160]);
    let probes: Vec<u64> = done.iter().filter(|(_, act)| *act == Act::Probe).map(|(at, _)| *at).collect();
    assert_eq!(probes, [110, 135]);
}

#[test]
fn a_probe_that_is_answered_is_a_conflict_until_nobody_answers() {
    let mut world = World::new();
    world.leads(0).step();
    world.committed(false);
    let mac = MacAddress([2, 0, 0, 0, 0, 7]);
    let mut taken = Vec::new();
    for millis in (5..2000).step_by(5) {
        world.at(millis).leads(millis);
        for act in world.step() {
            match act {
                Act::Probe if millis < 1000 => world.decider.heard(Event::ForeignHolder { mac }, world.look.now),
                Act::Take(_) => taken.push(millis),
                _ => {}
            }
        }
        if millis == 900 {
            assert_eq!(world.decider.conflict().map(|conflict| conflict.mac), Some(mac));
        }
    }
    assert_eq!(taken.len(), 1);
    assert!((1000..1300).contains(&taken[0]), "{taken:?}");
    assert_eq!(world.decider.conflict(), None);
}

#[test]
fn nothing_is_taken_before_the_own_claim_is_applied_here() {
    let mut world = World::new();
    world.leads(0).step();
    world.look.claim = Claim::Committed(EPOCH);
    assert_eq!(takes(&world.run(5, 1000)), Vec::<u64>::new());
    world.committed(false);
    world.look.record = Some(VipRecord { holder: 2, ..world.look.record.unwrap() });
    assert_eq!(takes(&world.run(1005, 1500)), Vec::<u64>::new());
}

#[test]
fn the_fence_is_renewed_every_heartbeat_and_left_to_close_when_nobody_answers() {
    let mut world = World::new();
    world.leads(0).step();
    world.committed(true).at(5).step();
    let done = world.run(10, 500);
    let renewals = done.iter().filter(|(_, act)| matches!(act, Act::Renew(_))).count();
    assert_eq!(renewals, 9);
    // The last answer was to what was sent at 500.
    let mut last = 0;
    for millis in (505..2000).step_by(5) {
        for act in world.at(millis).step() {
            match act {
                Act::Renew(open) => {
                    last = millis + u64::try_from(open.as_millis()).unwrap();
                    assert!(last <= 500 + 300, "open until {last}");
                }
                Act::LetGo(why, told) => {
                    assert_eq!((why, told), (Why::LeaseOver, Some((leadership(3), EPOCH))));
                    assert!((500 + 280..=500 + 300).contains(&millis), "{millis}");
                    return;
                }
                _ => {}
            }
        }
    }
    panic!("it never let go; last open until {last}");
}

#[test]
fn another_leadership_carrier_services_and_a_request_end_it_at_once() {
    for (why, change) in [
        (Why::NotLeading, (|look| look.lease.leading = Some(leadership(9))) as fn(&mut Look)),
        (Why::NotLeading, |look| look.lease.leading = None),
        (Why::NoCarrier, |look| look.carrier = false),
        (Why::Unhealthy, |look| look.healthy = false),
        (Why::Asked, |look| look.asked_to_let_go = true),
    ] {
        let mut world = World::new();
        world.leads(0).step();
        world.committed(true).at(5).step();
        change(&mut world.look);
        let done = world.at(10).step();
        assert!(matches!(done[..], [Act::LetGo(found, _)] if found == why), "{why:?}: {done:?}");
        assert!(!world.decider.holds());
    }
}

#[test]
fn a_fence_that_closed_opens_only_with_an_answer_to_something_sent_after_that() {
    let mut world = World::new();
    world.leads(0).step();
    world.committed(true).at(5).step();
    world.at(60);
    world.decider.fence_closed(world.look.now);
    world.leads(55);
    assert!(world.step().iter().all(|act| !matches!(act, Act::Reopen(_) | Act::Renew(_) | Act::Announce)));
    let done = world.at(70).leads(65).step();
    assert!(done.iter().any(|act| matches!(act, Act::Reopen(_))), "{done:?}");
}

#[test]
fn a_leader_that_cannot_serve_lets_another_lead() {
    let mut world = World::new();
    world.look.healthy = false;
    let done = world.run(0, 2500);
    assert_eq!(done.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1000, 2000]);
    assert!(done.iter().all(|(_, act)| *act == Act::HandOver(Why::Unhealthy)));
}

#[test]
fn a_node_left_alone_takes_it_a_while_after_the_lease_if_that_was_chosen() {
    for (first, earliest) in [(true, 1350), (false, 2350)] {
        let mut world = World::new();
        world.look.survivor = Some(Survivor { first, since: world.base });
        let mut taken = None;
        for millis in (0..4000_u64).step_by(5) {
            world.look.lease.silent_for = Some(Duration::from_millis(millis));
            world.at(millis);
            if world.step().iter().any(|act| matches!(act, Act::Take(_))) {
                taken = Some(millis);
                break;
            }
        }
        let taken = taken.expect("it takes it");
        assert!((earliest..earliest + 100).contains(&taken), "{taken}");
        assert!(world.decider.survives());
        // A leader is heard again: the ordinary rule.
        world.look.lease.silent_for = Some(Duration::ZERO);
        let done = world.at(taken + 10).step();
        assert!(matches!(done[..], [Act::LetGo(Why::QuorumIsBack, None)]), "{done:?}");
    }
}

#[test]
fn without_that_choice_the_vip_goes_when_quorum_goes() {
    let mut world = World::new();
    world.look.lease.leading = Some(leadership(3));
    for millis in (0..10_000_u64).step_by(50) {
        world.look.lease.silent_for = Some(Duration::from_millis(millis));
        assert_eq!(world.at(millis).step(), []);
    }
}
