//! RocksDB's log files, read before RocksDB reads them: some damage sends its reader round in circles, or past what it
//! should have stopped at.
//!
//! A header whose type byte says "of a recycled file" is never right here: no file is recycled. Met behind a good record,
//! RocksDB's reader reports it as a bad record without stepping over it, for ever (`ReadPhysicalRecord` in RocksDB 9.5 to
//! 11.8; its issue 13333). Met first, it makes the reader take the file for a recycled one, of which a wrong checksum is the
//! silent end. The bytes behind a write that a loss of power has torn can look like that by chance, about once in 400 such
//! writes. So every log file is walked first; one that holds such a header is never given to RocksDB.
//!
//! Format: blocks of 32 KiB of records `crc32c u32 (masked), length u16, type u8, payload`, little-endian. Write-ahead logs
//! and the manifest share it (RocksDB wiki, "Write Ahead Log File Format").

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::files;

/// Bytes of a block.
const BLOCK: usize = 32 * 1024;
/// Bytes of a header: checksum, length, type.
const HEADER: usize = 7;
/// What is added to a checksum that is stored beside the data it covers.
const MASK: u32 = 0xa282_ead8;
/// What is put before the name of a log file that is kept while it is tried without its end.
const KEPT: &str = "torn-";

/// Whether a header says that its file is recycled.
fn recycled(kind: u8) -> bool {
    matches!(kind, 5..=8 | 11 | 131)
}

fn checksum_is_right(record: &[u8]) -> bool {
    let stored = u32::from_le_bytes([record[0], record[1], record[2], record[3]]);
    crc32c::crc32c(&record[6..]).rotate_right(15).wrapping_add(MASK) == stored
}

/// The length of the record that the bytes begin with; nothing if the reader drops the rest of the block instead.
fn good(rest: &[u8]) -> Option<usize> {
    let size = HEADER + usize::from(u16::from_le_bytes([rest[4], rest[5]]));
    let record = rest.get(..size)?;
    // Zeros were set aside and never written.
    (record.iter().any(|byte| *byte != 0) && checksum_is_right(record)).then_some(size)
}

/// The offset of the first header "of a recycled file" that a reader comes to, bytes. It goes on behind damage as RocksDB's
/// does, with the next block, and further: what lies behind damage is never trusted anyway.
///
/// # Errors
/// When the file cannot be read.
fn find(mut file: impl Read) -> io::Result<Option<u64>> {
    let mut block = Vec::with_capacity(BLOCK);
    let mut begin = 0_u64;
    loop {
        block.clear();
        file.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
        let mut rest = &block[..];
        while rest.len() >= HEADER {
            if recycled(rest[6]) {
                return Ok(Some(begin + (block.len() - rest.len()) as u64));
            }
            let Some(size) = good(rest) else { break };
            rest = &rest[size..];
        }
        if block.len() < BLOCK {
            return Ok(None);
        }
        begin += BLOCK as u64;
    }
}

/// Opens a file that may lie in the directory of another user, who must not lead root elsewhere by a link.
fn open(path: &Path, options: &mut fs::OpenOptions) -> io::Result<File> {
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path)
}

/// The write-ahead logs of a database; none if there is no database.
fn logs(db: &Path) -> io::Result<Vec<PathBuf>> {
    let items = match fs::read_dir(db) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        items => items?,
    };
    let mut found = Vec::new();
    for item in items {
        let name = item?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".log"));
        if number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
            found.push(db.join(name));
        }
    }
    found.sort();
    Ok(found)
}

/// The manifest in use. What is missing or is no name is for RocksDB to say.
fn manifest(db: &Path) -> Option<PathBuf> {
    let current = fs::read_to_string(db.join("CURRENT")).ok()?;
    let name = current.trim_end();
    (name.starts_with("MANIFEST-") && !name.contains('/')).then(|| db.join(name))
}

/// A log file that RocksDB must not be given, if there is one, and the offset in it.
///
/// # Errors
/// When one cannot be read.
pub(crate) fn trap(db: &Path) -> io::Result<Option<(PathBuf, u64)>> {
    for path in logs(db)?.into_iter().chain(manifest(db)) {
        let found = match open(&path, File::options().read(true)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            file => find(file?)?,
        };
        if let Some(at) = found {
            return Ok(Some((path, at)));
        }
    }
    Ok(None)
}

/// Write-ahead logs that were cut, each kept whole in `home` meanwhile.
#[derive(Debug)]
pub(crate) struct Cut {
    home: PathBuf,
    db: PathBuf,
}

