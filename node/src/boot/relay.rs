//! Serves an asset whose bytes are on another node only: passed on as they come, all of them or an error.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::{HeaderMap, HeaderValue, Method};
use raft::state::{Asset, Stored};
use tracing::{error, info};

use super::body::Body;
use super::content::{self, Meta, Part};
use super::respond::{self, Answer, Plan};
use super::{BlobError, Questions, sniff};

/// Bytes of another node on their way to one client.
pub struct Relay {
    bytes: BoxStream<'static, io::Result<Bytes>>,
    name: String,
    remaining: u64,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").field("name", &self.name).field("remaining", &self.remaining).finish_non_exhaustive()
    }
}

impl Relay {
    /// How many bytes are still to come.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// The next bytes; an error ends the connection, so that a client never takes a part for the whole.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        let next = match ready!(self.bytes.poll_next_unpin(context)) {
            Some(Ok(bytes)) if bytes.len() as u64 <= self.remaining => {
                self.remaining -= bytes.len() as u64;
                return Poll::Ready(Some(Ok(bytes)));
            }
            Some(Ok(_)) => io::Error::other("another node sent more than it was asked for"),
            Some(Err(error)) => error,
            None => io::ErrorKind::UnexpectedEof.into(),
        };
        error!(asset = self.name, error = %next, "an asset could not be passed on to its end; the download was cut off");
        Poll::Ready(Some(Err(next)))
    }
}

/// Answers a request for an asset that is not here.
///
/// # Errors
/// Why no other node gives it; nothing has been said to the client then.
pub(super) async fn serve(
    questions: &Arc<dyn Questions>,
    method: &Method,
    headers: &HeaderMap,
    asset: &Stored<Asset>,
    meta: Meta<'_>,
    media: Option<HeaderValue>,
) -> Result<Answer, BlobError> {
    let digest = &asset.value.digest;
    let media = match media {
        Some(media) => media,
        None => sniffed(questions, asset).await?,
    };
    let part = match content::decide(method, headers, meta) {
        // A server may answer several ranges with the whole (RFC 9110 §14.2); nothing that boots asks for several.
        Part::Many(_) => Part::Whole,
        part => part,
    };
    let (mut answer, ranges) = match respond::plan(part, meta, &media) {
        Plan::Done(answer) => return Ok(answer),
        Plan::Send { answer, ranges } => (answer, ranges),
    };
    let [range] = ranges[..] else { return Err(BlobError::Missing) };
    if range.length > 0 {
        let bytes = questions.fetch(digest, range.start..range.start + range.length).await?;
        info!(asset = asset.value.name, %digest, "an asset is passed on from another node until this one has it");
        let (name, remaining) = (asset.value.name.clone(), range.length);
        *answer.body_mut() = Body::Relay(Box::new(Relay { bytes, name, remaining }));
    }
    Ok(answer)
}

async fn sniffed(questions: &Arc<dyn Questions>, asset: &Stored<Asset>) -> Result<HeaderValue, BlobError> {
    let end = asset.value.size.min(sniff::SNIFF_BYTES as u64);
    let mut head = Vec::with_capacity(sniff::SNIFF_BYTES);
    if end > 0 {
        let mut bytes = questions.fetch(&asset.value.digest, 0..end).await?;
        while let Some(piece) = bytes.next().await {
            head.extend_from_slice(&piece.map_err(|error| BlobError::Unreadable(error.to_string()))?);
        }
    }
    Ok(HeaderValue::from_static(sniff::sniff(&head)))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures::stream;

    use super::*;

    async fn check(remaining: u64, pieces: Vec<io::Result<Bytes>>) -> (usize, bool) {
        let mut relay = Relay { bytes: stream::iter(pieces).boxed(), name: "kernel".into(), remaining };
        let mut sent = 0;
        loop {
            match poll_fn(|context| relay.poll_next(context)).await {
                Some(Ok(bytes)) => sent += bytes.len(),
                Some(Err(_)) => return (sent, false),
                None => return (sent, true),
            }
        }
    }

    #[tokio::test]
    async fn what_comes_short_or_long_or_breaks_off_is_an_error_and_never_an_end() {
        let piece = |length| Ok(Bytes::from(vec![1; length]));
        assert_eq!(check(6, vec![piece(2), piece(4)]).await, (6, true));
        assert_eq!(check(7, vec![piece(2), piece(4)]).await, (6, false));
        assert_eq!(check(5, vec![piece(2), piece(4)]).await, (2, false));
        assert_eq!(check(6, vec![piece(2), Err(io::Error::other("reset"))]).await, (2, false));
    }
}
