//! A connection that fails when no byte has moved in either direction for too long.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Wraps a connection; reads and writes that make no progress for `limit` end with `TimedOut`.
#[derive(Debug)]
pub struct Idle<S> {
    inner: S,
    limit: Duration,
    last: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl<S> Idle<S> {
    /// Starts counting now.
    #[must_use]
    pub fn new(inner: S, limit: Duration) -> Self {
        Self { inner, limit, last: Instant::now(), alarm: Box::pin(tokio::time::sleep(limit)) }
    }

    /// Notes progress, or looks whether there has been none for too long. The alarm is moved only when it rings, so
    /// that a busy connection does not touch the timer for every piece.
    fn watch<T>(&mut self, context: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.last = Instant::now();
            return result;
        }
        while self.alarm.as_mut().poll(context).is_ready() {
            let end = self.last + self.limit;
            if end <= Instant::now() {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no byte moved for too long")));
            }
            self.alarm.as_mut().reset(end);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Idle<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_read(context, buffer);
        this.watch(context, result)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Idle<S> {
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

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
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

    #[tokio::test]
    async fn a_connection_without_progress_fails() {
        let (one, _other) = tokio::io::duplex(16);
        let error = Idle::new(one, LIMIT).read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_stalled_reader_fails_the_writer() {
        let (one, _other) = tokio::io::duplex(16);
        let error = Idle::new(one, LIMIT).write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn slow_progress_is_progress() {
        let (one, mut other) = tokio::io::duplex(16);
        let mut idle = Idle::new(one, LIMIT);
        let feed = async {
            for byte in 0..4 {
                tokio::time::sleep(LIMIT / 2).await;
                other.write_u8(byte).await.unwrap();
            }
        };
        let read = async {
            for byte in 0..4 {
                assert_eq!(idle.read_u8().await.unwrap(), byte);
            }
        };
        tokio::join!(feed, read);
    }
}
