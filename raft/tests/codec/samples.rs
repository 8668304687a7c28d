//! One value of every published kind, with every edit there is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use raft::codec::{
    Applied, DurableMark, Identity, LogEntry, LogPosition, Members, Payload, Purged, SnapshotHeader, SnapshotTrailer,
    StoredVote, encode, encode_record,
};
use raft::command::{Command, Edit, Effect, Guard, GuardedEdit, Outcome, Refusal, RefusalCode};
use raft::state::{
    Announcement, Asset, Blob, CaRecord, CaStage, CaStep, Certificate, ClusterSettings, DhcpMode, FormerSecret, Group,
    JoinToken, Kind, Machine, MachinePolicy, MachinePolicyChange, Member, NetBoot, NewMember, NodeKind, Profile,
    Record, Replay, Role, Roster, ScriptStyle, Settings, Sighting, Stored, Template, TemplateKind, Test, Token,
    TokenRotation, TwoNode, VipRecord,
};
use raft::type_config::Proposal;
use raft::types::{Digest, LogIndex, Mac, Timestamp};

fn at(term: u64, index: u64) -> LogPosition {
    LogPosition { term, node: 1, index }
}

fn members() -> Members {
    Members {
        voters: vec![BTreeSet::from([1, 2]), BTreeSet::from([1, 2, 3])],
        addresses: BTreeMap::from([
            (1, "a:7443".into()),
            (2, "b:7443".into()),
            (3, "c:7443".into()),
            (4, String::new()),
        ]),
    }
}

fn applied() -> Applied {
    Applied { last: Some(at(3, 99)), members_at: Some(at(2, 7)), members: members() }
}

fn mac() -> Mac {
    Mac::ethernet([0x52, 0x54, 0, 0x12, 0x34, 0x56])
}

fn profile() -> Profile {
    Profile {
        id: "worker".into(),
        name: "Talos worker".into(),
        boot: Some(NetBoot {
            kernel: "/assets/vmlinuz".into(),
            initrd: vec!["/assets/initramfs.xz".into()],
            args: vec!["talos.platform=metal".into()],
        }),
        ignition_id: "i".into(),
        cloud_id: "c".into(),
        generic_id: "g".into(),
    }
}

fn group() -> Group {
    Group {
        id: "rack-1".into(),
        name: "Rack 1".into(),
        profile: "worker".into(),
        selector: BTreeMap::from([("mac".into(), "52:54:00:12:34:56".into())]),
        metadata: r#"{"a":1}"#.into(),
        rules: Vec::new(),
    }
}

/// With every test there is.
fn ruled_group() -> Group {
    let texts = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
    let tests = [
        ("mac", vec![Test::In(texts(&["52:54:00:12:34:56", "52-54-00-12-34-57"]))]),
        ("serial", vec![Test::NotIn(texts(&["X"])), Test::Glob(texts(&["AB*"])), Test::NotGlob(texts(&["*9"]))]),
        ("address", vec![Test::Subnet(texts(&["10.0.0.0/8"])), Test::NotSubnet(texts(&["10.9.0.0/16"]))]),
    ];
    let rules = vec![
        tests.into_iter().map(|(label, tests)| (label.to_owned(), tests)).collect(),
        BTreeMap::from([("asset".to_owned(), vec![Test::Present(true)])]),
    ];
    Group { rules, ..group() }
}

fn template() -> Template {
    Template { kind: TemplateKind::Ignition, name: "node.ign".into(), content: b"{{.hostname}}\n".to_vec() }
}

fn asset() -> Asset {
    Asset {
        name: "talos/vmlinuz".into(),
        digest: Digest::of(b"kernel"),
        size: 6,
        media_type: "application/octet-stream".into(),
        origin: "vmlinuz".into(),
    }
}

fn settings() -> Settings {
    Settings {
        dhcp_mode: DhcpMode::Off,
        script_style: ScriptStyle::Matchbox,
        extra_kernel_args: vec!["console=ttyS0".into()],
        loaders: BTreeMap::from([("bios".into(), "undionly.kpxe".into())]),
    }
}

fn token() -> Token {
    Token {
        id: "t1".into(),
        name: "ci".into(),
        secret_sha256: Digest::of(b"secret"),
        role: Role::Operate,
        expires: Some(Timestamp(1_800_000_000_000)),
    }
}

