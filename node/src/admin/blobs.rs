//! Blobs by digest: bytes that have no name yet go in here, and all bytes come out here.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, StatusCode};
use raft::types::Digest;
use serde::Serialize;
use tracing::debug;

use super::Context;
use super::body::Names;
use super::document::parse_digest;
use super::error::{Answer, ApiError};
use super::view::answer;
use crate::assets::{Declared, ReadError, Received, pieces};

/// The answer to an upload without a name.
#[derive(Serialize)]
struct Stored {
    digest: Digest,
    size: u64,
    /// Whether the bytes were not here before.
    fresh: bool,
}

fn named(digest: &str) -> Answer<Digest> {
    parse_digest(digest).map_err(|error| error.unreadable("invalid_path"))
}

pub(super) async fn write(
    State(context): State<Context>,
    Names(digest): Names<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let digest = named(&digest)?;
    let Received { digest, size, fresh } = receive(&context, &headers, body, Some(digest)).await?;
    // They are here whether or not the others can be told right now: naming them tells again.
    if let Err(error) = context.replicator.report([(digest, size)]).await {
        debug!(%digest, %error, "bytes without a name could not be reported yet");
    }
    let status = if fresh { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, answer(&Stored { digest, size, fresh })).into_response())
}

pub(super) async fn read(State(context): State<Context>, Names(digest): Names<String>) -> Answer<Response> {
    let digest = named(&digest)?;
    if context.store.size(&digest).is_none() && !context.replicator.is_elsewhere(&digest) {
        return Err(ApiError::not_found(format!("blob {digest}")));
    }
    send(&context, digest, "application/octet-stream").await
}

/// Stores a request's body while the other data nodes copy it; what it is called is another matter.
pub(super) async fn receive(
    context: &Context,
    headers: &HeaderMap,
    body: Body,
    digest: Option<Digest>,
) -> Answer<Received> {
    if !context.replicator.stores_bytes() {
        return Err(ApiError::witness(&context.replicator.data_nodes()));
    }
    let size = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let mut stream = body.into_data_stream();
    Ok(context.replicator.receive(&mut stream, Declared { size, digest }).await?)
}

/// A blob's bytes as an answer, from this node or through it from another.
pub(super) async fn send(context: &Context, digest: Digest, media_type: &str) -> Answer<Response> {
    let store = context.store.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let file = store.open_blob(&digest)?;
        let size = file.metadata().map_err(|error| ReadError::Unreadable(error.to_string()))?.len();
        Ok((file, size))
    });
    let opened = opened.await.unwrap_or_else(|error| Err(ReadError::Unreadable(error.to_string())));
    let (body, size) = match opened {
        Ok((file, size)) => (Body::from_stream(pieces(file, 0, size)), size),
        Err(error) => {
            let Some(size) = context.replicator.size_anywhere(&digest) else { return Err(error.into()) };
            match context.replicator.fetch(digest, 0..size).await {
                Ok(stream) => (Body::from_stream(stream), size),
                Err(elsewhere) => {
                    debug!(%digest, %elsewhere, "a blob that is not here cannot be had from another node");
                    return Err(error.into());
                }
            }
        }
    };
    // A page among the assets must do nothing in the name of whoever looks at it here.
    let headers = [
        (CONTENT_TYPE, media_type.to_owned()),
        (CONTENT_LENGTH, size.to_string()),
        (ETAG, format!("\"{digest}\"")),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox".to_owned()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    Ok((headers, body).into_response())
}
