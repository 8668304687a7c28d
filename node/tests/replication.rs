//! Copies on several nodes: a name waits for them, they are made, checked, mended, and removed together.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

#[path = "replication/faults.rs"]
mod faults;
#[path = "replication/machines.rs"]
mod machines;
#[path = "replication/rig.rs"]
mod rig;

use std::fs;
use std::sync::atomic::Ordering;
use std::time::Duration;

use machines::Machines;
use raft::command::Edit;
use raft::state::NodeKind::{Data, Witness};
use raft::types::Digest;
use raftboot::replication::{Pace, summary};
use raftboot::tftp::Lookup;
use rig::{Rig, until};

/// Bytes that are different everywhere.
fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = 2 * seed + 1;
    let next = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    next.flatten().take(length).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_gets_its_name_when_two_nodes_hold_it_and_reaches_the_third() {
    let rig = Rig::start(&[Data, Data, Data], Pace::default(), true).await;
    for (at, size) in [(1, 0), (2, 5), (3, 6_000_000)] {
        let (content, name) = (bytes(size, at), format!("kernel-{at}"));
        let digest = Digest::of(&content);
        let (status, answer) = rig.node(at).json("PUT", &format!("/assets/{name}"), content.clone()).await;
        assert_eq!(status, 201, "{answer}");
        assert!(rig.node(at).holders(&digest).len() >= 2, "the name was given before its bytes were on two nodes");
        for node in rig.nodes.values() {
            until("all three hold it", || node.holders(&digest) == [1, 2, 3]).await;
            until("the name is known", || node.cluster.read().is_named(&digest)).await;
            let (_, shown) = node.json("GET", &format!("/assets/{name}"), Vec::new()).await;
            assert_eq!((&shown["copies"], &shown["under_replicated"]), (&[1, 2, 3][..].into(), &false.into()));
            assert_eq!(node.call("GET", &format!("/assets/{name}?content=true"), Vec::new()).await.1, content);
        }
    }
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_held_back_while_the_second_copy_is_missing_unless_that_is_allowed() {
    let mut rig = Rig::start(&[Data, Data, Witness], Pace::default(), false).await;
    rig.stop(2).await;
    let content = bytes(3_000_000, 1);
    let digest = Digest::of(&content);
    until("the others go on", || rig.node(1).cluster.status().leader.is_some_and(|leader| leader != 2)).await;
    let (status, answer) = rig.node(1).json("PUT", "/assets/kernel", content.clone()).await;
    assert_eq!((status, answer["code"].as_str()), (503, Some("under_replicated")), "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("node-2"), "{answer}");
    assert!(answer["hint"].as_str().unwrap().contains("allow_single_copy"), "{answer}");
    assert_eq!(rig.node(1).json("GET", "/assets/kernel", Vec::new()).await.0, 404);
    let item = serde_json::json!({"kind": "asset", "name": "kernel", "digest": digest});
    let apply = |single: bool| serde_json::json!({"items": [item], "allow_single_copy": single}).to_string();
    assert_eq!(
        rig.node(1).json("POST", "/apply", apply(false)).await.0,
        503,
        "naming what is there is no way around it"
    );

    let (status, answer) = rig.node(1).json("POST", "/apply", apply(true)).await;
    assert_eq!(status, 200, "{answer}");
    let shown = rig.node(1).json("GET", "/assets/kernel", Vec::new()).await.1;
    assert_eq!((&shown["copies"], &shown["under_replicated"]), (&[1][..].into(), &true.into()));
    let counted = summary(&rig.node(1).cluster.read());
    assert_eq!((counted.under_replicated, counted.missing[&2]), (1, 1));
    assert!(!counted.missing.contains_key(&3), "a witness misses nothing");
    assert_eq!(rig.node(1).json("POST", "/apply", apply(false)).await.0, 200, "what has its name keeps it");

    rig.run(2).await;
    until("the second copy is made", || rig.node(2).holders(&digest) == [1, 2]).await;
    assert_eq!(fs::read(rig.blob(2, &digest)).unwrap(), content);
    let (status, answer) = rig.node(3).json("PUT", "/assets/other", content).await;
    assert_eq!((status, answer["code"].as_str()), (421, Some("witness")), "{answer}");
    assert!(answer["hint"].as_str().unwrap().contains("node-1"), "{answer}");
    assert_eq!(rig.node(3).store.inventory().unwrap().len(), 0);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_blobs_were_wiped_passes_them_on_and_has_them_again() {
    let rig = Rig::start(&[Data, Data, Data], Pace::default(), false).await;
    let content = bytes(5_000_000, 2);
    let digest = Digest::of(&content);
    assert_eq!(rig.node(1).json("PUT", "/assets/kernel", content.clone()).await.0, 201);
    until("all three hold it", || rig.node(3).holders(&digest) == [1, 2, 3]).await;
    until("the name is known", || rig.node(3).cluster.read().is_named(&digest)).await;
    fs::remove_file(rig.blob(3, &digest)).unwrap();
    let (status, passed_on) = rig.node(3).call("GET", "/assets/kernel?content=true", Vec::new()).await;
    assert_eq!((status.as_u16(), passed_on == content), (200, true));
    until("it is fetched again", || rig.blob(3, &digest).exists()).await;
    until("and reported", || rig.node(1).holders(&digest) == [1, 2, 3]).await;
    assert!(rig.node(3).replicator.status().damaged_blobs > 0, "the loss was noted");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_breaks_off_goes_on_where_it_was() {
    let mut rig = Rig::start(&[Data, Data, Data], Pace::default(), false).await;
    rig.stop(3).await;
    let content = bytes(20_000_000, 3);
    let digest = Digest::of(&content);
    assert_eq!(rig.node(1).json("PUT", "/assets/kernel", content.clone()).await.0, 201);
    let before = rig.faults.moved.load(Ordering::Relaxed);
    rig.faults.cut_after.store(1_500_000, Ordering::Relaxed);
    rig.run(3).await;
    until("the third copy is made", || rig.node(1).holders(&digest) == [1, 2, 3]).await;
    assert_eq!(fs::read(rig.blob(3, &digest)).unwrap(), content);
    let moved = rig.faults.moved.load(Ordering::Relaxed) - before;
    assert!(moved < 30_000_000, "it began anew instead: {moved} bytes were moved for 20,000,000");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_changed_on_the_way_are_never_kept() {
    let mut rig = Rig::start(&[Data, Data, Data], Pace::default(), false).await;
    rig.stop(3).await;
    let content = bytes(4_000_000, 4);
    let digest = Digest::of(&content);
    assert_eq!(rig.node(1).json("PUT", "/assets/kernel", content.clone()).await.0, 201);
    rig.faults.change_at.store(rig.faults.moved.load(Ordering::Relaxed) + 2_000_000, Ordering::Relaxed);
    rig.run(3).await;
    until("the third copy is made", || rig.node(1).holders(&digest) == [1, 2, 3]).await;
    assert_eq!(fs::read(rig.blob(3, &digest)).unwrap(), content);
    until("the failure is over", || rig.node(3).replicator.status().failures_in_row == 0).await;
    assert_eq!(rig.node(3).replicator.status().pulled_blobs, 1);
    assert!(rig.faults.moved.load(Ordering::Relaxed) > rig.faults.change_at.load(Ordering::Relaxed) + 4_000_000);
    assert_eq!(rig.node(1).store.quarantined() + rig.node(2).store.quarantined(), 0, "good copies stay");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_copy_is_put_aside_withdrawn_and_made_again() {
    let mut rig = Rig::start(&[Data, Data, Data], Pace::default(), false).await;
    rig.stop(3).await;
    let content = bytes(2_000_000, 5);
    let digest = Digest::of(&content);
    assert_eq!(rig.node(1).json("PUT", "/assets/kernel", content.clone()).await.0, 201);
    let mut wrong = content.clone();
    wrong[1_000_000] ^= 1;
    fs::write(rig.blob(2, &digest), wrong).unwrap();
    // Node 3 begins with one of the two; whichever it is, the damaged one is read when it is asked.
    let asked = rig.node(2).store.open_blob(&digest).map(drop);
    assert!(asked.is_err(), "it is not served");
    rig.run(3).await;
    until("the damaged copy is withdrawn", || rig.node(2).replicator.status().damaged_blobs == 1).await;
    until("all three hold it", || rig.node(1).holders(&digest) == [1, 2, 3]).await;
    for id in [1, 2, 3] {
        assert_eq!(fs::read(rig.blob(id, &digest)).unwrap(), content, "on node {id}");
    }
    assert_eq!(rig.node(2).store.quarantined(), 1);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_without_a_name_go_everywhere_and_can_come_back() {
    let pace = Pace {
        grace: Duration::from_millis(300),
        garbage_every: Duration::from_millis(50),
        compare_every: Duration::from_millis(500),
        ..Pace::default()
    };
    let rig = Rig::start(&[Data, Data, Data], pace, false).await;
    let (kept, doomed) = (bytes(100_000, 6), bytes(2_000_000, 7));
    let (kept_digest, doomed_digest) = (Digest::of(&kept), Digest::of(&doomed));
    assert_eq!(rig.node(1).json("PUT", "/assets/kept", kept.clone()).await.0, 201);
    assert_eq!(rig.node(2).json("PUT", "/assets/doomed", doomed.clone()).await.0, 201);
    until("all three hold it", || rig.node(1).holders(&doomed_digest) == [1, 2, 3]).await;
    rig::propose(&rig.node(1).cluster, Edit::DeleteAsset("doomed".into())).await;
    for node in rig.nodes.values() {
        until("its bytes are gone", || node.store.size(&doomed_digest).is_none()).await;
        until("it is forgotten", || node.cluster.read().blob(&doomed_digest).is_none()).await;
        assert_eq!(node.store.size(&kept_digest), Some(100_000), "what has a name stays");
    }
    assert_eq!(rig.node(3).json("PUT", "/assets/doomed", doomed.clone()).await.0, 201);
    until("all three hold it again", || rig.node(1).holders(&doomed_digest) == [1, 2, 3]).await;
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_from_before_are_found_verified_and_reported() {
    let rig =
        Rig::start(&[Data, Data, Data], Pace { compare_every: Duration::from_millis(200), ..Pace::default() }, false)
            .await;
    let (good, bad) = (bytes(50_000, 8), bytes(50_000, 9));
    for (content, written) in [(&good, &good), (&bad, &good)] {
        let path = rig.blob(2, &Digest::of(content));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, written).unwrap();
    }
    until("the good one is on all three", || rig.node(1).holders(&Digest::of(&good)) == [1, 2, 3]).await;
    until("the bad one is put aside", || rig.node(2).store.quarantined() == 1).await;
    assert_eq!(rig.node(1).holders(&Digest::of(&bad)), [] as [u64; 0]);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_the_bytes_serves_machines_in_full_in_part_or_not_at_all() {
    let mut rig = Rig::start(&[Data, Data, Data], Pace::default(), false).await;
    let content = bytes(3_000_000, 10);
    let digest = Digest::of(&content);
    assert_eq!(rig.node(1).json("PUT", "/assets/kernel", content.clone()).await.0, 201);
    until("all three hold it", || rig.node(3).holders(&digest) == [1, 2, 3]).await;
    until("the name is known", || rig.node(3).cluster.read().is_named(&digest)).await;
    let machines = Machines::of_an_empty_store(&rig, 3).await;
    let whole = machines.get("").await;
    assert_eq!((whole.status, whole.length, whole.bytes == content), (200, 3_000_000, true));
    for (range, part, span) in [
        ("bytes=1000000-1999999", &content[1_000_000..2_000_000], "bytes 1000000-1999999/3000000"),
        ("bytes=2999990-", &content[2_999_990..], "bytes 2999990-2999999/3000000"),
        ("bytes=-7", &content[2_999_993..], "bytes 2999993-2999999/3000000"),
    ] {
        let got = machines.get(range).await;
        assert_eq!((got.status, got.length, got.bytes == part), (206, part.len() as u64, true), "{range}");
        assert_eq!(got.range, span);
    }
    assert_eq!(machines.get("bytes=0-1,5-6").await.bytes.len(), 3_000_000, "several parts: the whole");
    assert_eq!(machines.get("bytes=3000000-").await.status, 416);
    assert!(matches!(machines.tftp(), Lookup::Ignore), "a client that hears nothing asks again");

    rig.stop(1).await;
    assert_eq!(machines.get("").await.bytes, content, "one other node is enough");
    rig.stop(2).await;
    let nobody = machines.get("").await;
    assert_eq!((nobody.status, nobody.retry_after.as_str()), (503, "2"));
    assert!(nobody.bytes.len() < 100, "not one byte of it was sent");
    machines.end().await;
    rig.end().await;
}
