//! What would make requests slow or the index large is refused, whatever form it comes in.

use raft::command::{Command, Edit, Outcome, Refusal};
use raft::state::{CROWD_MAX, Group, Kind, RULED_WAYS_MAX, State, WAYS_BYTES_MAX, WAYS_MAX};
use raft::types::LogIndex;

use crate::winner;
use crate::write::{command, group, state_of};

fn refusals(outcome: Outcome) -> Vec<Refusal> {
    match outcome {
        Outcome::Refused(list) => list,
        Outcome::Applied { .. } => Vec::new(),
    }
}

/// A group with as many patterns as one list may hold.
fn patterns(id: &str, selector: &str, number: usize) -> Group {
    let patterns: Vec<String> = (0..64).map(|at| format!("{number}-{at}-*")).collect();
    group(id, selector, &[&format!("serial glob {}", patterns.join(","))])
}

#[test]
fn alternatives_that_are_compared_one_by_one_are_limited() {
    let fitting = CROWD_MAX / 64;
    let edits = (0..fitting).map(|number| Edit::put_group(patterns(&format!("g{number}"), "", number)));
    let mut state = State::default();
    let (outcome, _) = state.apply(LogIndex(1), &command(edits));
    assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
    let put = |state: &mut State, edit: Edit| refusals(state.apply(LogIndex(2), &command([edit])).0);
    let found = put(&mut state, Edit::put_group(patterns("more", "", fitting)));
    assert_eq!((found[0].object.as_str(), found[0].field.as_str()), ("group/more", "match"));
    assert!(found[0].message.contains("4160 patterns"), "{}", found[0].message);
    // With an exact label they stand elsewhere; others may be replaced, and one that goes makes room.
    assert!(put(&mut state, Edit::put_group(patterns("more", "os=x", fitting))).is_empty());
    assert!(put(&mut state, Edit::put_group(patterns("g0", "", fitting + 1))).is_empty());
    assert!(put(&mut state, Edit::DeleteGroup("g1".into())).is_empty());
    assert!(put(&mut state, Edit::put_group(patterns("last", "", fitting + 2))).is_empty());
    // Groups that are not compared so are never in the way.
    assert!(put(&mut state, Edit::put_group(group("plain", "", &[]))).is_empty());
    assert!(put(&mut state, Edit::put_group(group("fixed", "os=xy", &["os glob x*"]))).is_empty());
    // All of them replaced at once: what goes does not count.
    let all = (0..fitting).map(|number| Edit::put_group(patterns(&format!("h{number}"), "", number)));
    let replaced = Command { replace: vec![Kind::Group], ..command(all) };
    assert!(refusals(state.apply(LogIndex(3), &replaced).0).is_empty());
    assert_eq!(winner(&state, "serial=7-1-x").as_deref(), Some("h7"));
}

#[test]
fn combinations_of_all_groups_together_are_limited() {
    let list = |first: usize| {
        let values: Vec<String> = (first..first + WAYS_MAX).map(|value| format!("{value:x}")).collect();
        format!("l in {}", values.join(","))
    };
    let groups = RULED_WAYS_MAX / WAYS_MAX;
    let edits = (0..groups).map(|number| Edit::put_group(group(&number.to_string(), "", &[&list(number * WAYS_MAX)])));
    let mut state = State::default();
    let (outcome, _) = state.apply(LogIndex(1), &command(edits));
    assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
    let one_more = Edit::put_group(group("more", "", &[&list(groups * WAYS_MAX)]));
    let found = refusals(state.apply(LogIndex(2), &command([one_more.clone()])).0);
    assert_eq!(found[0].field, "match");
    assert!(found[0].message.contains("1000000"), "{}", found[0].message);
    let made_room = command([Edit::DeleteGroup("0".into()), one_more]);
    assert!(refusals(state.apply(LogIndex(3), &made_room).0).is_empty());
    // One command cannot grow the index further either, whatever it removes.
    let huge = (0..=groups).map(|number| Edit::put_group(group("same", "", &[&list(number * WAYS_MAX)])));
    assert_eq!(refusals(State::default().apply(LogIndex(1), &command(huge)).0).len(), 1);
}

#[test]
fn bytes_of_the_combinations_of_a_group_are_limited() {
    let put = |group: Group| refusals(State::default().apply(LogIndex(1), &command([Edit::put_group(group)])).0);
    let list = |label: &str, count: usize| {
        let values: Vec<String> = (0..count).map(|value| format!("{value:04}")).collect();
        format!("{label} in {}", values.join(","))
    };
    // 1,024 ways, each with a copy of what the selector asks for: 5 bytes of `match` and 251 of `selector` just fit.
    let with_selector = |bytes: usize| group("g", &format!("os={}", "x".repeat(bytes - 2)), &[&list("l", WAYS_MAX)]);
    assert_eq!(WAYS_BYTES_MAX, WAYS_MAX * (5 + 251));
    assert!(put(with_selector(251)).is_empty());
    let found = put(with_selector(252));
    assert_eq!((found[0].object.as_str(), found[0].field.as_str()), ("group/g", "match"));
    assert!(found[0].message.contains(&(WAYS_BYTES_MAX + WAYS_MAX).to_string()), "{}", found[0].message);
    assert!(found[0].hint.contains("`match`") && found[0].hint.contains("split the group"), "{}", found[0].hint);
    // Two lists: each value is there once for every value of the other one.
    let both = |label: &str| group("g", "", &[&format!("{}; {}", list("l", 32), list(label, 32))]);
    assert!(put(both(&"m".repeat(256 - 5 - 4))).is_empty());
    assert_eq!(put(both(&"m".repeat(256 - 5 - 3)))[0].field, "match");
    // Alternatives add up, and a label that the selector fixes makes no combinations.
    let (one, other) = (list("l", WAYS_MAX / 2), list("m", WAYS_MAX / 2));
    let two = |bytes: usize| group("g", &format!("os={}", "x".repeat(bytes - 2)), &[&one, &other]);
    assert!(put(two(251)).is_empty());
    assert_eq!(put(two(252))[0].field, "match");
    assert!(put(group("g", &format!("l=0001 os={}", "x".repeat(900)), &[&list("l", WAYS_MAX)])).is_empty());
}

#[test]
fn the_edit_without_room_for_rules_refuses_them() {
    let mut state = state_of(&[]);
    let ruled = group("g", "", &["os in a"]);
    let found = refusals(state.apply(LogIndex(2), &command([Edit::PutGroup(ruled)])).0);
    assert_eq!((found[0].object.as_str(), found[0].field.as_str()), ("group/g", "match"));
    assert!(state.group("g").is_none());
}
