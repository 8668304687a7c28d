//! Where a transfer's bytes come from: memory, or a file read ahead off the async threads.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::options::WINDOW_BYTES_MAX;

/// Bytes per read of a file.
const CHUNK_BYTES: u64 = 128 * 1024;
/// Bytes kept ready behind the last acknowledged one: a window, and what comes next.
const READ_AHEAD_BYTES: u64 = WINDOW_BYTES_MAX + CHUNK_BYTES;
/// Largest file sent in netascii, in bytes before conversion: it is converted in memory.
pub(super) const NETASCII_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The bytes of one transfer.
#[derive(Debug)]
pub(super) enum Source {
    /// In memory, shared.
    Bytes(Arc<[u8]>),
    /// In a file.
    File(FileSource),
}

/// A file with the part of it that is in flight or next.
#[derive(Debug)]
pub(super) struct FileSource {
    path: PathBuf,
    size: u64,
    file: Option<Arc<File>>,
    /// Consecutive pieces: offset and bytes.
    chunks: VecDeque<(u64, Box<[u8]>)>,
    reading: bool,
}

/// A read to be done where blocking is allowed.
#[derive(Debug)]
pub(super) struct Read {
    path: PathBuf,
    file: Option<Arc<File>>,
    offset: u64,
    length: usize,
}

/// A read that was done.
#[derive(Debug)]
pub(super) struct ReadDone {
    file: Arc<File>,
    offset: u64,
    bytes: Box<[u8]>,
}

impl Source {
    pub(super) fn file(path: PathBuf, size: u64) -> Self {
        Self::File(FileSource { path, size, file: None, chunks: VecDeque::new(), reading: false })
    }

    /// Bytes it has.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(file) => file.size,
        }
    }

    /// Forgets what lies before `acked` and says what to read so that everything up to `needed`, and some more, is
    /// ready. One read at a time.
    pub(super) fn next_read(&mut self, acked: u64, needed: u64) -> Option<Read> {
        let Self::File(file) = self else { return None };
        let is_over = |chunk: &(u64, Box<[u8]>)| chunk.0 + chunk.1.len() as u64 <= acked;
        while file.chunks.front().is_some_and(is_over) {
            file.chunks.pop_front();
        }
        let ready = file.ready().unwrap_or(acked);
        let wanted = needed.max(acked + READ_AHEAD_BYTES).min(file.size);
        // A whole chunk at a time, or the rest of the file.
        if file.reading || ready >= wanted || (ready > needed && wanted - ready < CHUNK_BYTES / 2) {
            return None;
        }
        file.reading = true;
        let length = CHUNK_BYTES.min(file.size - ready);
        Some(Read {
            path: file.path.clone(),
            file: file.file.clone(),
            offset: ready,
            length: usize::try_from(length).unwrap_or(0),
        })
    }

    /// Takes the result of a read.
    ///
    /// # Errors
    /// What went wrong with it, with the path.
    pub(super) fn on_read(&mut self, done: io::Result<ReadDone>) -> Result<(), String> {
        let Self::File(file) = self else {
            return Ok(());
        };
        file.reading = false;
        let done = done.map_err(|error| format!("cannot read {}: {error}", file.path.display()))?;
        if file.ready().is_none_or(|ready| ready == done.offset) {
            file.chunks.push_back((done.offset, done.bytes));
        }
        file.file = Some(done.file);
        Ok(())
    }

    /// Copies bytes from `offset` on; false when some of them are not there yet.
    pub(super) fn copy(&self, offset: u64, into: &mut [u8]) -> bool {
        match self {
            Self::Bytes(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let part = bytes.get(start..).and_then(|rest| rest.get(..into.len()));
                part.map(|part| into.copy_from_slice(part)).is_some()
            }
            Self::File(file) => file.copy(offset, into),
        }
    }
}

impl FileSource {
    /// The last part of its path, which is the digest of a blob.
    pub(super) fn digest(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }

    /// The offset up to which bytes are there, when any are.
    fn ready(&self) -> Option<u64> {
        let (offset, bytes) = self.chunks.back()?;
        Some(offset + bytes.len() as u64)
    }

