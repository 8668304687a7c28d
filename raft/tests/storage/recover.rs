//! A node whose peers are lost goes on alone: what its log holds stays, and a crash on the way is made good.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft::cluster::{Cluster, EngineKind, Options, Tuning};
use raft::codec::{self, Identity, LogEntry, LogPosition, Members, Payload, decode, encode, log_key};
use raft::command::{Command, Edit};
use raft::engine::{Batch, Durability, Engine as _, Expect, MemoryEngine, Read as _, RocksEngine, RocksOptions, Table};
use raft::rescue::{Survivor, generation_after};
use raft::state::{Announcement, ClusterSettings, NewMember, NodeKind, TwoNode};
use raft::type_config::Proposal;
use raft::types::{Digest, Timestamp};

use crate::support::{command, group};

const AT: Timestamp = Timestamp(1_700_000_000_000);

fn home(dir: &Path) -> PathBuf {
    dir.join("raft")
}

fn open(dir: &Path) -> Cluster {
    // Often, so that a snapshot of the old generation is there.
    let tuning = Tuning { snapshot_every: 20, keep_behind_snapshot: 2, ..Tuning::default() };
    Cluster::open_tuned(Options::alone(home(dir), EngineKind::RocksDb), tuning).unwrap()
}

fn new_member(name: &str, mark: u8) -> Edit {
    let (name, peer, boot) = (name.into(), "127.0.0.1:1".into(), String::new());
    Edit::AddMember(NewMember { name, kind: NodeKind::Data, peer, boot, instance: [mark; 16] })
}

fn entry(engine: &RocksEngine, payload: Payload) -> LogEntry {
    let (_, last) = engine.last(Table::Log).unwrap().unwrap();
    let last: LogEntry = decode(&last).unwrap();
    LogEntry { position: LogPosition { index: last.position.index + 1, ..last.position }, payload }
}

fn append(dir: &Path, payload: Payload) {
    let path = home(dir).join("db");
    let engine = RocksEngine::open(RocksOptions { path, expect: Expect::Whole, sync: true }).unwrap();
    let entry = entry(&engine, payload);
    let mut batch = Batch::default();
    batch.put(Table::Log, log_key(entry.position.index), encode(&entry).unwrap());
    engine.write(&batch, Durability::Synced).unwrap();
}

/// One of three voters, the others gone, with a snapshot, a log behind it, and an entry that nobody may have acknowledged.
async fn one_of_three() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let cluster = open(dir.path());
    let own =
        Announcement { id: 1, name: "a".into(), kind: NodeKind::Data, peer: "127.0.0.1:2".into(), boot: String::new() };
    let shared = ClusterSettings {
        vip: Some("10.0.0.9".parse().unwrap()),
        two_node: TwoNode::Survivor,
        preferred: Some(3),
        ..ClusterSettings::default()
    };
    let edits = [Edit::AnnounceMember(own), new_member("b", 2), new_member("c", 3), Edit::PutCluster(shared)];
    cluster.propose(command(edits)).await.unwrap();
    let held = Digest::of(b"held by all");
    for node in 1..=3 {
        cluster.propose(command([Edit::ReportBlobs(node, vec![(held, 11)])])).await.unwrap();
    }
    // This node held the VIP in order: nobody need be asked, if it is alone.
    cluster.propose(command([Edit::ClaimVip(1)])).await.unwrap();
    for at in 0..40 {
        cluster.propose(command([group(&format!("g{at}"))])).await.unwrap();
    }
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while cluster.status().snapshot.is_none() {
        assert!(std::time::Instant::now() < until, "no snapshot");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    cluster.shutdown().await;
    drop(cluster);
    let addresses = [(1, "127.0.0.1:2".to_owned()), (2, "127.0.0.1:1".to_owned()), (3, "127.0.0.1:1".to_owned())];
    append(dir.path(), Payload::Members(Members { voters: vec![[1, 2, 3].into()], addresses: addresses.into() }));
    let in_flight: Command = command([group("in-flight")]);
    append(dir.path(), Payload::Command(Proposal(Arc::new(in_flight))));
    dir
}

async fn survivor(dir: &Path) -> Survivor {
    let home = home(dir);
    tokio::task::spawn_blocking(move || Survivor::open(&home)).await.unwrap().unwrap()
}

