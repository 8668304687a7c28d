//! The index finds what a scan over all groups finds that follows the written rules and nothing else.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::prelude::*;
use raft::codec::{decode_record, encode_record};
use raft::command::{Command, Edit};
use raft::state::{Alternative, Group, Question, State, Test};
use raft::types::{LogIndex, Mac};

use crate::write::command;

fn normal(label: &str, value: &str) -> String {
    match label {
        "mac" => value.parse::<Mac>().unwrap().to_string(),
        "address" => value.parse::<IpAddr>().unwrap().to_string(),
        _ => value.to_owned(),
    }
}

fn fits(pattern: &[u8], value: &[u8]) -> bool {
    match (pattern, value) {
        ([b'*', rest @ ..], _) => fits(rest, value) || !value.is_empty() && fits(pattern, &value[1..]),
        ([b'?', rest @ ..], [_, more @ ..]) => fits(rest, more),
        ([wanted, rest @ ..], [found, more @ ..]) => wanted == found && fits(rest, more),
        ([], []) => true,
        _ => false,
    }
}

fn lies_in(network: &str, value: &str) -> bool {
    let (network, prefix) = network.split_once('/').unwrap();
    let bits = |text: &str| match text.parse() {
        Ok(IpAddr::V4(address)) => Some(address.to_bits()),
        _ => None,
    };
    let shift = 32 - prefix.parse::<u32>().unwrap();
    bits(value).is_some_and(|value| u64::from(value) >> shift == u64::from(bits(network).unwrap()) >> shift)
}

fn holds(label: &str, test: &Test, value: &str) -> bool {
    let values = test.values().iter();
    match test {
        Test::In(_) => values.into_iter().any(|wanted| normal(label, wanted) == value),
        Test::NotIn(_) => !values.into_iter().any(|wanted| normal(label, wanted) == value),
        Test::Glob(_) => values.into_iter().any(|pattern| fits(pattern.as_bytes(), value.as_bytes())),
        Test::NotGlob(_) => !values.into_iter().any(|pattern| fits(pattern.as_bytes(), value.as_bytes())),
        Test::Subnet(_) => values.into_iter().any(|network| lies_in(network, value)),
        Test::NotSubnet(_) => !values.into_iter().any(|network| lies_in(network, value)),
        Test::Present(wanted) => *wanted != value.is_empty(),
    }
}

/// Labels, exact labels, text of exact pairs, text of the rest.
type Rank = (usize, usize, String, String);

fn rank_of(group: &Group, rule: &Alternative, labels: &BTreeMap<String, String>, address: &str) -> Option<Rank> {
    let said = |label: &str| labels.get(label).map(String::as_str).unwrap_or_default();
    let value = |label: &str| if label == "address" { address.to_owned() } else { said(label).to_owned() };
    let selected = group.selector.iter().all(|(label, wanted)| said(label) == normal_said(label, wanted));
    let met = rule.iter().all(|(label, tests)| tests.iter().all(|test| holds(label, test, &value(label))));
    if !selected || !met {
        return None;
    }
    let mut exact: BTreeSet<(String, String)> =
        group.selector.keys().map(|label| (format!("said {label}"), format!("{label}={}", said(label)))).collect();
    let mut rest: BTreeMap<String, BTreeSet<(u8, String)>> = BTreeMap::new();
    for (label, tests) in rule {
        let said_too = label != "address" && group.selector.contains_key(label);
        if said_too || tests.iter().any(|test| matches!(test, Test::In(_))) {
            let kind = if label == "address" { "its" } else { "said" };
            exact.insert((format!("{kind} {label}"), format!("{label}={}", value(label))));
            continue;
        }
        for test in tests {
            rest.entry(label.clone()).or_default().insert(text_of(label, test));
        }
    }
    let mut pairs: Vec<String> = exact.iter().map(|(_, pair)| pair.clone()).collect();
    pairs.sort();
    // Labels in their order, the address last; tests of a label in theirs.
    let mut parts: Vec<(bool, &String, &(u8, String))> = rest
        .iter()
        .flat_map(|(label, tests)| tests.iter().map(move |test| (label == "address", label, test)))
        .collect();
    parts.sort();
    let parts: Vec<String> = parts.iter().map(|(_, label, (_, text))| format!("\"{label}\" {text}")).collect();
    Some((exact.len() + rest.len(), exact.len(), pairs.join(","), parts.join(", ")))
}

fn normal_said(label: &str, value: &str) -> String {
    if label == "mac" { normal(label, value) } else { value.to_owned() }
}

fn text_of(label: &str, test: &Test) -> (u8, String) {
    let values: BTreeSet<String> = match test {
        Test::In(values) | Test::NotIn(values) => values.iter().map(|value| normal(label, value)).collect(),
        other => other.values().iter().cloned().collect(),
    };
    let order = ["in", "not_in", "glob", "not_glob", "subnet", "not_subnet", "present"];
    let place = order.iter().position(|name| *name == test.name()).unwrap();
    let text = match test {
        Test::Present(wanted) => wanted.to_string(),
        _ => serde_json::to_string(&values).unwrap(),
    };
    (u8::try_from(place).unwrap(), format!("{} {text}", test.name()))
}

