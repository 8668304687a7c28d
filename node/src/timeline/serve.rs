//! What this node tells other nodes of a machine.
//!
//! Whoever serves the port lets only members in.

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use raft::types::Mac;

use super::across::{Here, Reader};

/// Where a node is asked.
pub(super) fn path(mac: &Mac) -> String {
    format!("/v1/timeline/{mac}")
}

/// The path by which other nodes ask.
pub fn router(reader: Reader) -> Router {
    Router::new().route("/v1/timeline/{mac}", get(here)).with_state(reader)
}

async fn here(State(reader): State<Reader>, Path(mac): Path<Mac>) -> Json<Here> {
    Json(reader.here(&mac))
}