fn cluster() -> ClusterSettings {
    ClusterSettings {
        vip: Some([192, 0, 2, 5].into()),
        dns_names: vec!["boot.example.net".into()],
        two_node: TwoNode::Survivor,
        preferred: Some(1),
    }
}

fn join_token() -> JoinToken {
    JoinToken { id: "j1".into(), secret_sha256: Digest::of(b"secret"), expires: Timestamp(1_800_000_000_000) }
}

fn certificate() -> Certificate {
    Certificate {
        serial: "2a7f".into(),
        name: "terraform".into(),
        role: Some(Role::Operate),
        expires: Timestamp(1_800_000_000_000),
        issuer: Some(Digest::of(b"ca")),
        revoked: true,
        reason: "the laptop is gone".into(),
    }
}

fn policy() -> MachinePolicy {
    MachinePolicy { hold: true, loader: "ipxe.efi".into(), discovery_control: true }
}

fn sighting() -> Sighting {
    Sighting {
        mac: mac(),
        uuid: "4c4c4544-0000-1000-8000-000000000001".into(),
        serial: "S1".into(),
        arch: "x86_64".into(),
        address: "192.0.2.7".into(),
        at: Timestamp(1_700_000_000_001),
    }
}

/// A name per edit. A new edit does not compile until it has one, and then it wants a golden file.
fn edit_name(edit: &Edit) -> &'static str {
    match edit {
        Edit::PutProfile(_) => "put-profile",
        Edit::DeleteProfile(_) => "delete-profile",
        Edit::PutGroup(_) => "put-group",
        Edit::DeleteGroup(_) => "delete-group",
        Edit::PutTemplate(_) => "put-template",
        Edit::DeleteTemplate(..) => "delete-template",
        Edit::PutAsset(_) => "put-asset",
        Edit::DeleteAsset(_) => "delete-asset",
        Edit::PutSettings(_) => "put-settings",
        Edit::PutToken(_) => "put-token",
        Edit::DeleteToken(_) => "delete-token",
        Edit::Sightings(_) => "sightings",
        Edit::SetMachinePolicy(..) => "set-machine-policy",
        Edit::DeleteMachine(_) => "delete-machine",
        Edit::AnnounceMember(_) => "announce-member",
        Edit::AddMember(_) => "add-member",
        Edit::RemoveMember(_) => "remove-member",
        Edit::PutCluster(_) => "put-cluster",
        Edit::ClaimVip(_) => "claim-vip",
        Edit::ReleaseVip(..) => "release-vip",
        Edit::ReportBlobs(..) => "report-blobs",
        Edit::WithdrawBlobs(..) => "withdraw-blobs",
        Edit::CondemnBlobs(_) => "condemn-blobs",
        Edit::PutJoinToken(_) => "put-join-token",
        Edit::DeleteJoinToken(_) => "delete-join-token",
        Edit::PutRuledGroup(_) => "put-ruled-group",
        Edit::PutCertificate(_) => "put-certificate",
        Edit::DeleteCertificate(_) => "delete-certificate",
        Edit::StepCa(CaStep::Begin { .. }, _) => "step-ca-begin",
        Edit::StepCa(CaStep::Issue, _) => "step-ca-issue",
        Edit::StepCa(CaStep::Finish, _) => "step-ca-finish",
        Edit::StepCa(CaStep::Back, _) => "step-ca-back",
        Edit::StepCa(CaStep::Adopt(_), _) => "step-ca-adopt",
        Edit::ReportCa(..) => "report-ca",
        Edit::RotateToken(_) => "rotate-token",
    }
}

/// How many edits `edit_name` knows.
pub(crate) const EDITS: usize = 35;

