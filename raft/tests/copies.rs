//! Copies of bytes as the log orders them: reports, removals and names that cross each other.

use raft::command::{Command, Edit, Effect, Outcome, RefusalCode};
use raft::state::{Announcement, Asset, NewMember, NodeKind, State};
use raft::types::{Digest, LogIndex, Timestamp};

fn apply(state: &mut State, edit: Edit) -> Outcome {
    let command = Command {
        actor: "test".into(),
        at: Timestamp(1),
        idempotency_key: String::new(),
        fingerprint: Digest([0; 32]),
        edits: vec![edit.into()],
        replace: Vec::new(),
        allow_ties: false,
    };
    state.apply(LogIndex(state.applied().0 + 1), &command).0
}

fn done(effect: Effect) -> Outcome {
    Outcome::Applied { edits: vec![effect], pruned: 0 }
}

fn refused(outcome: Outcome) -> Option<RefusalCode> {
    match outcome {
        Outcome::Refused(refusals) => refusals.first().map(|refusal| refusal.code),
        Outcome::Applied { .. } => None,
    }
}

/// Two data nodes and a witness.
fn three() -> State {
    let mut state = State::default();
    let (peer, boot) = (String::from("a:7443"), String::new());
    let first = Announcement { id: 1, name: "a".into(), kind: NodeKind::Data, peer: peer.clone(), boot: boot.clone() };
    apply(&mut state, Edit::AnnounceMember(first));
    for (at, (name, kind)) in [("b", NodeKind::Data), ("c", NodeKind::Witness)].into_iter().enumerate() {
        let instance = [u8::try_from(at).expect("two") + 1; 16];
        let new = NewMember { name: name.into(), kind, peer: peer.clone(), boot: boot.clone(), instance };
        apply(&mut state, Edit::AddMember(new));
    }
    state
}

fn kernel() -> Digest {
    Digest::of(b"kernel")
}

fn name() -> Edit {
    let (media_type, origin) = (String::new(), String::new());
    Edit::PutAsset(Asset { name: "kernel".into(), digest: kernel(), size: 6, media_type, origin })
}

fn holders(state: &State) -> Vec<u64> {
    state.holders(&kernel()).collect()
}

fn report(state: &mut State, node: u64) -> Outcome {
    apply(state, Edit::ReportBlobs(node, vec![(kernel(), 6)]))
}

fn withdraw(state: &mut State, node: u64) -> Outcome {
    apply(state, Edit::WithdrawBlobs(node, vec![kernel()]))
}

fn condemn(state: &mut State) -> Outcome {
    apply(state, Edit::CondemnBlobs(vec![kernel()]))
}

#[test]
fn copies_are_counted_once_and_only_of_members() {
    let mut state = three();
    assert_eq!(state.copies_needed(), 2, "the witness does not count");
    assert_eq!(report(&mut state, 1), done(Effect::Updated));
    assert_eq!(report(&mut state, 1), done(Effect::Unchanged));
    assert_eq!(refused(report(&mut state, 9)), Some(RefusalCode::NotFound));
    report(&mut state, 2);
    assert_eq!(holders(&state), [1, 2]);
    assert_eq!(withdraw(&mut state, 2), done(Effect::Updated));
    assert_eq!(withdraw(&mut state, 2), done(Effect::Unchanged));
    assert_eq!(holders(&state), [1]);
}

#[test]
fn a_node_that_goes_takes_its_copies_along() {
    let mut state = three();
    report(&mut state, 1);
    report(&mut state, 2);
    apply(&mut state, name());
    apply(&mut state, Edit::RemoveMember(2));
    assert_eq!((holders(&state), state.copies_needed()), (vec![1], 1));
}

#[test]
fn what_is_condemned_is_not_counted_on_and_cannot_be_named() {
    let mut state = three();
    report(&mut state, 1);
    report(&mut state, 2);
    assert_eq!(condemn(&mut state), done(Effect::Updated));
    assert_eq!(condemn(&mut state), done(Effect::Unchanged));
    assert_eq!(holders(&state), [] as [u64; 0]);
    assert_eq!(refused(apply(&mut state, name())), Some(RefusalCode::Conflict));
    withdraw(&mut state, 1);
    withdraw(&mut state, 2);
    assert!(state.blob(&kernel()).is_none(), "nothing is left to remember");
    assert_eq!(refused(apply(&mut state, name())), None, "it may be uploaded and named again");
}

#[test]
fn what_was_named_first_is_not_condemned() {
    let mut state = three();
    report(&mut state, 1);
    apply(&mut state, name());
    assert_eq!(condemn(&mut state), done(Effect::Unchanged));
    assert_eq!(holders(&state), [1]);
    withdraw(&mut state, 1);
    assert!(state.blob(&kernel()).is_some(), "what has a name is remembered although nobody holds it");
}

/// Node 2 is removing its copy while node 1 uploads the same bytes again; either may come first in the log.
#[test]
fn a_report_takes_a_condemnation_back_and_counts_on_nobody_who_may_be_removing() {
    for removal_first in [false, true] {
        let mut state = three();
        report(&mut state, 1);
        report(&mut state, 2);
        condemn(&mut state);
        if removal_first {
            withdraw(&mut state, 2);
        }
        report(&mut state, 1);
        assert_eq!(holders(&state), [1], "node 2 has to say so anew");
        if !removal_first {
            assert_eq!(withdraw(&mut state, 2), done(Effect::Unchanged));
        }
        assert_eq!(holders(&state), [1]);
        assert_eq!(refused(apply(&mut state, name())), None);
        report(&mut state, 2);
        assert_eq!(holders(&state), [1, 2]);
    }
}
