//! Remembers when this node gave the last whole backup, beyond a restart.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use tracing::warn;

use super::millis;

/// In the data directory: milliseconds since 1970.
const FILE: &str = "last-backup";

/// When that was; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct LastBackup {
    at: Arc<AtomicU64>,
    file: Option<PathBuf>,
}

impl LastBackup {
    /// As an earlier process noted it.
    #[must_use]
    pub fn open(data_dir: &Path) -> Self {
        let file = data_dir.join(FILE);
        let noted = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        Self { at: Arc::new(AtomicU64::new(noted)), file: Some(file) }
    }

    /// A whole backup has been given to the end. Blocks for a moment.
    pub fn note(&self, now: SystemTime) {
        let at = millis(now);
        self.at.store(at, Ordering::Relaxed);
        // It is only told, never relied on: nothing is synced.
        if let Some(file) = &self.file
            && let Err(error) = fs::write(file, format!("{at}\n"))
        {
            warn!(file = %file.display(), %error, "the time of this backup will be forgotten with the next restart");
        }
    }

    /// In milliseconds since 1970; nothing if there was none.
    #[must_use]
    pub fn get(&self) -> Option<u64> {
        Some(self.at.load(Ordering::Relaxed)).filter(|at| *at != 0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_restart_does_not_forget_it() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(LastBackup::open(folder.path()).get(), None);
        LastBackup::open(folder.path()).note(SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_254_847_000));
        assert_eq!(LastBackup::open(folder.path()).get(), Some(1_795_254_847_000));
    }
}
