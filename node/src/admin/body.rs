//! Takes requests apart: paths, queries and bodies, each bounded, each with an error of the one shape.

use std::ops::Deref;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query};
use futures::StreamExt;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::error::{Answer, ApiError};

/// Size of one object's JSON, in bytes; a group's metadata may have a megabyte.
pub(super) const OBJECT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Size of an `apply`, in bytes.
pub(super) const APPLY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What bodies that are read at the same time may have together, in parts; what is less than a part does not count.
const ROOM_PARTS: usize = 256;
const PART_BYTES: usize = 1024 * 1024;
/// How long one of them waits for others to be done.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long a body may take as a whole: it holds room that others wait for.
const WHOLE_MAX: Duration = Duration::from_mins(2);
/// How long a sender may be silent within a body.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// A body, and the room it takes until it is dropped.
#[derive(Debug)]
pub(super) struct Whole {
    bytes: Vec<u8>,
    room: Option<SemaphorePermit<'static>>,
}

impl Whole {
    /// The bytes alone.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl Deref for Whole {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads a body of JSON whole. One that says it is something else is refused, so that no web page can have a browser send
/// it: a form has no other types than its own.
///
/// # Errors
/// `unsupported_media_type`, and those of `whole`.
pub(super) async fn json_text(headers: &HeaderMap, body: Body, max: usize) -> Answer<Whole> {
    if let Some(said) = headers.get(CONTENT_TYPE).filter(|said| !is_json(said.as_bytes())) {
        let message = format!("the body is `{}`; JSON is wanted", said.as_bytes().escape_ascii());
        let hint = "send it with `Content-Type: application/json`";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message, hint));
    }
    whole(headers, body, max).await
}

/// `application/json`, or another type that is JSON by its suffix (RFC 6839 §3.1), whatever its parameters.
fn is_json(said: &[u8]) -> bool {
    let essence = said.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    essence == b"application/json" || essence.starts_with(b"application/") && essence.ends_with(b"+json")
}

/// Reads a body whole.
///
/// # Errors
/// `too_large` beyond `max` bytes; `body_interrupted` if the sender breaks off or falls silent; `bodies_busy` if too many are
/// being read at once.
pub(super) async fn whole(headers: &HeaderMap, body: Body, max: usize) -> Answer<Whole> {
    static ROOM: Semaphore = Semaphore::const_new(ROOM_PARTS);
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|announced| announced > max) {
        return Err(too_large(max));
    }
    match timeout(WHOLE_MAX, collect(body, max, &ROOM, ROOM_WAIT_MAX)).await {
        Ok(collected) => collected,
        Err(_) => {
            let why = format!("the body had not come after {} s", WHOLE_MAX.as_secs());
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_interrupted", why, "send it faster, or less at once"))
        }
    }
}

fn too_large(max: usize) -> ApiError {
    let message = format!("the body is larger than {max} bytes");
    let hint = "send less at once; large files belong into assets";
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message, hint)
}

/// Room is taken as the bytes come, so that nobody who says nothing keeps any.
async fn collect(body: Body, max: usize, room: &'static Semaphore, wait: Duration) -> Answer<Whole> {
    let cut =
        |why: String| ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_interrupted", why, "send the request again");
    let busy = |_| {
        let hint = "try again when they are done";
        let message = "too many large requests are being read at once";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "bodies_busy", message, hint).retry_after(5)
    };
    let mut whole = Whole { bytes: Vec::new(), room: None };
    let mut taken = 0;
    let mut pieces = body.into_data_stream();
    loop {
        let piece = timeout(SILENCE_MAX, pieces.next()).await;
        let piece = match piece.map_err(|_| cut(format!("nothing came for {} s", SILENCE_MAX.as_secs())))? {
            None => return Ok(whole),
            Some(Err(error)) => return Err(cut(format!("the body broke off: {error}"))),
            Some(Ok(piece)) => piece,
        };
        let length = whole.bytes.len() + piece.len();
        if length > max {
            return Err(too_large(max));
        }
        let needed = u32::try_from(length / PART_BYTES).unwrap_or(u32::MAX);
        if needed > taken {
            let more = timeout(wait, room.acquire_many(needed - taken)).await.map_err(busy)?;
            let more = more.expect("it is never closed");
            match &mut whole.room {
                Some(room) => room.merge(more),
                none => *none = Some(more),
            }
            taken = needed;
        }
        whole.bytes.extend_from_slice(&piece);
    }
}

/// The variable parts of a path, percent-decoded.
#[derive(Debug)]
pub(super) struct Names<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Names<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(names)) => Ok(Self(names)),
            Err(error) => {
                let hint = "percent-encode the name as UTF-8";
                Err(ApiError::bad_request("invalid_path", format!("the path cannot be read: {error}"), hint))
            }
        }
    }
}

/// The query of a URL.
#[derive(Debug)]
pub(super) struct Asked<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(error) => {
                let text = error.body_text();
                let reason = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
                let field = reason.split_once("unknown field `").map_or_else(
                    || reason.split_once(": ").map(|(field, _)| field),
                    |(_, rest)| rest.split_once('`').map(|(field, _)| field),
                );
                let field = field.unwrap_or_default().to_owned();
                let hint = "see the reference for what can be asked here";
                Err(ApiError::bad_request("invalid_query", format!("the query cannot be read: {reason}"), hint)
                    .at(field))
            }
        }
    }
}

/// Runs work that computes for long or touches the disk where it holds up nobody.
///
/// # Errors
/// Those of `work`; `internal` if it panicked.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Answer<T> + Send + 'static) -> Answer<T> {
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work))
        .await
        .unwrap_or_else(|error| Err(ApiError::internal(format!("the work on this request ended early: {error}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(parts: usize) -> Body {
        Body::from(vec![b' '; parts * PART_BYTES])
    }

    #[tokio::test]
    async fn bodies_wait_for_room_and_give_it_back() {
        static ROOM: Semaphore = Semaphore::const_new(4);
        const SMALL: usize = 4 * PART_BYTES;
        const SOON: Duration = Duration::from_millis(1);
        let read = async |parts, max, wait| collect(body(parts), max, &ROOM, wait).await;
        let first = read(3, SMALL, SOON).await.unwrap();
        let second = read(1, SMALL, SOON).await.unwrap();
        assert_eq!(read(2, SMALL, SOON).await.unwrap_err().problems()[0].code, "bodies_busy");
        read(0, SMALL, SOON).await.expect("what is small always finds room");
        let (third, ()) = tokio::join!(read(4, SMALL, Duration::from_secs(60)), async { drop((first, second)) });
        assert_eq!(third.unwrap().len(), SMALL);
        assert_eq!(ROOM.available_permits(), 4, "nothing is kept");
        assert_eq!(read(5, SMALL + PART_BYTES, SOON).await.unwrap_err().problems()[0].code, "bodies_busy");
        assert_eq!(ROOM.available_permits(), 4, "not even by those who failed");
    }
}
