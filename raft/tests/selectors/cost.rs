//! A look-up costs the same however many groups there are.

use std::hint::black_box;
use std::time::{Duration, Instant};

use raft::command::{Edit, Outcome};
use raft::state::{Question, State};
use raft::types::LogIndex;

use crate::write::{command, group, labels};

fn mac(number: usize) -> String {
    format!(
        "52:54:{:02x}:{:02x}:{:02x}:{:02x}",
        number >> 24 & 255,
        number >> 16 & 255,
        number >> 8 & 255,
        number & 255
    )
}

/// Groups of four MACs each, beside a default group and one by arch and manufacturer; and how long it took to put them.
fn site(groups: usize) -> (State, Duration) {
    let by_mac = (0..groups).map(|number| {
        let macs: Vec<String> = (0..4).map(|card| mac(number * 4 + card)).collect();
        group(&format!("m{number}"), "", &[&format!("mac in {}", macs.join(","))])
    });
    let others = [group("default", "", &[]), group("dell", "", &["arch in x86_64; manufacturer glob Dell*"])];
    let mut state = State::default();
    let start = Instant::now();
    let (outcome, _) = state.apply(LogIndex(1), &command(by_mac.chain(others).map(Edit::put_group)));
    assert!(matches!(outcome, Outcome::Applied { .. }));
    (state, start.elapsed())
}

/// The time of one look-up, the best of several rounds.
fn look_up(state: &State, asked: usize) -> Duration {
    let labels: Vec<_> = (0..64)
        .map(|at| {
            labels(&format!("mac={} uuid=u serial=s arch=i386 hostname=h address=10.0.0.1", mac(at * asked / 64)))
        })
        .collect();
    let round = || {
        let start = Instant::now();
        for _ in 0..50 {
            for (labels, address) in &labels {
                assert!(black_box(state.select_from(black_box(labels), *address)).is_some());
            }
        }
        start.elapsed() / (50 * 64)
    };
    (0..20).map(|_| round()).min().unwrap()
}

#[test]
fn a_hundred_thousand_groups_cost_a_request_as_much_as_one() {
    let (large, took) = site(100_000);
    println!("100,000 groups of four MACs put in {took:?}");
    let (one, many) = (look_up(&site(1).0, 4), look_up(&large, 400_000));
    let (labels, address) = labels("mac=52:54:00:00:00:01 arch=x86_64");
    let start = Instant::now();
    let explained = large.explain(Question { labels: &labels, address, group: None, limit: 10 });
    println!("explained in {:?}: {} match", start.elapsed(), explained.matching_len);
    println!("a look-up takes {one:?} with one group and {many:?} with 100,000");
    // Deeper trees and colder memory, but no scan: that would be a factor of thousands.
    assert!(many < one * 15, "{one:?} and {many:?}");
}

#[test]
fn a_full_crowd_of_patterns_stays_cheap() {
    let patterns = |number: usize| {
        let list: Vec<String> = (0..64).map(|at| format!("*{number:03}-{at:02}*")).collect();
        group(&format!("g{number}"), "", &[&format!("serial glob {}", list.join(","))])
    };
    let mut state = State::default();
    let (outcome, _) = state.apply(LogIndex(1), &command((0..64).map(|number| Edit::put_group(patterns(number)))));
    assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
    let time = |serial: &str| {
        let (labels, address) = labels(&format!("serial={serial}"));
        let round = || {
            let start = Instant::now();
            black_box(state.select_from(black_box(&labels), address));
            start.elapsed()
        };
        (0..20).map(|_| round()).min().unwrap()
    };
    let (usual, worst) = (time("PF3ABCDE"), time(&"0".repeat(256)));
    println!("4096 patterns: {usual:?} for a usual serial, {worst:?} for one that is as long as is looked at");
    assert!(worst < Duration::from_millis(200), "{worst:?}");
}
