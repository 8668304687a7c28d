//! The body of an answer: bytes at hand, parts of a file that are read while they are sent, or bytes of another node.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::relay::Relay;
use super::stream::Stream;
use crate::metrics::counted;

/// The body of an answer; its length is always known, so nothing is ever sent in chunks of HTTP.
#[derive(Debug)]
pub enum Body {
    /// At hand; `None` once sent.
    Bytes(Option<Bytes>),
    /// Read while it is sent.
    Stream(Box<Stream>),
    /// Passed on from another node as it comes.
    Relay(Box<Relay>),
}

impl Body {
    /// No bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self::Bytes(None)
    }

    /// How many bytes are still to come.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Self::Stream(stream) => stream.remaining(),
            Self::Relay(relay) => relay.remaining(),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let next = match self.get_mut() {
            Self::Bytes(bytes) => Poll::Ready(bytes.take().map(Ok)),
            Self::Stream(stream) => stream.poll_next(context),
            Self::Relay(relay) => relay.poll_next(context),
        };
        if let Poll::Ready(Some(Ok(bytes))) = &next {
            counted::BOOT_SENT_BYTES.add(bytes.len() as u64);
        }
        next.map(|next| next.map(|read| read.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining())
    }
}
