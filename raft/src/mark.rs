//! A note outside the database of how far the log was synced, so that a disk that forgets is noticed.
//!
//! A damaged tail of a write-ahead log looks like a write cut short by a crash, and the store drops it without a word.
//! If the log then ends before this note, acknowledged entries are gone, and the node must not vote as if nothing
//! had happened. The note may lag behind the log (it is written about once a second), never be ahead of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::codec::{self, CodecError, DurableMark, LogPosition};

/// Two slots, written in turn, so that one is whole whenever power goes.
const SLOT_BYTES: usize = 512;

/// The note, open for writing.
#[derive(Debug)]
pub struct MarkFile {
    file: File,
    path: PathBuf,
    sequence: u64,
    last: Option<LogPosition>,
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
    /// Makes an empty note; nothing has been synced yet.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn create(path: &Path, sync: bool) -> Result<Self, MarkError> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        let mut mark = Self { file, path: path.to_owned(), sequence: 0, last: None, sync };
        mark.write(None)?;
        Ok(mark)
    }

    /// Opens the note of an earlier run.
    ///
    /// # Errors
    /// When it is not there or neither slot is whole.
    pub fn open(path: &Path, sync: bool) -> Result<Self, MarkError> {
        let file = File::options().read(true).write(true).open(path)?;
        let mut found: Result<DurableMark, MarkError> =
            Err(MarkError::Damaged(CodecError::Short { have: 0, need: SLOT_BYTES }));
        for slot in 0..2 {
            match read_slot(&file, slot) {
                Ok(mark) if found.as_ref().is_ok_and(|best| best.sequence >= mark.sequence) => {}
                Ok(mark) => found = Ok(mark),
                Err(error) if found.is_err() => found = Err(error),
                Err(_) => {}
            }
        }
        let mark = found?;
        Ok(Self { file, path: path.to_owned(), sequence: mark.sequence, last: mark.last, sync })
    }

    /// How far the log must reach.
    #[must_use]
    pub fn last(&self) -> Option<LogPosition> {
        self.last
    }

    /// Where the note is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes that the log is synced up to `last`.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write(&mut self, last: Option<LogPosition>) -> Result<(), MarkError> {
        let mark = DurableMark { sequence: self.sequence + 1, last };
        let mut slot = codec::encode(&mark).map_err(MarkError::Damaged)?;
        slot.resize(SLOT_BYTES, 0);
        self.file.write_all_at(&slot, offset(mark.sequence % 2))?;
        if self.sync {
            self.file.sync_data()?;
        }
        self.sequence = mark.sequence;
        self.last = last;
        Ok(())
    }
}

fn offset(slot: u64) -> u64 {
    slot * SLOT_BYTES as u64
}

fn read_slot(file: &File, slot: u64) -> Result<DurableMark, MarkError> {
    let mut bytes = [0; SLOT_BYTES];
    let mut have = 0;
    while have < SLOT_BYTES {
        match file.read_at(&mut bytes[have..], offset(slot) + have as u64)? {
            0 => break,
            more => have += more,
        }
    }
    let header = codec::Header::parse(&bytes[..have]).map_err(MarkError::Damaged)?;
    let end = (codec::HEADER_BYTES + header.length).min(have);
    codec::decode(&bytes[..end]).map_err(MarkError::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(index: u64) -> Option<LogPosition> {
        Some(LogPosition { term: 1, node: 1, index })
    }

    #[test]
    fn the_last_whole_slot_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mark");
        let mut mark = MarkFile::create(&path, true).unwrap();
        for index in 1..=5 {
            mark.write(at(index)).unwrap();
        }
        assert_eq!(MarkFile::open(&path, true).unwrap().last(), at(5));
        // A write cut short leaves the slot before it.
        let torn = File::options().write(true).open(&path).unwrap();
        torn.write_all_at(&[0xee; 40], offset(mark.sequence % 2)).unwrap();
        assert_eq!(MarkFile::open(&path, true).unwrap().last(), at(4));
        torn.write_all_at(&[0xee; 40], offset((mark.sequence + 1) % 2)).unwrap();
        assert!(matches!(MarkFile::open(&path, true), Err(MarkError::Damaged(_))));
    }
}
