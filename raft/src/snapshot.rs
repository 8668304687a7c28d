//! Snapshots: the whole state as a file of framed, checksummed records, written and read as a stream.
//!
//! ```text
//! header frame (cluster, generation, how far, membership) | one frame per record | trailer frame (count, checksum)
//! ```
//!
//! A frame is a codec envelope; records are in the order of their keys. The file does not depend on the engine, so it
//! can travel to another node or another version.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::codec::{self, Applied, CodecError, HEADER_BYTES, Header, Identity, SnapshotHeader, SnapshotTrailer};
use crate::files;
use crate::writer::join_until;

/// The ending of a finished snapshot.
const FINISHED: &str = "snapshot";
/// The ending of one that is being written.
const UNFINISHED: &str = "partial";
/// Bytes read or written at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// Why a snapshot cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The disk said no.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A frame is not what it should be.
    #[error("frame {0}: {1}")]
    Frame(u64, CodecError),
    /// It ends before the trailer.
    #[error("cut short after {0} frames")]
    Short(u64),
    /// Something follows the trailer.
    #[error("more data follows its end")]
    Long,
    /// Count or checksum in the trailer do not match.
    #[error("damaged: it does not hold what its last frame says")]
    Trailer,
    /// It is of another cluster or generation.
    #[error("it belongs to another cluster or generation")]
    Foreign,
    /// Whoever supplies the records failed.
    #[error("{0}")]
    Source(String),
}

/// A finished snapshot as openraft passes it around: an open file, not its content.
#[derive(Debug)]
pub struct SnapshotFile {
    /// Where it is.
    pub path: PathBuf,
    /// Open for reading, so that it stays readable when a newer one replaces it.
    pub file: File,
}

/// A snapshot on its way here.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
}

impl Incoming {
    /// The same file from its start.
    pub(crate) fn reopen(&self) -> io::Result<File> {
        File::open(&self.path)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "what is left of an incoming snapshot cannot be removed");
        }
    }
}

/// The directory of this node's snapshots: the newest finished one, and meanwhile the one that is being installed.
#[derive(Debug, Clone)]
pub struct Snapshots {
    dir: PathBuf,
    identity: Identity,
    shared: Arc<Shared>,
}

/// One is built by a thread of its own while another may arrive and be installed.
#[derive(Debug, Default)]
struct Shared {
    /// The one that replaces the records at this moment: it stays whatever else is finished. Names of finished
    /// snapshots are given and removed under this lock.
    installing: Mutex<Option<PathBuf>>,
    /// Tells unfinished files of the same log entry apart.
    unfinished: AtomicU64,
    stopping: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Snapshots {
    /// Opens the directory, making it if need be, and clears away what a crash left unfinished.
    ///
    /// # Errors
    /// When the directory cannot be made or read.
    pub fn open(dir: PathBuf, identity: Identity) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        let snapshots = Self { dir, identity, shared: Arc::default() };
        for path in snapshots.files(UNFINISHED)? {
            fs::remove_file(path)?;
        }
        Ok(snapshots)
    }

    /// Removes all finished snapshots but the newest and the one that is being installed.
    ///
    /// # Errors
    /// When the directory cannot be read or written.
    pub fn tidy(&self) -> io::Result<()> {
        let installing = lock(&self.shared.installing);
        self.newest()?.map_or(Ok(()), |newest| self.remove_older(&newest, installing.as_deref()))
    }

    /// Removes all finished snapshots: they are of a generation that is over, and a new one is written when it is wanted.
    ///
    /// # Errors
    /// When the directory cannot be read or written.
    pub(crate) fn discard(&self) -> io::Result<()> {
        self.files(FINISHED)?.into_iter().try_for_each(fs::remove_file)?;
        files::sync_dir(&self.dir)
    }

    /// Keeps a snapshot that is about to replace the records, until `installed`.
    pub fn keep(&self, path: &Path) {
        *lock(&self.shared.installing) = Some(path.to_owned());
    }

    /// The records are those of the snapshot that was kept; it is as good as any other now.
    pub fn installed(&self) {
        *lock(&self.shared.installing) = None;
    }

    /// Minds a thread that writes a snapshot.
    pub(crate) fn mind(&self, thread: JoinHandle<()>) {
        let mut threads = lock(&self.shared.threads);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
    }

    /// Whether `stop` has been called: a snapshot that fails now is no failure.
    pub(crate) fn is_stopping(&self) -> bool {
        self.shared.stopping.load(Ordering::Acquire)
    }

