//! One upload: bytes stream into a file while they are hashed, are synced, and get their digest as their name.
//!
//! Each upload has a thread of its own, at low priority, fed through a short queue: memory stays flat however large the
//! upload, and neither hashing nor the disk keeps an async thread. Bytes are synced as they come, a few megabytes at a
//! time, so that the log's next sync does not wait behind gigabytes.

use std::fmt::Display;
use std::io::Write;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use raft::types::Digest;
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::ReceiveError;
use super::follow::{Follow, Growth};
use super::space::STEP_BYTES;
use super::store::{Store, Temporary};

/// How many uploads run at once.
pub const UPLOADS_MAX: usize = 8;
/// How many copies come in from other nodes at once, beside the uploads.
pub const COPIES_MAX: usize = 6;
/// The largest blob, in bytes.
pub const ASSET_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// How long an upload waits for its turn.
const TURN_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long a sender may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Pieces between the socket and the disk.
const PIECES_MAX: usize = 8;
/// How many bytes may wait in the page cache for the disk.
const UNSYNCED_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How much the upload's thread stands back for everything else.
const NICENESS: i32 = 10;

/// What a sender says about an upload in advance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Declared {
    /// How many bytes will come.
    pub size: Option<u64>,
    /// Their sha256.
    pub digest: Option<Digest>,
}

/// Bytes that are on the disk under their digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Their sha256.
    pub digest: Digest,
    /// How many.
    pub size: u64,
    /// Whether they were not here before.
    pub fresh: bool,
}

/// Where bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Somebody uploads them.
    Upload,
    /// Another node has them.
    Node,
}

/// How bytes are received.
pub struct Reception {
    /// What the sender has said.
    pub declared: Declared,
    /// Whose turn it takes: copies between nodes do not take the place of uploads.
    pub origin: Origin,
    /// The digest where the sender says it last; it must be there when the stream ends.
    pub announced: Option<Arc<OnceLock<Digest>>>,
    /// Told once room was found, before the first byte: the bytes may be followed as they come in.
    pub follow: Option<Box<dyn FnOnce(Follow) + Send>>,
}

impl std::fmt::Debug for Reception {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reception")
            .field("declared", &self.declared)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl Reception {
    /// Bytes from there of which that is known.
    #[must_use]
    pub fn new(origin: Origin, declared: Declared) -> Self {
        Self { declared, origin, announced: None, follow: None }
    }
}

enum Piece {
    Bytes(Bytes),
    End,
}

impl Store {
    /// Stores the bytes of `stream`. They have no name after that: the caller proposes one, or the collector takes
    /// them away after its grace. Nothing is read from the stream before there is room for it.
    ///
    /// # Errors
    /// See `ReceiveError`; nothing is left on the disk then. The rest of the stream has not been read.
    pub async fn receive<S, E>(self: &Arc<Self>, stream: &mut S, declared: Declared) -> Result<Received, ReceiveError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin + Send,
        E: Display,
    {
        self.receive_as(stream, Reception::new(Origin::Upload, declared)).await
    }

