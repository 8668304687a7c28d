//! A note outside the database of what was synced, so that a disk that forgets is told from a write cut short.
//!
//! When power goes, the last write is torn, and the store finds a damaged end of its write-ahead log. That is as it
//! should be, unless the damage reaches back into what had been synced: then acknowledged entries are gone, and the
//! node must not vote as if nothing had happened. Every synced write carries a number that only rises; the last one
//! known to be synced is noted here by a thread of its own, a few milliseconds later, and never before.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::codec::{self, CodecError, DurableMark};
use crate::failure::{Fatal, Health, write_hint};
use crate::files;

/// Two slots, written in turn, so that one is whole whenever power goes.
const SLOT_BYTES: usize = 512;
/// The note is written at most this often: what it costs the disk is bounded, and so is how far it lags.
const NOTE_EVERY: Duration = Duration::from_millis(10);

/// The note, open for writing.
#[derive(Debug)]
pub struct MarkFile {
    file: File,
    path: PathBuf,
    next_slot: u64,
    round: u64,
    sync: bool,
}

/// Why the note cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    /// The disk said no.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Neither slot is whole.
    #[error("neither of its two slots is readable: {0}")]
    Damaged(CodecError),
}

impl MarkFile {
    /// Makes an empty note where there is none; nothing has been synced yet. The file gets its name once it is whole.
    ///
    /// # Errors
    /// When there is one, or the disk does not take it.
    pub fn create(path: &Path, sync: bool) -> Result<Self, MarkError> {
        if path.try_exists()? {
            return Err(MarkError::Io(io::ErrorKind::AlreadyExists.into()));
        }
        let beside = path.with_extension("new");
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&beside)?;
        let mut mark = Self { file, path: path.to_owned(), next_slot: 0, round: 0, sync };
        // Both slots, so that the file has its full size from the start and later notes change no metadata.
        mark.write(0)?;
        mark.write(0)?;
        files::publish(&beside, path)?;
        Ok(mark)
    }

    /// Opens the note of an earlier run.
    ///
    /// # Errors
    /// When it is not there or neither slot is whole.
    pub fn open(path: &Path, sync: bool) -> Result<Self, MarkError> {
        let file = File::options().read(true).write(true).open(path)?;
        let slots = [read_slot(&file, 0), read_slot(&file, 1)];
        let (round, next_slot) = match slots {
            [Ok(a), Ok(b)] => (a.max(b), u64::from(a >= b)),
            [Ok(a), Err(_)] => (a, 1),
            [Err(_), Ok(b)] => (b, 0),
            [Err(error), Err(_)] => return Err(error),
        };
        Ok(Self { file, path: path.to_owned(), next_slot, round, sync })
    }

    /// The number of the last write known to be synced.
    #[must_use]
    pub fn round(&self) -> u64 {
        self.round
    }

    /// Notes that everything up to write `round` is synced.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write(&mut self, round: u64) -> Result<(), MarkError> {
        let mut slot = codec::encode(&DurableMark { round }).map_err(MarkError::Damaged)?;
        slot.resize(SLOT_BYTES, 0);
        self.file.write_all_at(&slot, self.next_slot * SLOT_BYTES as u64)?;
        if self.sync {
            self.file.sync_data()?;
        }
        self.next_slot = 1 - self.next_slot;
        self.round = round;
        Ok(())
    }
}

fn read_slot(file: &File, slot: u64) -> Result<u64, MarkError> {
    let mut bytes = [0; SLOT_BYTES];
    file.read_exact_at(&mut bytes, slot * SLOT_BYTES as u64)?;
    let header = codec::Header::parse(&bytes).map_err(MarkError::Damaged)?;
    let end = (codec::HEADER_BYTES + header.length).min(SLOT_BYTES);
    let mark: DurableMark = codec::decode(&bytes[..end]).map_err(MarkError::Damaged)?;
    Ok(mark.round)
}

/// The thread that keeps the note; ends when dropped, with the note up to date.
#[derive(Debug)]
pub(crate) struct Marker {
    synced: Arc<AtomicU64>,
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Marker {
    pub(crate) fn start(mark: MarkFile, health: Health) -> io::Result<Self> {
        let synced = Arc::new(AtomicU64::new(mark.round));
        let (wake, woken) = sync_channel(1);
        let seen = synced.clone();
        let thread = Builder::new().name("raft-mark".into()).spawn(move || keep(mark, &seen, &woken, &health))?;
        Ok(Self { synced, wake: Some(wake), thread: Some(thread) })
    }

    /// Everything up to write `round` is synced; never waits.
    pub(crate) fn note(&self, round: u64) {
        self.synced.store(round, Ordering::Release);
        if let Some(wake) = &self.wake {
            // Full means that it is about to look anyway.
            let _ = wake.try_send(());
        }
    }
}

impl Drop for Marker {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn keep(mut mark: MarkFile, synced: &AtomicU64, woken: &Receiver<()>, health: &Health) {
    loop {
        let closed = woken.recv().is_err();
        let round = synced.load(Ordering::Acquire);
        if round > mark.round
            && let Err(error) = mark.write(round)
        {
            let detail = error.to_string();
            health.fail(Fatal::at("writing", &mark.path, &detail, write_hint(&detail)));
            return;
        }
        if closed {
            return;
        }
        std::thread::park_timeout(NOTE_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_slot_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mark");
        let mut mark = MarkFile::create(&path, true).unwrap();
        for round in 1..=5 {
            mark.write(round).unwrap();
            assert_eq!(MarkFile::open(&path, true).unwrap().round(), round);
        }
        // A write cut short leaves the slot before it.
        let torn = File::options().write(true).open(&path).unwrap();
        torn.write_all_at(&[0xee; 40], (1 - mark.next_slot) * SLOT_BYTES as u64).unwrap();
        let mut again = MarkFile::open(&path, true).unwrap();
        assert_eq!(again.round(), 4);
        again.write(9).unwrap();
        assert_eq!(MarkFile::open(&path, true).unwrap().round(), 9);
        torn.write_all_at(&[0xee; 2 * SLOT_BYTES], 0).unwrap();
        assert!(matches!(MarkFile::open(&path, true), Err(MarkError::Damaged(_))));
    }

    #[test]
    fn a_note_that_is_there_is_never_replaced_by_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mark");
        MarkFile::create(&path, true).unwrap().write(7).unwrap();
        assert!(matches!(MarkFile::create(&path, true), Err(MarkError::Io(_))));
        assert_eq!(MarkFile::open(&path, true).unwrap().round(), 7);
    }

    #[test]
    fn the_note_is_up_to_date_when_the_thread_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mark");
        let marker = Marker::start(MarkFile::create(&path, true).unwrap(), Health::default()).unwrap();
        for round in 1..=1_000 {
            marker.note(round);
        }
        drop(marker);
        assert_eq!(MarkFile::open(&path, true).unwrap().round(), 1_000);
    }
}
