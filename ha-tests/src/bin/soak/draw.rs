//! What is drawn by lot: shapes, loads, and mishaps that a shape promises to come through.

use raftboot_ha_tests::cluster::Shape;
use raftboot_ha_tests::lot::Lot;
use raftboot_ha_tests::mishap::{Mishap, Moment, Who};
use raftboot_ha_tests::writers::Plan;
use std::time::Duration;

/// Three nodes twice as often as each other shape.
pub(crate) fn shape(lot: &mut Lot) -> Shape {
    lot.one_of(&[Shape::Three, Shape::Three, Shape::Witness, Shape::Survivor])
}

/// New objects at a gentle rate, or many writers that change their own.
pub(crate) fn plan(lot: &mut Lot) -> Plan {
    let many = Plan { writers: 64, per_second: Some(400), repeat_unknown: false, new_objects: false };
    lot.one_of(&[Plan::BESIDE, many])
}

/// Anything the shape promises to come through. Two nodes that each may serve alone promise nothing when they are cut apart.
pub(crate) fn mishap(lot: &mut Lot, shape: Shape) -> Mishap {
    if shape == Shape::Survivor {
        return match lot.below(5) {
            0 => Mishap::Kill(who(lot)),
            1 => Mishap::PowerOff(who(lot)),
            2 => Mishap::FlushRules,
            3 => Mishap::DeleteAddress,
            _ => freeze(lot),
        };
    }
    match lot.below(14) {
        0 | 1 => Mishap::Kill(who(lot)),
        2 => Mishap::PowerOff(who(lot)),
        3 => Mishap::LinkDown(who(lot)),
        4 => Mishap::CutPeers(Who::Holder, Who::Other(lot.below(2))),
        5 => Mishap::CutOneWay(Who::Holder, Who::Other(lot.below(2))),
        6 => Mishap::CutOneWay(Who::Other(lot.below(2)), Who::Holder),
        7 => Mishap::Isolate(who(lot)),
        8 => Mishap::FullDisk(who(lot)),
        9 => Mishap::FlushRules,
        10 => Mishap::DeleteAddress,
        11 => Mishap::DeafThenFreeze(Duration::from_millis(1_000 + 10 * u64::try_from(lot.below(200)).expect("small"))),
        12 => Mishap::ForgetfulVoter,
        _ => freeze(lot),
    }
}

fn who(lot: &mut Lot) -> Who {
    lot.one_of(&[Who::Holder, Who::Holder, Who::Other(0), Who::Other(1)])
}

/// 50 to 700 ms in steps of 10, around which everything is decided.
fn freeze(lot: &mut Lot) -> Mishap {
    let lasts = Duration::from_millis(50 + 10 * u64::try_from(lot.below(66)).expect("small"));
    Mishap::Freeze(Who::Holder, lot.one_of(&[Moment::Any, Moment::Any, Moment::Renewal]), lasts)
}
