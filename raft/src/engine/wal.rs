//! RocksDB's log files, read before RocksDB reads them: some damage sends its reader round in circles for ever.
//!
//! A header whose type byte says "of a recycled file", met after a good record of a file that is not recycled, is reported
//! as a bad record without stepping over it (`ReadPhysicalRecord` in RocksDB 9.5 to 11.8; its issue 13333). The bytes behind
//! a write that a loss of power has torn can look like that by chance, about once in 400 such writes. So every log file is
//! walked first, by the rules of that reader; one that holds such a trap is never given to it.
//!
//! Format: blocks of 32 KiB of records `crc32c u32 (masked), length u16, type u8, payload`, little-endian. Write-ahead logs
//! and the manifest share it (RocksDB wiki, "Write Ahead Log File Format").

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::files;

/// Bytes of a block.
const BLOCK: usize = 32 * 1024;
/// Bytes of a header: checksum, length, type.
const HEADER: usize = 7;
/// What is added to a checksum that is stored beside the data it covers.
const MASK: u32 = 0xa282_ead8;
/// The type bits of records that a reader may ignore when it does not know them.
const IGNORABLE: u8 = 0x80;
/// What is put before the name of a log file that is kept while it is tried without its end.
const KEPT: &str = "torn-";

/// A place where the reader would stay for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trap {
    /// Offset of the header, bytes.
    pub(crate) at: u64,
    /// Bytes from the start of the file to the end of the last whole record before the first damage.
    pub(crate) whole: u64,
}

/// What the reader makes of a record.
enum Step {
    /// Goes on.
    On,
    /// Comes back with a record, or gives up: it never reaches what is behind.
    Done,
    /// Drops the rest of the block.
    NextBlock,
}

/// The reader's state.
#[derive(Default)]
struct Walk {
    /// A record has been returned.
    returned: bool,
    /// Inside a record of several parts.
    inside: bool,
    /// Something was wrong since the last record that was returned.
    damaged: bool,
    /// End of the last record before any damage.
    whole: u64,
}

impl Walk {
    fn wrong(&mut self) -> Step {
        (self.damaged, self.inside) = (true, false);
        Step::NextBlock
    }

    /// A record is complete and ends at `end`.
    fn complete(&mut self, end: u64) -> Step {
        if self.damaged {
            return Step::Done;
        }
        (self.returned, self.inside, self.whole) = (true, false, end);
        Step::On
    }

    /// One record whose checksum is right.
    fn take(&mut self, kind: u8, end: u64) -> Step {
        match kind {
            // Whole.
            1 => {
                self.damaged |= self.inside;
                self.complete(end)
            }
            // Its first part.
            2 => {
                self.damaged |= self.inside;
                self.inside = true;
                Step::On
            }
            // A part between.
            3 => {
                self.damaged |= !self.inside;
                Step::On
            }
            // The last part.
            4 if self.inside => self.complete(end),
            4 => {
                self.damaged = true;
                Step::On
            }
            // What describes the file, and what a reader of this version need not know.
            _ => {
                self.damaged |= !matches!(kind, 9 | 10) && kind & IGNORABLE == 0;
                if !self.damaged && !self.inside {
                    self.whole = end;
                }
                Step::On
            }
        }
    }
}

/// Whether a header says that its file is recycled.
fn recycled(kind: u8) -> bool {
    matches!(kind, 5..=8 | 11 | 131)
}

fn checksum_is_right(record: &[u8]) -> bool {
    let stored = u32::from_le_bytes([record[0], record[1], record[2], record[3]]);
    crc32c::crc32c(&record[6..]).rotate_right(15).wrapping_add(MASK) == stored
}