    fn copy(&self, offset: u64, into: &mut [u8]) -> bool {
        let mut filled = 0;
        for (start, bytes) in &self.chunks {
            let at = offset + filled as u64;
            let Some(skip) = at.checked_sub(*start) else {
                break;
            };
            let part = usize::try_from(skip).ok().and_then(|skip| bytes.get(skip..)).unwrap_or_default();
            let count = part.len().min(into.len() - filled);
            into[filled..filled + count].copy_from_slice(&part[..count]);
            filled += count;
        }
        filled == into.len()
    }
}

impl Read {
    /// Reads; blocks.
    ///
    /// # Errors
    /// As of opening and reading; a file shorter than promised is `UnexpectedEof`.
    pub(super) fn run(self) -> io::Result<ReadDone> {
        let file = match self.file {
            Some(file) => file,
            None => Arc::new(File::open(&self.path)?),
        };
        let mut bytes = vec![0; self.length].into_boxed_slice();
        file.read_exact_at(&mut bytes, self.offset)?;
        Ok(ReadDone { file, offset: self.offset, bytes })
    }
}

/// Bytes as netascii (RFC 764 by way of RFC 1350 §1): LF becomes CR LF, CR becomes CR NUL. A client that asks so undoes it, so that
/// even a binary arrives whole.
pub(super) fn to_netascii(bytes: &[u8]) -> Arc<[u8]> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 16);
    for byte in bytes {
        match byte {
            b'\n' => out.extend(b"\r\n"),
            b'\r' => out.extend(b"\r\0"),
            other => out.push(*other),
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn netascii_ends_lines_with_cr_lf_and_escapes_cr() {
        let cases: &[(&[u8], &[u8])] = &[
            (b"", b""),
            (b"a\nb", b"a\r\nb"),
            (b"a\r\nb", b"a\r\0\r\nb"),
            (b"\r\r\n\n", b"\r\0\r\0\r\n\r\n"),
            (b"\0\xff", b"\0\xff"),
        ];
        for (plain, expected) in cases {
            assert_eq!(&to_netascii(plain)[..], *expected);
        }
    }

    #[test]
    fn a_file_is_read_ahead_in_bounded_pieces() {
        let size = 1_000_003u64;
        let content: Vec<u8> = (0..size).map(|n| (n * 7 % 251) as u8).collect();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&content).unwrap();
        let mut source = Source::file(file.path().to_owned(), size);
        let mut block = vec![0; 1468];
        assert!(!source.copy(0, &mut block), "nothing is read before it is asked for");
        let mut acked = 0;
        while acked < size {
            let end = (acked + 64 * 1468).min(size);
            while let Some(read) = source.next_read(acked, end) {
                assert!(source.next_read(acked, end).is_none(), "one read at a time");
                source.on_read(read.run()).unwrap();
            }
            let Source::File(inner) = &source else { unreachable!() };
            let kept: usize = inner.chunks.iter().map(|(_, bytes)| bytes.len()).sum();
            assert!(kept as u64 <= READ_AHEAD_BYTES + 2 * CHUNK_BYTES, "{kept} bytes kept");
            let mut offset = acked;
            while offset < end {
                let length = usize::try_from((end - offset).min(1468)).unwrap();
                assert!(source.copy(offset, &mut block[..length]), "at {offset}");
                let from = usize::try_from(offset).unwrap();
                assert_eq!(block[..length], content[from..from + length], "at {offset}");
                offset += length as u64;
            }
            acked = end;
        }
    }

    #[test]
    fn a_file_shorter_than_promised_is_an_error_not_a_short_transfer() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"short").unwrap();
        let mut source = Source::file(file.path().to_owned(), 6);
        let read = source.next_read(0, 6).unwrap();
        let error = source.on_read(read.run()).unwrap_err();
        assert!(error.contains(&file.path().display().to_string()), "{error}");
    }

    #[test]
    fn a_missing_file_names_its_path() {
        let mut source = Source::file("/nonexistent/blob".into(), 6);
        let read = source.next_read(0, 6).unwrap();
        let error = source.on_read(read.run()).unwrap_err();
        assert!(error.starts_with("cannot read /nonexistent/blob: "), "{error}");
    }
}
