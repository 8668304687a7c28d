//! Lets only members of the cluster pass: one that was removed has a valid certificate still.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::StatusCode;
use raft::Cluster;
use tracing::debug;

use super::{Caller, refuse};

pub(super) async fn require(State(cluster): State<Cluster>, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>().copied();
    match caller.and_then(|caller| caller.node) {
        Some(node) if cluster.read().member(node).is_some() => next.run(request).await,
        Some(node) => {
            debug!(node, "a peer that is no member was refused");
            let message = format!("node {node} is not a member of this cluster");
            refuse(StatusCode::FORBIDDEN, "not_a_member", message, "it was removed: wipe it and let it join again")
        }
        None => {
            let message = "this is for members, and the caller has shown no certificate of one";
            refuse(
                StatusCode::UNAUTHORIZED,
                "no_certificate",
                message,
                "join the cluster first, or again if it was removed",
            )
        }
    }
}
