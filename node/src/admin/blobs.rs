//! Blobs by digest: bytes that have no name yet go in here, and all bytes come out here.

use std::fs::File;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{HeaderMap, StatusCode};
use raft::types::Digest;
use serde::Serialize;
use tokio_util::io::ReaderStream;

use super::Context;
use super::body::{Names, blocking};
use super::document::parse_digest;
use super::error::{Answer, ApiError};
use super::view::answer;
use crate::assets::{Declared, Received};

/// How much of a file is read at once, in bytes.
const PIECE_BYTES: usize = 256 * 1024;
/// The answer to an upload without a name.
#[derive(Serialize)]
struct Stored {
    digest: Digest,
    size: u64,
    /// Whether the bytes were not here before.
    fresh: bool,
}

pub(super) async fn write(
    State(context): State<Context>,
    Names(digest): Names<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let digest = parse_digest(&digest)?;
    let Received { digest, size, fresh } = receive(&context, &headers, body, Some(digest)).await?;
    let status = if fresh { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, answer(&Stored { digest, size, fresh })).into_response())
}

pub(super) async fn read(State(context): State<Context>, Names(digest): Names<String>) -> Answer<Response> {
    let digest = parse_digest(&digest)?;
    if context.store.size(&digest).is_none() {
        return Err(ApiError::not_found(format!("blob {digest}")));
    }
    send(&context, digest, "application/octet-stream").await
}

/// Stores a request's body; what it is called is another matter.
pub(super) async fn receive(
    context: &Context,
    headers: &HeaderMap,
    body: Body,
    digest: Option<Digest>,
) -> Answer<Received> {
    let size = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let mut stream = body.into_data_stream();
    Ok(context.store.receive(&mut stream, Declared { size, digest }).await?)
}

/// A blob's bytes as an answer.
pub(super) async fn send(context: &Context, digest: Digest, media_type: &str) -> Answer<Response> {
    let store = context.store.clone();
    let (file, size) = blocking(move || {
        let file: File = store.open_blob(&digest)?;
        let size =
            file.metadata().map_err(|error| ApiError::internal(format!("a blob cannot be read: {error}")))?.len();
        Ok((file, size))
    })
    .await?;
    let pieces = ReaderStream::with_capacity(tokio::fs::File::from_std(file), PIECE_BYTES);
    let headers =
        [(CONTENT_TYPE, media_type.to_owned()), (CONTENT_LENGTH, size.to_string()), (ETAG, format!("\"{digest}\""))];
    Ok((headers, Body::from_stream(pieces)).into_response())
}
