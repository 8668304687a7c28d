//! A backup of the cluster as a download: written by a thread of its own as fast as it is read, and never whole in memory.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::SystemTime;

use axum::body::Body;
use axum::extract;
use axum::response::{IntoResponse, Response};
use bytes::{Buf, Bytes};
use futures::stream::{self, BoxStream, StreamExt};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use raft::state::{CaStage, State};
use raft::types::Digest;
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::body::Asked;
use super::error::{Answer, ApiError};
use super::{Context, clock};
use crate::backup::{self, Files, Origin};
use crate::certs::{CA_FILE, CA_KEY_FILE};
use crate::replication::FetchError;

/// How many backups are sent at once.
pub(super) const BACKUPS_MAX: usize = 2;
/// Pieces between the thread and the socket, and bytes of each.
const PIECES_MAX: usize = 4;
const PIECE_BYTES: usize = 256 * 1024;

/// What is to be in it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct What {
    /// The bytes of all files too.
    files: bool,
    /// Without asking the leader: what this node has applied.
    stale: bool,
}

pub(super) async fn read(
    extract::State(context): extract::State<Context>,
    Asked(what): Asked<What>,
) -> Answer<Response> {
    let Some(dir) = context.data_dir.clone() else {
        return Err(ApiError::internal("this node does not know where its CA is"));
    };
    let busy = |_| {
        let message = format!("{BACKUPS_MAX} backups are being sent already");
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "backups_busy", message, "try again when one of them is done")
            .retry_after(30)
    };
    let turn = context.backups.clone().try_acquire_owned().map_err(busy)?;
    let state = if what.stale {
        context.cluster.read()
    } else {
        let hint = "look at `raftboot status`; with `stale=true` (--stale) this node gives what it has, which may lack the \
                    last changes";
        let latest = context.cluster.read_latest().await;
        latest.map_err(|error| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error, hint))?
    };
    unchanging(&state)?;
    let secret = |name: &str| {
        let file = dir.join(name);
        read_secret(&file).map_err(|error| ApiError::internal(format!("{}: {error}", file.display())))
    };
    let (ca, ca_key) = (secret(CA_FILE)?, secret(CA_KEY_FILE)?);
    let (pieces, received) = mpsc::channel(PIECES_MAX);
    let handle = Handle::current();
    let name = format!("raftboot-{}.backup", state.applied());
    let work = move || {
        let origin = Origin {
            header: context.cluster.header_of(&state),
            state: &state,
            ca,
            ca_key,
            at: clock::now(),
            stale: what.stale,
        };
        let mut out = Pieces { to: pieces, piece: Vec::with_capacity(PIECE_BYTES) };
        let mut files = Stored { context: &context, handle };
        let written = backup::write(&origin, what.files.then_some(&mut files as &mut dyn Files), &mut out);
        match written {
            Ok(done) => report(&context, &done, what.files, state.applied().0),
            Err(error) => {
                warn!(%error, "a backup broke off");
                // It ends without its end, which whoever reads it notices.
                let _ = out.to.blocking_send(Err(error));
            }
        }
        drop(turn);
    };
    std::thread::Builder::new()
        .name("backup".into())
        .spawn(work)
        .map_err(|error| ApiError::internal(format!("no thread for a backup: {error}")))?;
    let pieces = stream::unfold(received, |mut received| async move { Some((received.recv().await?, received)) });
    let headers = [
        (CONTENT_TYPE, "application/x-tar".to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// While the CA changes a cluster has two, and a backup has place for one.
fn unchanging(state: &State) -> Answer<()> {
    if state.ca().is_none_or(|ca| ca.stage == CaStage::Done) {
        return Ok(());
    }
    let message = "the cluster's CA is being changed, and a backup holds one CA";
    let hint = "finish that (`raftboot ca status` says how far it is) or take it back, then make the backup";
    Err(ApiError::new(StatusCode::CONFLICT, "ca_changing", message, hint))
}

/// Says what was sent, and notes when it was everything.
fn report(context: &Context, done: &backup::Written, with_files: bool, log_index: u64) {
    let backup::Written { files, file_bytes: bytes, lacking } = *done;
    if lacking > 0 {
        warn!(files, lacking, "a backup was sent without the bytes of some files");
    } else if with_files {
        context.observe.source().last_backup.note(SystemTime::now());
        info!(log_index, files, bytes, "a whole backup was sent");
    } else {
        info!(log_index, files, bytes, "a backup was sent");
    }
}

fn read_secret(file: &Path) -> io::Result<Vec<u8>> {
    fs::read(file)
}

/// Hands over what is written, piece by piece; waits while nobody takes it.
struct Pieces {
    to: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE_BYTES - self.piece.len();
        let taken = bytes.len().min(room);
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        if piece.is_empty() {
            return Ok(());
        }
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "whoever asked for it is gone");
        self.to.blocking_send(Ok(piece.into())).map_err(gone)
    }
}

/// Files from this node, or through it from another.
struct Stored<'a> {
    context: &'a Context,
    handle: Handle,
}

impl Files for Stored<'_> {
    fn open(&mut self, digest: &Digest, size: u64) -> Option<Box<dyn Read + Send>> {
        let Context { store, replicator, .. } = self.context;
        if store.size(digest) == Some(size)
            && let Ok(file) = store.open_blob(digest)
        {
            return Some(Box::new(file));
        }
        match self.handle.block_on(replicator.fetch(*digest, 0..size)) {
            Ok(stream) => Some(Box::new(Fetched { stream, ahead: Bytes::new(), handle: self.handle.clone() })),
            Err(error) => {
                warn!(%digest, %error, "a file has no copy that could be put into a backup");
                None
            }
        }
    }
}

/// Bytes that come from another node.
struct Fetched {
    stream: BoxStream<'static, Result<Bytes, FetchError>>,
    ahead: Bytes,
    handle: Handle,
}

impl Read for Fetched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.ahead.is_empty() {
            match self.handle.block_on(self.stream.next()) {
                Some(Ok(bytes)) => self.ahead = bytes,
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Ok(0),
            }
        }
        let length = self.ahead.len().min(buffer.len());
        self.ahead.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
