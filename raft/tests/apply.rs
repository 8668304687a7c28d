//! What a command does to the state: all of it or nothing, the same every time.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use raft::codec::encode_record;
use raft::command::{Command, Edit, Effect, Guard, GuardedEdit, Outcome, RefusalCode};
use raft::state::{
    Alternative, Asset, Group, Kind, MachinePolicy, MachinePolicyChange, Profile, REPLAYS_MAX, RecordKey, Settings,
    Sighting, State, Template, TemplateKind, Test,
};
use raft::types::{Digest, LogIndex, Mac, Timestamp};

fn command(edits: impl IntoIterator<Item = Edit>) -> Command {
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

fn guarded(guard: Guard, edit: Edit) -> Command {
    Command { edits: vec![GuardedEdit { guard, edit }], ..command([]) }
}

fn group(id: &str, selector: &[(&str, &str)]) -> Edit {
    Edit::PutGroup(Group {
        id: id.into(),
        profile: "p".into(),
        selector: selector.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        ..Group::default()
    })
}

/// A group that matches one of two values, or another label by a pattern.
fn ruled(id: &str, value: &str) -> Edit {
    let listed = vec![Test::In(vec![value.into(), "z".into()])];
    let pattern = vec![Test::Glob(vec![format!("{value}*")])];
    let rules = [("k", listed), ("l", pattern)].map(|(label, tests)| Alternative::from([(label.to_owned(), tests)]));
    Edit::put_group(Group { id: id.into(), rules: rules.into(), ..Group::default() })
}

fn profile(id: &str, name: &str) -> Edit {
    Edit::PutProfile(Profile { id: id.into(), name: name.into(), ..Profile::default() })
}

fn mac(last: u8) -> Mac {
    Mac::ethernet([0x52, 0x54, 0, 0, 0, last])
}

fn sighting(last: u8, uuid: &str, at: u64) -> Sighting {
    Sighting {
        mac: mac(last),
        uuid: uuid.into(),
        serial: String::new(),
        arch: String::new(),
        address: String::new(),
        at: Timestamp(at),
    }
}

/// A state with commands applied as entries 1, 2, …; all must be accepted.
fn state_of(commands: impl IntoIterator<Item = Command>) -> State {
    let mut state = State::default();
    for (at, command) in commands.into_iter().enumerate() {
        let (outcome, _) = state.apply(LogIndex(at as u64 + 1), &command);
        assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
    }
    state
}

fn refusals(outcome: &Outcome) -> Vec<(u32, RefusalCode)> {
    match outcome {
        Outcome::Refused(list) => list.iter().map(|refusal| (refusal.edit, refusal.code)).collect(),
        Outcome::Applied { .. } => Vec::new(),
    }
}

fn bytes_of(state: &State) -> Vec<Vec<u8>> {
    state.records().map(|record| encode_record(&record).unwrap()).collect()
}

#[test]
fn one_bad_edit_refuses_the_whole_command() {
    let mut state = state_of([command([profile("kept", "old")])]);
    let before = bytes_of(&state);
    let edits = [profile("kept", "new"), Edit::DeleteGroup("absent".into()), profile("", "no id"), group("g", &[])];
    let (outcome, touched) = state.apply(LogIndex(2), &command(edits));
    assert_eq!(refusals(&outcome), [(1, RefusalCode::NotFound), (2, RefusalCode::Invalid)]);
    assert!(touched.is_empty());
    assert_eq!(bytes_of(&state), before);
    assert_eq!(state.applied(), LogIndex(2), "the entry counts although it changed nothing");
}

#[test]
fn each_edit_says_what_it_did() {
    let mut state = state_of([command([profile("a", "x"), profile("b", "x")])]);
    let edits = [profile("a", "x"), profile("b", "y"), profile("c", "x"), Edit::DeleteProfile("a".into())];
    let (outcome, touched) = state.apply(LogIndex(2), &command(edits));
    let effects = vec![Effect::Unchanged, Effect::Updated, Effect::Created, Effect::Deleted];
    assert_eq!(outcome, Outcome::Applied { edits: effects, pruned: 0 });
    let names = ["a", "b", "c"].map(|id| RecordKey::Profile(id.into()));
    assert_eq!(touched.into_iter().collect::<Vec<_>>(), names);
    let b = state.profile("b").unwrap();
    assert_eq!((b.revision, b.created_at, b.value.name.as_str()), (LogIndex(2), Timestamp(1_000), "y"));
}

#[test]
fn guards_hold_or_refuse() {
    let first = command([profile("a", "x")]);
    for (guard, edit, want) in [
        (Guard::Absent, profile("b", "x"), None),
        (Guard::Absent, profile("a", "y"), Some(RefusalCode::Conflict)),
        (Guard::Revision(LogIndex(1)), profile("a", "y"), None),
        (Guard::Revision(LogIndex(2)), profile("a", "y"), Some(RefusalCode::Conflict)),
        (Guard::Revision(LogIndex(1)), profile("b", "y"), Some(RefusalCode::Conflict)),
        (Guard::Revision(LogIndex(1)), Edit::DeleteProfile("a".into()), None),
        (Guard::Revision(LogIndex(7)), Edit::DeleteProfile("a".into()), Some(RefusalCode::Conflict)),
        (Guard::Absent, Edit::PutSettings(Settings::default()), None),
        (Guard::Revision(LogIndex(1)), Edit::PutSettings(Settings::default()), Some(RefusalCode::Conflict)),
    ] {
        let mut state = state_of([first.clone()]);
        let (outcome, _) = state.apply(LogIndex(2), &guarded(guard, edit.clone()));
        assert_eq!(refusals(&outcome).first().map(|(_, code)| *code), want, "{guard:?} {edit:?}");
    }
}

#[test]
fn an_edit_sees_the_ones_before_it_in_the_same_command() {
    let mut state = State::default();
    let mut twice = command([profile("a", "x"), profile("a", "y"), Edit::DeleteProfile("a".into())]);
    twice.edits[1].guard = Guard::Revision(LogIndex(1));
    let (outcome, _) = state.apply(LogIndex(1), &twice);
    assert_eq!(outcome, Outcome::Applied { edits: vec![Effect::Created, Effect::Updated, Effect::Deleted], pruned: 0 });
    assert!(state.profile("a").is_none());
}

#[test]
fn groups_that_would_match_equally_are_refused_unless_allowed() {
    let selector = [("mac", "52:54:00:00:00:01")];
    let same = [("mac", "52-54-00-00-00-01")];
    let mut state = state_of([command([group("b", &selector)])]);
    let (outcome, _) = state.apply(LogIndex(2), &command([group("a", &same)]));
    assert_eq!(refusals(&outcome), [(0, RefusalCode::SelectorTie)]);
    assert!(state.group("a").is_none());
    let (outcome, _) = state.apply(LogIndex(3), &Command { allow_ties: true, ..command([group("a", &same)]) });
    assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
    let labels = BTreeMap::from([("mac".to_owned(), "52:54:00:00:00:01".to_owned())]);
    assert_eq!(state.select(&labels).unwrap().value.id, "a", "the lowest id wins");
    // Writing one of them again is no new tie by itself, but it is still one.
    let (outcome, _) = state.apply(LogIndex(4), &command([Edit::DeleteGroup("a".into()), group("b", &same)]));
    assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
}

#[test]
fn groups_with_and_without_rules_are_one_kind() {
    let mut state = state_of([command([group("g", &[("k", "a")])])]);
    let (outcome, touched) = state.apply(LogIndex(2), &guarded(Guard::Revision(LogIndex(1)), ruled("g", "a")));
    assert_eq!(outcome, Outcome::Applied { edits: vec![Effect::Updated], pruned: 0 });
    assert_eq!(touched.into_iter().collect::<Vec<_>>(), [RecordKey::Group("g".into())]);
    let (outcome, _) = state.apply(LogIndex(3), &command([ruled("g", "a")]));
    assert_eq!(outcome, Outcome::Applied { edits: vec![Effect::Unchanged], pruned: 0 });
    let stale = guarded(Guard::Revision(LogIndex(1)), ruled("g", "b"));
    assert_eq!(refusals(&state.apply(LogIndex(4), &stale).0), [(0, RefusalCode::Conflict)]);
    let replace = Command { replace: vec![Kind::Group], ..command([ruled("h", "b")]) };
    assert_eq!(state.apply(LogIndex(5), &replace).0, Outcome::Applied { edits: vec![Effect::Created], pruned: 1 });
    let (outcome, _) = state.apply(LogIndex(6), &command([group("h", &[("k", "b")])]));
    assert_eq!(outcome, Outcome::Applied { edits: vec![Effect::Updated], pruned: 0 });
    assert!(state.group("h").unwrap().value.rules.is_empty());
}

#[test]
fn a_repeat_is_answered_as_the_first_time_and_changes_nothing() {
    let once = Command { idempotency_key: "k".into(), ..command([profile("a", "x")]) };
    let mut state = State::default();
    let (first, _) = state.apply(LogIndex(1), &once);
    state.apply(LogIndex(2), &command([profile("a", "changed")]));
    let before = bytes_of(&state);
    let (again, touched) = state.apply(LogIndex(3), &once);
    assert_eq!(again, first);
    assert!(touched.is_empty());
    assert_eq!(bytes_of(&state), before);
    let other = Command { fingerprint: Digest::of(b"other"), ..once.clone() };
    let (outcome, _) = state.apply(LogIndex(4), &other);
    assert_eq!(refusals(&outcome), [(0, RefusalCode::KeyReused)]);
    // A refusal is remembered as well.
    let refused = Command { idempotency_key: "r".into(), ..command([Edit::DeleteGroup("g".into())]) };
    let (first, touched) = state.apply(LogIndex(5), &refused);
    assert_eq!(touched.into_iter().collect::<Vec<_>>(), [RecordKey::Replay("r".into())]);
    state.apply(LogIndex(6), &command([group("g", &[])]));
    assert_eq!(state.apply(LogIndex(7), &refused).0, first);
    assert!(state.group("g").is_some());
}

#[test]
fn the_oldest_answers_are_forgotten() {
    let keyed = |at: u64| Command { idempotency_key: format!("k{at}"), ..command([profile("a", &at.to_string())]) };
    let mut state = State::default();
    for at in 1..=REPLAYS_MAX as u64 + 2 {
        let (_, touched) = state.apply(LogIndex(at), &keyed(at));
        let forgotten = at.checked_sub(REPLAYS_MAX as u64).filter(|old| *old > 0);
        assert_eq!(
            forgotten.is_some_and(|old| touched.contains(&RecordKey::Replay(format!("k{old}")))),
            forgotten.is_some()
        );
    }
    let replays = state.records().filter(|record| matches!(record.key(), RecordKey::Replay(_))).count();
    assert_eq!(replays, REPLAYS_MAX);
}

#[test]
fn replacing_a_kind_removes_what_the_command_does_not_name() {
    let all = command([profile("a", "x"), profile("b", "x"), group("g", &[]), group("h", &[("k", "v")])]);
    let mut state = state_of([all]);
    let replace =
        Command { replace: vec![Kind::Profile, Kind::Template], ..command([profile("b", "x"), profile("c", "x")]) };
    let (outcome, touched) = state.apply(LogIndex(2), &replace);
    assert_eq!(outcome, Outcome::Applied { edits: vec![Effect::Unchanged, Effect::Created], pruned: 1 });
    let ids: Vec<&str> = state.profiles().map(|profile| profile.value.id.as_str()).collect();
    assert_eq!(ids, ["b", "c"]);
    assert_eq!(state.groups().len(), 2, "other kinds stay");
    assert!(touched.contains(&RecordKey::Profile("a".into())));
    // A refused one removes nothing.
    let bad = Command { replace: vec![Kind::Group], ..command([group("g", &[]), profile("", "")]) };
    assert_eq!(refusals(&state.apply(LogIndex(3), &bad).0), [(1, RefusalCode::Invalid)]);
    assert_eq!(state.groups().len(), 2);
}

#[test]
fn machines_gather_what_they_say_and_keep_what_an_operator_wants() {
    let uuid = "4c4c4544-0000-1000-8000-000000000001";
    let policy = MachinePolicy { hold: true, ..MachinePolicy::default() };
    let mut state = state_of([
        command([Edit::SetMachinePolicy(mac(1), policy.clone().into())]),
        command([Edit::Sightings(vec![sighting(1, uuid, 50)])]),
        // A second card of the same machine, known by its UUID.
        command([Edit::Sightings(vec![sighting(2, uuid, 60)])]),
    ]);
    let machine = state.machine(&mac(2)).unwrap();
    assert_eq!((machine.macs.clone(), machine.uuid.as_str()), (vec![mac(1), mac(2)], uuid));
    assert_eq!((machine.first_seen, machine.last_seen), (Timestamp(50), Timestamp(60)));
    assert_eq!(machine.policy, policy);
    assert_eq!(state.machines().len(), 1);
    // A silent field does not wipe what is known. A clock that was ahead does not stop time: the later entry counts.
    let (outcome, _) = state.apply(LogIndex(4), &command([Edit::Sightings(vec![sighting(1, "", 10)])]));
    assert_eq!(outcome, Outcome::Applied { edits: vec![Effect::Updated], pruned: 0 });
    assert_eq!(state.machine_of_uuid(uuid).unwrap().last_seen, Timestamp(10));
    state.apply(LogIndex(5), &command([Edit::DeleteMachine(mac(2))]));
    assert!(state.machine(&mac(1)).is_none() && state.machine_of_uuid(uuid).is_none());
}

/// Commands that touch a few names in many ways.
fn any_edit() -> impl Strategy<Value = Edit> {
    let id = prop::sample::select(vec!["a", "b", "c", "d"]);
    let uuid = prop::sample::select(vec!["", "u1", "u2", "u3"]);
    prop_oneof![
        (id.clone(), "[a-c]").prop_map(|(id, name)| profile(id, &name)),
        id.clone().prop_map(|id| Edit::DeleteProfile(id.into())),
        (id.clone(), "[a-c]").prop_map(|(id, value)| group(id, &[("k", &value)])),
        (id.clone(), "[a-c]").prop_map(|(id, value)| ruled(id, &value)),
        id.clone().prop_map(|id| Edit::DeleteGroup(id.into())),
        (id.clone(), any::<u8>()).prop_map(|(id, byte)| Edit::PutTemplate(Template {
            kind: TemplateKind::Cloud,
            name: id.into(),
            content: vec![byte]
        })),
        (id, any::<u64>()).prop_map(|(id, size)| Edit::PutAsset(Asset {
            name: id.into(),
            digest: Digest::of(&size.to_le_bytes()),
            size,
            media_type: String::new(),
            origin: String::new()
        })),
        (0_u8..6, uuid, 1_u64..100).prop_map(|(last, uuid, at)| Edit::Sightings(vec![sighting(last, uuid, at)])),
        (0_u8..6, any::<bool>()).prop_map(|(last, hold)| Edit::SetMachinePolicy(
            mac(last),
            MachinePolicyChange { hold: Some(hold), ..MachinePolicyChange::default() }
        )),
        (0_u8..6).prop_map(|last| Edit::DeleteMachine(mac(last))),
    ]
}

fn any_command() -> impl Strategy<Value = Command> {
    let kinds = prop::sample::select(vec![Kind::Profile, Kind::Group, Kind::Machine, Kind::Asset]);
    let replace = prop::collection::vec(kinds, 0..2).prop_map(|mut kinds| {
        kinds.truncate(usize::from(kinds.len() > 1));
        kinds
    });
    (prop::collection::vec(any_edit(), 0..4), "k[0-9]|", replace, any::<bool>(), 0_u64..1000).prop_map(
        |(edits, key, replace, allow_ties, at)| Command {
            at: Timestamp(at),
            idempotency_key: key,
            replace,
            allow_ties,
            ..command(edits)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_log_gives_the_same_bytes_and_answers(log in prop::collection::vec(any_command(), 0..30), cut in any::<prop::sample::Index>()) {
        let mut straight = State::default();
        let mut restored = State::default();
        let cut = cut.index(log.len() + 1);
        for (at, command) in log.iter().enumerate() {
            if at == cut {
                // As a snapshot does: every record out, and back into an empty state.
                let mut fresh = State::default();
                for record in restored.records() {
                    fresh.restore(raft::codec::decode_record(&encode_record(&record).unwrap()).unwrap());
                }
                fresh.set_applied(restored.applied());
                restored = fresh;
            }
            let index = LogIndex(at as u64 + 1);
            prop_assert_eq!(straight.apply(index, command), restored.apply(index, command));
        }
        prop_assert_eq!(bytes_of(&straight), bytes_of(&restored));
        let labels = BTreeMap::from([("k".to_owned(), "a".to_owned())]);
        let pick = |state: &State| state.select(&labels).map(|group| group.value.id.clone());
        prop_assert_eq!(pick(&straight), pick(&restored));
        for last in 0..6 {
            prop_assert_eq!(straight.machine(&mac(last)), restored.machine(&mac(last)));
        }
        for uuid in ["u1", "u2", "u3"] {
            prop_assert_eq!(straight.machine_of_uuid(uuid), restored.machine_of_uuid(uuid));
        }
    }

    #[test]
    fn what_is_said_to_be_touched_is_all_that_changes(log in prop::collection::vec(any_command(), 0..30)) {
        let mut state = State::default();
        let mut stored: BTreeMap<RecordKey, Vec<u8>> = BTreeMap::new();
        for (at, command) in log.iter().enumerate() {
            let (_, touched) = state.apply(LogIndex(at as u64 + 1), command);
            for key in touched {
                match state.record(&key) {
                    Some(record) => drop(stored.insert(key, encode_record(&record).unwrap())),
                    None => drop(stored.remove(&key)),
                }
            }
            let now: BTreeMap<RecordKey, Vec<u8>> = state.records().map(|record| (record.key(), encode_record(&record).unwrap())).collect();
            prop_assert_eq!(&now, &stored);
        }
    }
}
