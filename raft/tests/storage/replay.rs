//! The same log gives the same records, applied at once, in pieces, after restarts, or on top of a snapshot.

use std::collections::BTreeMap;

use futures::stream;
use openraft::entry::RaftEntry as _;
use openraft::storage::RaftStateMachine as _;
use openraft::{Membership, RaftSnapshotBuilder as _};
use raft::cluster::EngineKind;
use raft::codec::{encode_record, record_key};
use raft::engine::{Expect, Read as _, RocksEngine, RocksOptions, Table};
use raft::state_machine::StateMachine;
use raft::type_config::{Entry, LogId, Peer, Proposal};

use crate::suite::{snapshots, stores};
use crate::support::{ENGINES, command, group};

fn log() -> Vec<Entry> {
    let id = |index| LogId { leader_id: openraft::impls::leader_id_adv::LeaderId { term: 1, node_id: 1 }, index };
    let members = Membership::new(vec![[1].into()], BTreeMap::from([(1, Peer { address: "a:7443".into() })])).unwrap();
    let mut log = vec![Entry::new_membership(id(0), members), Entry::new_blank(id(1))];
    for index in 2..60 {
        let mut change = command([group(&format!("g{}", index % 17)), group(&format!("h{index}"))]);
        change.idempotency_key = format!("k{}", index % 23);
        log.push(Entry::new_normal(id(index), Proposal(std::sync::Arc::new(change))));
    }
    log
}

async fn apply(machine: &mut StateMachine, entries: &[Entry]) {
    machine.apply(stream::iter(entries.iter().cloned().map(|entry| Ok((entry, None))))).await.unwrap();
}

/// Everything a state machine holds, through a snapshot of it.
async fn content(machine: &mut StateMachine) -> Vec<u8> {
    let mut builder = machine.try_create_snapshot_builder(true).await.unwrap();
    let snapshot = builder.build_snapshot().await.unwrap();
    std::fs::read(snapshot.snapshot.path).unwrap()
}

#[tokio::test]
async fn the_same_log_gives_the_same_snapshot_on_every_engine() {
    let mut contents = Vec::new();
    for engine in ENGINES {
        for pieces in [1, 7, 60] {
            let dir = tempfile::tempdir().unwrap();
            let (_log, mut machine) = stores(dir.path(), engine);
            for piece in log().chunks(pieces) {
                apply(&mut machine, piece).await;
            }
            contents.push(content(&mut machine).await);
        }
    }
    assert!(contents[0].len() > 5_000, "something is in it");
    assert!(contents.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn a_snapshot_in_the_middle_changes_nothing() {
    for engine in ENGINES {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (_log, mut source) = stores(here.path(), engine);
        let (_other, mut target) = stores(there.path(), engine);
        let entries = log();
        apply(&mut target, &entries[..10]).await;
        apply(&mut source, &entries[..35]).await;
        let snapshot = source.try_create_snapshot_builder(true).await.unwrap().build_snapshot().await.unwrap();
        target.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
        assert_eq!(target.applied_state().await.unwrap(), source.applied_state().await.unwrap());
        for machine in [&mut source, &mut target] {
            apply(machine, &entries[35..]).await;
        }
        assert_eq!(content(&mut target).await, content(&mut source).await);
    }
}

#[tokio::test]
async fn a_snapshot_is_of_the_moment_it_was_asked_for() {
    for engine in ENGINES {
        let dir = tempfile::tempdir().unwrap();
        let (_log, mut machine) = stores(dir.path(), engine);
        let entries = log();
        apply(&mut machine, &entries[..20]).await;
        let mut builder = machine.try_create_snapshot_builder(true).await.unwrap();
        apply(&mut machine, &entries[20..]).await;
        let snapshot = builder.build_snapshot().await.unwrap();
        assert_eq!(snapshot.meta.last_log_id.map(|id| id.index), Some(19));
        let other = tempfile::tempdir().unwrap();
        let (_other, mut fresh) = stores(other.path(), engine);
        fresh.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
        apply(&mut fresh, &entries[20..]).await;
        assert_eq!(content(&mut fresh).await, content(&mut machine).await);
    }
}

#[tokio::test]
async fn a_snapshot_overtaken_by_an_installed_one_leaves_it_alone() {
    for engine in ENGINES {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (_log, mut source) = stores(here.path(), engine);
        let (_other, mut target) = stores(there.path(), engine);
        let entries = log();
        apply(&mut target, &entries[..10]).await;
        apply(&mut source, &entries).await;
        let newer = source.try_create_snapshot_builder(true).await.unwrap().build_snapshot().await.unwrap();
        // The view is taken, and before the file is finished a newer one is there.
        let snapshots = snapshots(there.path());
        let own = snapshots.import(&newer.snapshot).unwrap();
        let mut builder = target.try_create_snapshot_builder(true).await.unwrap();
        let older = builder.build_snapshot().await.unwrap();
        assert_eq!(older.meta.last_log_id.map(|id| id.index), Some(9));
        assert_eq!(snapshots.newest().unwrap(), Some(own.path.clone()));
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut older.snapshot.file.try_clone().unwrap(), &mut bytes).unwrap();
        assert!(!bytes.is_empty(), "it can still be read by whoever asked for it");
        target.install_snapshot(&newer.meta, newer.snapshot).await.unwrap();
        assert_eq!(content(&mut target).await, content(&mut source).await);
    }
}

#[tokio::test]
async fn the_snapshot_being_installed_stays_whatever_else_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let (_log, mut machine) = stores(dir.path(), EngineKind::Memory);
    let entries = log();
    apply(&mut machine, &entries[..10]).await;
    let first = machine.try_create_snapshot_builder(true).await.unwrap().build_snapshot().await.unwrap().snapshot.path;
    // As a start does that finds this name in the database.
    let snapshots = snapshots(dir.path());
    snapshots.keep(&first);
    std::fs::copy(&first, first.with_file_name("99999999999999999999-0-0.snapshot")).unwrap();
    snapshots.tidy().unwrap();
    assert!(first.exists());
    snapshots.installed();
    snapshots.tidy().unwrap();
    assert!(!first.exists());
}

