//! A state that was written out becomes a node of its own: the same objects, another generation, nobody else.

use std::collections::BTreeSet;
use std::path::Path;

use raft::cluster::{Cluster, EngineKind, Options};
use raft::codec::{Identity, LogPosition, SnapshotHeader};
use raft::command::Edit;
use raft::export;
use raft::rescue::{self, Start, generation_after};
use raft::snapshot::SnapshotError;
use raft::state::{Announcement, Asset, ClusterSettings, Member, NewMember, NodeKind, Record, Role, State, Token};
use raft::types::{Digest, LogIndex};

use crate::support::{ENGINES, command, group, options};

const SAVED: &[u8] = b"in the backup";
const LOST: &[u8] = b"not in the backup";
const UNNAMED: &[u8] = b"nobody asks for it";

fn asset(name: &str, bytes: &[u8]) -> Edit {
    let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
    Edit::PutAsset(Asset { name: name.into(), digest, size, media_type: String::new(), origin: String::new() })
}

/// What a cluster of two wrote out, and its state then.
async fn written(engine: EngineKind) -> (Vec<u8>, State) {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::open(options(dir.path(), engine)).unwrap();
    let own =
        Announcement { id: 1, name: "a".into(), kind: NodeKind::Data, peer: "h:1".into(), boot: "http://h".into() };
    let other = NewMember {
        name: "b".into(),
        kind: NodeKind::Data,
        peer: "h:2".into(),
        boot: String::new(),
        instance: [2; 16],
    };
    let blobs: Vec<(Digest, u64)> =
        [SAVED, LOST, UNNAMED].iter().map(|bytes| (Digest::of(bytes), bytes.len() as u64)).collect();
    let token = Token {
        id: "t1".into(),
        name: "ops".into(),
        secret_sha256: Digest::of(b"secret"),
        role: Role::Admin,
        expires: None,
    };
    let shared = ClusterSettings { vip: Some("10.0.0.9".parse().unwrap()), preferred: Some(2), ..Default::default() };
    let edits = [
        Edit::AnnounceMember(own),
        Edit::AddMember(other),
        Edit::ReportBlobs(1, blobs.clone()),
        Edit::ReportBlobs(2, blobs),
        asset("saved", SAVED),
        asset("lost", LOST),
        Edit::PutToken(token),
        Edit::PutCluster(shared),
        Edit::ClaimVip(2),
    ];
    cluster.propose(command(edits)).await.unwrap();
    cluster.propose(command((0..100).map(|at| group(&format!("g{at:03}"))))).await.unwrap();
    let state = cluster.read();
    let header = cluster.header_of(&state);
    let mut bytes = Vec::new();
    export::write(&state, &header, &mut bytes).unwrap();
    assert_eq!(export::length(&state, &header).unwrap(), bytes.len() as u64);
    cluster.shutdown().await;
    (bytes, (*state).clone())
}

fn header(bytes: &[u8]) -> SnapshotHeader {
    export::read(bytes, |_| Ok(())).unwrap()
}

fn start(bytes: &[u8], generation: u64) -> Start {
    let header = header(bytes);
    let own = Member {
        id: 3,
        name: "new".into(),
        kind: NodeKind::Data,
        peer: "n:1".into(),
        boot: "http://n".into(),
        instance: [0; 16],
        replaces: None,
    };
    Start {
        identity: Identity { cluster: header.cluster, generation, node: 3 },
        at: header.applied.last.unwrap(),
        own,
        held: BTreeSet::from([Digest::of(SAVED)]),
    }
}

fn restore(dir: &Path, bytes: &[u8], generation: u64) -> rescue::Restored {
    let done = rescue::restore(&dir.join("raft"), start(bytes, generation), |each| export::read(bytes, each).map(drop));
    done.unwrap()
}

/// What must be the same afterwards.
fn objects(state: &State) -> Vec<Record> {
    let of_nodes = |record: &Record| {
        matches!(record, Record::Member(_) | Record::Roster(_) | Record::Vip(_) | Record::Blob(_) | Record::Cluster(_))
    };
    state.records().filter(|record| !of_nodes(record)).collect()
}

