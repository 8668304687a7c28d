//! Groups, labels and states, written shortly.

use std::collections::BTreeMap;
use std::net::IpAddr;

use raft::command::{Command, Edit, GuardedEdit, Outcome};
use raft::state::{Alternative, Group, State, Test};
use raft::types::{Digest, LogIndex, Timestamp};

/// Values between commas.
pub(crate) fn texts(text: &str) -> Vec<String> {
    text.split(',').filter(|value| !value.is_empty()).map(str::to_owned).collect()
}

/// `key=value key=value`; an `address` is where the request comes from.
pub(crate) fn labels(text: &str) -> (BTreeMap<String, String>, Option<IpAddr>) {
    let mut labels = pairs(text);
    let address = labels.remove("address").map(|address| address.parse().expect("an address"));
    (labels, address)
}

fn pairs(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// `label test value,value; label test value`.
pub(crate) fn alternative(text: &str) -> Alternative {
    let mut alternative = Alternative::new();
    for condition in text.split("; ") {
        let words: Vec<&str> = condition.splitn(3, ' ').collect();
        let [label, test, values] = words[..] else { panic!("{condition}") };
        let test = match test {
            "in" => Test::In(texts(values)),
            "not_in" => Test::NotIn(texts(values)),
            "glob" => Test::Glob(texts(values)),
            "not_glob" => Test::NotGlob(texts(values)),
            "subnet" => Test::Subnet(texts(values)),
            "not_subnet" => Test::NotSubnet(texts(values)),
            "present" => Test::Present(values == "true"),
            other => panic!("{other}"),
        };
        alternative.entry(label.to_owned()).or_default().push(test);
    }
    alternative
}

pub(crate) fn group(id: &str, selector: &str, rules: &[&str]) -> Group {
    let rules = rules.iter().map(|text| alternative(text)).collect();
    Group { id: id.into(), profile: "p".into(), selector: pairs(selector), rules, ..Group::default() }
}

pub(crate) fn command(edits: impl IntoIterator<Item = Edit>) -> Command {
    Command {
        actor: "test".into(),
        at: Timestamp(1_000),
        idempotency_key: String::new(),
        fingerprint: Digest::of(b""),
        edits: edits.into_iter().map(GuardedEdit::from).collect(),
        replace: Vec::new(),
        allow_ties: false,
    }
}

pub(crate) fn state_of(groups: &[Group]) -> State {
    let mut state = State::default();
    let (outcome, _) = state.apply(LogIndex(1), &command(groups.iter().cloned().map(Edit::put_group)));
    assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
    state
}
