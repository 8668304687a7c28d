//! Verifies a backup to its last byte, as a stream, and says what is in it and where.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};

use raft::codec::SnapshotHeader;
use raft::export;
use raft::home::cluster_name;
use raft::snapshot::SnapshotError;
use raft::state::Record;
use raft::types::Digest;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::archive::{BLOCK_BYTES, END_BYTES, Head};
use super::manifest::{Counts, FORMAT, Manifest};
use super::{CA, CA_KEY, END, End, FILES, MANIFEST, STATE};

/// How much is read at once, bytes.
const PIECE_BYTES: usize = 256 * 1024;
/// The members that are read whole are small; larger ones are no backup of ours.
const SMALL_BYTES_MAX: u64 = 1024 * 1024;

/// Why something is no backup that can be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(io::Error),
    /// It is none.
    #[error("it is not a backup of raftboot")]
    Foreign,
    /// It ends too early.
    #[error("it is cut short, in `{0}`")]
    Short(String),
    /// Something in it has changed since it was written.
    #[error("it is damaged, in `{0}`: {1}")]
    Damaged(String, String),
    /// A later version wrote it.
    #[error("it is of format {0}, this program reads up to format {FORMAT}: use a newer version of raftboot")]
    Newer(u32),
}

/// Where the bytes of a member are in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The first byte.
    pub start: u64,
    /// How many.
    pub length: u64,
}

/// A file whose bytes are in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredFile {
    /// Their sha256.
    pub digest: Digest,
    /// Where they are.
    pub place: Place,
}

/// A file whose bytes are not in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lacking {
    /// Their sha256.
    pub digest: Digest,
    /// How many there would be.
    pub size: u64,
    /// The names that lead to them.
    pub names: Vec<String>,
}

/// What a backup holds, once all of it has been verified.
#[derive(Debug, Clone)]
pub struct Contents {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Whose it is and how far it goes.
    pub header: SnapshotHeader,
    /// The CA's certificate, PEM.
    pub ca: String,
    /// The CA's key, PEM.
    pub ca_key: String,
    /// Where the state is.
    pub state: Place,
    /// The highest id that was ever given to a node.
    pub last_node: u64,
    /// The floating address.
    pub vip: Option<std::net::Ipv4Addr>,
    /// Files with their bytes.
    pub files: Vec<StoredFile>,
    /// Files without.
    pub lacking: Vec<Lacking>,
    /// sha256 of everything before the end: which backup it is.
    pub digest: Digest,
}

/// Reads all of it. `moved` is told how many bytes were read since the last time.
///
/// # Errors
/// Why it cannot be used; then nothing in it may be.
pub fn verify(from: &mut dyn Read, moved: &dyn Fn(u64)) -> Result<Contents, BackupError> {
    let mut tar = Tar { from, moved, sum: Sha256::new(), at: 0, time: None };
    let head =
        tar.head().map_err(|error| if matches!(error, BackupError::Io(_)) { error } else { BackupError::Foreign })?;
    if head.name != MANIFEST {
        return Err(BackupError::Foreign);
    }
    let manifest: Manifest = tar.json(&head)?;
    let (ca, ca_key) = (tar.text(CA)?, tar.text(CA_KEY)?);
    let head = tar.expect(STATE)?;
    let place = Place { start: tar.at, length: head.size };
    let state = tar.state(&head)?;
    check(&manifest, &state)?;
    let Seen { header, last_node, vip, mut names, .. } = state;
    let mut files = Vec::new();
    let end = loop {
        let before = tar.sum.clone();
        let head = tar.head()?;
        if head.name == END {
            break tar.end(&head, before, state.counts.all(), &files)?;
        }
        let file = tar.file(&head, files.last().map(|file: &StoredFile| file.digest), &names)?;
        names.remove(&file.digest);
        files.push(file);
    };
    let lacking = names.into_iter().map(|(digest, (size, names))| Lacking { digest, size, names }).collect();
    Ok(Contents { manifest, header, ca, ca_key, state: place, last_node, vip, files, lacking, digest: end.sha256 })
}

