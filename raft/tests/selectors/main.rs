//! Groups with alternatives: what matches, who wins, what is refused, and that none of it depends on how many there are.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod bounds;
mod cost;
mod explained;
mod same_as_scan;
mod write;

use std::net::IpAddr;

use raft::command::{Edit, Outcome, RefusalCode};
use raft::state::{Group, State};
use raft::types::LogIndex;
use write::{command, group, labels, state_of, texts};

/// The group that wins for labels written `key=value key=value`; `address` is where the request comes from.
fn winner(state: &State, text: &str) -> Option<String> {
    let (labels, address) = labels(text);
    state.select_from(&labels, address).map(|group| group.value.id.clone())
}

fn check(groups: &[Group], cases: &[(&str, Option<&str>)]) {
    let state = state_of(groups);
    for (labels, want) in cases {
        assert_eq!(winner(&state, labels).as_deref(), *want, "{labels}");
    }
}

#[test]
fn one_of_several_macs() {
    let macs = group("pair", "", &["mac in 52:54:00:00:00:01,52-54-00-00-00-02"]);
    check(
        &[macs],
        &[
            ("mac=52:54:00:00:00:01", Some("pair")),
            ("mac=52:54:00:00:00:02", Some("pair")),
            ("mac=52:54:00:00:00:03", None),
            ("", None),
        ],
    );
}

#[test]
fn one_alternative_is_enough_and_all_of_its_conditions_are_needed() {
    let either = group("g", "", &["serial in A1; arch in x86_64,arm64", "uuid in u1"]);
    check(
        &[either],
        &[
            ("serial=A1 arch=arm64", Some("g")),
            ("serial=A1 arch=i386", None),
            ("serial=A1", None),
            ("uuid=u1", Some("g")),
            ("uuid=u1 serial=A1 arch=x86_64", Some("g")),
        ],
    );
}

#[test]
fn the_selector_must_hold_beside_the_alternatives() {
    let both = group("g", "os=talos", &["serial glob A*", "mac glob 52-54-00-*"]);
    check(
        &[both],
        &[
            ("os=talos serial=A1", Some("g")),
            ("os=talos mac=52:54:00:ab:00:01", Some("g")),
            ("os=other serial=A1", None),
            ("serial=A1", None),
            ("os=talos", None),
        ],
    );
    // Of one label, both; a list that leaves nothing matches nothing.
    check(&[group("g", "os=a", &["os in a,b"])], &[("os=a", Some("g")), ("os=b", None)]);
    check(&[group("g", "os=a", &["os in b"])], &[("os=a", None), ("os=b", None)]);
    check(&[group("g", "os=ab", &["os glob a*"])], &[("os=ab", Some("g")), ("os=ac", None)]);
    check(&[group("g", "os=ab", &["os not_glob a*"])], &[("os=ab", None)]);
}

#[test]
fn negation_patterns_subnets_and_presence() {
    check(
        &[group("g", "", &["hostname glob web-*; hostname not_in web-9; domain not_glob *.test"])],
        &[
            ("hostname=web-1", Some("g")),
            ("hostname=web-9", None),
            ("hostname=web-1 domain=a.test", None),
            ("hostname=db-1", None),
        ],
    );
    check(
        &[group("g", "", &["address subnet 10.0.0.0/8,2001:db8::/32; address not_subnet 10.9.0.0/16"])],
        &[
            ("address=10.1.2.3", Some("g")),
            ("address=2001:db8::7", Some("g")),
            ("address=10.9.2.3", None),
            ("address=192.0.2.1", None),
            ("", None),
        ],
    );
    check(
        &[group("tagged", "", &["asset present true"]), group("bare", "", &["asset present false"])],
        &[("asset=7", Some("tagged")), ("asset=", Some("bare")), ("", Some("bare"))],
    );
    check(&[group("g", "", &["os not_in a,b"])], &[("os=c", Some("g")), ("", Some("g")), ("os=a", None)]);
}

#[test]
fn a_listed_value_is_checked_by_the_other_tests_of_its_label() {
    check(
        &[group("g", "", &["os in a1,a2,b1; os not_in a2; os glob a*"])],
        &[("os=a1", Some("g")), ("os=a2", None), ("os=b1", None)],
    );
}

