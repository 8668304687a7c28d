//! The settings all nodes share: read, replace, or change in part.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use raft::command::Edit;
use raft::types::Digest;

use super::body::{OBJECT_BYTES_MAX, json_text};
use super::error::Answer;
use super::write::Write;
use super::{Context, document, view};

pub(super) async fn read(State(context): State<Context>) -> Response {
    view::settings(context.cluster.read().settings().map(|stored| &**stored))
}

/// Replaces all of them: what the body leaves out is the default again.
pub(super) async fn write(
    State(context): State<Context>,
    write: Write,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let bytes = json_text(&headers, body, OBJECT_BYTES_MAX).await?;
    let settings = document::settings(&context, &document::own_fields(&bytes, "settings")?)?;
    write.one(&context, Edit::PutSettings(settings), Digest::of(&bytes)).await
}

/// Changes what the body names. Somebody else's change in between is not overwritten: the caller is told to try again.
pub(super) async fn patch(
    State(context): State<Context>,
    write: Write,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let bytes = json_text(&headers, body, OBJECT_BYTES_MAX).await?;
    let state = context.cluster.read();
    let settings = document::merged(&context, &state, document::own_fields(&bytes, "settings")?)?;
    let write = write.based_on(state.settings().map(|stored| stored.revision));
    write.one(&context, Edit::PutSettings(settings), Digest::of(&bytes)).await
}