async fn recover(dir: &Path, generation: u64) -> raft::rescue::Recovered {
    let survivor = survivor(dir).await;
    tokio::task::spawn_blocking(move || survivor.recover(generation, AT)).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_survivor_goes_on_alone_with_everything_its_log_holds() {
    let dir = one_of_three().await;
    let survivor = survivor(dir.path()).await;
    let found = survivor.found().clone();
    assert_eq!((found.identity.generation, found.identity.node), (1, 1));
    assert_eq!((found.voters.iter().copied().collect::<Vec<_>>(), found.quorum()), (vec![1, 2, 3], 2));
    assert_eq!(found.members.len(), 3);
    assert_eq!(found.own().unwrap().name, "a");
    assert_eq!(found.last.0, found.applied.0 + 2, "the membership and the entry in flight");
    drop(survivor);

    let generation = generation_after(1).unwrap();
    let done = recover(dir.path(), generation).await;
    assert_eq!((done.identity.generation, done.kept), (generation, 2));
    for _ in 0..2 {
        let cluster = open(dir.path());
        let (status, state) = (cluster.status(), cluster.read());
        assert_eq!((status.generation, status.voters, status.leader), (generation, vec![1], Some(1)));
        assert!(state.group("g39").is_some());
        assert!(state.group("in-flight").is_some(), "it may have been acknowledged");
        assert_eq!(state.members().map(|member| member.id).collect::<Vec<_>>(), [1]);
        assert!(state.was_removed(2) && state.was_removed(3), "their ids are not given again");
        assert_eq!(state.holders(&Digest::of(b"held by all")).collect::<Vec<_>>(), [1]);
        assert_eq!(state.cluster().unwrap().value.preferred, Some(1), "who goes first is gone");
        cluster.propose(command([group("after")])).await.unwrap();
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn whoever_takes_the_vip_after_a_recovery_waits_and_probes_first() {
    let dir = one_of_three().await;
    recover(dir.path(), generation_after(1).unwrap()).await;
    let cluster = open(dir.path());
    cluster.propose(command([Edit::ClaimVip(1)])).await.unwrap();
    let record = *cluster.read().vip_record().unwrap();
    assert!(!record.orderly, "one of those left behind may hold it: {record:?}");
    cluster.shutdown().await;
}

#[tokio::test]
async fn snapshots_of_the_old_generation_go_and_new_ones_come() {
    let dir = one_of_three().await;
    let snapshots = || fs::read_dir(home(dir.path()).join("snapshots")).unwrap().count();
    assert!(snapshots() > 0, "or this shows nothing");
    recover(dir.path(), generation_after(1).unwrap()).await;
    assert_eq!(snapshots(), 0);
    let cluster = open(dir.path());
    for at in 0..40 {
        cluster.propose(command([group(&format!("h{at}"))])).await.unwrap();
    }
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while snapshots() == 0 {
        assert!(std::time::Instant::now() < until, "no snapshot");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    cluster.shutdown().await;
    drop(cluster);
    open(dir.path()).shutdown().await;
}

fn identity(dir: &Path) -> Identity {
    decode(&fs::read(home(dir).join("identity")).unwrap()).unwrap()
}

#[tokio::test]
async fn a_recovery_cut_short_after_its_write_is_finished_and_before_it_forgotten() {
    let dir = one_of_three().await;
    let (identity_file, note) = (home(dir.path()).join("identity"), home(dir.path()).join("recovering"));
    let old = identity(dir.path());
    // Power fails when nothing but the note is there.
    let wanted = Identity { generation: generation_after(1).unwrap(), ..old.clone() };
    fs::write(&note, encode(&wanted).unwrap()).unwrap();
    let found = survivor(dir.path()).await.found().clone();
    assert_eq!(found.identity, old);
    assert!(!note.exists(), "nothing had been begun");

    // Power fails when the database has it and the directory's name has not.
    recover(dir.path(), wanted.generation).await;
    fs::write(&identity_file, encode(&old).unwrap()).unwrap();
    fs::write(&note, encode(&wanted).unwrap()).unwrap();
    let refused = Cluster::open(Options::alone(home(dir.path()), EngineKind::RocksDb)).err().unwrap().to_string();
    assert!(refused.contains("raftboot recover") && refused.contains("cut short"), "{refused}");
    let found = survivor(dir.path()).await.found().clone();
    assert_eq!(found.identity, wanted);
    assert_eq!(found.voters.into_iter().collect::<Vec<_>>(), [1]);
    assert_eq!(identity(dir.path()), wanted);
    let cluster = open(dir.path());
    assert!(cluster.read().group("in-flight").is_some());
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_directory_in_use_or_of_nobody_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |dir: &Path| Survivor::open(&home(dir)).err().unwrap().to_string();
    assert!(refused(dir.path()).contains("no node's directory"));
    assert!(!home(dir.path()).exists(), "nothing was made");
    let cluster = open(dir.path());
    let text = refused(dir.path());
    assert!(text.contains("is using it"), "{text}");
    cluster.shutdown().await;
}

#[test]
fn the_change_is_one_batch_that_either_engine_takes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let rocks = RocksEngine::open(RocksOptions { path, expect: Expect::New, sync: true }).unwrap();
    let engines: [&dyn raft::engine::Engine; 2] = [&rocks, &MemoryEngine::new()];
    let identity = Identity { cluster: [7; 16], generation: 2_000_000_001, node: 3 };
    let last = LogPosition { term: 4, node: 1, index: 17 };
    for engine in engines {
        let batch = raft::rescue::changes(&identity, &raft::state::State::default(), "a:1", last, AT).unwrap();
        engine.write(&batch, Durability::Synced).unwrap();
        let (key, value) = engine.last(Table::Log).unwrap().unwrap();
        let entry: LogEntry = decode(&value).unwrap();
        assert_eq!(codec::log_index(&key), Some(18));
        assert_eq!(entry.position, LogPosition { term: 5, node: 3, index: 18 });
        let Payload::Members(members) = entry.payload else { panic!("{entry:?}") };
        assert_eq!((members.voters, members.addresses), (vec![[3].into()], [(3, "a:1".to_owned())].into()));
        let stored: Identity = decode(&engine.get(Table::Meta, b"identity").unwrap().unwrap()).unwrap();
        assert_eq!(stored, identity);
    }
}
