//! How the copying goes, for whoever looks after it.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use raft::types::Digest;
use serde::Serialize;

use super::Replicator;

/// What the background work notes as it goes.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) pulling: BTreeMap<Digest, u64>,
    pub(super) waiting: usize,
    pub(super) pulled_blobs: u64,
    pub(super) pulled_bytes: u64,
    pub(super) failures_in_row: u32,
    pub(super) last_error: String,
    pub(super) scrubbed_blobs: u64,
    pub(super) scrub_rounds: u64,
    pub(super) damaged_blobs: u64,
}

/// How this node's copies are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Blobs being fetched from other nodes.
    pub pulling: usize,
    /// Their bytes.
    pub pulling_bytes: u64,
    /// Blobs that wait to be fetched.
    pub waiting: usize,
    /// Blobs fetched since the start.
    pub pulled_blobs: u64,
    /// Their bytes.
    pub pulled_bytes: u64,
    /// Fetches that failed since the last one that did not.
    pub failures_in_row: u32,
    /// Why the last one failed; empty when the last one did not.
    pub last_error: String,
    /// Blobs read again in this round.
    pub scrubbed_blobs: u64,
    /// Rounds through all blobs since the start.
    pub scrub_rounds: u64,
    /// Copies found damaged or gone since the start.
    pub damaged_blobs: u64,
}

impl Replicator {
    /// How this node's copies are.
    #[must_use]
    pub fn status(&self) -> Status {
        let progress = self.core.progress.lock().unwrap_or_else(PoisonError::into_inner);
        Status {
            pulling: progress.pulling.len(),
            pulling_bytes: progress.pulling.values().sum(),
            waiting: progress.waiting,
            pulled_blobs: progress.pulled_blobs,
            pulled_bytes: progress.pulled_bytes,
            failures_in_row: progress.failures_in_row,
            last_error: progress.last_error.clone(),
            scrubbed_blobs: progress.scrubbed_blobs,
            scrub_rounds: progress.scrub_rounds,
            damaged_blobs: progress.damaged_blobs,
        }
    }

    /// Notes something.
    pub(super) fn note(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.core.progress.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
