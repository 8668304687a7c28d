//! The handle: what was answered is there, now and after a restart.

use raft::cluster::{Cluster, ProposeError};
use raft::command::{Effect, Outcome};
use raft::state::TemplateKind;
use raft::types::LogIndex;

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