#[tokio::test]
async fn an_installation_cut_short_is_finished_at_the_next_start() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_log, mut source) = stores(here.path(), EngineKind::Memory);
    apply(&mut source, &log()).await;
    let wanted = content(&mut source).await;
    // The snapshot has arrived, the old records are gone, the new ones are not there yet.
    let snapshot = source.get_current_snapshot().await.unwrap().unwrap().snapshot.path;
    let name = snapshot.file_name().unwrap().to_owned();
    std::fs::create_dir_all(there.path().join("snapshots")).unwrap();
    std::fs::copy(&snapshot, there.path().join("snapshots").join(&name)).unwrap();
    let engine =
        RocksEngine::open(RocksOptions { path: there.path().join("db"), expect: Expect::New, sync: true }).unwrap();
    let mut batch = raft::engine::Batch::default();
    batch.put(Table::Meta, *b"installing", name.into_encoded_bytes());
    batch.put(Table::Records, vec![17, b'x'], b"left over".to_vec());
    raft::engine::Engine::write(&engine, &batch, raft::engine::Durability::Synced).unwrap();
    drop(engine);
    let (_other, mut target) = stores(there.path(), EngineKind::RocksDb);
    assert_eq!(content(&mut target).await, wanted);
}

#[tokio::test]
async fn records_on_disk_are_those_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    {
        let cluster = crate::support::open(dir.path());
        for at in 0..20 {
            let mut change = command([group(&format!("g{}", at % 7))]);
            change.idempotency_key = format!("k{at}");
            cluster.propose(change).await.unwrap();
        }
        cluster.shutdown().await;
        let state = cluster.read();
        let path = dir.path().join("raft/db");
        let engine = RocksEngine::open(RocksOptions { path, expect: Expect::Whole, sync: true }).unwrap();
        let mut expected: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        expected.extend(state.records().map(|record| (record_key(&record.key()), encode_record(&record).unwrap())));
        let mut stored = Vec::new();
        let mut visit = |key: &[u8], value: &[u8]| {
            stored.push((key.to_vec(), value.to_vec()));
            std::ops::ControlFlow::Continue(())
        };
        engine.scan(Table::Records, &[], None, &mut visit).unwrap();
        assert_eq!(stored, expected);
    }
}
