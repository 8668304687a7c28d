//! What the edits about the cluster itself do to the state: pure, one command after the other.

use raft::command::{Command, Edit, Effect, GuardedEdit, Outcome};
use raft::state::{Announcement, Asset, JoinToken, NewMember, NodeKind, State};
use raft::types::{Digest, LogIndex, Timestamp};

struct World {
    state: State,
    index: u64,
}

impl World {
    /// Three data nodes.
    fn three() -> Self {
        let mut world = Self { state: State::default(), index: 0 };
        world.ok(announce(1));
        world.ok(join("n2", 2));
        world.ok(join("n3", 3));
        world
    }

    fn apply(&mut self, edit: Edit) -> Outcome {
        self.index += 1;
        let command = Command {
            actor: "test".into(),
            at: Timestamp(1000 + self.index),
            idempotency_key: String::new(),
            fingerprint: Digest([0; 32]),
            edits: vec![GuardedEdit::from(edit)],
            replace: Vec::new(),
            allow_ties: false,
        };
        self.state.apply(LogIndex(self.index), &command).0
    }

    fn ok(&mut self, edit: Edit) -> Effect {
        match self.apply(edit) {
            Outcome::Applied { edits, .. } => edits[0],
            Outcome::Refused(why) => panic!("{why:?}"),
        }
    }

    fn refused(&mut self, edit: Edit) -> String {
        match self.apply(edit) {
            Outcome::Refused(why) => why[0].message.clone(),
            done => panic!("{done:?}"),
        }
    }

    fn holders(&self, of: &[u8]) -> Vec<u64> {
        self.state.holders(&Digest::of(of)).collect()
    }
}

fn announce(id: u64) -> Edit {
    Edit::AnnounceMember(Announcement {
        id,
        name: format!("n{id}"),
        kind: NodeKind::Data,
        peer: format!("192.0.2.{id}:7443"),
        boot: String::new(),
    })
}

fn join(name: &str, instance: u8) -> Edit {
    Edit::AddMember(NewMember {
        name: name.into(),
        kind: NodeKind::Data,
        peer: format!("192.0.2.{instance}:7443"),
        boot: String::new(),
        instance: [instance; 16],
    })
}

fn name(digest: &[u8]) -> Edit {
    Edit::PutAsset(Asset {
        name: "kernel".into(),
        digest: Digest::of(digest),
        size: 6,
        media_type: String::new(),
        origin: String::new(),
    })
}

fn report(node: u64, of: &[u8]) -> Edit {
    Edit::ReportBlobs(node, vec![(Digest::of(of), 6)])
}

