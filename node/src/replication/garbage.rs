//! Decides which blobs have had no name for so long that they may go.
//!
//! Only the leader asks, and what it decides is committed before anybody removes anything: so never without quorum.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use raft::state::{BLOBS_PER_COMMAND_MAX, State};
use raft::types::Digest;

/// Since when each blob has been seen without a name, by this process's own clock: a restart or another leader only
/// lengthens the grace.
#[derive(Debug, Default)]
pub(super) struct Unnamed {
    since: BTreeMap<Digest, Instant>,
}

impl Unnamed {
    /// Looks at the state; answers what has had no name for `grace`. What is answered begins anew.
    pub(super) fn look(&mut self, state: &State, now: Instant, grace: Duration) -> Vec<Digest> {
        let unnamed = state.blobs().filter(|blob| blob.condemned.is_none() && !state.is_named(&blob.digest));
        let mut before = std::mem::take(&mut self.since);
        for blob in unnamed {
            self.since.insert(blob.digest, before.remove(&blob.digest).unwrap_or(now));
        }
        let old = self.since.iter().filter(|(_, since)| now.saturating_duration_since(**since) >= grace);
        let doomed: Vec<Digest> = old.map(|(digest, _)| *digest).take(BLOBS_PER_COMMAND_MAX).collect();
        self.since.retain(|digest, _| doomed.binary_search(digest).is_err());
        doomed
    }

    /// Forgets everything: somebody else decides now.
    pub(super) fn forget(&mut self) {
        self.since.clear();
    }
}
