//! A large asset on its way to three nodes: memory stays flat, whichever way it is copied. A process of its own, because
//! memory is counted by process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

#[allow(dead_code, reason = "shared with the other tests of replication")]
#[path = "replication/faults.rs"]
mod faults;
#[allow(dead_code, reason = "shared with the other tests of replication")]
#[path = "replication/rig.rs"]
mod rig;

use std::fs;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use raft::state::NodeKind::Data;
use raft::types::Digest;
use raftboot::replication::Pace;
use rig::{Rig, until};

/// Pieces of a megabyte each.
const PIECES: u32 = 500;
const PIECE_BYTES: usize = 1_000_000;
/// What three nodes in one process may need beside what they had, in bytes: pieces on their way, buffers of TLS, what the
/// allocator keeps.
const GROWTH_MAX: u64 = 120_000_000;

fn content() -> Body {
    let piece = |at: u32| {
        let mut bytes = vec![7; PIECE_BYTES];
        bytes[..4].copy_from_slice(&at.to_le_bytes());
        Ok::<_, std::io::Error>(Bytes::from(bytes))
    };
    Body::from_stream(stream::iter((0..PIECES).map(piece)))
}

/// Bytes of memory, by the name the kernel has for them.
fn memory(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Forgets the highest memory until now; needs root, as the rest of the lab does.
fn reset_peak() -> u64 {
    fs::write("/proc/self/clear_refs", "5").unwrap();
    memory("VmRSS")
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_flat_while_a_large_asset_is_copied() {
    let mut rig = Rig::start(&[Data, Data, Data], Pace::default(), true).await;
    let before = reset_peak();
    let (status, answer) = rig.node(1).json("PUT", "/assets/image", content()).await;
    assert_eq!(status, 201, "{answer}");
    let shown = rig.node(1).json("GET", "/assets/image", Vec::new()).await.1;
    let digest: Digest = shown["digest"].as_str().unwrap().parse().unwrap();
    until("all three hold it", || rig.node(3).holders(&digest) == [1, 2, 3]).await;
    let growth = memory("VmHWM") - before;
    assert!(growth < GROWTH_MAX, "following an upload took {growth} bytes");
    let pulled: Vec<u64> = rig.nodes.values().map(|node| node.replicator.status().pulled_blobs).collect();
    assert_eq!(pulled, [0, 0, 0], "it was copied while it came in");

    rig.stop(3).await;
    fs::remove_file(rig.blob(3, &digest)).unwrap();
    let before = reset_peak();
    rig.run(3).await;
    until("it is fetched again", || rig.node(3).replicator.status().pulled_blobs == 1).await;
    let growth = memory("VmHWM") - before;
    assert!(growth < GROWTH_MAX, "fetching it took {growth} bytes");
    assert_eq!(fs::metadata(rig.blob(3, &digest)).unwrap().len(), u64::from(PIECES) * PIECE_BYTES as u64);
    rig.end().await;
}