    /// Gives up snapshots that are being written; says whether their threads have ended within `time`.
    pub(crate) fn stop(&self, time: Duration) -> bool {
        self.shared.stopping.store(true, Ordering::Release);
        let threads = std::mem::take(&mut *lock(&self.shared.threads));
        let until = Instant::now() + time;
        threads.into_iter().all(|thread| join_until(thread, until).is_some())
    }

    /// Where they are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The finished snapshot, if there is one.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn newest(&self) -> io::Result<Option<PathBuf>> {
        Ok(self.files(FINISHED)?.pop())
    }

    /// The finished snapshot with its header.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn current(&self) -> Result<Option<(Applied, SnapshotFile)>, SnapshotError> {
        let Some(path) = self.newest()? else { return Ok(None) };
        let header = Frames::new(BufReader::new(File::open(&path)?)).header()?;
        self.check_origin(&header)?;
        Ok(Some((header.applied, SnapshotFile { file: File::open(&path)?, path })))
    }

    /// Writes a snapshot. `fill` is given a sink for encoded records, in the order of their keys.
    ///
    /// # Errors
    /// When the disk does not take it or `fill` fails; then nothing has changed.
    pub fn write(
        &self,
        applied: &Applied,
        fill: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), SnapshotError>) -> Result<(), SnapshotError>,
    ) -> Result<SnapshotFile, SnapshotError> {
        self.write_for(applied, fill, false)
    }

    fn write_for(
        &self,
        applied: &Applied,
        fill: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), SnapshotError>) -> Result<(), SnapshotError>,
        install: bool,
    ) -> Result<SnapshotFile, SnapshotError> {
        let number = self.shared.unfinished.fetch_add(1, Ordering::Relaxed);
        let partial = self.dir.join(name_of(applied, &format!("{number}.{UNFINISHED}")));
        let result = self.write_frames(&partial, applied, fill).and_then(|()| self.finish(&partial, applied, install));
        if result.is_err() {
            let _ = fs::remove_file(&partial);
        }
        result
    }

    fn write_frames(
        &self,
        partial: &Path,
        applied: &Applied,
        fill: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), SnapshotError>) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        let mut out = Summed { inner: BufWriter::with_capacity(BUFFER_BYTES, File::create(partial)?), checksum: 0 };
        let header = SnapshotHeader {
            cluster: self.identity.cluster,
            generation: self.identity.generation,
            applied: applied.clone(),
        };
        out.write_all(&codec::encode(&header).map_err(|error| SnapshotError::Frame(0, error))?)?;
        let mut records = 0;
        fill(&mut |frame| {
            if self.is_stopping() {
                return Err(SnapshotError::Source("this node is stopping".into()));
            }
            records += 1;
            out.write_all(frame).map_err(SnapshotError::Io)
        })?;
        let trailer = SnapshotTrailer { records, checksum: out.checksum };
        out.write_all(&codec::encode(&trailer).map_err(|error| SnapshotError::Frame(records + 1, error))?)?;
        let file = out.inner.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(())
    }

    /// Gives it its name. One that was built while a newer one arrived is not wanted any more: it stays readable
    /// through the open file alone.
    fn finish(&self, partial: &Path, applied: &Applied, install: bool) -> Result<SnapshotFile, SnapshotError> {
        let path = self.dir.join(name_of(applied, FINISHED));
        let mut installing = lock(&self.shared.installing);
        let file = File::open(partial)?;
        if !install && self.newest()?.is_some_and(|newest| newest > path) {
            fs::remove_file(partial)?;
            return Ok(SnapshotFile { file, path });
        }
        files::publish(partial, &path)?;
        if install {
            *installing = Some(path.clone());
        }
        self.remove_older(&path, installing.as_deref())?;
        Ok(SnapshotFile { file, path })
    }

    /// A file for a snapshot that is about to arrive; gone again when dropped.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn incoming(&self) -> io::Result<Incoming> {
        let number = self.shared.unfinished.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("incoming-{number}.{UNFINISHED}"));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        Ok(Incoming { path, file })
    }

    /// Copies a snapshot that came from elsewhere, verifying every frame on the way, and makes it the current one, kept
    /// until `installed`.
    ///
    /// # Errors
    /// When it is damaged, of another cluster, or the disk does not take it; then nothing has changed.
    pub fn import(&self, from: &SnapshotFile) -> Result<SnapshotFile, SnapshotError> {
        {
            let mut installing = lock(&self.shared.installing);
            if self.newest()?.as_ref() == Some(&from.path) {
                *installing = Some(from.path.clone());
                return Ok(SnapshotFile { path: from.path.clone(), file: File::open(&from.path)? });
            }
        }
        let mut frames = Frames::new(BufReader::with_capacity(BUFFER_BYTES, File::open(&from.path)?));
        let header = frames.header()?;
        self.check_origin(&header)?;
        self.write_for(&header.applied, |sink| frames.records(|_, frame| sink(frame)), true)
    }

    /// Reads a snapshot to its end, verifying everything; `each` is given every encoded record.
    ///
    /// # Errors
    /// When it is damaged or of another cluster, or `each` fails.
    pub fn read(
        &self,
        path: &Path,
        each: impl FnMut(u64, &[u8]) -> Result<(), SnapshotError>,
    ) -> Result<Applied, SnapshotError> {
        let mut frames = Frames::new(BufReader::with_capacity(BUFFER_BYTES, File::open(path)?));
        let header = frames.header()?;
        self.check_origin(&header)?;
        frames.records(each)?;
        Ok(header.applied)
    }

    fn check_origin(&self, header: &SnapshotHeader) -> Result<(), SnapshotError> {
        let ours = header.cluster == self.identity.cluster && header.generation == self.identity.generation;
        if ours { Ok(()) } else { Err(SnapshotError::Foreign) }
    }

    fn files(&self, ending: &str) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for item in fs::read_dir(&self.dir)? {
            let path = item?.path();
            if path.extension().is_some_and(|found| found == ending) {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }

    fn remove_older(&self, than: &Path, installing: Option<&Path>) -> io::Result<()> {
        for path in self.files(FINISHED)? {
            if *path < *than && Some(&*path) != installing {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sorts as the log does.
fn name_of(applied: &Applied, ending: &str) -> String {
    let (term, node, index) = applied.last.map_or((0, 0, 0), |last| (last.term, last.node, last.index));
    format!("{term:020}-{node:020}-{index:020}.{ending}")
}

pub(crate) struct Summed<W> {
    pub(crate) inner: W,
    pub(crate) checksum: u32,
}

impl<W: Write> Summed<W> {
    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.checksum = crc32c::crc32c_append(self.checksum, bytes);
        self.inner.write_all(bytes)
    }
}

/// Reads one frame after the other; only one is in memory.
pub(crate) struct Frames<R> {
    from: R,
    frame: Vec<u8>,
    count: u64,
    checksum: u32,
}

impl<R: Read> Frames<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, frame: Vec::new(), count: 0, checksum: 0 }
    }

    pub(crate) fn header(&mut self) -> Result<SnapshotHeader, SnapshotError> {
        self.next()?;
        codec::decode(&self.frame).map_err(|error| SnapshotError::Frame(0, error))
    }

    /// Reads the next frame into `self.frame`; answers the checksum of everything before it.
    fn next(&mut self) -> Result<u32, SnapshotError> {
        let before = self.checksum;
        self.frame.resize(HEADER_BYTES, 0);
        self.fill(0)?;
        let header = Header::parse(&self.frame).map_err(|error| SnapshotError::Frame(self.count, error))?;
        self.frame.resize(HEADER_BYTES + header.length, 0);
        self.fill(HEADER_BYTES)?;
        self.checksum = crc32c::crc32c_append(before, &self.frame);
        self.count += 1;
        Ok(before)
    }

    fn fill(&mut self, from: usize) -> Result<(), SnapshotError> {
        self.from.read_exact(&mut self.frame[from..]).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => SnapshotError::Short(self.count),
            _ => SnapshotError::Io(error),
        })
    }

    pub(crate) fn records(
        &mut self,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        loop {
            let at = self.count;
            let before = self.next()?;
            let envelope = codec::Envelope::open(&self.frame).map_err(|error| SnapshotError::Frame(at, error))?;
            if envelope.kind != codec::Kind::SnapshotTrailer as u8 {
                each(at, &self.frame)?;
                continue;
            }
            let trailer: SnapshotTrailer =
                codec::decode(&self.frame).map_err(|error| SnapshotError::Frame(at, error))?;
            if trailer != (SnapshotTrailer { records: at - 1, checksum: before }) {
                return Err(SnapshotError::Trailer);
            }
            return if self.from.read(&mut [0])? == 0 { Ok(()) } else { Err(SnapshotError::Long) };
        }
    }
}
