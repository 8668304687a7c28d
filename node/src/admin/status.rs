//! How this node is: for people in full, for load balancers in one word.

use std::time::SystemTime;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use raft::Status;
use raft::types::Timestamp;
use serde::Serialize;

use super::body::blocking;
use super::error::Answer;
use super::{Context, Health, clock, concerns, picture, view};
use crate::replication;

#[derive(Serialize)]
pub(super) struct Report {
    /// The node's clock when it was asked.
    at: Option<String>,
    version: &'static str,
    started_at: Option<String>,
    uptime_seconds: u64,
    ready: bool,
    cluster: Status,
    #[serde(flatten)]
    picture: picture::Picture,
    objects: Objects,
    blobs: Blobs,
    /// When any node gave the last whole backup.
    last_backup: Option<String>,
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
    /// The first of their names.
    under_replicated_names: Vec<String>,
    /// How this node's own copying goes.
    replication: replication::Status,
}

pub(super) async fn status(State(context): State<Context>) -> Answer<Response> {
    Ok(view::answer(&report(&context).await?))
}

/// How it is, from this node and what the others say.
pub(super) async fn report(context: &Context) -> Answer<Report> {
    let (store, replicator) = (context.store.clone(), context.replicator.clone());
    let blobs = blocking(move || {
        let room = store.room().ok();
        Ok(Blobs {
            free_bytes: room.map(|room| room.free),
            reserve_bytes: room.map(|room| room.reserve),
            quarantined: store.quarantined(),
            under_replicated: 0,
            under_replicated_names: Vec::new(),
            replication: replicator.status(),
        })
    });
    let (overview, told) = tokio::join!(context.cluster.overview(), context.observe.everywhere());
    let state = context.cluster.read();
    let cluster = picture::asked(context.cluster.status(), &overview);
    let now = clock::now();
    let mut picture = picture::draw(&state, &cluster, &overview, &told, now.0);
    let under_replicated_names = std::mem::take(&mut picture.under_replicated_names);
    let blobs = Blobs { under_replicated: picture.under_replicated, under_replicated_names, ..blobs.await? };
    Ok(Report {
        at: clock::rfc3339(now),
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
        last_backup: concerns::last_backup(&told).and_then(|at| clock::rfc3339(Timestamp(at))),
        parts: (context.health)(),
    })
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