#[test]
fn ids_are_given_once() {
    let mut world = World::three();
    assert_eq!(world.state.members().map(|member| member.id).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(world.ok(join("n3", 3)), Effect::Unchanged, "the same node asks again");
    world.ok(Edit::RemoveMember(3));
    assert!(world.state.was_removed(3));
    world.ok(join("n3", 9));
    assert_eq!(world.state.member_named("n3").map(|member| member.id), Some(4));
    assert!(world.refused(announce(3)).contains("removed"));
    assert!(world.refused(announce(7)).contains("never"));
}

#[test]
fn a_node_of_the_same_name_takes_the_place_of_the_old_one() {
    let mut world = World::three();
    world.ok(join("n2", 8));
    assert_eq!(world.state.member(4).and_then(|member| member.replaces), Some(2));
    assert!(world.refused(join("n2", 9)).contains("already taking"));
    world.ok(Edit::AnnounceMember(Announcement {
        id: 4,
        name: "n2".into(),
        kind: NodeKind::Data,
        peer: "192.0.2.40:7443".into(),
        boot: String::new(),
    }));
    world.ok(Edit::RemoveMember(2));
    assert_eq!(world.state.member(4).and_then(|member| member.replaces), None);
}

#[test]
fn the_last_node_stays() {
    let mut world = World { state: State::default(), index: 0 };
    world.ok(announce(1));
    assert!(world.refused(Edit::RemoveMember(1)).contains("only node"));
}

#[test]
fn a_claim_says_whether_somebody_may_still_hold_the_vip() {
    let mut world = World::three();
    world.ok(Edit::ClaimVip(1));
    let first = *world.state.vip_record().unwrap();
    assert!(first.orderly, "nobody held it before");
    world.ok(Edit::ClaimVip(2));
    assert!(!world.state.vip_record().unwrap().orderly, "node 1 never let go");
    // A release of an older claim is not one of this claim.
    assert_eq!(world.ok(Edit::ReleaseVip(1, first.epoch)), Effect::Unchanged);
    let epoch = world.state.vip_record().unwrap().epoch;
    assert_eq!(world.ok(Edit::ReleaseVip(2, epoch)), Effect::Updated);
    world.ok(Edit::ClaimVip(3));
    assert!(world.state.vip_record().unwrap().orderly);
    world.ok(Edit::ClaimVip(3));
    assert!(world.state.vip_record().unwrap().orderly, "it was node 3 itself");
    world.ok(Edit::ClaimVip(1));
    world.ok(Edit::ClaimVip(1));
    assert!(!world.state.vip_record().unwrap().orderly, "claiming again does not make node 3 let go");
    assert!(world.refused(Edit::ClaimVip(9)).contains("only a node"));
}

#[test]
fn copies_are_counted_per_node_and_go_with_it() {
    let mut world = World::three();
    assert_eq!(world.state.copies_needed(), 2);
    world.ok(report(1, b"kernel"));
    world.ok(report(2, b"kernel"));
    assert_eq!(world.ok(report(2, b"kernel")), Effect::Unchanged);
    assert_eq!(world.holders(b"kernel"), [1, 2]);
    world.ok(Edit::RemoveMember(2));
    assert_eq!(world.holders(b"kernel"), [1]);
    assert!(world.refused(report(2, b"kernel")).contains("only a node"));
    world.ok(Edit::WithdrawBlobs(1, vec![Digest::of(b"kernel")]));
    assert!(world.state.blob(&Digest::of(b"kernel")).is_none(), "nobody has it and nothing names it");
}

#[test]
fn condemned_bytes_cannot_be_named_and_count_again_only_once_reported_anew() {
    let mut world = World::three();
    world.ok(report(1, b"kernel"));
    world.ok(report(2, b"kernel"));
    world.ok(Edit::CondemnBlobs(vec![Digest::of(b"kernel")]));
    assert_eq!(world.holders(b"kernel"), [0; 0]);
    assert!(world.refused(name(b"kernel")).contains("being removed"));
    world.ok(report(3, b"kernel"));
    assert_eq!(world.holders(b"kernel"), [3], "1 and 2 may just be removing theirs");
    world.ok(name(b"kernel"));
    assert_eq!(world.ok(Edit::CondemnBlobs(vec![Digest::of(b"kernel")])), Effect::Unchanged, "it has a name");
}

#[test]
fn a_name_that_moves_on_leaves_its_old_bytes_unnamed() {
    let mut world = World::three();
    for of in [b"old bytes", b"new bytes"] {
        world.ok(report(1, of));
        world.ok(name(of));
    }
    assert!(!world.state.is_named(&Digest::of(b"old bytes")));
    assert!(world.state.is_named(&Digest::of(b"new bytes")));
    world.ok(Edit::DeleteAsset("kernel".into()));
    assert!(!world.state.is_named(&Digest::of(b"new bytes")));
}

#[test]
fn expired_join_tokens_make_room() {
    let mut world = World::three();
    let token = |id: String, expires| {
        Edit::PutJoinToken(JoinToken { id, secret_sha256: Digest::of(b"s"), expires: Timestamp(expires) })
    };
    for at in 0..raft::state::JOIN_TOKENS_MAX {
        world.ok(token(format!("j{at}"), 5000));
    }
    assert!(world.refused(token("one-more".into(), 5000)).contains("the most"));
    world.index = 9000;
    world.ok(token("one-more".into(), 99_000));
    assert_eq!(world.state.join_tokens().len(), 1);
}

#[test]
fn the_records_bring_back_the_same_state() {
    let mut world = World::three();
    world.ok(report(1, b"kernel"));
    world.ok(name(b"kernel"));
    world.ok(Edit::ClaimVip(2));
    let mut again = State::default();
    world.state.records().for_each(|record| again.restore(record));
    assert!(again.records().eq(world.state.records()));
    assert!(again.is_named(&Digest::of(b"kernel")));
    assert_eq!(again.vip_record(), world.state.vip_record());
    assert!(!again.was_removed(3) && !again.was_removed(4));
}
