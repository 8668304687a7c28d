//! Writes a backup as a stream: memory holds one record, or one piece of a file, however large the whole.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use raft::codec::SnapshotHeader;
use raft::export;
use raft::state::State;
use raft::types::{Digest, Timestamp};
use sha2::{Digest as _, Sha256};

use super::archive::{BLOCK_BYTES, END_BYTES, Head};
use super::{CA, CA_KEY, END, End, FILES, MANIFEST, Manifest, STATE};

/// How much of a file is in memory, bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// What is written: one picture of the state, and the secrets that are not in it.
pub struct Origin<'a> {
    /// Whose the state is, and how far it goes.
    pub header: SnapshotHeader,
    /// The state at that log entry.
    pub state: &'a State,
    /// The CA's certificate, PEM.
    pub ca: Vec<u8>,
    /// The CA's key, PEM.
    pub ca_key: Vec<u8>,
    /// When.
    pub at: Timestamp,
    /// Whether the leader was not asked.
    pub stale: bool,
}

/// Where the bytes of files come from.
pub trait Files {
    /// The bytes of a file, from wherever they can be had; nothing if they cannot.
    fn open(&mut self, digest: &Digest, size: u64) -> Option<Box<dyn Read + Send>>;
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Files whose bytes are in it.
    pub files: u64,
    /// Bytes of those.
    pub file_bytes: u64,
    /// Files whose bytes could not be had.
    pub lacking: u64,
}

/// Writes all of it; `files` is where bytes come from, if they are wanted.
///
/// # Errors
/// When `out` does not take it, or a file turns out not to be what its digest says: then the backup is cut short, and whoever
/// reads it sees that.
pub fn write(origin: &Origin<'_>, files: Option<&mut dyn Files>, out: &mut dyn Write) -> io::Result<Written> {
    let mut tar = Tar { out, sum: Sha256::new(), time: origin.at.0 / 1000 };
    let manifest = Manifest::new(&origin.header, origin.state, origin.at, origin.stale, files.is_some());
    tar.member(MANIFEST, &manifest.text())?;
    tar.member(CA, &origin.ca)?;
    tar.member(CA_KEY, &origin.ca_key)?;
    let length = export::length(origin.state, &origin.header).map_err(io::Error::other)?;
    let head = tar.begin(STATE, length)?;
    export::write(origin.state, &origin.header, &mut tar).map_err(io::Error::other)?;
    tar.fill(&head)?;
    let mut written = Written { files: 0, file_bytes: 0, lacking: 0 };
    if let Some(files) = files {
        for (digest, size) in named(origin.state) {
            match files.open(&digest, size) {
                Some(bytes) => {
                    tar.file(&digest, size, bytes)?;
                    written.files += 1;
                    written.file_bytes += size;
                }
                None => written.lacking += 1,
            }
        }
    }
    let Written { files, file_bytes, .. } = written;
    let sha256 = Digest(tar.sum.clone().finalize().into());
    tar.member(END, &End { records: manifest.counts.all(), files, file_bytes, sha256 }.text())?;
    tar.write_all(&[0; END_BYTES])?;
    tar.flush()?;
    Ok(written)
}

/// The bytes that some name leads to, each once, in the order of their digests.
fn named(state: &State) -> BTreeMap<Digest, u64> {
    state.assets_from("").map(|stored| (stored.value.digest, stored.value.size)).collect()
}

/// Sums up what passes through.
struct Tar<'a> {
    out: &'a mut dyn Write,
    sum: Sha256,
    time: u64,
}

impl Write for Tar<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Tar<'_> {
    fn begin(&mut self, name: &str, size: u64) -> io::Result<Head> {
        let head = Head { name: name.into(), size, time: self.time };
        self.write_all(&head.render())?;
        Ok(head)
    }

    fn fill(&mut self, head: &Head) -> io::Result<()> {
        self.write_all(&[0; BLOCK_BYTES][..head.padding()])
    }

    fn member(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let head = self.begin(name, bytes.len() as u64)?;
        self.write_all(bytes)?;
        self.fill(&head)
    }

    /// A file, looked at once more while it passes.
    fn file(&mut self, digest: &Digest, size: u64, mut bytes: impl Read) -> io::Result<()> {
        let head = self.begin(&format!("{FILES}{digest}"), size)?;
        let mut piece = vec![0; PIECE_BYTES];
        let (mut sum, mut left) = (Sha256::new(), size);
        while left > 0 {
            let room = usize::try_from(left.min(PIECE_BYTES as u64)).expect("a piece fits in memory");
            let read = match bytes.read(&mut piece[..room]) {
                Ok(0) => return Err(damaged(digest, "its bytes end early")),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            sum.update(&piece[..read]);
            self.write_all(&piece[..read])?;
            left -= read as u64;
        }
        if Digest(sum.finalize().into()) != *digest {
            return Err(damaged(digest, "its bytes are not what the digest says"));
        }
        self.fill(&head)
    }
}

fn damaged(digest: &Digest, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("file {digest}: {what}"))
}
