//! The one place where a node learns that it cannot keep its promises any more.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

/// Why the replicated state stopped for good (damaged log, full disk, …); the process must exit 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fatal(pub String);

impl Fatal {
    /// A message that says what was being done, where, what happened, and what to do.
    #[must_use]
    pub fn at(what: &str, path: &Path, detail: &dyn std::fmt::Display, hint: &str) -> Self {
        Self(format!("{what} {}: {detail}; {hint}", path.display()))
    }
}

/// What to do after a failed write.
#[must_use]
pub fn write_hint(detail: &str) -> &'static str {
    if detail.contains("No space left") || detail.contains("os error 28") {
        "the disk is full: free some space, then start again; nothing acknowledged is lost"
    } else {
        "check the disk and the kernel log, then start again; nothing acknowledged is lost"
    }
}

/// What to do about damaged data.
pub const DAMAGE_HINT: &str = "the disk has lost or changed data that was written: do not repair it in place; \
    restore a backup, or on a cluster wipe this directory and join again as a new node";

/// Shared by all parts of the storage; the first failure counts and is never taken back.
#[derive(Debug, Clone)]
pub struct Health(Arc<watch::Sender<Option<Fatal>>>);

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(watch::channel(None).0))
    }
}

impl Health {
    /// Records a failure; the answer is what openraft is told, so that it stops too.
    pub fn fail(&self, fatal: Fatal) -> io::Error {
        let text = fatal.0.clone();
        let first = self.0.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(fatal);
            }
            first
        });
        if first {
            tracing::error!(reason = %text, "the replicated state has stopped");
        }
        io::Error::other(text)
    }

    /// The first failure, if there was one.
    #[must_use]
    pub fn fatal(&self) -> Option<Fatal> {
        self.0.borrow().clone()
    }

    /// Fails if there was a failure before: nothing is written after one.
    ///
    /// # Errors
    /// With the first failure.
    pub fn check(&self) -> io::Result<()> {
        self.fatal().map_or(Ok(()), |fatal| Err(io::Error::other(fatal.0)))
    }

    /// Resolves with the first failure.
    pub async fn failed(&self) -> Fatal {
        let mut receiver = self.0.subscribe();
        loop {
            if let Some(fatal) = receiver.borrow_and_update().clone() {
                return fatal;
            }
            if receiver.changed().await.is_err() {
                return Fatal("the storage has been closed".into());
            }
        }
    }
}
