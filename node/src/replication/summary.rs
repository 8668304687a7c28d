//! How many copies there are of what, as the replicated state knows it.

use std::collections::BTreeMap;

use raft::state::State;
use raft::types::Digest;
use serde::Serialize;

/// The copies of all assets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Summary {
    /// Blobs with a name that fewer nodes hold than should.
    pub under_replicated: usize,
    /// Of those, the ones that no node holds.
    pub nowhere: usize,
    /// Named blobs that each data node does not hold yet, by its id.
    pub missing: BTreeMap<u64, usize>,
}

/// The copies of one blob.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Copies {
    /// The nodes that hold it.
    pub copies: Vec<u64>,
    /// Whether that is fewer than a name needs.
    pub under_replicated: bool,
}

/// Counts the copies of everything that has a name. Costs time in proportion to the number of assets.
#[must_use]
pub fn summary(state: &State) -> Summary {
    let missing = state.data_nodes().map(|node| (node.id, 0)).collect();
    let mut summary = Summary { missing, ..Summary::default() };
    let mut named: Vec<Digest> = state.assets_from("").map(|asset| asset.value.digest).collect();
    named.sort_unstable();
    named.dedup();
    for digest in &named {
        let copies = copies(state, digest);
        summary.under_replicated += usize::from(copies.under_replicated);
        summary.nowhere += usize::from(copies.under_replicated && copies.copies.is_empty());
        for (node, missing) in &mut summary.missing {
            *missing += usize::from(!copies.copies.contains(node));
        }
    }
    summary
}

/// The copies of one blob. Where the nodes have not said yet who they are, nothing is known and nothing is missing.
#[must_use]
pub fn copies(state: &State, digest: &Digest) -> Copies {
    let copies: Vec<u64> = state.holders(digest).collect();
    let under_replicated = state.data_nodes().next().is_some() && copies.len() < state.copies_needed();
    Copies { copies, under_replicated }
}