/// Hands over every record of the state that lies at `place` of a backup that has been verified.
///
/// # Errors
/// When it has changed since, or `each` fails.
pub fn state(
    mut file: &std::fs::File,
    place: Place,
    each: &mut dyn FnMut(Record) -> Result<(), SnapshotError>,
) -> Result<(), SnapshotError> {
    io::Seek::seek(&mut file, io::SeekFrom::Start(place.start))?;
    export::read(BufReader::with_capacity(PIECE_BYTES, file.take(place.length)), each).map(drop)
}

/// The manifest must tell the truth.
fn check(manifest: &Manifest, seen: &Seen) -> Result<(), BackupError> {
    let told = (&manifest.cluster_id, manifest.generation, manifest.log_index, manifest.counts);
    let index = seen.header.applied.last.map_or(0, |last| last.index);
    if told == (&cluster_name(&seen.header.cluster), seen.header.generation, index, seen.counts) {
        return Ok(());
    }
    Err(damaged(MANIFEST, "it does not say what the state holds"))
}

/// What passed by while the state was read.
struct Seen {
    header: SnapshotHeader,
    counts: Counts,
    last_node: u64,
    vip: Option<std::net::Ipv4Addr>,
    /// Bytes that names lead to.
    names: BTreeMap<Digest, (u64, Vec<String>)>,
}

struct Tar<'a> {
    from: &'a mut dyn Read,
    moved: &'a dyn Fn(u64),
    sum: Sha256,
    at: u64,
    time: Option<u64>,
}

impl Read for Tar<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.sum.update(&buffer[..read]);
        self.at += read as u64;
        (self.moved)(read as u64);
        Ok(read)
    }
}

