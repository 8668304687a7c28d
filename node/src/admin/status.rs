//! How this node is: for people in full, for load balancers in one word.

use std::time::SystemTime;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use raft::Status;
use serde::Serialize;

use super::body::blocking;
use super::error::Answer;
use super::{Context, Health, clock, expiry, picture, view};
use crate::replication;

#[derive(Serialize)]
struct Report {
    version: &'static str,
    started_at: Option<String>,
    uptime_seconds: u64,
    ready: bool,
    cluster: Status,
    #[serde(flatten)]
    picture: picture::Picture,
    objects: Objects,
    blobs: Blobs,
    parts: Vec<Health>,
}

/// How many there are of each kind.
#[derive(Serialize)]
struct Objects {
    profiles: usize,
    groups: usize,
    templates: usize,
    assets: usize,
    machines: usize,
    tokens: usize,
}

#[derive(Serialize)]
struct Blobs {
    free_bytes: Option<u64>,
    reserve_bytes: Option<u64>,
    quarantined: usize,
    /// Cluster-wide: blobs with fewer copies than they need.
    under_replicated: usize,
    /// How this node's own copying goes.
    replication: replication::Status,
}

pub(super) async fn status(State(context): State<Context>) -> Answer<Response> {
    let (store, replicator) = (context.store.clone(), context.replicator.clone());
    let blobs = blocking(move || {
        let room = store.room().ok();
        Ok(Blobs {
            free_bytes: room.map(|room| room.free),
            reserve_bytes: room.map(|room| room.reserve),
            quarantined: store.quarantined(),
            under_replicated: 0,
            replication: replicator.status(),
        })
    });
    let overview = context.cluster.overview().await;
    let state = context.cluster.read();
    let cluster = picture::asked(context.cluster.status(), &overview);
    let mut picture = picture::draw(&state, &cluster, &overview);
    picture.problems.extend(expiry::troubles(&context.certificates.list(), &state, clock::now()));
    let blobs = Blobs { under_replicated: picture.under_replicated, ..blobs.await? };
    Ok(view::answer(&Report {
        version: context.version,
        started_at: clock::rfc3339(clock::millis(context.started)),
        uptime_seconds: SystemTime::now().duration_since(context.started).unwrap_or_default().as_secs(),
        ready: is_ready(&cluster),
        cluster,
        picture,
        objects: Objects {
            profiles: state.profiles().len(),
            groups: state.groups().len(),
            templates: state.templates().len(),
            assets: state.assets_len(),
            machines: state.machines().len(),
            tokens: state.tokens().len(),
        },
        blobs,
        parts: (context.health)(),
    }))
}

/// Ready is: changes could be made through this node.
fn is_ready(status: &Status) -> bool {
    status.role != "stopped" && status.leader.is_some() && status.caught_up
}

pub(super) async fn alive() -> Response {
    ([(CONTENT_TYPE, "application/json")], r#"{"status":"ok"}"#).into_response()
}

pub(super) async fn ready(State(context): State<Context>) -> Answer<Response> {
    let status = picture::asked(context.cluster.status(), &context.cluster.overview().await);
    if is_ready(&status) {
        return Ok(alive().await);
    }
    let hint = "machines still boot from this node; changes wait for a leader";
    let message = "no leader answers this node";
    Err(super::error::ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", message, hint).retry_after(1))
}
