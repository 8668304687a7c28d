//! What `explain` says: who wins and by what, who loses and why, what fails.

use raft::state::{Explanation, Lost, Question, State};

use crate::write::{group, labels, state_of};

fn explain(state: &State, text: &str, group: Option<&str>, limit: usize) -> Explanation {
    let (labels, address) = labels(text);
    state.explain(Question { labels: &labels, address, group, limit })
}

fn site() -> State {
    state_of(&[
        group("default", "", &[]),
        group("arch", "arch=x86_64", &[]),
        group("dell", "", &["manufacturer glob Dell*", "manufacturer glob Dell*; arch in x86_64"]),
        group("lab", "", &["address subnet 10.0.0.0/8; serial not_in S1"]),
        group("other", "mac=52:54:00:00:00:99", &[]),
        group("wide", "", &["arch present true"]),
    ])
}

#[test]
fn every_group_that_matches_is_listed_with_what_it_lost_by() {
    let said = explain(&site(), "arch=x86_64 manufacturer=Dell serial=S1 address=10.0.0.7", None, 10);
    let matching: Vec<_> = said
        .matching
        .iter()
        .map(|one| (one.group.value.id.as_str(), one.alternative, one.labels, one.exact, one.text.as_str(), one.lost))
        .collect();
    assert_eq!(
        matching,
        [
            ("dell", Some(1), 2, 1, "arch=x86_64; \"manufacturer\" glob [\"Dell*\"]", None),
            ("arch", None, 1, 1, "arch=x86_64", Some(Lost::FewerLabels)),
            ("wide", Some(0), 1, 0, "\"arch\" present true", Some(Lost::FewerLabels)),
            ("default", None, 0, 0, "", Some(Lost::FewerLabels)),
        ]
    );
    let [lab] = &said.failing[..] else { panic!("{said:?}") };
    assert_eq!((lab.group.value.id.as_str(), lab.alternative, lab.held), ("lab", Some(0), 1));
    let failed = &lab.failed[0];
    assert_eq!((failed.field.as_str(), failed.label.as_str()), ("match[0].serial.not_in", "serial"));
    assert_eq!((failed.asked.join(","), failed.found.as_deref()), ("S1".into(), Some("S1")));
}

#[test]
fn among_equals_the_reason_is_the_one_that_decided() {
    let state = state_of(&[
        group("exact", "", &["arch in x86_64,arm64"]),
        group("pattern", "", &["serial glob *"]),
        group("text", "", &["serial in A"]),
    ]);
    let said = explain(&state, "arch=arm64 serial=A", None, 10);
    let lost: Vec<_> = said.matching.iter().map(|one| (one.group.value.id.as_str(), one.lost)).collect();
    assert_eq!(lost, [("text", None), ("exact", Some(Lost::LesserText)), ("pattern", Some(Lost::FewerExact))],);
}

#[test]
fn a_group_that_is_asked_about_is_shown_wherever_it_stands() {
    let text = "arch=x86_64 serial=S1 address=192.0.2.1";
    let said = explain(&site(), text, Some("other"), 1);
    assert_eq!((said.matching.len(), said.matching_len), (1, 3));
    let failing: Vec<_> = said.failing.iter().map(|one| one.group.value.id.as_str()).collect();
    assert_eq!((failing, said.failing_len), (vec!["dell", "other"], 2));
    let failed = &said.failing[1].failed[0];
    assert_eq!((failed.field.as_str(), failed.found.as_deref()), ("selector.mac", None));
    let said = explain(&site(), text, Some("default"), 1);
    assert_eq!(said.matching.last().unwrap().group.value.id, "default");
    assert_eq!(said.matching.len(), 2);
}

#[test]
fn nothing_at_all_is_an_answer_too() {
    let said = explain(&State::default(), "os=x", None, 10);
    assert_eq!((said.matching_len, said.failing_len), (0, 0));
}
