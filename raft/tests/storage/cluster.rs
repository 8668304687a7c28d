//! The handle: what was answered is there, now and after a restart.

use raft::cluster::{Cluster, ProposeError};
use raft::command::{Effect, Outcome};
use raft::state::TemplateKind;
use raft::types::LogIndex;

use raft::codec::{LogEntry, Members, Payload, decode, encode, log_key};
use raft::engine::{Batch, Durability, Engine as _, Expect, Read as _, RocksEngine, RocksOptions, Table};

use crate::support::{ENGINES, command, group, groups, open, options};

#[tokio::test]
async fn an_acknowledged_change_is_read_at_once() {
    for engine in ENGINES {
        let dir = tempfile::tempdir().unwrap();
        let cluster = Cluster::open(options(dir.path(), engine)).unwrap();
        let done = cluster.propose(command([group("a")])).await.unwrap();
        assert_eq!(done.outcome, Outcome::Applied { edits: vec![Effect::Created], pruned: 0 });
        assert!(cluster.read().group("a").is_some());
        assert_eq!(cluster.read().applied(), done.index);
        assert_eq!(*cluster.applied().borrow(), done.index);
        assert!(cluster.read().template(TemplateKind::Cloud, "a").is_none());
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let before = first.status();
    for at in 0..50 {
        first.propose(command([group(&format!("g{at}"))])).await.unwrap();
    }
    first.shutdown().await;
    let again = open(dir.path());
    assert_eq!(again.read().groups().len(), 50);
    let after = again.status();
    assert_eq!(
        (after.cluster_id, after.generation, after.node_id),
        (before.cluster_id, before.generation, before.node_id)
    );
    assert!(after.term > before.term, "an ex-leader is elected again, it does not resume");
    assert_eq!((after.role.as_str(), after.leader, after.voters), ("leader", Some(1), vec![1]));
    let next = again.propose(command([group("more")])).await.unwrap();
    assert!(next.index > LogIndex(50));
    again.shutdown().await;
}

/// Adds an entry to the log of a stopped node that makes it one of two voters.
fn gain_a_voter(home: &std::path::Path) {
    let path = home.join("raft/db");
    let engine = RocksEngine::open(RocksOptions { path, expect: Expect::Whole, sync: true }).unwrap();
    let (_, last) = engine.last(Table::Log).unwrap().unwrap();
    let mut entry: LogEntry = decode(&last).unwrap();
    entry.position.index += 1;
    let addresses = [(1, String::new()), (2, "127.0.0.1:1".to_owned())].into();
    entry.payload = Payload::Members(Members { voters: vec![[1, 2].into()], addresses });
    let mut batch = Batch::default();
    batch.put(Table::Log, log_key(entry.position.index), encode(&entry).unwrap());
    engine.write(&batch, Durability::Synced).unwrap();
}

#[tokio::test]
async fn a_node_whose_peers_are_away_opens_and_serves_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let alone = open(dir.path());
    alone.propose(command([group("a")])).await.unwrap();
    assert!(alone.status().caught_up, "a sole voter opens when all is applied");
    alone.shutdown().await;
    drop(alone);
    gain_a_voter(dir.path());
    let started = std::time::Instant::now();
    let one_of_two = open(dir.path());
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "it does not wait for a leader");
    let status = one_of_two.status();
    assert!(!status.caught_up && status.leader.is_none(), "{status:?}");
    assert_eq!(status.voters, [1, 2]);
    assert!(one_of_two.read().group("a").is_some());
    one_of_two.shutdown().await;
}

#[tokio::test]
async fn one_command_takes_ten_thousand_groups_and_a_larger_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = open(dir.path());
    cluster.propose(groups(10_000)).await.unwrap();
    assert_eq!(cluster.read().groups().len(), 10_000);
    let mut huge = command([group("big")]);
    huge.actor = "x".repeat(raft::cluster::COMMAND_BYTES_MAX);
    let refused = cluster.propose(huge).await;
    assert!(matches!(refused, Err(ProposeError::TooLarge { .. })), "{refused:?}");
    cluster.shutdown().await;
    let after = cluster.propose(groups(1)).await;
    assert!(matches!(after, Err(ProposeError::Unavailable)), "{after:?}");
}