/// Walks a log file as RocksDB's reader does.
///
/// # Errors
/// When it cannot be read.
fn find(mut file: impl Read) -> io::Result<Option<Trap>> {
    let mut walk = Walk::default();
    let mut block = Vec::with_capacity(BLOCK);
    let mut begin = 0_u64;
    loop {
        block.clear();
        file.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
        let mut rest = &block[..];
        while rest.len() >= HEADER {
            let at = begin + (block.len() - rest.len()) as u64;
            let kind = rest[6];
            if recycled(kind) {
                // At the beginning of a file it makes the reader take the file for a recycled one, and step over.
                return Ok(walk.returned.then_some(Trap { at, whole: walk.whole }));
            }
            let size = HEADER + usize::from(u16::from_le_bytes([rest[4], rest[5]]));
            let step = match rest.get(..size) {
                None => walk.wrong(),
                // Space set aside and never written; an error only inside a record.
                Some(_) if kind == 0 && size == HEADER => {
                    walk.damaged |= walk.inside;
                    walk.inside = false;
                    Step::NextBlock
                }
                Some(record) if !checksum_is_right(record) => walk.wrong(),
                Some(_) => walk.take(kind, at + size as u64),
            };
            match step {
                Step::On => rest = &rest[size..],
                Step::NextBlock => break,
                Step::Done => return Ok(None),
            }
        }
        if block.len() < BLOCK {
            return Ok(None);
        }
        begin += BLOCK as u64;
    }
}