    /// As `receive`, from another node or with others following.
    ///
    /// # Errors
    /// As `receive`.
    pub async fn receive_as<S, E>(self: &Arc<Self>, stream: &mut S, how: Reception) -> Result<Received, ReceiveError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin + Send,
        E: Display,
    {
        let turns = match how.origin {
            Origin::Upload => &self.uploads,
            Origin::Node => &self.copies,
        };
        let turn = timeout(TURN_WAIT_MAX, turns.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| ReceiveError::Busy)?.map_err(|_| ReceiveError::Busy)?;
        let (pieces, queue) = mpsc::channel(PIECES_MAX);
        let (ready, started) = oneshot::channel();
        let (done, ended) = oneshot::channel();
        let store = self.clone();
        let work = move || {
            let _turn = turn;
            // The receiver is gone if the client is: there is nobody left to tell.
            let _ = done.send(write(&store, how, ready, queue));
        };
        std::thread::Builder::new().name("upload".into()).spawn(work)?;
        if started.await.is_ok() {
            feed(stream, &pieces).await?;
        }
        drop(pieces);
        ended.await.unwrap_or_else(|_| Err(ReceiveError::Interrupted("the thread that stored it panicked".into())))
    }
}

/// Hands the stream over piece by piece; ends early when the writer has.
async fn feed<S, E>(stream: &mut S, pieces: &mpsc::Sender<Piece>) -> Result<(), ReceiveError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin + Send,
    E: Display,
{
    loop {
        let silent = |_| ReceiveError::Interrupted(format!("nothing came for {} s", SILENCE_MAX.as_secs()));
        let piece = match timeout(SILENCE_MAX, stream.next()).await.map_err(silent)? {
            Some(Ok(bytes)) => Piece::Bytes(bytes),
            Some(Err(error)) => return Err(ReceiveError::Interrupted(error.to_string())),
            None => Piece::End,
        };
        let last = matches!(piece, Piece::End);
        if pieces.send(piece).await.is_err() || last {
            return Ok(());
        }
    }
}

fn write(
    store: &Store,
    how: Reception,
    ready: oneshot::Sender<()>,
    mut queue: mpsc::Receiver<Piece>,
) -> Result<Received, ReceiveError> {
    // Only this thread, and it ends with the upload; without the right to do so it just runs at normal priority.
    let _ = rustix::process::nice(NICENESS);
    let mut upload = Upload::begin(store, how)?;
    if ready.send(()).is_err() {
        return Err(ReceiveError::Interrupted("the sender is gone".into()));
    }
    loop {
        match queue.blocking_recv() {
            Some(Piece::Bytes(bytes)) => upload.write(&bytes)?,
            Some(Piece::End) => return upload.finish(),
            None => return Err(ReceiveError::Interrupted("the sender is gone".into())),
        }
    }
}

/// The bytes so far.
struct Upload<'a> {
    store: &'a Store,
    declared: Declared,
    bytes: Temporary,
    hasher: Sha256,
    size: u64,
    taken: u64,
    unsynced: u64,
    announced: Option<Arc<OnceLock<Digest>>>,
    growth: Option<Growth>,
}

impl<'a> Upload<'a> {
    fn begin(store: &'a Store, how: Reception) -> Result<Self, ReceiveError> {
        let Reception { declared, announced, follow, .. } = how;
        if declared.size.is_some_and(|size| size > ASSET_BYTES_MAX) {
            return Err(ReceiveError::TooLarge);
        }
        let bytes = store.temporary()?;
        let taken = store.space.take(&bytes.file, 0, declared.size.unwrap_or(0))?;
        let growth = follow.map(|told| Growth::of(&bytes.file, told)).transpose()?;
        Ok(Self { store, declared, bytes, hasher: Sha256::new(), size: 0, taken, unsynced: 0, announced, growth })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ReceiveError> {
        let end = self.size + bytes.len() as u64;
        if let Some(declared) = self.declared.size.filter(|declared| end > *declared) {
            return Err(ReceiveError::Length { declared, found: end });
        }
        if end > ASSET_BYTES_MAX {
            return Err(ReceiveError::TooLarge);
        }
        while end > self.taken {
            let step = (self.taken + STEP_BYTES).min(self.declared.size.unwrap_or(u64::MAX));
            self.taken = self.store.space.take(&self.bytes.file, self.taken, step)?;
        }
        self.bytes.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.size = end;
        if let Some(growth) = &self.growth {
            growth.reached(end);
        }
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= UNSYNCED_BYTES_MAX {
            self.bytes.file.sync_data()?;
            self.unsynced = 0;
        }
        Ok(())
    }

    fn finish(self) -> Result<Received, ReceiveError> {
        let Self { store, declared, bytes, hasher, size, announced, growth, .. } = self;
        let found = Digest(hasher.finalize().into());
        if let Some(declared) = declared.size.filter(|declared| *declared != size) {
            return Err(ReceiveError::Length { declared, found: size });
        }
        let said_last = announced.as_ref().and_then(|announced| announced.get().copied());
        if announced.is_some() && said_last.is_none() {
            return Err(ReceiveError::Interrupted("the sender did not say what it had sent".into()));
        }
        let wrong = declared.digest.into_iter().chain(said_last).find(|declared| *declared != found);
        if let Some(declared) = wrong {
            return Err(ReceiveError::Mismatch { declared, found });
        }
        // Followers sync their copies while this one is synced.
        if let Some(growth) = growth {
            growth.ended(found);
        }
        // Gives back what was set aside and not used.
        bytes.file.set_len(size)?;
        bytes.file.sync_all()?;
        store.keep(bytes, found)
    }
}
