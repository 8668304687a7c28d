//! What others send does not make the state grow without bounds, and no command makes a record that cannot be stored.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use raft::codec::{HEADER_BYTES, encode_record};
use raft::command::{Command, Edit, GuardedEdit, Outcome, REFUSAL_TEXT_CHARS_MAX, RefusalCode};
use raft::state::{
    Group, MACHINES_MAX, MachinePolicyChange, REPLAYS_BYTES_MAX, RecordKey, SIGHTINGS_MAX, Sighting, State,
};
use raft::types::{Digest, LogIndex, Mac, Timestamp};

fn command(key: &str, edits: impl IntoIterator<Item = Edit>) -> Command {
    Command {
        actor: "test".into(),
        at: Timestamp(1_000),
        idempotency_key: key.into(),
        fingerprint: Digest::of(b""),
        edits: edits.into_iter().map(GuardedEdit::from).collect(),
        replace: Vec::new(),
        allow_ties: false,
    }
}

fn encoded(state: &State) -> usize {
    state.records().map(|record| encode_record(&record).unwrap().len()).sum()
}

fn replays(state: &State) -> (usize, usize) {
    let records = state.records().filter(|record| matches!(record.key(), RecordKey::Replay(_)));
    records.fold((0, 0), |(count, bytes), record| (count + 1, bytes + encode_record(&record).unwrap().len()))
}

fn mac(number: usize) -> Mac {
    let [.., a, b, c, d] = number.to_be_bytes();
    Mac::ethernet([0x52, 0x54, a, b, c, d])
}

fn seen(number: usize, uuid: &str, at: u64) -> Sighting {
    let none = String::new;
    Sighting { mac: mac(number), uuid: uuid.into(), serial: none(), arch: none(), address: none(), at: Timestamp(at) }
}

#[test]
fn a_refusal_quotes_only_the_beginning_of_what_was_sent() {
    let text = format!("\"{}\"", "\u{7f}".repeat(1024 * 1024 - 2));
    let groups =
        (0..30).map(|at| Edit::PutGroup(Group { id: format!("g{at}"), metadata: text.clone(), ..Group::default() }));
    let loader = MachinePolicyChange { loader: Some("\u{7f}".repeat(1024 * 1024)), ..Default::default() };
    let more = [Edit::SetMachinePolicy(mac(1), loader), Edit::DeleteGroup("x".repeat(1024 * 1024))];
    let mut state = State::default();
    let (outcome, _) = state.apply(LogIndex(1), &command("key", groups.chain(more)));
    let Outcome::Refused(refusals) = outcome else { panic!("{outcome:?}") };
    assert_eq!(refusals.len(), 32);
    for refusal in &refusals {
        for text in [&refusal.object, &refusal.field, &refusal.message, &refusal.hint] {
            assert!(text.chars().count() <= REFUSAL_TEXT_CHARS_MAX, "{text}");
        }
        assert!(!refusal.hint.ends_with('…'), "our own texts are not cut: {}", refusal.hint);
    }
    assert!(encoded(&state) < 64 * 1024, "{}", encoded(&state));
}

#[test]
fn remembered_answers_are_bounded_in_bytes_and_the_youngest_stay() {
    let mut state = State::default();
    for at in 1..=12_u64 {
        let edits = vec![Edit::DeleteGroup(String::new()); 100];
        state.apply(LogIndex(2 * at), &command(&format!("small-{at}"), edits));
        let large = std::iter::repeat_n(Edit::Sightings(Vec::new()), 1_500_000);
        let (outcome, _) = state.apply(LogIndex(2 * at + 1), &command(&format!("large-{at}"), large));
        assert!(matches!(outcome, Outcome::Applied { .. }));
    }
    let (count, bytes) = replays(&state);
    assert!(count >= 8 && bytes <= REPLAYS_BYTES_MAX + count * HEADER_BYTES, "{count} answers, {bytes} bytes");
    assert!(state.record(&RecordKey::Replay("large-12".into())).is_some());
    assert!(state.record(&RecordKey::Replay("large-1".into())).is_none());
}

#[test]
fn a_key_or_author_too_long_to_store_is_refused_and_not_stored() {
    let mut state = State::default();
    let long = "k".repeat(1024 * 1024);
    for command in [command(&long, []), Command { actor: long.clone(), ..command("k", []) }] {
        let (outcome, touched) = state.apply(LogIndex(1), &command);
        assert!(matches!(&outcome, Outcome::Refused(list) if list[0].code == RefusalCode::Invalid), "{outcome:?}");
        assert!(touched.is_empty());
    }
    assert_eq!(state.records().count(), 0);
}

