//! The folder of blobs: where a digest's bytes are, whether they may be served, and how they get there.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raft::types::Digest;
use tokio::sync::{Notify, Semaphore};
use tracing::{error, info, warn};

use super::receive::{COPIES_MAX, Received, UPLOADS_MAX};
use super::space::{Room, Space};
use super::verify::{Stamp, Verifier};
use super::{ReadError, ReceiveError};

/// How many files are verified ahead of being served at once.
const AHEAD_MAX: usize = 4;

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the blob store {} cannot be used: {what}: {error}; it must be a folder this user may write to", dir.display())]
pub struct StoreError {
    dir: PathBuf,
    what: &'static str,
    error: io::Error,
}

/// The blobs of one node. Below its folder: `blobs/sha256/ab/<digest>`, `tmp` for uploads under way, `quarantine` for
/// files that turned out not to be what their name says.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    pub(super) verifier: Verifier,
    pub(super) space: Space,
    pub(super) uploads: Arc<Semaphore>,
    pub(super) copies: Arc<Semaphore>,
    /// Held while a file gets or loses its name, so that a removal and an upload of the same bytes cannot cross.
    naming: Mutex<()>,
    /// Blobs found damaged since somebody last asked.
    pub(super) lost: Mutex<HashSet<Digest>>,
    pub(super) losing: Notify,
    temporaries: AtomicU64,
    ahead: AtomicUsize,
}

