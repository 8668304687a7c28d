//! Two of three are lost for good: the third goes on alone, others join it, and those left behind stay outside.

use raft::rescue::{Survivor, generation_after};
use raft::state::NodeKind;
use raft::types::Timestamp;

use crate::site::{Node, command, eventually, group, three, voters};

async fn recover(node: &Node) -> u64 {
    let home = node.dir.path().join("raft");
    let work = move || {
        let survivor = Survivor::open(&home).expect("a stopped node");
        assert_eq!(survivor.found().quorum(), 2);
        let generation = generation_after(survivor.found().identity.generation).expect("randomness");
        survivor.recover(generation, Timestamp(1)).expect("a writable disk");
        generation
    };
    tokio::task::spawn_blocking(work).await.expect("it does not panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_survivor_takes_changes_and_new_nodes_and_refuses_the_old_ones() {
    let mut nodes = three().await;
    nodes[0].cluster().propose(command([group("before")])).await.unwrap();
    eventually("the last node has it", || nodes[2].cluster().read().group("before").is_some()).await;
    for node in &mut nodes {
        node.stop().await;
    }
    let generation = recover(&nodes[2]).await;
    nodes[2].start().await;
    let survivor = nodes[2].cluster().clone();
    assert_eq!((survivor.status().generation, survivor.identity().node), (generation, 3));
    survivor.propose(command([group("alone")])).await.unwrap();

    let fourth = Node::join(&survivor, "n4", NodeKind::Data).await;
    assert_eq!(fourth.id(), 4);
    voters(std::slice::from_ref(&fourth), &[3, 4]).await;
    eventually("it has what there was and what came", || {
        let state = fourth.cluster().read();
        state.group("before").is_some() && state.group("alone").is_some()
    })
    .await;

    // The others come back: a majority of the old generation, which goes on by itself and cannot be mixed with the new one.
    let (old, new) = nodes.split_at_mut(2);
    for node in old.iter_mut() {
        node.start().await;
    }
    eventually("the old majority has a leader", || old.iter().any(|node| node.cluster().lease().leading.is_some()))
        .await;
    let _maybe = old[0].cluster().propose(command([group("of the old ones")])).await;
    survivor.propose(command([group("of the new ones")])).await.unwrap();
    tokio::time::sleep(raft::cluster::Timing::LAN.election_max * 3).await;
    assert!(new[0].cluster().read().group("of the old ones").is_none());
    assert!(old.iter().all(|node| node.cluster().read().group("of the new ones").is_none()));
    assert_eq!(survivor.status().voters, [3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_recoveries_of_the_same_generation_stay_apart() {
    let mut nodes = three().await;
    for node in &mut nodes {
        node.stop().await;
    }
    let generations = [recover(&nodes[1]).await, recover(&nodes[2]).await];
    assert_ne!(generations[0], generations[1]);
    for node in &mut nodes[1..] {
        node.start().await;
        node.cluster().propose(command([group(&format!("of {}", node.id()))])).await.unwrap();
    }
    tokio::time::sleep(raft::cluster::Timing::LAN.election_max * 3).await;
    assert!(nodes[1].cluster().read().group("of 3").is_none() && nodes[2].cluster().read().group("of 2").is_none());
}