fn scan(groups: &[Group], labels: &BTreeMap<String, String>, address: &str) -> Option<(Rank, String)> {
    let none = Alternative::new();
    let ranked = groups.iter().flat_map(|group| {
        let rules: Vec<&Alternative> = if group.rules.is_empty() { vec![&none] } else { group.rules.iter().collect() };
        rules.into_iter().filter_map(move |rule| Some((rank_of(group, rule, labels, address)?, group.id.clone())))
    });
    ranked.max_by_key(|(rank, id)| (rank.clone(), Reverse(id.clone())))
}

fn value_of(label: &'static str) -> BoxedStrategy<String> {
    let values = match label {
        "mac" => vec!["52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:13"],
        "address" => vec!["10.0.0.1", "10.0.0.9", "10.0.1.1"],
        _ => vec!["", "a", "ab", "b"],
    };
    prop::sample::select(values).prop_map(str::to_owned).boxed()
}

fn any_test(label: &'static str) -> BoxedStrategy<Test> {
    let list = || prop::collection::vec(value_of(label), 1..3);
    let patterns = if label == "mac" {
        vec!["52:54:*", "*:0?", "*:13"]
    } else if label == "address" {
        vec!["10.0.0.*", "*1"]
    } else {
        vec!["a*", "?", "*b", "*"]
    };
    let globs = prop::collection::vec(prop::sample::select(patterns).prop_map(str::to_owned), 1..3);
    let networks = prop::sample::select(vec!["10.0.0.0/24", "10.0.0.8/29", "0.0.0.0/0", "10.0.1.1/32"]);
    let networks = prop::collection::vec(networks.prop_map(str::to_owned), 1..3);
    prop_oneof![
        4 => list().prop_map(Test::In),
        1 => list().prop_map(Test::NotIn),
        2 => globs.clone().prop_map(Test::Glob),
        1 => globs.prop_map(Test::NotGlob),
        1 => networks.clone().prop_map(Test::Subnet),
        1 => networks.prop_map(Test::NotSubnet),
        1 => any::<bool>().prop_map(Test::Present),
    ]
    .boxed()
}

const LABELS: [&str; 5] = ["address", "mac", "os", "rack", "serial"];

fn any_alternative() -> impl Strategy<Value = Alternative> {
    let condition = prop::sample::select(LABELS.to_vec())
        .prop_flat_map(|label| (Just(label), prop::collection::vec(any_test(label), 1..3)));
    prop::collection::vec(condition, 1..4).prop_map(|conditions| {
        let mut alternative = Alternative::new();
        for (label, mut tests) in conditions {
            tests.sort_by_key(Test::name);
            tests.dedup_by_key(|test| test.name());
            alternative.insert(label.to_owned(), tests);
        }
        alternative
    })
}

fn any_group() -> impl Strategy<Value = Group> {
    let said = prop::sample::select(LABELS.to_vec()).prop_flat_map(|label| (Just(label.to_owned()), value_of(label)));
    let id = prop::sample::select(vec!["a", "b", "c", "d", "e", "f", "g", "h"]);
    (
        id,
        prop::collection::btree_map("x", "x", 0..1),
        prop::collection::vec(said, 0..3),
        prop::collection::vec(any_alternative(), 0..4),
    )
        .prop_map(|(id, mut selector, said, rules)| {
            selector.extend(said);
            Group { id: id.into(), selector, rules, ..Group::default() }
        })
}

fn any_labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    let pair = prop::sample::select(LABELS.to_vec()).prop_flat_map(|label| (Just(label.to_owned()), value_of(label)));
    prop::collection::vec(pair, 0..6).prop_map(|pairs| pairs.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_agrees_with_a_scan(
        log in prop::collection::vec((any_group(), any::<bool>()), 0..14),
        asked in prop::collection::vec((any_labels(), value_of("address")), 1..6),
    ) {
        let mut state = State::default();
        for (at, (group, keep)) in log.iter().enumerate() {
            let edit = if *keep { Edit::put_group(group.clone()) } else { Edit::DeleteGroup(group.id.clone()) };
            state.apply(LogIndex(at as u64 + 1), &Command { allow_ties: true, ..command([edit]) });
        }
        let mut restored = State::default();
        for record in state.records() {
            let bytes = encode_record(&record).unwrap();
            let read = decode_record(&bytes).unwrap();
            prop_assert_eq!(&read, &record);
            restored.restore(read);
        }
        let groups: Vec<Group> = state.groups().map(|stored| stored.value.clone()).collect();
        for (labels, address) in &asked {
            let want = scan(&groups, labels, address).map(|(_, id)| id);
            let address: IpAddr = address.parse().unwrap();
            let pick = |state: &State| state.select_from(labels, Some(address)).map(|stored| stored.value.id.clone());
            prop_assert_eq!(&pick(&state), &want, "{:?}", labels);
            prop_assert_eq!(&pick(&restored), &want);
            let explained = state.explain(Question { labels, address: Some(address), group: None, limit: 100 });
            prop_assert_eq!(explained.matching.first().map(|first| first.group.value.id.clone()), want);
            prop_assert!(explained.matching.iter().enumerate().all(|(at, one)| one.lost.is_none() == (at == 0)));
            prop_assert!(explained.failing.iter().all(|one| !one.failed.is_empty()));
        }
    }
}
