//! Remembers which files were found to hold what their name says, and looks again when a file has changed.
//!
//! A file counts as changed when its size, its inode or its ctime (which nobody can set back) differs. One thread reads
//! a large file; others who want the same bytes wait a little and are then told to come back, so that they do not take
//! up all threads that serve other files.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use raft::types::Digest;
use sha2::{Digest as _, Sha256};

use super::ReadError;

/// How long a reader waits for somebody else's verification.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// How many large files are read for verification at once.
const LARGE_AT_ONCE_MAX: usize = 2;
/// From this size on a file is large, in bytes.
const LARGE_BYTES: u64 = 4 * 1024 * 1024;
/// How many files are remembered; beyond it all are forgotten and verified again when needed.
const REMEMBERED_MAX: usize = 100_000;
/// How much is read at once, in bytes.
const BUFFER_BYTES: usize = 1024 * 1024;

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    size: u64,
    inode: u64,
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self { size: meta.len(), inode: meta.ino(), changed: (meta.ctime(), meta.ctime_nsec()) })
    }

    pub(super) fn inode(self) -> u64 {
        self.inode
    }

    pub(super) fn size(self) -> u64 {
        self.size
    }
}

#[derive(Debug, Clone, Copy)]
enum Known {
    Good(Stamp),
    Damaged(Stamp),
    Checking { large: bool },
}

/// What is known of the files in the store.
#[derive(Debug, Default)]
pub(super) struct Verifier {
    known: Mutex<HashMap<Digest, Known>>,
    changed: Condvar,
}

impl Verifier {
    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a file in this state holds the right bytes.
    pub(super) fn remember(&self, digest: Digest, stamp: Stamp) {
        self.set(digest, Some(Known::Good(stamp)));
    }

    /// Forgets a file that is gone.
    pub(super) fn forget(&self, digest: &Digest) {
        self.set(*digest, None);
    }

    /// What is known without reading: `None` if the file must be read first.
    pub(super) fn verdict(&self, digest: &Digest, stamp: Stamp) -> Option<Result<(), ReadError>> {
        match self.lock().get(digest)? {
            Known::Good(good) if *good == stamp => Some(Ok(())),
            Known::Damaged(bad) if *bad == stamp => Some(Err(ReadError::Damaged)),
            Known::Checking { .. } => Some(Err(ReadError::Busy)),
            Known::Good(_) | Known::Damaged(_) => None,
        }
    }

    /// Makes sure that `file` holds the bytes of `digest`, reading it if need be.
    pub(super) fn check(&self, digest: &Digest, file: &File) -> Result<(), ReadError> {
        let unreadable = |error: io::Error| ReadError::Unreadable(error.to_string());
        let stamp = Stamp::of(file).map_err(unreadable)?;
        if let Some(verdict) = self.wait_for_turn(digest, stamp) {
            return verdict;
        }
        let turn = Turn { verifier: self, digest: *digest };
        let found = hash(file).map_err(unreadable)?;
        if Stamp::of(file).map_err(unreadable)? != stamp {
            return Err(ReadError::Unreadable("it was changed while it was read".into()));
        }
        let verdict = if found == *digest { Known::Good(stamp) } else { Known::Damaged(stamp) };
        turn.end(verdict);
        if found == *digest { Ok(()) } else { Err(ReadError::Damaged) }
    }

    /// Answers what somebody else found out, or nothing once this thread is the one to read the file.
    fn wait_for_turn(&self, digest: &Digest, stamp: Stamp) -> Option<Result<(), ReadError>> {
        let deadline = Instant::now() + WAIT_MAX;
        let large = stamp.size >= LARGE_BYTES;
        let mut known = self.lock();
        loop {
            let free = match known.get(digest) {
                Some(Known::Good(good)) if *good == stamp => return Some(Ok(())),
                Some(Known::Damaged(bad)) if *bad == stamp => return Some(Err(ReadError::Damaged)),
                Some(Known::Checking { .. }) => false,
                _ => !large || under_way(&known) < LARGE_AT_ONCE_MAX,
            };
            if free {
                known.insert(*digest, Known::Checking { large });
                return None;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Some(Err(ReadError::Busy));
            }
            known = self.changed.wait_timeout(known, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn set(&self, digest: Digest, known: Option<Known>) {
        let mut all = self.lock();
        if all.len() >= REMEMBERED_MAX {
            all.retain(|_, known| matches!(known, Known::Checking { .. }));
        }
        match known {
            Some(known) => drop(all.insert(digest, known)),
            None => drop(all.remove(&digest)),
        }
        drop(all);
        self.changed.notify_all();
    }
}

fn under_way(known: &HashMap<Digest, Known>) -> usize {
    known.values().filter(|known| matches!(known, Known::Checking { large: true })).count()
}

/// The right to verify one file; given back however reading ends.
struct Turn<'a> {
    verifier: &'a Verifier,
    digest: Digest,
}

impl Turn<'_> {
    fn end(self, verdict: Known) {
        self.verifier.set(self.digest, Some(verdict));
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut all = self.verifier.lock();
        if matches!(all.get(&self.digest), Some(Known::Checking { .. })) {
            all.remove(&self.digest);
        }
        drop(all);
        self.verifier.changed.notify_all();
    }
}

/// The sha256 of a file, read from its start.
fn hash(file: &File) -> io::Result<Digest> {
    let mut reader = file;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    io::Seek::rewind(&mut reader)?;
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..read]);
    }
    io::Seek::rewind(&mut reader)?;
    Ok(Digest(hasher.finalize().into()))
}