impl Cut {
    /// Cuts every write-ahead log with such a header one byte before that header's type. What is left of the header is an
    /// error to RocksDB, so that it takes nothing behind that place, from other files neither. Nothing if none has one.
    ///
    /// # Errors
    /// When the disk does not take it; `undo` puts back what was begun.
    pub(crate) fn make(home: &Path, db: &Path) -> io::Result<Option<Self>> {
        let mut cut = None;
        for path in logs(db)? {
            let mut file = open(&path, File::options().read(true).write(true))?;
            let (Some(at), Some(name)) = (find(&file)?, path.file_name()) else { continue };
            io::Seek::rewind(&mut file)?;
            copy(&mut file, &beside(home), &home.join(format!("{KEPT}{}", name.to_string_lossy())))?;
            cut = Some(Self { home: home.to_owned(), db: db.to_owned() });
            file.set_len(at + HEADER as u64 - 1)?;
            file.sync_all()?;
            tracing::debug!(path = %path.display(), at, "tried without its end");
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

/// A copy that is not whole yet.
fn beside(home: &Path) -> PathBuf {
    home.join("torn.tmp")
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn copy(file: &mut File, beside: &Path, to: &Path) -> io::Result<()> {
    remove(beside)?;
    let copied = open(beside, File::options().write(true).create_new(true)).and_then(|mut out| {
        io::copy(file, &mut out)?;
        out.sync_all()
    });
    if let Err(error) = copied {
        // A full disk stays as full as it was.
        let _ = remove(beside);
        return Err(error);
    }
    files::publish(beside, to)
}

/// Puts back what a cut has kept that a crash interrupted.
///
/// # Errors
/// When the disk does not take it.
pub(crate) fn undo(home: &Path, db: &Path) -> io::Result<()> {
    for (path, name) in kept(home)? {
        files::publish(&path, &db.join(name))?;
    }
    remove(&beside(home))
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

    fn walk(parts: &[&[u8]]) -> Option<u64> {
        find(&parts.concat()[..]).unwrap()
    }

    #[test]
    fn what_is_whole_and_what_ends_early_holds_no_trap() {
        let (one, first, last) = (record(1, b"one"), record(2, b"fir"), record(4, b"st"));
        let padded = [&one[..], &vec![0; BLOCK - one.len()], &first, &last].concat();
        for parts in [
            &[&one[..], &first, &last][..],
            &[],
            &[&one[..5]],
            &[&one, &first],
            &[&one, &first, &last[..8]],
            &[&record(130, b"before"), &one, &[0; 20]],
            &[&padded],
        ] {
            assert_eq!(walk(parts), None, "{parts:?}");
        }
    }

    #[test]
    fn a_type_of_recycled_files_is_a_trap() {
        let one = record(1, b"one");
        for kind in [5, 6, 7, 8, 11, 131] {
            let like = [1, 2, 3, 4, 5, 6, kind];
            assert_eq!(walk(&[&one, &like]), Some(10), "{kind}");
            assert_eq!(walk(&[&like]), Some(0), "{kind}");
        }
    }

    #[test]
    fn a_block_is_left_at_its_first_damage() {
        let one = record(1, b"one");
        let mut bad = record(1, &[7; 200]);
        bad[50] ^= 1;
        let mut file = [&one[..], &record(2, b"a beginning"), &bad].concat();
        file.resize(BLOCK, 9);
        let trap = [1, 2, 3, 4, 5, 6, 5];
        assert_eq!(walk(&[&file, &trap]), Some(BLOCK as u64));
        assert_eq!(walk(&[&one, &bad, &trap]), None, "dropped unread");
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
        fs::write(db.join("other.log"), &whole).unwrap();
        // A link that leads elsewhere is not written through.
        let elsewhere = dir.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, beside(dir.path())).unwrap();
        assert_eq!(trap(&db).unwrap(), Some((log.clone(), 10)));
        let cut = Cut::make(dir.path(), &db).unwrap().unwrap();
        assert_eq!(fs::read(&log).unwrap(), whole[..16]);
        assert_eq!(trap(&db).unwrap(), None);
        cut.undo().unwrap();
        assert_eq!(fs::read(&log).unwrap(), whole);
        let cut = Cut::make(dir.path(), &db).unwrap().unwrap();
        cut.keep().unwrap();
        undo(dir.path(), &db).unwrap();
        assert_eq!(fs::read(&log).unwrap(), whole[..16]);
        assert!(Cut::make(dir.path(), &db).unwrap().is_none());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(!elsewhere.exists());
    }
}
