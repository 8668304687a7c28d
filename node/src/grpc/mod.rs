//! gRPC as clients of matchbox speak it: its Terraform provider and its `bootcmd` work against any node.
//!
//! `routes` is the table of what can be called; `groups`, `profiles`, `configs` and `select` answer; `convert` and
//! `metadata` are pure; `write` makes a change and waits until it is replicated; `status` is the one place where an error
//! becomes a gRPC status; `tls` says who may call. `matchbox.proto` is the interface, `proto` its messages.

mod configs;
mod convert;
mod groups;
mod metadata;
mod profiles;
pub mod proto;
mod routes;
mod select;
mod status;
pub mod tls;
mod write;

use std::sync::Arc;
use std::time::Duration;

use raft::state::{ScriptStyle, State, TemplateKind};
use raft::{Cluster, ProposeError};
use tokio::time::{Instant, sleep};
use tonic::Status;

use crate::https::Service;
use crate::metrics::counted;

pub use routes::router;

/// What `https` calls it.
pub static SERVICE: Service =
    Service { name: "gRPC service", key: "listen.grpc", label: "grpc", count, tells_failures: true };

/// A call that failed says so in the head of its answer, for nothing follows it.
fn count(answer: &http::response::Parts) {
    let failed = answer.headers.get(Status::GRPC_STATUS).is_some_and(|status| status != "0");
    counted::GRPC_REQUESTS.one(if failed || !answer.status.is_success() { "error" } else { "ok" });
}

/// Bytes of one message, as the Go implementation of gRPC takes by default and matchbox does.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a call waits for the cluster to be able to answer it: longer than a failover takes, as the provider does not
/// try again, and takes any error of a read for an object that is gone.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// How often it looks meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Says what is wrong with a template, by its kind, its name and its text.
pub type CheckTemplate = Arc<dyn Fn(TemplateKind, &str, &[u8]) -> Result<(), String> + Send + Sync>;

/// What the services work with; cheap to clone.
#[derive(Clone)]
pub struct Context {
    cluster: Cluster,
    check_template: CheckTemplate,
}

impl Context {
    /// `check_template` says, before it is stored, what no machine could be given.
    #[must_use]
    pub fn new(cluster: Cluster, check_template: CheckTemplate) -> Self {
        Self { cluster, check_template }
    }

    /// The state with everything in it that was acknowledged before the call.
    ///
    /// # Errors
    /// `UNAVAILABLE` when no quorum says for [`WAIT_MAX`] what that is.
    async fn latest(&self) -> Result<Arc<State>, Status> {
        let give_up = Instant::now() + WAIT_MAX;
        loop {
            match self.cluster.read_latest().await {
                Ok(state) => return Ok(state),
                Err(error) if Instant::now() >= give_up || matches!(error, ProposeError::Fatal(_)) => {
                    return Err(status::not_known(&error));
                }
                Err(_) => sleep(LOOK_EVERY).await,
            }
        }
    }

    /// What `find` finds in the latest state. Without a quorum what this node has is better than nothing, for the provider
    /// takes any failure for an object that is gone; but then nothing can be said of what it has not.
    async fn found<T>(
        &self,
        find: impl Fn(&State) -> Option<T>,
        missing: impl FnOnce() -> Status,
    ) -> Result<T, Status> {
        match self.latest().await {
            Ok(state) => find(&state).ok_or_else(missing),
            Err(unknown) => find(&self.cluster.read()).ok_or(unknown),
        }
    }
}

/// Whether the cluster is told to answer to the byte as matchbox does.
fn is_exact(state: &State) -> bool {
    state.settings().is_some_and(|settings| settings.value.script_style == ScriptStyle::Matchbox)
}
