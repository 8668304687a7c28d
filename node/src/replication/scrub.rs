//! Reads every copy on this node again, at leisure, so that damage is found while another node still has a good one.

use std::time::Duration;

use raft::types::Digest;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Replicator;
use crate::assets::ReadError;
use crate::metrics::counted;

/// How fast the disk is read at most, in bytes per second: boots go first.
const BYTES_PER_SECOND: u64 = 32 * 1024 * 1024;
/// How long to wait when there is nothing to read, and at most between two blobs.
const PAUSE_MAX: Duration = Duration::from_hours(1);

/// Reads until told to stop.
pub(super) async fn run(replicator: Replicator, stop: CancellationToken) {
    let mut after = somewhere();
    // A node that starts has other things to do.
    while stop.run_until_cancelled(tokio::time::sleep(pause(&replicator).await)).await.is_some() {
        let store = replicator.store().clone();
        let read = tokio::task::spawn_blocking(move || {
            let disk = store.inventory().unwrap_or_default();
            let next = disk.range((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded)).next();
            next.map(|(digest, _)| (*digest, store.reread(digest, BYTES_PER_SECOND)))
        });
        match read.await {
            Ok(Some((digest, result))) => {
                after = digest;
                counted::BLOBS_REREAD.one();
                replicator.note(|progress| progress.scrubbed_blobs += 1);
                match result {
                    // Changed or removed while it was read, or found and told: the next round sees it.
                    Ok(()) | Err(ReadError::Missing | ReadError::Busy | ReadError::Damaged) => {}
                    Err(ReadError::Unreadable(error)) => {
                        warn!(%digest, error, "a copy cannot be read again; look at this node's disk");
                    }
                }
            }
            Ok(None) => {
                let done = replicator.status().scrubbed_blobs;
                info!(blobs = done, "every copy on this node was read again");
                after = Digest([0; 32]);
                replicator
                    .note(|progress| (progress.scrubbed_blobs, progress.scrub_rounds) = (0, progress.scrub_rounds + 1));
            }
            Err(error) => warn!(%error, "reading a copy again ended early"),
        }
    }
}

/// A round is spread over its whole time.
async fn pause(replicator: &Replicator) -> Duration {
    let store = replicator.store().clone();
    let blobs = tokio::task::spawn_blocking(move || store.inventory().map_or(0, |disk| disk.len())).await.unwrap_or(0);
    let over = replicator.core.pace.scrub_over;
    (over / u32::try_from(blobs + 1).unwrap_or(u32::MAX)).min(PAUSE_MAX.min(over))
}

/// A node that restarts often must not read the same few blobs each time.
fn somewhere() -> Digest {
    let mut at = [0; 32];
    // Without random numbers it begins at the beginning.
    let _ = getrandom::fill(&mut at);
    Digest(at)
}