fn edits() -> Vec<Edit> {
    vec![
        Edit::PutProfile(profile()),
        Edit::DeleteProfile("worker".into()),
        Edit::PutGroup(group()),
        Edit::DeleteGroup("rack-1".into()),
        Edit::PutTemplate(template()),
        Edit::DeleteTemplate(TemplateKind::Cloud, "user-data".into()),
        Edit::PutAsset(asset()),
        Edit::DeleteAsset("talos/vmlinuz".into()),
        Edit::PutSettings(settings()),
        Edit::PutToken(token()),
        Edit::DeleteToken("t1".into()),
        Edit::Sightings(vec![sighting()]),
        Edit::SetMachinePolicy(mac(), MachinePolicyChange { hold: None, ..policy().into() }),
        Edit::DeleteMachine(mac()),
        Edit::AnnounceMember(Announcement {
            id: 2,
            name: "n2".into(),
            kind: NodeKind::Witness,
            peer: "192.0.2.2:7443".into(),
            boot: String::new(),
        }),
        Edit::AddMember(NewMember {
            name: "n3".into(),
            kind: NodeKind::Data,
            peer: "192.0.2.3:7443".into(),
            boot: "http://192.0.2.3:8080".into(),
            instance: [3; 16],
        }),
        Edit::RemoveMember(3),
        Edit::PutCluster(cluster()),
        Edit::ClaimVip(1),
        Edit::ReleaseVip(1, LogIndex(40)),
        Edit::ReportBlobs(1, vec![(Digest::of(b"kernel"), 6)]),
        Edit::WithdrawBlobs(1, vec![Digest::of(b"kernel")]),
        Edit::CondemnBlobs(vec![Digest::of(b"kernel")]),
        Edit::PutJoinToken(join_token()),
        Edit::DeleteJoinToken("j1".into()),
        Edit::put_group(ruled_group()),
        Edit::PutCertificate(certificate()),
        Edit::DeleteCertificate("2a7f".into()),
        Edit::StepCa(CaStep::Begin { old: Digest::of(b"old"), new: Digest::of(b"new") }, false),
        Edit::StepCa(CaStep::Issue, false),
        Edit::StepCa(CaStep::Finish, true),
        Edit::StepCa(CaStep::Back, false),
        Edit::StepCa(CaStep::Adopt(Digest::of(b"own")), false),
        Edit::ReportCa(2, true, false),
        Edit::RotateToken(TokenRotation {
            id: "t1".into(),
            secret_sha256: Digest::of(b"next"),
            former_until: Timestamp(1_700_000_060_000),
        }),
    ]
}

fn command(edits: Vec<GuardedEdit>) -> Command {
    Command {
        actor: "ci".into(),
        at: Timestamp(1_700_000_000_000),
        idempotency_key: "k-1".into(),
        fingerprint: Digest::of(b"request"),
        edits,
        replace: vec![Kind::Group, Kind::Machine],
        allow_ties: true,
    }
}

fn entry(payload: Payload) -> LogEntry {
    LogEntry { position: at(3, 42), payload }
}

fn entry_of(edits: Vec<GuardedEdit>) -> LogEntry {
    entry(Payload::Command(Proposal(Arc::new(command(edits)))))
}

/// Every shape of log entry under its name.
pub(crate) fn entries() -> Vec<(String, LogEntry)> {
    let mut out = vec![
        ("entry-blank".to_owned(), entry(Payload::Blank)),
        ("entry-members".to_owned(), entry(Payload::Members(members()))),
    ];
    for edit in edits() {
        out.push((format!("edit-{}", edit_name(&edit)), entry_of(vec![edit.into()])));
    }
    let guards = [Guard::Any, Guard::Absent, Guard::Revision(LogIndex(17))];
    let guarded = guards.map(|guard| GuardedEdit { guard, edit: Edit::DeleteGroup("rack-1".into()) });
    out.push(("entry-guards".to_owned(), entry_of(guarded.to_vec())));
    out
}

fn stored<T>(value: T) -> Arc<Stored<T>> {
    Arc::new(Stored {
        revision: LogIndex(42),
        created_at: Timestamp(1),
        updated_at: Timestamp(2),
        updated_by: "ci".into(),
        value,
    })
}

fn refusal() -> Refusal {
    Refusal {
        edit: 1,
        code: RefusalCode::KeyReused,
        object: "group/rack-1".into(),
        field: "selector".into(),
        message: "no".into(),
        hint: "do".into(),
    }
}