impl Store {
    /// Opens the folder, creating it if need be, and removes what uploads left behind when the process last ended.
    ///
    /// # Errors
    /// When the folder cannot be made or written to.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let fail = |what| move |error| StoreError { dir: dir.to_owned(), what, error };
        let store = Self {
            dir: dir.to_owned(),
            verifier: Verifier::default(),
            space: Space::default(),
            uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
            copies: Arc::new(Semaphore::new(COPIES_MAX)),
            naming: Mutex::default(),
            lost: Mutex::default(),
            losing: Notify::new(),
            temporaries: AtomicU64::new(0),
            ahead: AtomicUsize::new(0),
        };
        for folder in [store.blobs(), store.tmp(), store.quarantine()] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .map_err(fail("its folders cannot be made"))?;
        }
        let swept = store.sweep().map_err(fail("leftovers of uploads cannot be removed"))?;
        if swept > 0 {
            info!(files = swept, "removed what unfinished uploads left behind");
        }
        store.probe().map_err(fail("nothing can be written into its folders"))?;
        let above = dir.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        for folder in [above, dir, &dir.join("blobs"), &store.blobs()] {
            sync_dir(folder).map_err(fail("its folders cannot be synced"))?;
        }
        Ok(store)
    }

    fn sweep(&self) -> io::Result<usize> {
        let mut swept = 0;
        for entry in fs::read_dir(self.tmp())? {
            fs::remove_file(entry?.path())?;
            swept += 1;
        }
        Ok(swept)
    }

    /// Writes what every upload writes, so that a folder of somebody else's is noticed now and not with the first one.
    fn probe(&self) -> io::Result<()> {
        use std::io::Write as _;
        let mut written = self.temporary()?;
        written.file.write_all(b"probe")?;
        let there = self.blobs().join(format!("probe-{}", std::process::id()));
        fs::rename(&written.path, &there)?;
        written.named = true;
        fs::remove_file(there)
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.dir.join("blobs/sha256")
    }

    fn tmp(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    fn quarantine(&self) -> PathBuf {
        self.dir.join("quarantine")
    }

    pub(super) fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.blobs().join(&name[..2]).join(name)
    }

    pub(super) fn lock_names(&self) -> MutexGuard<'_, ()> {
        self.naming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How full the disk is.
    ///
    /// # Errors
    /// When the disk does not say.
    pub fn room(&self) -> io::Result<Room> {
        Room::on(File::open(&self.dir)?)
    }

    /// How many damaged files wait for somebody to look at them.
    #[must_use]
    pub fn quarantined(&self) -> usize {
        fs::read_dir(self.quarantine()).map_or(0, Iterator::count)
    }

    /// The size of a blob in bytes, if there is a file for it. Its bytes are not looked at.
    #[must_use]
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.path(digest)).ok().map(|meta| meta.len())
    }

    /// Opens a blob for reading, verified at its first use in this process and whenever its file has changed.
    /// Blocks; a damaged file is moved to quarantine.
    ///
    /// # Errors
    /// Why its bytes cannot be served from here right now.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, ReadError> {
        let file = self.open_file(digest)?;
        match self.verifier.check(digest, &file) {
            Err(ReadError::Damaged) => {
                self.isolate(digest, &file);
                Err(ReadError::Damaged)
            }
            verdict => verdict.map(|()| file),
        }
    }

    /// Opens a blob if it need not be verified first; else it is read in the background and reported as busy until then.
    ///
    /// # Errors
    /// Why its bytes cannot be served from here right now.
    pub fn open_ready(self: &Arc<Self>, digest: &Digest) -> Result<(File, u64), ReadError> {
        let file = self.open_file(digest)?;
        let stamp = Stamp::of(&file).map_err(|error| ReadError::Unreadable(error.to_string()))?;
        match self.verifier.verdict(digest, stamp) {
            Some(verdict) => verdict.map(|()| (file, stamp.size())),
            None => {
                self.verify_ahead(*digest);
                Err(ReadError::Busy)
            }
        }
    }

    /// Where a blob's file is and how many bytes it has, for servers that must not block. A blob that has yet to be
    /// verified is read in the background and reported as busy until then.
    ///
    /// # Errors
    /// Why its bytes cannot be served from here right now.
    pub fn ready(self: &Arc<Self>, digest: &Digest) -> Result<(PathBuf, u64), ReadError> {
        self.open_ready(digest).map(|(_, size)| (self.path(digest), size))
    }

    fn verify_ahead(self: &Arc<Self>, digest: Digest) {
        let turn = Ahead::take(self);
        if turn.before >= AHEAD_MAX {
            return;
        }
        let work = move || {
            if let Err(error) = turn.store.open_blob(&digest) {
                warn!(%digest, %error, "a blob could not be verified");
            }
        };
        if let Err(error) = std::thread::Builder::new().name("blob-verify".into()).spawn(work) {
            warn!(%error, "no thread for verifying a blob");
        }
    }

    pub(super) fn open_file(&self, digest: &Digest) -> Result<File, ReadError> {
        File::open(self.path(digest)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ReadError::Missing,
            _ => ReadError::Unreadable(error.to_string()),
        })
    }

    /// Moves a damaged file out of the way, unless good bytes have taken its place meanwhile.
    pub(super) fn isolate(&self, digest: &Digest, damaged: &File) {
        let _naming = self.lock_names();
        let path = self.path(digest);
        let same = |meta: fs::Metadata| Stamp::of(damaged).is_ok_and(|stamp| stamp.inode() == meta.ino());
        if !fs::metadata(&path).is_ok_and(same) {
            return;
        }
        let to = self.quarantine().join(digest.to_string());
        match fs::rename(&path, &to) {
            Ok(()) => {
                error!(
                    %digest, quarantine = %to.display(),
                    "a blob's bytes are not what its digest says: it was put in quarantine; check the disk, and upload it again if no other node holds it"
                );
                self.lose(*digest);
            }
            Err(error) => {
                error!(%digest, file = %path.display(), %error, "a damaged blob cannot be moved to quarantine")
            }
        }
    }

    /// A new file for an upload.
    pub(super) fn temporary(&self) -> io::Result<Temporary> {
        let number = self.temporaries.fetch_add(1, Ordering::Relaxed);
        let path = self.tmp().join(format!("upload-{}-{number}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        Ok(Temporary { path, file, named: false })
    }

    /// Gives synced bytes their name, unless good ones bear it already.
    pub(super) fn keep(&self, mut bytes: Temporary, digest: Digest) -> Result<Received, ReceiveError> {
        let path = self.path(&digest);
        let _naming = self.lock_names();
        let size = bytes.file.metadata()?.len();
        if let Ok(old) = File::open(&path)
            && matches!(self.verifier.verdict(&digest, Stamp::of(&old)?), Some(Ok(())))
        {
            return Ok(Received { digest, size, fresh: false });
        }
        let folder = path.parent().expect("a blob's path has a folder");
        match DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => sync_dir(&self.blobs())?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
        fs::rename(&bytes.path, &path)?;
        bytes.named = true;
        sync_dir(folder)?;
        self.verifier.remember(digest, Stamp::of(&bytes.file)?);
        Ok(Received { digest, size, fresh: true })
    }
}

/// One verification ahead of being served; given back however it ends, a panic included.
struct Ahead {
    store: Arc<Store>,
    /// How many there were already.
    before: usize,
}

impl Ahead {
    fn take(store: &Arc<Store>) -> Self {
        Self { store: store.clone(), before: store.ahead.fetch_add(1, Ordering::AcqRel) }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.store.ahead.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A file without a name of its own; gone on drop unless it was given one.
#[derive(Debug)]
pub(super) struct Temporary {
    path: PathBuf,
    pub(super) file: File,
    named: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.named
            && let Err(error) = fs::remove_file(&self.path)
        {
            warn!(file = %self.path.display(), %error, "what an upload left behind cannot be removed");
        }
    }
}

/// Makes names that were given or taken in `dir` survive a power loss.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verification_that_panics_makes_room_for_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path()).unwrap());
        for _ in 0..=AHEAD_MAX {
            let turn = Ahead::take(&store);
            assert_eq!(turn.before, 0);
            let ended = std::thread::spawn(move || {
                let _turn = turn;
                panic!("as a disk's driver might make it");
            });
            assert!(ended.join().is_err());
        }
    }
}