#[test]
fn more_labels_win_then_more_exact_ones_then_the_greater_text_then_the_lower_id() {
    let mac = "mac=52:54:00:00:00:01";
    for (one, other, labels, want) in [
        // More labels, wherever they are asked for.
        (
            group("a", "", &["arch in x86_64; serial glob A*"]),
            group("b", "os=x", &[]),
            "arch=x86_64 serial=A os=x",
            "a",
        ),
        (
            group("a", "", &["arch in x86_64"]),
            group("b", "os=x", &["serial glob A*"]),
            "arch=x86_64 serial=A os=x",
            "b",
        ),
        // A label asked for in two places is one label.
        (group("a", "os=x", &["os glob x*"]), group("b", "os=x arch=y", &[]), "os=x arch=y", "b"),
        // As many labels: those that ask for exact values come first, listed or single.
        (group("a", "", &["serial glob A*"]), group("b", "", &["arch in x86_64,arm64"]), "serial=A arch=arm64", "b"),
        (group("z", "", &["serial glob *"]), group("b", "arch=x86_64", &[]), "serial=A arch=x86_64", "b"),
        // As exact: the greatest text of `key=value` pairs, by the value that matched.
        (
            group("a", "", &["serial in A,Z"]),
            group("b", "", &["mac in 52:54:00:00:00:01"]),
            "serial=A mac=52:54:00:00:00:01",
            "a",
        ),
        (group("a", "serial=A", &[]), group("b", "", &["uuid in u,v"]), "serial=A uuid=v", "b"),
        // Then that of the other conditions: `not_in` comes after `glob`.
        (group("a", "os=x", &["serial not_in B"]), group("b", "os=x", &["serial glob A*"]), "os=x serial=A", "a"),
        (group("a", "os=x", &["serial glob A*"]), group("b", "os=x", &["serial glob ?*"]), "os=x serial=A", "a"),
        // The best of several alternatives that hold counts.
        (
            group("a", "", &["os in x", "os in x; arch in y"]),
            group("b", "hostname=x", &[]),
            "os=x arch=y hostname=x",
            "a",
        ),
        (group("a", mac, &[]), group("b", "", &["serial present true"]), "mac=52:54:00:00:00:01 serial=A", "a"),
    ] {
        for groups in [[one.clone(), other.clone()], [other.clone(), one.clone()]] {
            assert_eq!(winner(&state_of(&groups), labels).as_deref(), Some(want), "{one:?}\n{other:?}\n{labels}");
        }
    }
    let equal = ["b", "a"].map(|id| Edit::put_group(group(id, "", &["os in x"])));
    let mut state = State::default();
    state.apply(LogIndex(1), &raft::command::Command { allow_ties: true, ..command(equal) });
    assert_eq!(winner(&state, "os=x").as_deref(), Some("a"));
}

#[test]
fn groups_that_ask_for_the_same_are_refused_unless_allowed() {
    for (old, new, want) in [
        (group("old", "mac=52:54:00:00:00:01", &[]), group("new", "", &["mac in 52-54-00-00-00-01"]), Some("match[0]")),
        (group("old", "", &["mac in 52-54-00-00-00-01"]), group("new", "mac=52:54:00:00:00:01", &[]), Some("selector")),
        // Two lists with a value in common.
        (group("old", "", &["os in a,b"]), group("new", "", &["arch in z", "os in b,c"]), Some("match[1]")),
        (group("old", "", &["os in a,b"]), group("new", "", &["os in c,d"]), None),
        // Written in another order, in another form.
        (
            group("old", "", &["serial glob B*,A*; address subnet 10.0.0.0/8"]),
            group("new", "", &["address subnet 10.0.0.0/8; serial glob A*,B*,A*"]),
            Some("match[0]"),
        ),
        (group("old", "", &["mac glob 52-54-*"]), group("new", "", &["mac glob 52:54:*"]), Some("match[0]")),
        (group("old", "", &["serial glob A*"]), group("new", "", &["serial glob ?A*"]), None),
        (group("old", "", &["serial glob A*"]), group("new", "", &["serial not_glob A*"]), None),
        // The address of the request is another label than one of that name that a machine says.
        (group("old", "address=10.0.0.1", &[]), group("new", "", &["address in 10.0.0.1"]), None),
    ] {
        let mut state = state_of(std::slice::from_ref(&old));
        let (outcome, _) = state.apply(LogIndex(9), &command([Edit::put_group(new.clone())]));
        match (&outcome, want) {
            (Outcome::Applied { .. }, None) => {}
            (Outcome::Refused(refusals), Some(field)) => {
                assert_eq!(refusals[0].code, RefusalCode::SelectorTie);
                assert_eq!((refusals[0].field.as_str(), refusals.len()), (field, 1), "{old:?}\n{new:?}");
                assert!(refusals[0].message.contains("`old`"), "{refusals:?}");
            }
            _ => panic!("{old:?}\n{new:?}\n{outcome:?}"),
        }
        assert_eq!(state.ties_of(&new).collect::<Vec<_>>().contains(&"new"), want.is_none());
    }
}

#[test]
fn a_group_may_repeat_itself() {
    let mut state = state_of(&[group("g", "", &["os in a,b", "os in b,c"])]);
    assert_eq!(winner(&state, "os=b").as_deref(), Some("g"));
    let (outcome, _) = state.apply(LogIndex(2), &command([Edit::put_group(group("g", "", &["os in c"]))]));
    assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
    assert_eq!((winner(&state, "os=b"), winner(&state, "os=c").as_deref()), (None, Some("g")));
    state.apply(LogIndex(3), &command([Edit::DeleteGroup("g".into())]));
    assert_eq!(winner(&state, "os=c"), None);
}

#[test]
fn a_machine_cannot_say_where_it_is() {
    let state = state_of(&[group("g", "", &["address in 10.0.0.1"]), group("s", "address=10.0.0.1", &[])]);
    let (mut labels, _) = labels("");
    labels.insert("address".into(), "10.0.0.1".into());
    let from = |address: &str| state.select_from(&labels, address.parse::<IpAddr>().ok());
    assert_eq!(from("192.0.2.1").unwrap().value.id, "s", "a selector asks what the machine says, as in matchbox");
    labels.clear();
    assert_eq!(state.select_from(&labels, "::ffff:10.0.0.1".parse().ok()).unwrap().value.id, "g");
    assert!(texts("").is_empty());
}
