//! When this node last heard a leader, and whether somebody wanted its vote with less in the log than it has.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::type_config::Vote;

/// Written by the peer server, read by everyone; never waits.
#[derive(Debug)]
pub(crate) struct Heard {
    base: Instant,
    /// Milliseconds after `base`, plus one; 0: never.
    at: AtomicU64,
    shorter_log: Notify,
}

impl Default for Heard {
    fn default() -> Self {
        Self { base: Instant::now(), at: AtomicU64::new(0), shorter_log: Notify::new() }
    }
}

impl Heard {
    /// Something came from a node that leads, at that time.
    pub(crate) fn note(&self, vote: &Vote, came: Instant) {
        if vote.committed {
            let after = came.saturating_duration_since(self.base);
            let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX - 1);
            self.at.fetch_max(millis + 1, Ordering::AcqRel);
        }
    }

    /// How long ago that was.
    pub(crate) fn ago(&self) -> Option<Duration> {
        let at = self.at.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.base.elapsed().saturating_sub(Duration::from_millis(at)))
    }

    /// A candidate has less in its log than this node.
    pub(crate) fn note_shorter_log(&self) {
        self.shorter_log.notify_one();
    }

    /// Waits for the next one.
    pub(crate) async fn shorter_log(&self) {
        self.shorter_log.notified().await;
    }
}
