//! The settings all nodes share: read, replace, or change in part.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use raft::command::Edit;
use raft::types::Digest;
use serde_json::Value;

use super::body::{OBJECT_BYTES_MAX, whole};
use super::error::Answer;
use super::json::{self, Members};
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
    let bytes = whole(&headers, body, OBJECT_BYTES_MAX).await?;
    let settings = document::settings(&context, &own_fields(&bytes)?)?;
    write.one(&context, Edit::PutSettings(settings), Digest::of(&bytes)).await
}

/// Changes what the body names. Somebody else's change in between is not overwritten: the caller is told to try again.
pub(super) async fn patch(
    State(context): State<Context>,
    write: Write,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let bytes = whole(&headers, body, OBJECT_BYTES_MAX).await?;
    let state = context.cluster.read();
    let settings = document::merged(&context, &state, own_fields(&bytes)?)?;
    let write = write.based_on(state.settings().map(|stored| stored.revision));
    write.one(&context, Edit::PutSettings(settings), Digest::of(&bytes)).await
}

/// The body without what answers add to it.
fn own_fields(bytes: &[u8]) -> Answer<Value> {
    let mut members: Members = json::read(bytes)?;
    let _kind: Option<String> = members.take("kind")?;
    members.drop_read_only();
    members.finish()
}
