//! Decides what this node has to do about its copies, from what the nodes have agreed on and what lies on its disk.

use std::collections::{BTreeMap, BTreeSet};

use raft::state::{Blob, NodeKind, State};
use raft::types::Digest;

/// A blob that this node should hold and does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// Somebody waits for it: it was uploaded and has no name yet.
    pub(super) urgent: bool,
}

/// Whether this node is one that holds bytes.
pub(super) fn holds_bytes(state: &State, node: u64) -> bool {
    state.member(node).is_some_and(|member| member.kind == NodeKind::Data)
}

/// What this node lacks.
pub(super) fn wanted(state: &State, node: u64) -> Vec<Wanted> {
    let lacks = |blob: &&Blob| blob.condemned.is_none() && !blob.replicas.contains(&node);
    let blobs = state.blobs().map(|blob| &**blob).filter(lacks);
    blobs.map(|blob| Wanted { digest: blob.digest, size: blob.size, urgent: !state.is_named(&blob.digest) }).collect()
}

/// What this node said it holds and is to remove.
pub(super) fn condemned(state: &State, node: u64) -> Vec<Digest> {
    let goes =
        |blob: &&Blob| blob.condemned.is_some() && blob.replicas.contains(&node) && !state.is_named(&blob.digest);
    state.blobs().map(|blob| &**blob).filter(goes).map(|blob| blob.digest).collect()
}

/// How the disk differs from what this node has said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Differences {
    /// On the disk and not said.
    pub(super) unsaid: Vec<(Digest, u64)>,
    /// Said, and not on the disk with that size.
    pub(super) gone: Vec<Digest>,
    /// To be removed.
    pub(super) condemned: Vec<Digest>,
}

/// Compares the whole disk with the whole state.
pub(super) fn differences(state: &State, node: u64, disk: &BTreeMap<Digest, u64>) -> Differences {
    let mut found = Differences::default();
    for (digest, size) in disk {
        match state.blob(digest) {
            Some(blob) if blob.condemned.is_some() => found.condemned.push(*digest),
            Some(blob) if blob.replicas.contains(&node) => {}
            _ => found.unsaid.push((*digest, *size)),
        }
    }
    let differs = |blob: &&Blob| blob.replicas.contains(&node) && disk.get(&blob.digest) != Some(&blob.size);
    for blob in state.blobs().map(|blob| &**blob).filter(differs) {
        let list = if blob.condemned.is_some() { &mut found.condemned } else { &mut found.gone };
        list.push(blob.digest);
    }
    found
}

/// Which of the blobs that an upload waits for are still on too few nodes, and which nodes could take them.
pub(super) fn lacking(state: &State, blobs: &[(Digest, u64)], needed: usize) -> Option<(Digest, BTreeSet<u64>)> {
    let short = blobs.iter().find(|(digest, _)| state.holders(digest).count() < needed)?;
    let holders: BTreeSet<u64> = state.holders(&short.0).collect();
    let others = state.data_nodes().map(|node| node.id).filter(|id| !holders.contains(id)).collect();
    Some((short.0, others))
}