impl Tar<'_> {
    fn fill(&mut self, buffer: &mut [u8], what: &str) -> Result<(), BackupError> {
        self.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => BackupError::Short(what.into()),
            _ => BackupError::Io(error),
        })
    }

    fn head(&mut self) -> Result<Head, BackupError> {
        let mut block = [0; BLOCK_BYTES];
        self.fill(&mut block, "a header")?;
        let head = Head::parse(&block).ok_or_else(|| damaged("a header", "it is not what is written there"))?;
        if *self.time.get_or_insert(head.time) != head.time {
            return Err(damaged(&head.name, "it is of another time than the rest"));
        }
        Ok(head)
    }

    fn expect(&mut self, name: &str) -> Result<Head, BackupError> {
        let head = self.head()?;
        if head.name == name { Ok(head) } else { Err(damaged(&head.name, &format!("`{name}` belongs here"))) }
    }

    fn padding(&mut self, head: &Head) -> Result<(), BackupError> {
        let mut block = [0; BLOCK_BYTES];
        let zeros = &mut block[..head.padding()];
        self.fill(zeros, &head.name)?;
        if zeros.iter().all(|byte| *byte == 0) {
            Ok(())
        } else {
            Err(damaged(&head.name, "it is not filled with zeros"))
        }
    }

    fn small(&mut self, head: &Head) -> Result<Vec<u8>, BackupError> {
        if head.size > SMALL_BYTES_MAX {
            return Err(damaged(&head.name, "it is larger than it can be"));
        }
        let mut bytes = vec![0; usize::try_from(head.size).expect("less than a megabyte")];
        self.fill(&mut bytes, &head.name)?;
        self.padding(head)?;
        Ok(bytes)
    }

    fn text(&mut self, name: &str) -> Result<String, BackupError> {
        let head = self.expect(name)?;
        String::from_utf8(self.small(&head)?).map_err(|error| damaged(name, &error.to_string()))
    }

    /// The format is looked at before anything that a later one may say otherwise.
    fn json(&mut self, head: &Head) -> Result<Manifest, BackupError> {
        #[derive(serde::Deserialize)]
        struct Shape {
            format: u32,
        }
        let bytes = self.small(head)?;
        let wrong = |error: serde_json::Error| damaged(MANIFEST, &error.to_string());
        let Shape { format } = serde_json::from_slice(&bytes).map_err(wrong)?;
        if format > FORMAT {
            return Err(BackupError::Newer(format));
        }
        serde_json::from_slice(&bytes).map_err(wrong)
    }

    fn state(&mut self, head: &Head) -> Result<Seen, BackupError> {
        let (mut counts, mut last_node, mut vip) = (Counts::default(), 0, None);
        let mut names: BTreeMap<Digest, (u64, Vec<String>)> = BTreeMap::new();
        let from = BufReader::with_capacity(PIECE_BYTES, self.by_ref().take(head.size));
        let read = export::read(from, |record| {
            counts.count(&record);
            match record {
                Record::Member(member) => last_node = last_node.max(member.id),
                Record::Roster(roster) => last_node = last_node.max(roster.last_node),
                Record::Cluster(stored) => vip = stored.value.vip,
                Record::Asset(stored) => {
                    let asset = &stored.value;
                    names.entry(asset.digest).or_insert((asset.size, Vec::new())).1.push(asset.name.clone());
                }
                _ => {}
            }
            Ok(())
        });
        let header = read.map_err(|error| match error {
            SnapshotError::Io(error) => BackupError::Io(error),
            SnapshotError::Short(_) => BackupError::Short(STATE.into()),
            other => damaged(STATE, &other.to_string()),
        })?;
        self.padding(head)?;
        // A node's own id counts as given even if no record says so.
        last_node = last_node.max(header.applied.last.map_or(1, |last| last.node));
        Ok(Seen { header, counts, last_node, vip, names })
    }

    /// Files come in the order of their digests, each once, and none that no name leads to.
    fn file(
        &mut self,
        head: &Head,
        before: Option<Digest>,
        names: &BTreeMap<Digest, (u64, Vec<String>)>,
    ) -> Result<StoredFile, BackupError> {
        let name = &head.name;
        let digest = name.strip_prefix(FILES).and_then(|digest| digest.parse::<Digest>().ok());
        let digest = digest.ok_or_else(|| damaged(name, "this does not belong into a backup"))?;
        if format!("{FILES}{digest}") != *name || before.is_some_and(|before| before >= digest) {
            return Err(damaged(name, "it is out of order"));
        }
        if names.get(&digest).is_none_or(|(size, _)| *size != head.size) {
            return Err(damaged(name, "no asset of that size leads to it"));
        }
        let place = Place { start: self.at, length: head.size };
        let mut piece = vec![0; PIECE_BYTES];
        let (mut sum, mut left) = (Sha256::new(), head.size);
        while left > 0 {
            let length = usize::try_from(left.min(PIECE_BYTES as u64)).expect("a piece fits in memory");
            self.fill(&mut piece[..length], name)?;
            sum.update(&piece[..length]);
            left -= length as u64;
        }
        if Digest(sum.finalize().into()) != digest {
            return Err(damaged(name, "its bytes are not what the digest says"));
        }
        self.padding(head)?;
        Ok(StoredFile { digest, place })
    }

    /// What must stand there is known by now, so it is compared and not believed.
    fn end(&mut self, head: &Head, before: Sha256, records: u64, files: &[StoredFile]) -> Result<End, BackupError> {
        let file_bytes = files.iter().map(|file| file.place.length).sum();
        let end = End { records, files: files.len() as u64, file_bytes, sha256: Digest(before.finalize().into()) };
        if self.small(head)? != end.text() {
            return Err(damaged(END, "it does not say what came before it"));
        }
        let mut last = [0; END_BYTES];
        self.fill(&mut last, END)?;
        if last.iter().any(|byte| *byte != 0) {
            return Err(damaged(END, "it is not followed by zeros"));
        }
        match self.read(&mut [0]).map_err(BackupError::Io)? {
            0 => Ok(end),
            _ => Err(damaged(END, "something follows it")),
        }
    }
}

fn damaged(place: &str, what: &str) -> BackupError {
    BackupError::Damaged(place.escape_debug().to_string(), what.into())
}