/// Every kind of record under its name.
pub(crate) fn records() -> Vec<(String, Record)> {
    let machine = Machine {
        macs: vec![mac()],
        uuid: "4c4c4544-0000-1000-8000-000000000001".into(),
        serial: "S1".into(),
        arch: "x86_64".into(),
        address: "192.0.2.7".into(),
        first_seen: Timestamp(1),
        last_seen: Timestamp(2),
        policy: policy(),
    };
    let effects = vec![Effect::Created, Effect::Updated, Effect::Unchanged, Effect::Deleted];
    let outcomes = [Outcome::Applied { edits: effects, pruned: 3 }, Outcome::Refused(vec![refusal()])];
    let [done, refused] =
        outcomes.map(|outcome| Arc::new(Replay { fingerprint: Digest::of(b"request"), index: LogIndex(42), outcome }));
    let member = Member {
        id: 4,
        name: "n3".into(),
        kind: NodeKind::Data,
        peer: "192.0.2.3:7443".into(),
        boot: "http://192.0.2.3:8080".into(),
        instance: [3; 16],
        replaces: Some(3),
    };
    let ca = CaRecord {
        stage: CaStage::Issue,
        old: Digest::of(b"old"),
        new: Digest::of(b"new"),
        since: Timestamp(6),
        trusting: BTreeSet::from([1, 2, 3]),
        issuing: BTreeSet::from([1]),
    };
    let former = FormerSecret { id: "t1".into(), secret_sha256: Digest::of(b"secret"), until: Timestamp(7) };
    let vip = VipRecord { holder: 1, epoch: LogIndex(40), released: true, orderly: false, since: Timestamp(5) };
    let blob = Blob {
        digest: Digest::of(b"kernel"),
        size: 6,
        replicas: BTreeSet::from([1, 4]),
        condemned: Some(Timestamp(9)),
    };
    [
        ("record-profile", Record::Profile(stored(profile()))),
        ("record-group", Record::Group(stored(group()))),
        ("record-group-2", Record::Group(stored(ruled_group()))),
        ("record-template", Record::Template(stored(template()))),
        ("record-asset", Record::Asset(stored(asset()))),
        ("record-token", Record::Token(stored(token()))),
        ("record-settings", Record::Settings(stored(settings()))),
        ("record-machine", Record::Machine(Arc::new(machine))),
        ("record-member", Record::Member(Arc::new(member))),
        ("record-roster", Record::Roster(Roster { last_node: 4 })),
        ("record-cluster", Record::Cluster(stored(cluster()))),
        ("record-vip", Record::Vip(vip)),
        ("record-blob", Record::Blob(Arc::new(blob))),
        ("record-join-token", Record::JoinToken(stored(join_token()))),
        ("record-certificate", Record::Certificate(stored(certificate()))),
        ("record-ca", Record::Ca(Arc::new(ca))),
        ("record-former-secret", Record::FormerSecret(Arc::new(former))),
        ("record-replay-applied", Record::Replay("k-1".into(), done)),
        ("record-replay-refused", Record::Replay("k-2".into(), refused)),
    ]
    .map(|(name, record)| (name.to_owned(), record))
    .into()
}

/// Everything that is published, encoded, under its name.
pub(crate) fn all() -> Vec<(String, Vec<u8>)> {
    let mut out: Vec<(String, Vec<u8>)> = Vec::new();
    out.extend(entries().into_iter().map(|(name, entry)| (name, encode(&entry).unwrap())));
    out.extend(records().into_iter().map(|(name, record)| (name, encode_record(&record).unwrap())));
    let header = SnapshotHeader { cluster: [7; 16], generation: 2, applied: applied() };
    out.extend([
        ("vote".to_owned(), encode(&StoredVote { term: 3, node: 1, committed: true }).unwrap()),
        ("purged".to_owned(), encode(&Purged(at(2, 40))).unwrap()),
        ("applied".to_owned(), encode(&applied()).unwrap()),
        ("applied-nothing".to_owned(), encode(&Applied::default()).unwrap()),
        ("identity".to_owned(), encode(&Identity { cluster: [7; 16], generation: 2, node: 5 }).unwrap()),
        ("durable-mark".to_owned(), encode(&DurableMark { round: 9 }).unwrap()),
        ("snapshot-header".to_owned(), encode(&header).unwrap()),
        ("snapshot-trailer".to_owned(), encode(&SnapshotTrailer { records: 5, checksum: 0xdead_beef }).unwrap()),
    ]);
    out
}