fn trap_in(path: &Path) -> io::Result<Option<Trap>> {
    match File::open(path) {
        Ok(file) => find(file),
        // RocksDB says better what is missing.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The write-ahead logs of a database; none if there is no database.
fn logs(db: &Path) -> io::Result<Vec<PathBuf>> {
    let items = match fs::read_dir(db) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        items => items?,
    };
    let mut found = Vec::new();
    for item in items {
        let path = item?.path();
        if path.extension().is_some_and(|end| end == "log") {
            found.push(path);
        }
    }
    Ok(found)
}

/// The manifest in use.
fn manifest(db: &Path) -> io::Result<Option<PathBuf>> {
    match fs::read_to_string(db.join("CURRENT")) {
        Ok(name) => Ok(Some(db.join(name.trim_end()))),
        // What is missing or is no text is for RocksDB to say.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A log file of the database that RocksDB must not be given, if there is one.
///
/// # Errors
/// When one cannot be read.
pub(crate) fn trap(db: &Path) -> io::Result<Option<(PathBuf, Trap)>> {
    for path in logs(db)?.into_iter().chain(manifest(db)?) {
        if let Some(trap) = trap_in(&path)? {
            return Ok(Some((path, trap)));
        }
    }
    Ok(None)
}

/// Write-ahead logs that were cut before the first damage, each kept whole in `home` meanwhile.
#[derive(Debug)]
pub(crate) struct Cut {
    home: PathBuf,
    db: PathBuf,
}

impl Cut {
    /// Cuts every write-ahead log that holds a trap. Nothing if none does.
    ///
    /// # Errors
    /// When the disk does not take it; `undo` puts back what was begun.
    pub(crate) fn make(home: &Path, db: &Path) -> io::Result<Option<Self>> {
        let mut cut = None;
        for path in logs(db)? {
            let (Some(trap), Some(name)) = (trap_in(&path)?, path.file_name()) else { continue };
            let beside = home.join("torn.tmp");
            fs::copy(&path, &beside)?;
            File::open(&beside)?.sync_all()?;
            files::publish(&beside, &home.join(format!("{KEPT}{}", name.to_string_lossy())))?;
            cut = Some(Self { home: home.to_owned(), db: db.to_owned() });
            let file = File::options().write(true).open(&path)?;
            file.set_len(trap.whole)?;
            file.sync_all()?;
            tracing::debug!(path = %path.display(), at = trap.at, whole = trap.whole, "tried without its end");
        }
        Ok(cut)
    }

    /// Puts the whole files back.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(crate) fn undo(&self) -> io::Result<()> {
        undo(&self.home, &self.db)
    }

    /// Keeps the cut: nothing that counts is missing.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(crate) fn keep(&self) -> io::Result<()> {
        for (path, _) in kept(&self.home)? {
            fs::remove_file(path)?;
        }
        files::sync_dir(&self.home)
    }
}

/// Puts back what a cut has kept that a crash interrupted.
///
/// # Errors
/// When the disk does not take it.
pub(crate) fn undo(home: &Path, db: &Path) -> io::Result<()> {
    for (path, name) in kept(home)? {
        files::publish(&path, &db.join(name))?;
    }
    Ok(())
}

/// The whole files, and their names in the database.
fn kept(home: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for item in fs::read_dir(home)? {
        let item = item?;
        if let Some(name) = item.file_name().to_str().and_then(|name| name.strip_prefix(KEPT)) {
            found.push((item.path(), name.to_owned()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record as RocksDB writes it.
    fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap();
        let mut out = vec![0, 0, 0, 0];
        out.extend(length.to_le_bytes());
        out.push(kind);
        out.extend(payload);
        let crc = crc32c::crc32c(&out[6..]).rotate_right(15).wrapping_add(MASK);
        out[..4].copy_from_slice(&crc.to_le_bytes());
        out
    }

    fn walk(parts: &[&[u8]]) -> Option<Trap> {
        find(&parts.concat()[..]).unwrap()
    }

    #[test]
    fn what_is_whole_and_what_ends_early_holds_no_trap() {
        let (one, first, last) = (record(1, b"one"), record(2, b"fir"), record(4, b"st"));
        for parts in [
            &[&one[..], &first, &last][..],
            &[],
            &[&one[..5]],
            &[&one, &first],
            &[&one, &first, &last[..8]],
            &[&record(130, b"before"), &one, &[0; 20]],
        ] {
            assert_eq!(walk(parts), None, "{parts:?}");
        }
    }

    #[test]
    fn a_type_of_recycled_files_behind_a_record_is_a_trap() {
        let one = record(1, b"one");
        for kind in [5, 6, 7, 8, 11, 131] {
            let like = [1, 2, 3, 4, 5, 6, kind];
            assert_eq!(walk(&[&one, &like]), Some(Trap { at: 10, whole: 10 }), "{kind}");
            assert_eq!(walk(&[&like]), None, "{kind}: at the beginning the reader steps over");
        }
    }

    #[test]
    fn a_trap_in_the_block_behind_damage_is_cut_before_the_damage() {
        let one = record(1, b"one");
        let mut bad = record(1, &[7; 200]);
        bad[50] ^= 1;
        let first = record(2, b"a beginning");
        let mut file = [&one[..], &first, &bad].concat();
        file.resize(BLOCK, 9);
        let next_block = [1, 2, 3, 4, 5, 6, 5];
        assert_eq!(walk(&[&file, &next_block]), Some(Trap { at: BLOCK as u64, whole: 10 }));
        // A good record behind the damage: the reader comes back with it and stops there.
        assert_eq!(walk(&[&file, &one, &next_block]), None);
        // Within the same block it is dropped unread.
        assert_eq!(walk(&[&one, &bad, &next_block]), None);
    }

    #[test]
    fn a_cut_is_taken_back_or_kept() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("db");
        fs::create_dir(&db).unwrap();
        let (one, log) = (record(1, b"one"), db.join("000007.log"));
        let whole = [&one[..], &[0, 0, 0, 0, 9, 0, 6, 1]].concat();
        fs::write(&log, &whole).unwrap();
        fs::write(db.join("000005.log"), &one).unwrap();
        assert_eq!(trap(&db).unwrap().unwrap().0, log);
        let cut = Cut::make(dir.path(), &db).unwrap().unwrap();
        assert_eq!(fs::read(&log).unwrap(), one);
        assert_eq!(trap(&db).unwrap(), None);
        cut.undo().unwrap();
        assert_eq!(fs::read(&log).unwrap(), whole);
        let cut = Cut::make(dir.path(), &db).unwrap().unwrap();
        cut.keep().unwrap();
        undo(dir.path(), &db).unwrap();
        assert_eq!(fs::read(&log).unwrap(), one);
        assert!(Cut::make(dir.path(), &db).unwrap().is_none());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
