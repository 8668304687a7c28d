//! Removes blobs that no name leads to, long after the last one was taken away.
//!
//! One node for now: with several, removal will go through a committed condemnation first.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use raft::Cluster;
use raft::types::Digest;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::store::{Store, sync_dir};

/// How long bytes stay after the collector has first seen that nothing names them, so that a name taken away by mistake
/// can be given again without the bytes.
pub const GRACE: Duration = Duration::from_hours(24);
/// How often the collector looks.
pub const COLLECT_EVERY: Duration = Duration::from_hours(1);

/// What one round of the collector did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs removed.
    pub removed: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs without a name that are still within their grace.
    pub waiting: usize,
}

impl Store {
    /// Removes blobs that have had no name for `grace`. That time counts from when this process first noticed, and
    /// anew from every upload of the same bytes and from `hold`; a restart therefore only lengthens it.
    /// `referenced` is asked while no upload can get its name. Blocks.
    ///
    /// # Errors
    /// When the disk fails; what was removed until then stays removed.
    pub fn collect(
        &self,
        referenced: &dyn Fn(&Digest) -> bool,
        now: SystemTime,
        grace: Duration,
    ) -> io::Result<Collected> {
        let mut done = Collected::default();
        let mut unnamed = self.unnamed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = HashSet::new();
        for folder in fs::read_dir(self.blobs())? {
            let folder = folder?.path();
            let before = done.removed;
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let Some(digest) = entry.file_name().to_str().and_then(|name| name.parse::<Digest>().ok()) else {
                    warn!(file = %entry.path().display(), "a file that is no blob lies in the blob store");
                    continue;
                };
                let _naming = self.lock_names();
                if referenced(&digest) {
                    unnamed.remove(&digest);
                    continue;
                }
                seen.insert(digest);
                let meta = entry.metadata()?;
                let since = *unnamed.entry(digest).or_insert(now);
                let age = now.duration_since(since.max(meta.modified()?)).unwrap_or_default();
                if age < grace {
                    done.waiting += 1;
                    continue;
                }
                fs::remove_file(entry.path())?;
                self.verifier.forget(&digest);
                unnamed.remove(&digest);
                done.removed += 1;
                done.bytes += meta.len();
            }
            if done.removed > before {
                sync_dir(&folder)?;
            }
        }
        unnamed.retain(|digest, _| seen.contains(digest));
        Ok(done)
    }
}

/// Collects every hour until told to stop.
pub async fn run(store: Arc<Store>, cluster: Cluster, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(COLLECT_EVERY)).await.is_some() {
        let (store, cluster) = (store.clone(), cluster.clone());
        let round = tokio::task::spawn_blocking(move || {
            let named: HashSet<Digest> = cluster.read().assets_from("").map(|asset| asset.value.digest).collect();
            // Names given since the round began are seen too: their bytes are young.
            store.collect(&|digest| named.contains(digest), SystemTime::now(), GRACE)
        });
        match round.await {
            Ok(Ok(Collected { removed: 0, .. })) => {}
            Ok(Ok(done)) => info!(blobs = done.removed, bytes = done.bytes, "removed blobs that nothing names"),
            Ok(Err(error)) => warn!(%error, "blobs that nothing names could not be removed"),
            Err(error) => warn!(%error, "the blob collector panicked"),
        }
    }
}
