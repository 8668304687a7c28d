//! What this node answers to the other nodes over HTTP, on the connections that the replicated state hands over.
//!
//! A node that joins has no certificate yet and may ask two things: to be let in (`join`), and which node this is; everything
//! else is for members.

mod attempts;
mod join;
mod members;
mod serve;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use raft::Cluster;

use crate::membership::{JOIN_PATH, Refusal, WHO_PATH, Who, hex16};
use attempts::Attempts;

pub use serve::serve;

/// Who is at the other end, put into the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The node, as its certificate proves; nothing for a node that has none yet.
    pub node: Option<u64>,
    /// Where the connection came from.
    pub address: SocketAddr,
}

/// What the answers come from; cheap to clone.
#[derive(Clone)]
pub struct Context {
    cluster: Cluster,
    data_dir: Arc<PathBuf>,
    attempts: Arc<Mutex<Attempts>>,
}

impl Context {
    /// For the node whose files are in `data_dir`.
    #[must_use]
    pub fn new(cluster: Cluster, data_dir: PathBuf) -> Self {
        Self { cluster, data_dir: Arc::new(data_dir), attempts: Arc::default() }
    }
}

/// The service. `members` is what only members may ask, with its whole paths.
pub fn router(context: Context, members: Router) -> Router {
    let guarded = members.layer(from_fn_with_state(context.cluster.clone(), members::require));
    let open = Router::new().route(JOIN_PATH, post(join::join)).route(WHO_PATH, get(who)).with_state(context);
    open.merge(guarded).fallback(async || {
        refuse(StatusCode::NOT_FOUND, "no_such_path", "there is nothing at this path", "ask a node of the same version")
    })
}

/// Which node this is: for one that is to join, or about to go on alone.
async fn who(State(context): State<Context>) -> Response {
    let identity = context.cluster.identity();
    let said = Who { cluster: hex16(&identity.cluster), generation: identity.generation, node: identity.node };
    let text = serde_json::to_vec(&said).expect("numbers and texts are JSON");
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}

/// An answer that says no.
fn refuse(status: StatusCode, code: &str, message: impl Into<String>, hint: impl Into<String>) -> Response {
    let refusal = Refusal { code: code.into(), message: message.into(), hint: hint.into() };
    (status, [(CONTENT_TYPE, "application/json")], serde_json::to_vec(&refusal).expect("texts are JSON"))
        .into_response()
}
