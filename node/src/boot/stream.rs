//! Sends parts of a file in large pieces, read off the async threads into a bounded set of buffers.

use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::content::Range;

/// How much is read at once, in bytes.
pub(super) const PIECE_BYTES: usize = 256 * 1024;
/// How much is read at once while many downloads share the memory, in bytes.
const SMALL_PIECE_BYTES: usize = 64 * 1024;
/// From so many downloads on pieces are small.
const DOWNLOADS_MANY: usize = 128;
/// How many reads are under way at once, for all downloads together.
const READS_MAX: usize = 32;
/// How many other pieces of work that may block (opening and verifying, hashing, rendering) are under way at once.
const JOBS_MAX: usize = 16;
/// How many buffers are kept for the next read: two for each of so many downloads that pieces are still large. Giving
/// them back to the allocator instead would scatter them over its arenas, and memory would grow with time.
const BUFFERS_KEPT_MAX: usize = 2 * DOWNLOADS_MANY;

/// What all downloads share: threads that may block, and buffers.
#[derive(Debug)]
pub struct Reader {
    reads: Arc<Semaphore>,
    jobs: Arc<Semaphore>,
    buffers: Arc<Mutex<Vec<Vec<u8>>>>,
    downloads: AtomicUsize,
}

impl Default for Reader {
    fn default() -> Self {
        let (reads, jobs) = (Arc::new(Semaphore::new(READS_MAX)), Arc::new(Semaphore::new(JOBS_MAX)));
        Self { reads, jobs, buffers: Arc::default(), downloads: AtomicUsize::new(0) }
    }
}

/// A buffer that returns to its pool when the last piece of it has been sent.
struct Buffer {
    bytes: Vec<u8>,
    pool: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.len() < BUFFERS_KEPT_MAX {
            pool.push(std::mem::take(&mut self.bytes));
        }
    }
}

impl Reader {
    /// Runs `work` on a thread that may block, when one of the few is free.
    ///
    /// # Errors
    /// If the runtime is stopping.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        run(self.jobs.clone(), work).await
    }

    fn read(&self, file: Arc<File>, at: u64, left: u64) -> impl Future<Output = io::Result<Bytes>> + Send + use<> {
        let many = self.downloads.load(Ordering::Relaxed) > DOWNLOADS_MANY;
        let most = if many { SMALL_PIECE_BYTES } else { PIECE_BYTES };
        let length = usize::try_from(left).unwrap_or(most).min(most);
        let (permits, pool) = (self.reads.clone(), self.buffers.clone());
        async move {
            run(permits, move || {
                let kept = pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let mut buffer = Buffer { bytes: kept.unwrap_or_default(), pool };
                buffer.bytes.resize(length, 0);
                file.read_exact_at(&mut buffer.bytes, at)?;
                Ok(Bytes::from_owner(buffer))
            })
            .await?
        }
    }
}

async fn run<T: Send + 'static>(permits: Arc<Semaphore>, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let permit = permits.acquire_owned().await.map_err(io::Error::other)?;
    let span = tracing::Span::current();
    let work = move || {
        let done = span.in_scope(work);
        drop(permit);
        done
    };
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

/// What comes next in a stream.
#[derive(Debug)]
pub enum Piece {
    /// Bytes at hand: the frame around a part of a multipart answer.
    Bytes(Bytes),
    /// A range of the file.
    File(Range),
}

type Pending = Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send>>;

/// Pieces of one file on their way to one client. At most one piece is in memory at a time.
pub struct Stream {
    pieces: VecDeque<Piece>,
    file: Arc<File>,
    name: String,
    reader: Arc<Reader>,
    pending: Option<Pending>,
    remaining: u64,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("name", &self.name).field("remaining", &self.remaining).finish_non_exhaustive()
    }
}

impl Stream {
    /// Sends `pieces` of `file`, which is called `name` in the log.
    #[must_use]
    pub fn new(reader: Arc<Reader>, file: File, name: String, pieces: VecDeque<Piece>) -> Self {
        let remaining = pieces.iter().map(|piece| match piece {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::File(range) => range.length,
        });
        let remaining = remaining.sum();
        reader.downloads.fetch_add(1, Ordering::Relaxed);
        Self { pieces, file: Arc::new(file), name, reader, pending: None, remaining }
    }

    /// How many bytes are still to come.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// The next bytes; an error ends the connection, so that a client never takes a part for the whole.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            if let Some(pending) = &mut self.pending {
                let read = std::task::ready!(pending.as_mut().poll(context));
                self.pending = None;
                return Poll::Ready(Some(self.arrived(read)));
            }
            match self.pieces.front_mut() {
                None => return Poll::Ready(None),
                Some(Piece::Bytes(bytes)) => {
                    let bytes = std::mem::take(bytes);
                    self.pieces.pop_front();
                    self.remaining -= bytes.len() as u64;
                    return Poll::Ready(Some(Ok(bytes)));
                }
                Some(Piece::File(Range { length: 0, .. })) => drop(self.pieces.pop_front()),
                Some(Piece::File(range)) => {
                    self.pending = Some(Box::pin(self.reader.read(self.file.clone(), range.start, range.length)));
                }
            }
        }
    }

    fn arrived(&mut self, read: io::Result<Bytes>) -> io::Result<Bytes> {
        let bytes = read.inspect_err(|error| {
            tracing::error!(asset = self.name, %error, "an asset could not be read to its end; the download was cut off");
        })?;
        let length = bytes.len() as u64;
        if let Some(Piece::File(range)) = self.pieces.front_mut() {
            range.start += length;
            range.length -= length;
        }
        self.remaining -= length;
        Ok(bytes)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reader.downloads.fetch_sub(1, Ordering::Relaxed);
    }
}
