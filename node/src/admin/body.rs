//! Takes requests apart: paths, queries and bodies, each bounded, each with an error of the one shape.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query};
use futures::StreamExt;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::error::{Answer, ApiError};

/// Size of one object's JSON, in bytes; a group's metadata may have a megabyte.
pub(super) const OBJECT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Size of an `apply`, in bytes.
pub(super) const APPLY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long a sender may be silent within a body.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Reads a body whole.
///
/// # Errors
/// `too_large` beyond `max` bytes; `body_interrupted` if the sender breaks off or falls silent.
pub(super) async fn whole(headers: &HeaderMap, body: Body, max: usize) -> Answer<Vec<u8>> {
    let too_large = || {
        let message = format!("the body is larger than {max} bytes");
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            message,
            "send less at once; large files belong into assets",
        )
    };
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|announced| announced > max) {
        return Err(too_large());
    }
    let cut =
        |why: String| ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_interrupted", why, "send the request again");
    let mut bytes = Vec::with_capacity(announced.unwrap_or(0).min(OBJECT_BYTES_MAX));
    let mut pieces = body.into_data_stream();
    loop {
        let piece = timeout(SILENCE_MAX, pieces.next()).await;
        match piece.map_err(|_| cut(format!("nothing came for {} s", SILENCE_MAX.as_secs())))? {
            None => return Ok(bytes),
            Some(Err(error)) => return Err(cut(format!("the body broke off: {error}"))),
            Some(Ok(piece)) if bytes.len() + piece.len() > max => return Err(too_large()),
            Some(Ok(piece)) => bytes.extend_from_slice(&piece),
        }
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
