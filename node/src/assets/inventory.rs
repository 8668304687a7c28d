//! The store as a whole: what is in it, what was lost, what is to go, and a look at every byte at leisure.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use raft::types::Digest;
use rustix::fs::{Advice, fadvise};
use sha2::{Digest as _, Sha256};
use tracing::warn;

use super::ReadError;
use super::store::{Store, sync_dir};
use super::verify::Stamp;

/// How much a leisurely look reads at once, in bytes.
const BUFFER_BYTES: usize = 1024 * 1024;

impl Store {
    /// Every blob there is a file for, with its size in bytes. Their bytes are not looked at. Blocks.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn inventory(&self) -> io::Result<BTreeMap<Digest, u64>> {
        let mut found = BTreeMap::new();
        for folder in fs::read_dir(self.blobs())? {
            let folder = folder?.path();
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let Some(digest) = entry.file_name().to_str().and_then(|name| name.parse::<Digest>().ok()) else {
                    warn!(file = %entry.path().display(), "a file that is no blob lies in the blob store");
                    continue;
                };
                // Gone meanwhile: then it is not there.
                if let Ok(meta) = entry.metadata() {
                    found.insert(digest, meta.len());
                }
            }
        }
        Ok(found)
    }

    /// Removes a blob if `still` says so while no upload can get its name; answers whether it is gone. Blocks.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn remove(&self, digest: &Digest, still: impl FnOnce() -> bool) -> io::Result<bool> {
        let _naming = self.lock_names();
        if !still() {
            return Ok(false);
        }
        let path = self.path(digest);
        self.verifier.forget(digest);
        match fs::remove_file(&path) {
            Ok(()) => sync_dir(path.parent().expect("a blob's path has a folder")).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Reads a blob from the disk, whatever was known of it, and no faster than `bytes_per_second`. Blocks; a damaged
    /// file is moved to quarantine.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn reread(&self, digest: &Digest, bytes_per_second: u64) -> Result<(), ReadError> {
        let unreadable = |error: io::Error| ReadError::Unreadable(error.to_string());
        let file = self.open_file(digest)?;
        let stamp = Stamp::of(&file).map_err(unreadable)?;
        let found = paced_hash(&file, bytes_per_second).map_err(unreadable)?;
        if Stamp::of(&file).map_err(unreadable)? != stamp {
            return Err(ReadError::Busy);
        }
        if found == *digest {
            self.verifier.remember(*digest, stamp);
            return Ok(());
        }
        self.isolate(digest, &file);
        Err(ReadError::Damaged)
    }

    /// Says that a blob was there and is not any more.
    pub fn lose(&self, digest: Digest) {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
        self.losing.notify_one();
    }

    /// The blobs found damaged or gone since this was last asked.
    #[must_use]
    pub fn take_lost(&self) -> Vec<Digest> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).drain().collect()
    }

    /// Resolves when a blob was lost.
    pub async fn losing(&self) {
        self.losing.notified().await;
    }
}

fn paced_hash(file: &File, bytes_per_second: u64) -> io::Result<Digest> {
    // The disk is asked, not the page cache: a file system that cannot do that is read as it is.
    let _ = fadvise(file, 0, None, Advice::DontNeed);
    let mut reader = file;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let (begun, mut done) = (Instant::now(), 0_u64);
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..read]);
        done += read as u64;
        let due = Duration::from_millis(done.saturating_mul(1000) / bytes_per_second.max(1));
        // May end early; the next piece waits the longer.
        std::thread::park_timeout(due.saturating_sub(begun.elapsed()));
    }
    Ok(Digest(hasher.finalize().into()))
}
