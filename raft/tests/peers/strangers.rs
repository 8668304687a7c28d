//! Who is not one of the cluster is not listened to.

use raft::cluster::{Timing, Tuning};
use raft::state::NodeKind;

use crate::site::{AUTHORITY, Authority, Node, command, eventually, group, voters};

/// A second node whose certificate or timing is not what the first expects.
async fn stranger(credentials: impl FnOnce(&[u8; 16]) -> raft::peer::Credentials, tuning: Tuning) -> (Node, Node) {
    let first = Node::found().await;
    let mut second = Node::join(first.cluster(), "n2", NodeKind::Data).await;
    let cluster = first.cluster().identity().cluster;
    second.stop().await;
    second.start_with(credentials(&cluster), tuning).await;
    (first, second)
}

/// Nothing reaches it, and the cluster of one goes on without it.
async fn stays_outside(first: &Node, second: &Node) {
    first.cluster().propose(command([group("inside")])).await.expect("a cluster of one takes changes");
    eventually("the leader has tried", || first.cluster().status().last_log.0 > 3).await;
    tokio::time::sleep(Timing::LAN.election_max * 3).await;
    assert!(second.cluster().read().group("inside").is_none());
    assert_eq!(first.cluster().status().voters, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_ca_is_worth_nothing() {
    let other = Authority::new();
    let (first, second) = stranger(|cluster| other.credentials(cluster, 2), Tuning::default()).await;
    stays_outside(&first, &second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_node_is_worth_nothing() {
    let (first, second) = stranger(|cluster| AUTHORITY.credentials(cluster, 3), Tuning::default()).await;
    stays_outside(&first, &second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_counts_with_another_lease_is_turned_away() {
    let tuning = Tuning { timing: Timing::VM, ..Tuning::default() };
    let (first, second) = stranger(|cluster| AUTHORITY.credentials(cluster, 2), tuning).await;
    stays_outside(&first, &second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_right_certificate_and_timing_it_is_let_in() {
    let (first, second) = stranger(|cluster| AUTHORITY.credentials(cluster, 2), Tuning::default()).await;
    voters(&[first, second], &[1, 2]).await;
}
