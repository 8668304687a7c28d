//! A connection that fails when its client takes an answer too slowly: so it cannot hold a place with a few bytes a minute.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Wraps a connection. Once a write has to wait, `bytes` must be taken within `limit`, and then again, until what was
/// to be written is written. Reads are none of its business.
#[derive(Debug)]
pub(super) struct Pace<S> {
    inner: S,
    bytes: usize,
    limit: Duration,
    window: Option<Window>,
}

#[derive(Debug)]
struct Window {
    end: Pin<Box<Sleep>>,
    taken: usize,
}

impl<S> Pace<S> {
    /// `limit` is long enough for a client whose network is away for a while.
    #[must_use]
    pub(super) fn new(inner: S, bytes: usize, limit: Duration) -> Self {
        Self { inner, bytes, limit, window: None }
    }

    fn watch(&mut self, context: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Ok(written)) => {
                if let Some(window) = &mut self.window {
                    window.taken += written;
                }
                self.window.take_if(|window| window.taken >= self.bytes);
                return Poll::Ready(Ok(written));
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => {}
        }
        let limit = self.limit;
        let window = self.window.get_or_insert_with(|| Window { end: Box::pin(tokio::time::sleep(limit)), taken: 0 });
        ready!(window.end.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the answer was taken too slowly")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Pace<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Pace<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_write(context, bytes);
        this.watch(context, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_write_vectored(context, slices);
        this.watch(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    /// Everything buffered above has been written by now: what comes next is counted anew.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.window = None;
        Pin::new(&mut this.inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LIMIT: Duration = Duration::from_millis(200);

    /// Writes `length` bytes to a client that takes `step` of them every quarter of the limit.
    async fn write_to(step: usize, length: usize) -> io::Result<()> {
        let (one, mut other) = tokio::io::duplex(16);
        let client = tokio::spawn(async move {
            let mut buffer = vec![0; step];
            while other.read_exact(&mut buffer).await.is_ok() {
                tokio::time::sleep(LIMIT / 4).await;
            }
        });
        let written = Pace::new(one, 32, LIMIT).write_all(&vec![0; length]).await;
        client.abort();
        written
    }

    #[tokio::test]
    async fn an_answer_that_trickles_is_cut_off() {
        assert_eq!(write_to(1, 512).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn an_answer_that_is_taken_at_a_fair_pace_comes_to_its_end() {
        write_to(16, 128).await.unwrap();
    }

    #[tokio::test]
    async fn a_pause_between_answers_does_not_count() {
        let (one, mut other) = tokio::io::duplex(16);
        let mut pace = Pace::new(one, 32, LIMIT);
        for _ in 0..2 {
            let (written, read) =
                tokio::join!(pace.write_all(&[0; 20]), async { other.read_exact(&mut [0; 20]).await });
            written.and(read.map(drop)).unwrap();
            pace.flush().await.unwrap();
            tokio::time::sleep(2 * LIMIT).await;
        }
    }
}
