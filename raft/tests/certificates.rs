//! What the edits about certificates, the CA and the secrets of tokens do to the state: pure, one command after another.

use raft::command::{Command, Edit, Effect, GuardedEdit, Outcome};
use raft::state::{
    Announcement, CERTIFICATE_KEPT_MILLIS, CERTIFICATES_MAX, CaStage, CaStep, Certificate, JoinToken, NewMember,
    NodeKind, Role, State, Token, TokenRotation,
};
use raft::types::{Digest, LogIndex, Timestamp};

#[derive(Default)]
struct World {
    state: State,
    index: u64,
    now: u64,
}

impl World {
    fn apply(&mut self, edit: Edit) -> Outcome {
        self.index += 1;
        let command = Command {
            actor: "test".into(),
            at: Timestamp(self.now),
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

    /// Two nodes.
    fn two() -> Self {
        let mut world = Self::default();
        let (name, peer, boot) = ("n1".to_owned(), "192.0.2.1:7443".to_owned(), String::new());
        world.ok(Edit::AnnounceMember(Announcement { id: 1, name, kind: NodeKind::Data, peer, boot }));
        let (name, peer, boot) = ("n2".to_owned(), "192.0.2.2:7443".to_owned(), String::new());
        world.ok(Edit::AddMember(NewMember { name, kind: NodeKind::Data, peer, boot, instance: [2; 16] }));
        world
    }

    fn stage(&self) -> Option<CaStage> {
        self.state.ca().map(|record| record.stage)
    }
}

fn certificate(serial: String, revoked: bool, expires: u64) -> Edit {
    Edit::PutCertificate(Certificate {
        serial,
        name: "terraform".into(),
        role: Some(Role::Operate),
        expires: Timestamp(expires),
        issuer: None,
        revoked,
        reason: String::new(),
    })
}

#[test]
fn a_revoked_serial_is_refused_until_it_is_forgotten() {
    let mut world = World::default();
    assert!(!world.state.is_revoked("2a7f"));
    assert_eq!(world.ok(certificate("2a7f".into(), false, 10)), Effect::Created);
    assert!(!world.state.is_revoked("2a7f"), "known is not revoked");
    assert_eq!(world.ok(certificate("2a7f".into(), true, 10)), Effect::Updated);
    assert!(world.state.is_revoked("2a7f"));
    assert_eq!(world.ok(Edit::DeleteCertificate("2a7f".into())), Effect::Deleted);
    assert!(!world.state.is_revoked("2a7f"));
    for serial in ["", "2", "2A", "xy", &"00".repeat(41)] {
        assert!(world.refused(certificate(serial.into(), true, 10)).contains("not a serial number"), "{serial}");
    }
}

#[test]
fn revocations_are_bounded_and_make_room_only_long_after_the_certificates_end() {
    let mut world = World::default();
    let serial = |at: usize| format!("{at:08x}");
    for at in 0..CERTIFICATES_MAX {
        world.ok(certificate(serial(at), true, 1000));
    }
    assert!(world.refused(certificate(serial(CERTIFICATES_MAX), true, 1000)).contains("are revoked"));
    world.ok(certificate("ff00".into(), false, u64::MAX));
    world.ok(certificate(serial(7), true, 2000));
    world.now = 1000 + CERTIFICATE_KEPT_MILLIS - 1;
    assert!(world.refused(certificate(serial(CERTIFICATES_MAX), true, u64::MAX)).contains("are revoked"));
    world.now += 1;
    world.ok(certificate(serial(CERTIFICATES_MAX), true, u64::MAX));
    let left: Vec<&str> = world.state.certificates().map(|stored| stored.value.serial.as_str()).collect();
    assert_eq!(left, ["00000007", "00001000", "ff00"], "only those whose end is long past are gone");
}

#[test]
fn each_step_of_a_change_of_the_ca_waits_for_every_node_and_can_be_taken_back() {
    let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
    let begin = Edit::StepCa(CaStep::Begin { old, new }, false);
    let step = |step| Edit::StepCa(step, false);
    let mut world = World::two();
    assert!(world.refused(step(CaStep::Issue)).contains("no change"));
    world.ok(begin.clone());
    assert!(world.refused(begin.clone()).contains("under way"));
    world.ok(Edit::ReportCa(1, true, false));
    assert_eq!(world.ok(Edit::ReportCa(1, true, false)), Effect::Unchanged);
    assert_eq!(world.ok(Edit::ReportCa(9, true, true)), Effect::Unchanged, "no member");
    assert!(world.refused(step(CaStep::Issue)).contains("n2 (2) is missing"));
    world.ok(Edit::ReportCa(2, true, false));
    assert!(world.refused(step(CaStep::Finish)).contains("old CA still"));
    let token = JoinToken { id: "j".into(), secret_sha256: new, expires: Timestamp(99) };
    world.ok(Edit::PutJoinToken(token.clone()));
    world.ok(step(CaStep::Issue));
    assert!(world.state.join_token("j").is_none(), "it names the old CA");
    assert!(world.refused(step(CaStep::Finish)).contains("n1 (1), n2 (2) is missing"));
    world.ok(Edit::ReportCa(1, true, true));
    world.ok(step(CaStep::Back));
    assert_eq!(world.stage(), Some(CaStage::Trust));
    assert!(world.refused(step(CaStep::Back)).contains("have certificates of the new CA"));
    world.ok(Edit::ReportCa(1, true, false));
    world.ok(step(CaStep::Back));
    let record = world.state.ca().expect("a record stays").clone();
    assert_eq!((record.stage, record.new), (CaStage::Done, old), "the old one is the cluster's again");

    world.ok(begin);
    for node in [1, 2] {
        world.ok(Edit::ReportCa(node, true, false));
    }
    world.ok(step(CaStep::Issue));
    world.ok(Edit::ReportCa(1, true, true));
    assert!(world.refused(step(CaStep::Finish)).contains("n2 (2) is missing"));
    world.ok(Edit::StepCa(CaStep::Finish, true));
    assert_eq!(world.stage(), Some(CaStage::Done));
    assert!(world.refused(step(CaStep::Back)).contains("no change"));
    let next = Edit::StepCa(CaStep::Begin { old, new: Digest::of(b"third") }, false);
    assert!(world.refused(next).contains("not the cluster's"), "a node that missed it cannot begin");
    assert!(world.refused(Edit::StepCa(CaStep::Adopt(old), true)).contains("other nodes"));
    world.ok(Edit::StepCa(CaStep::Begin { old: new, new: Digest::of(b"third") }, false));
    world.ok(Edit::RemoveMember(2));
    world.ok(Edit::StepCa(CaStep::Adopt(old), false));
    let record = world.state.ca().expect("a record").clone();
    assert_eq!((record.stage, record.new), (CaStage::Done, old), "restored alone, with a CA of its own");
}

#[test]
fn a_token_keeps_the_secret_it_had_for_as_long_as_was_said() {
    let mut world = World { now: 1000, ..World::default() };
    let token = Token {
        id: "t".into(),
        name: "ci".into(),
        secret_sha256: Digest::of(b"1"),
        role: Role::Operate,
        expires: None,
    };
    world.ok(Edit::PutToken(token));
    let rotate = |secret: &[u8], until| {
        let (id, secret_sha256) = ("t".into(), Digest::of(secret));
        Edit::RotateToken(TokenRotation { id, secret_sha256, former_until: Timestamp(until) })
    };
    world.ok(rotate(b"2", 5000));
    let former = world.state.former_secret("t").expect("it is kept").clone();
    assert_eq!((former.secret_sha256, former.until), (Digest::of(b"1"), Timestamp(5000)));
    assert_eq!(world.state.token("t").expect("it is there").value.secret_sha256, Digest::of(b"2"));
    assert_eq!(world.ok(rotate(b"2", 9000)), Effect::Unchanged, "the same request again");
    world.ok(rotate(b"3", 1000));
    assert!(world.state.former_secret("t").is_none(), "only one, and without grace none");
    world.ok(rotate(b"4", 9000));
    world.ok(Edit::DeleteToken("t".into()));
    assert!(world.state.former_secret("t").is_none(), "all of its secrets go with it");
    assert!(world.refused(rotate(b"5", 9000)).contains("none of that name"));
}
