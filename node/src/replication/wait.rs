//! Holds a name back until enough nodes hold its bytes, and says which node is missing when they do not.

use std::collections::BTreeSet;
use std::time::Duration;

use raft::ProposeError;
use raft::state::State;
use raft::types::Digest;
use tokio::time::Instant;

use super::book::claims;
use super::{Replicator, plan};
use crate::assets::ReadError;

/// How long copies may take at least, whatever their size.
const WAIT_BASE: Duration = Duration::from_secs(10);
/// Bytes that a copy makes in a second at the very least.
const SLOWEST_BYTES_PER_SECOND: u64 = 20 * 1024 * 1024;
/// How long copies may take at most: a client waits for the answer, and the command line for two minutes. The bytes are
/// kept and copied on, so whoever asks again waits for the rest only.
const WAIT_MAX: Duration = Duration::from_secs(110);
/// How often it is asked who is away.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Why a name must not lead to these bytes yet.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CopiesError {
    /// Too few nodes hold them.
    #[error("only {have} of the {needed} nodes that must hold {digest} hold it; missing: {}", missing.join(", "))]
    UnderReplicated {
        /// Which bytes.
        digest: Digest,
        /// How many nodes hold them.
        have: usize,
        /// How many must.
        needed: usize,
        /// The nodes that could and do not, each with what is known of it.
        missing: Vec<String>,
    },
    /// No node holds them.
    #[error("no node holds {0} any more")]
    Nowhere(Digest),
    /// The cluster takes no changes.
    #[error("{0}")]
    Propose(ProposeError),
}

impl From<ProposeError> for CopiesError {
    fn from(error: ProposeError) -> Self {
        Self::Propose(error)
    }
}

impl Replicator {
    /// Returns once as many nodes hold each of these blobs as a name needs, or at once with `allow_single_copy` if one
    /// does. Copies on this node are reported first, which also takes back a condemnation.
    ///
    /// # Errors
    /// Why they may not be named.
    pub async fn ensure(&self, blobs: &[(Digest, u64)], allow_single_copy: bool) -> Result<(), CopiesError> {
        if blobs.is_empty() || self.cluster().read().members().len() == 0 {
            return Ok(());
        }
        if plan::holds_bytes(&self.cluster().read(), self.node()) {
            self.report(self.verified(blobs).await).await?;
        }
        let largest = blobs.iter().map(|(_, size)| *size).max().unwrap_or(0);
        let by_size = Duration::from_secs(largest / SLOWEST_BYTES_PER_SECOND);
        let deadline = Instant::now() + (WAIT_BASE + by_size).min(WAIT_MAX);
        let mut applied = self.cluster().applied();
        let mut look = Instant::now();
        let mut away = BTreeSet::new();
        loop {
            applied.borrow_and_update();
            let state = self.cluster().read();
            let needed = if allow_single_copy { 1 } else { state.copies_needed() };
            let Some((digest, others)) = plan::lacking(&state, blobs, needed) else { return Ok(()) };
            if Instant::now() >= look {
                away = self.away().await;
                look = Instant::now() + LOOK_EVERY;
            }
            let have = state.holders(&digest).count();
            let hopeless =
                have + others.difference(&away).count() < needed || have == 0 && !self.may_come(&state, &digest);
            if hopeless || Instant::now() >= deadline {
                return Err(self.short(&state, digest, &others, &away));
            }
            let next = look.min(deadline);
            // The applied index ends only with the node.
            let _ = tokio::time::timeout_at(next, applied.changed()).await;
        }
    }

    /// Those that are on this disk and are what they should be.
    async fn verified(&self, blobs: &[(Digest, u64)]) -> Vec<(Digest, u64)> {
        let (state, store, node) = (self.cluster().read(), self.store().clone(), self.node());
        let unsaid = blobs.iter().copied().filter(|(digest, _)| !claims(&state, node, digest));
        let unsaid: Vec<(Digest, u64)> = unsaid.collect();
        let verify = move || {
            let is_good = |(digest, _): &(Digest, u64)| loop {
                match store.open_blob(digest) {
                    // Somebody else reads it right now; each of these waits a while itself.
                    Err(ReadError::Busy) => {}
                    opened => return opened.is_ok(),
                }
            };
            unsaid.into_iter().filter(is_good).collect()
        };
        tokio::task::spawn_blocking(verify).await.unwrap_or_default()
    }

    /// A copy on this node that is about to be reported.
    fn may_come(&self, state: &State, digest: &Digest) -> bool {
        plan::holds_bytes(state, self.node()) && self.store().size(digest).is_some()
    }

    fn short(&self, state: &State, digest: Digest, others: &BTreeSet<u64>, away: &BTreeSet<u64>) -> CopiesError {
        let have = state.holders(&digest).count();
        if have == 0 {
            return CopiesError::Nowhere(digest);
        }
        let named = |id: &u64| {
            let name =
                state.member(*id).map_or_else(|| id.to_string(), |member| format!("{} ({})", member.name, member.peer));
            if away.contains(id) {
                format!("{name}, which does not answer")
            } else {
                format!("{name}, which is still copying")
            }
        };
        let missing = others.iter().map(named).collect();
        CopiesError::UnderReplicated { digest, have, needed: state.copies_needed(), missing }
    }
}
