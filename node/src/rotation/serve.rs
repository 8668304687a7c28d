//! Gives other nodes a CA that they lack while it changes.
//!
//! Whoever serves the port lets only members in. They have the CA's key anyway: each issues its own certificates.

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use raft::types::Digest;
use tracing::{info, warn};

use super::{Rotation, is_of};
use crate::certs::CaPair;

/// Where a node is asked.
pub(super) fn path(digest: &Digest) -> String {
    format!("/v1/ca/{digest}")
}

/// The path by which other nodes ask.
pub fn router(rotation: Rotation) -> Router {
    Router::new().route("/v1/ca/{digest}", get(give)).with_state(rotation)
}

async fn give(State(rotation): State<Rotation>, Path(digest): Path<String>) -> Result<Json<CaPair>, StatusCode> {
    let digest: Digest = digest.parse().map_err(|_| StatusCode::BAD_REQUEST)?;
    if !rotation.cluster.read().ca().is_some_and(|record| is_of(record, &digest)) {
        return Err(StatusCode::NOT_FOUND);
    }
    let files = rotation.files.clone();
    match tokio::task::spawn_blocking(move || files.find(&digest)).await {
        Ok(Ok(Some(pair))) => {
            info!(ca = %digest, "gave another node the CA it lacks");
            Ok(Json(pair))
        }
        Ok(Ok(None)) => Err(StatusCode::NOT_FOUND),
        Ok(Err(error)) => {
            warn!(%error, "a CA that another node asks for cannot be read");
            Err(StatusCode::INTERNAL_SERVER_ERROR)
        }
        Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}