#[test]
fn a_machine_does_not_grow_with_what_it_says() {
    let mut state = State::default();
    let long = "s".repeat(20 * 1024 * 1024);
    let bare = seen(1, "u", 1);
    let says = [
        Sighting { uuid: long.clone(), ..bare.clone() },
        Sighting { serial: long.clone(), ..bare.clone() },
        Sighting { arch: long, ..bare.clone() },
        bare,
    ];
    for (at, sighting) in says.into_iter().enumerate() {
        state.apply(LogIndex(at as u64 + 1), &command("", [Edit::Sightings(vec![sighting])]));
    }
    assert!(encoded(&state) < 1024);
    assert_eq!(state.machine(&mac(1)).unwrap().uuid, "u");
}

#[test]
fn a_new_machine_takes_the_place_of_the_one_silent_longest() {
    let mut state = State::default();
    let mut index = 0;
    let mut apply = |state: &mut State, edits: Vec<Edit>| {
        index += 1;
        state.apply(LogIndex(index), &command("", edits)).1
    };
    let held = MachinePolicyChange { hold: Some(true), ..Default::default() };
    apply(&mut state, vec![Edit::SetMachinePolicy(mac(0), held)]);
    let all: Vec<usize> = (1..MACHINES_MAX).collect();
    for part in all.chunks(SIGHTINGS_MAX) {
        let list = part.iter().map(|number| seen(*number, "", 1_000 + *number as u64)).collect();
        apply(&mut state, vec![Edit::Sightings(list)]);
    }
    assert_eq!(state.machines().len(), MACHINES_MAX);
    // The oldest says something again: now the second is oldest; the held one is never forgotten.
    apply(&mut state, vec![Edit::Sightings(vec![seen(1, "", 900_000)])]);
    let touched = apply(&mut state, vec![Edit::Sightings(vec![seen(MACHINES_MAX, "", 900_001)])]);
    assert_eq!(touched.into_iter().collect::<Vec<_>>(), [mac(2), mac(MACHINES_MAX)].map(RecordKey::Machine));
    assert!(state.machine(&mac(2)).is_none() && state.machine(&mac(1)).is_some());
    assert!(state.machine(&mac(0)).is_some_and(|machine| machine.policy.hold));
    // Of two equally old ones the lower address goes, and never one that the same command brings.
    let at = 1_000 + 3;
    apply(&mut state, vec![Edit::Sightings(vec![seen(4, "", at)])]);
    let new = vec![seen(MACHINES_MAX + 1, "", 1), seen(MACHINES_MAX + 2, "", 1), seen(3, "", 5)];
    apply(&mut state, vec![Edit::Sightings(new)]);
    let known = |number| state.machine(&mac(number)).is_some();
    assert!(known(MACHINES_MAX + 1) && known(MACHINES_MAX + 2) && known(3));
    assert!(!known(4) && !known(5) && known(6));
    assert_eq!(state.machines().len(), MACHINES_MAX);
}

#[test]
fn boards_with_a_made_up_uuid_are_machines_of_their_own() {
    for uuid in [
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "fefefefe-fefe-fefe-fefe-fefefefefefe",
        "03000200-0400-0500-0006-000700080009",
        "00020003-0004-0005-0006-000700080009",
        "12345678-1234-5678-90ab-cddeefaabbcc",
    ] {
        let mut state = State::default();
        let list = vec![seen(1, uuid, 1), seen(2, uuid, 2)];
        state.apply(LogIndex(1), &command("", [Edit::Sightings(list)]));
        assert_eq!(state.machines().len(), 2, "{uuid}");
        assert!(state.machine_of_uuid(uuid).is_none(), "{uuid}");
        assert_eq!(state.machine(&mac(1)).unwrap().uuid, uuid, "what it says is still shown");
    }
}

#[test]
fn a_fifth_card_with_the_same_uuid_is_another_machine() {
    let uuid = "4c4c4544-0000-1000-8000-000000000001";
    let mut state = State::default();
    let list = (1..=5).map(|number| seen(number, uuid, number as u64)).collect();
    state.apply(LogIndex(1), &command("", [Edit::Sightings(list)]));
    let cards: Vec<usize> = state.machines().map(|machine| machine.macs.len()).collect();
    assert_eq!(cards, [4, 1]);
    assert_eq!(state.machine(&mac(5)).unwrap().macs, [mac(5)]);
}