#[tokio::test]
async fn a_restored_node_has_the_objects_and_none_of_the_old_nodes() {
    for engine in ENGINES {
        let (bytes, before) = written(engine).await;
        let dir = tempfile::tempdir().unwrap();
        let generation = generation_after(1).unwrap();
        restore(dir.path(), &bytes, generation).seal().unwrap();
        for start in 0..2 {
            let cluster = Cluster::open(options(dir.path(), EngineKind::RocksDb)).unwrap();
            let (status, state) = (cluster.status(), cluster.read());
            assert_eq!((status.generation, status.node_id, status.leader), (generation, 3, Some(3)));
            assert_eq!(status.voters, [3]);
            if start == 0 {
                assert_eq!(objects(&state), objects(&before));
                assert!(state.applied() > before.applied(), "revisions never go back");
            }
            assert_eq!(state.members().map(|member| member.id).collect::<Vec<_>>(), [3]);
            assert!(state.was_removed(1) && state.was_removed(2));
            let shared = &state.cluster().unwrap().value;
            assert_eq!((shared.vip.is_some(), shared.preferred), (true, Some(3)));
            assert_eq!(state.holders(&Digest::of(SAVED)).collect::<Vec<_>>(), [3]);
            assert_eq!(state.holders(&Digest::of(LOST)).count(), 0);
            assert!(state.blob(&Digest::of(LOST)).is_some(), "it is remembered that it is missing");
            assert!(state.blob(&Digest::of(UNNAMED)).is_none(), "nobody misses it");
            cluster.propose(command([group("more")])).await.unwrap();
            cluster.shutdown().await;
        }
    }
}

#[tokio::test]
async fn a_restored_node_takes_the_vip_only_after_asking() {
    let (bytes, _) = written(EngineKind::Memory).await;
    let dir = tempfile::tempdir().unwrap();
    restore(dir.path(), &bytes, generation_after(1).unwrap()).seal().unwrap();
    let cluster = Cluster::open(options(dir.path(), EngineKind::RocksDb)).unwrap();
    cluster.propose(command([Edit::ClaimVip(3)])).await.unwrap();
    assert!(!cluster.read().vip_record().unwrap().orderly, "an old node may hold it");
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_restore_cut_short_is_nobodys_directory() {
    let (bytes, _) = written(EngineKind::Memory).await;
    let dir = tempfile::tempdir().unwrap();
    drop(restore(dir.path(), &bytes, generation_after(1).unwrap()));
    let refused = Cluster::open(options(dir.path(), EngineKind::RocksDb)).err().unwrap().to_string();
    assert!(refused.contains("`identity` is missing"), "{refused}");
    let again =
        rescue::restore(&dir.path().join("raft"), start(&bytes, 2), |each| export::read(&*bytes, each).map(drop));
    let refused = again.err().unwrap().to_string();
    assert!(refused.contains("data already"), "{refused}");
}

#[tokio::test]
async fn an_export_that_differs_in_any_byte_is_noticed() {
    let (bytes, _) = written(EngineKind::Memory).await;
    for at in 0..bytes.len() {
        let mut other = bytes.clone();
        other[at] ^= 0x10;
        assert!(export::read(&*other, |_| Ok(())).is_err(), "byte {at}");
    }
    for length in 0..bytes.len() {
        let short = export::read(&bytes[..length], |_| Ok(()));
        assert!(matches!(short, Err(SnapshotError::Short(_))), "cut to {length}: {short:?}");
    }
    let mut long = bytes.clone();
    long.push(0);
    assert!(matches!(export::read(&*long, |_| Ok(())), Err(SnapshotError::Long)));
}

#[tokio::test]
async fn a_state_in_which_no_node_has_announced_itself_gives_ids_from_the_restored_one_on() {
    let dir = tempfile::tempdir().unwrap();
    let first = Cluster::open(Options::alone(dir.path().join("old"), EngineKind::Memory)).unwrap();
    first.propose(command([group("a")])).await.unwrap();
    let mut bytes = Vec::new();
    let state = first.read();
    let header = first.header_of(&state);
    assert_eq!(header.applied.last.map(|last| LogIndex(last.index)), Some(state.applied()));
    export::write(&state, &header, &mut bytes).unwrap();
    first.shutdown().await;
    let mut start = start(&bytes, generation_after(1).unwrap());
    start.at = LogPosition { index: 900, ..start.at };
    let restored = rescue::restore(&dir.path().join("raft"), start, |each| export::read(&*bytes, each).map(drop));
    restored.unwrap().seal().unwrap();
    let cluster = Cluster::open(options(dir.path(), EngineKind::RocksDb)).unwrap();
    assert!(cluster.read().applied() > LogIndex(900));
    let other = NewMember {
        name: "b".into(),
        kind: NodeKind::Data,
        peer: "h:2".into(),
        boot: String::new(),
        instance: [2; 16],
    };
    cluster.propose(command([Edit::AddMember(other)])).await.unwrap();
    assert_eq!(cluster.read().members().map(|member| member.id).collect::<Vec<_>>(), [3, 4]);
    cluster.shutdown().await;
}
