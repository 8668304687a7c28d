//! What this node gives to other nodes: its verified copies, and uploads that are still coming in.
//!
//! Whoever serves the port lets only members in.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures::Stream;
use futures::StreamExt as _;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, RANGE, RETRY_AFTER};
use http::{HeaderMap, Method, StatusCode};
use raft::types::Digest;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tracing::debug;

use super::Replicator;
use crate::assets::{Declared, ReadError, pieces};

/// How many transfers to other nodes run at once.
pub(super) const SENDS_MAX: usize = 32;

/// The paths by which other nodes ask.
pub fn router(replicator: Replicator) -> Router {
    Router::new()
        .route("/v1/blobs/{digest}", get(blob))
        .route("/v1/blobs/{digest}/doubt", post(doubt))
        .route("/v1/uploads/{session}", get(upload).post(offer))
        .with_state(replicator)
}

fn later() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], "come back soon\n").into_response()
}

/// A body that gives back its turn when it has been sent.
fn body(pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static, turn: OwnedSemaphorePermit) -> Body {
    let turn = Arc::new(turn);
    Body::from_stream(pieces.map(move |piece| {
        let _held = &turn;
        piece
    }))
}

async fn blob(
    State(replicator): State<Replicator>,
    Path(digest): Path<Digest>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let Ok(turn) = replicator.core.sends.clone().try_acquire_owned() else { return later() };
    let store = replicator.store().clone();
    let opened = tokio::task::spawn_blocking(move || store.open_ready(&digest)).await;
    let (file, size) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(ReadError::Missing)) => {
            replicator.missing(digest);
            return StatusCode::NOT_FOUND.into_response();
        }
        Ok(Err(error)) => {
            debug!(%digest, %error, "another node asked for a blob that cannot be read now");
            return later();
        }
        Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    let asked = headers.get(RANGE).map(|range| range.to_str().ok().and_then(|range| range_of(range, size)));
    let (status, start, length) = match asked {
        None => (StatusCode::OK, 0, size),
        Some(Some((start, length))) => (StatusCode::PARTIAL_CONTENT, start, length),
        Some(None) => {
            let range = [(CONTENT_RANGE, format!("bytes */{size}"))];
            return (StatusCode::RANGE_NOT_SATISFIABLE, range).into_response();
        }
    };
    let mut answer =
        Response::new(if method == Method::HEAD { Body::empty() } else { body(pieces(file, start, length), turn) });
    *answer.status_mut() = status;
    let mut set = |name, value: String| {
        let value = value.parse().expect("digits and punctuation fit into a header");
        answer.headers_mut().insert(name, value);
    };
    set(CONTENT_LENGTH, length.to_string());
    set(CONTENT_TYPE, "application/octet-stream".into());
    set(ACCEPT_RANGES, "bytes".into());
    set(ETAG, format!("\"{digest}\""));
    if status == StatusCode::PARTIAL_CONTENT {
        set(CONTENT_RANGE, format!("bytes {start}-{}/{size}", start + length - 1));
    }
    answer
}

/// One range with a first byte (RFC 9110 §14.1.2); nodes send no other kind. Answers where it begins and how long it is.
fn range_of(text: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let first: u64 = first.parse().ok()?;
    let last = if last.is_empty() { size.checked_sub(1)? } else { last.parse::<u64>().ok()?.min(size.checked_sub(1)?) };
    (first <= last).then(|| (first, last - first + 1))
}

/// Another node got wrong bytes from here: they are read again from the disk.
async fn doubt(State(replicator): State<Replicator>, Path(digest): Path<Digest>) -> StatusCode {
    let Ok(turn) = replicator.core.sends.clone().try_acquire_owned() else { return StatusCode::SERVICE_UNAVAILABLE };
    let store = replicator.store().clone();
    let reread = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        store.reread(&digest, u64::MAX)
    });
    match reread.await {
        Ok(Ok(())) => StatusCode::NO_CONTENT,
        Ok(Err(ReadError::Damaged | ReadError::Missing)) => StatusCode::GONE,
        Ok(Err(_)) | Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn upload(State(replicator): State<Replicator>, Path(session): Path<u64>) -> Response {
    let Ok(turn) = replicator.core.sends.clone().try_acquire_owned() else { return later() };
    match replicator.core.uploads.follow(session) {
        Some(follow) => body(follow.bytes(), turn).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// What another node says of an upload that comes in there.
#[derive(Debug, Deserialize)]
struct Offer {
    from: u64,
    size: Option<u64>,
    digest: Option<Digest>,
}

async fn offer(
    State(replicator): State<Replicator>,
    Path(session): Path<u64>,
    Query(Offer { from, size, digest }): Query<Offer>,
) -> StatusCode {
    replicator.take_offer(from, session, Declared { size, digest })
}

#[cfg(test)]
mod tests {
    use super::range_of;

    #[test]
    fn a_range_is_one_with_a_first_byte_within_the_blob() {
        for (text, found) in [
            ("bytes=0-", Some((0, 10))),
            ("bytes=3-5", Some((3, 3))),
            ("bytes=9-99", Some((9, 1))),
            ("bytes=10-", None),
            ("bytes=5-4", None),
            ("bytes=-3", None),
            ("bytes=0-1,4-5", None),
            ("items=0-1", None),
        ] {
            assert_eq!(range_of(text, 10), found, "{text}");
        }
        assert_eq!(range_of("bytes=0-", 0), None);
    }
}
