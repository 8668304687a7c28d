//! A backup of the cluster as a download: written by a thread of its own as fast as it is read, and never whole in memory.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::{Buf, Bytes};
use futures::stream::{self, BoxStream, StreamExt};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use raft::types::Digest;
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::body::Asked;
use super::error::{Answer, ApiError};
use super::{Context, clock};
use crate::backup::{self, Files, Origin};
use crate::certs::CaFiles;
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

pub(super) async fn read(State(context): State<Context>, Asked(what): Asked<What>) -> Answer<Response> {
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
    // While the CA changes there are two: a cluster that is restored begins with the one that issues, and changes to no other.
    let ca = CaFiles::new(&dir).issuing().map_err(|error| ApiError::internal(error.to_string()))?;
    let (ca, ca_key) = (ca.certificate.into_bytes(), ca.key.into_bytes());
    let (pieces, received) = mpsc::channel(PIECES_MAX);
    let handle = Handle::current();
    let name = format!("raftboot-{}.backup", state.applied());
    let whole = Arc::new(AtomicBool::new(false));
    let (ended, noted) = (whole.clone(), context.observe.source().last_backup.clone());
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
            Ok(done) => {
                report(&done, what.files, state.applied().0);
                ended.store(what.files && !what.stale && done.lacking == 0, Ordering::Release);
            }
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
    let pieces = stream::unfold(received, move |mut received| {
        let (whole, noted) = (whole.clone(), noted.clone());
        async move {
            let piece = received.recv().await;
            if piece.is_none() && whole.load(Ordering::Acquire) {
                // Taken to its end; what became of it there only the other side knows.
                noted.note(SystemTime::now());
            }
            Some((piece?, received))
        }
    });
    let headers = [
        (CONTENT_TYPE, "application/x-tar".to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// Says what was sent.
fn report(done: &backup::Written, with_files: bool, log_index: u64) {
    let backup::Written { files, file_bytes: bytes, lacking } = *done;
    if lacking > 0 {
        warn!(files, lacking, "a backup was sent without the bytes of some files");
    } else if with_files {
        info!(log_index, files, bytes, "a whole backup was sent");
    } else {
        info!(log_index, files, bytes, "a backup was sent");
    }
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
