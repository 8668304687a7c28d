//! Nodes come and go while the cluster works.

use raft::ProposeError;
use raft::cluster::Tuning;
use raft::command::Edit;
use raft::state::NodeKind;

use crate::site::{AUTHORITY, Node, command, eventually, group, leader, three, voters};

#[tokio::test(flavor = "multi_thread")]
async fn one_becomes_three_and_every_node_takes_changes() {
    let nodes = three().await;
    for (at, node) in nodes.iter().enumerate() {
        let done = node.cluster().propose(command([group(&format!("g{at}"))])).await.unwrap();
        assert!(node.cluster().read().group(&format!("g{at}")).is_some(), "a change is read where it was made");
        assert!(node.cluster().read().applied() >= done.index);
    }
    for node in &nodes {
        eventually("everything is everywhere", || node.cluster().read().groups().len() == 3).await;
        assert_eq!(node.cluster().read().members().map(|member| member.id).collect::<Vec<_>>(), [1, 2, 3]);
    }
    let overview = nodes[2].cluster().overview().await;
    assert_eq!(overview.peers.iter().filter(|view| view.voter && view.is_alive()).count(), 3, "{overview:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_whispers_the_others_hear_and_a_long_word_nobody() {
    let nodes = three().await;
    let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    for node in &nodes {
        let (heard, id) = (heard.clone(), node.id());
        node.cluster().on_whisper(std::sync::Arc::new(move |bytes| heard.lock().unwrap().push((id, bytes.to_vec()))));
    }
    nodes[1].cluster().whisper(&vec![0; raft::cluster::WHISPER_BYTES_MAX + 1]);
    nodes[1].cluster().whisper(b"psst");
    eventually("both others have heard it", || heard.lock().unwrap().len() == 2).await;
    let mut heard = heard.lock().unwrap().clone();
    heard.sort();
    assert_eq!(heard, [(1, b"psst".to_vec()), (3, b"psst".to_vec())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_far_behind_is_sent_a_snapshot() {
    let mut first = Node::found().await;
    first.stop().await;
    let tuning = Tuning { snapshot_every: 20, keep_behind_snapshot: 1, ..Tuning::default() };
    let identity: raft::codec::Identity =
        raft::codec::decode(&std::fs::read(first.dir.path().join("raft/identity")).unwrap()).unwrap();
    first.start_with(AUTHORITY.credentials(&identity.cluster, 1), tuning).await;
    for at in 0..200 {
        first.cluster().propose(command([group(&format!("g{at}"))])).await.unwrap();
    }
    eventually("a snapshot is there", || first.cluster().status().snapshot.is_some_and(|at| at.0 > 100)).await;
    let second = Node::join(first.cluster(), "n2", NodeKind::Data).await;
    eventually("the node has everything", || second.cluster().read().groups().len() == 200).await;
    voters(&[first, second], &[1, 2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_node_comes_back_as_a_new_one_and_takes_the_place_of_the_old() {
    let mut nodes = three().await;
    nodes[2].stop().await;
    let name_taken = || async {
        let new = raft::state::NewMember {
            name: "n2".into(),
            kind: NodeKind::Data,
            peer: "127.0.0.1:1".into(),
            boot: String::new(),
            instance: [9; 16],
        };
        nodes[0].cluster().join(new).await
    };
    let refused = name_taken().await.expect_err("node 2 is alive");
    assert!(matches!(&refused, ProposeError::Refused(why) if why.contains("alive")), "{refused}");
    let through = nodes[0].cluster().clone();
    eventually("the silence of node 3 is noticed", || {
        !through.status().voters.is_empty() && nodes[leader_of(&nodes)].cluster().status().role == "leader"
    })
    .await;
    // The old one counts as alive for a moment after it fell silent.
    let fourth = loop {
        let overview = through.overview().await;
        if overview.peers.iter().any(|view| view.id == 3 && !view.is_alive()) {
            break Node::join(&through, "n3", NodeKind::Data).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!(fourth.id(), 4, "ids are never used again");
    nodes[2] = fourth;
    voters(&nodes, &[1, 2, 4]).await;
    eventually("the old one is gone from the records", || through.read().was_removed(3)).await;
    nodes[2].cluster().propose(command([group("after")])).await.unwrap();
}

fn leader_of(nodes: &[Node]) -> usize {
    (0..2).find(|at| nodes[*at].cluster().lease().leading.is_some()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_knows_it_and_danger_is_refused() {
    let mut nodes = three().await;
    let why = nodes[0].cluster().remove(3, false).await.expect_err("no node could fail any more");
    assert!(matches!(&why, ProposeError::Refused(why) if why.contains("--force")), "{why}");
    let gone = nodes[2].cluster().clone();
    let told = tokio::spawn(async move { gone.removed().await });
    nodes[0].cluster().remove(3, true).await.unwrap();
    tokio::time::timeout(crate::site::PATIENCE, told).await.expect("the node learns of it").unwrap();
    nodes[2].stop().await;
    voters(&nodes[..2], &[1, 2]).await;
    nodes[1].stop().await;
    // With one of two gone nothing can be decided, and it says so.
    let refused = nodes[0].cluster().propose(command([group("lost")])).await.expect_err("there is no quorum");
    assert!(matches!(refused, ProposeError::Unavailable | ProposeError::Unknown(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_can_be_told_to_go_and_somebody_else_leads_first() {
    let nodes = three().await;
    let at = leader(&nodes).await;
    let (id, other) = (nodes[at].id(), &nodes[(at + 1) % 3]);
    other.cluster().remove(id, true).await.unwrap();
    eventually("it is gone", || other.cluster().status().voters.len() == 2).await;
    other.cluster().propose(command([group("after"), Edit::DeleteGroup("after".into())])).await.unwrap();
}
