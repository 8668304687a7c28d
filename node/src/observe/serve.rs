//! What this node tells other nodes of itself.
//!
//! Whoever serves the port lets only members in.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};

use super::across::Reader;
use super::{About, Support};

/// Where a node is asked what it says of itself.
pub(super) const ABOUT_PATH: &str = "/v1/about";
/// Where it is asked for what helps to find a fault.
pub(super) const SUPPORT_PATH: &str = "/v1/support";

/// The paths by which other nodes ask.
pub fn router(reader: Reader) -> Router {
    Router::new().route(ABOUT_PATH, get(about)).route(SUPPORT_PATH, get(support)).with_state(reader)
}

async fn about(State(reader): State<Reader>) -> Json<About> {
    Json(reader.here().await)
}

async fn support(State(reader): State<Reader>) -> Json<Support> {
    Json(reader.support_here().await)
}
