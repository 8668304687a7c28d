//! What the VIP's thread asks of the cluster: proposals that go their own way while the thread looks on.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use raft::command::{Command, Edit, Outcome};
use raft::type_config::Leadership;
use raft::types::{Digest, LogIndex, Timestamp};
use raft::{Cluster, Committed, ProposeError};
use tokio::runtime::Handle;
use tracing::{debug, warn};

use super::decide::Claim;
use super::thread::lock;

/// Proposes on the node's runtime; cheap to clone.
#[derive(Clone)]
pub(super) struct Claims {
    cluster: Cluster,
    runtime: Handle,
    outcome: Arc<Mutex<(u64, Claim)>>,
}

impl Claims {
    pub(super) fn new(cluster: Cluster, runtime: Handle) -> Self {
        Self { cluster, runtime, outcome: Arc::new(Mutex::new((0, Claim::None))) }
    }

    /// What became of the claim proposed last.
    pub(super) fn outcome(&self) -> Claim {
        lock(&self.outcome).1
    }

    /// Proposes that this node holds the VIP, as that leader and no other.
    pub(super) fn propose(&self, leadership: Leadership) {
        let number = {
            let mut outcome = lock(&self.outcome);
            *outcome = (outcome.0 + 1, Claim::Pending);
            outcome.0
        };
        let (cluster, shared) = (self.cluster.clone(), self.outcome.clone());
        let own = cluster.identity().node;
        self.runtime.spawn(async move {
            let claim = match cluster.propose_as(leadership, command(Edit::ClaimVip(own))).await {
                Ok(Committed { index, outcome: Outcome::Applied { .. } }) => Claim::Committed(index),
                Ok(Committed { outcome: Outcome::Refused(why), .. }) => {
                    warn!(?why, "the claim of the VIP was refused");
                    Claim::Failed
                }
                Err(error) => {
                    debug!(%error, "the claim of the VIP was not committed");
                    Claim::Failed
                }
            };
            let mut outcome = lock(&shared);
            if outcome.0 == number {
                outcome.1 = claim;
            }
        });
    }

    /// Says in the log that this node has let go, so that the next one need not wait.
    pub(super) fn release(&self, leadership: Leadership, epoch: LogIndex) {
        let claims = self.clone();
        self.runtime.spawn(async move { claims.released(leadership, epoch).await });
    }

    /// The same, awaited.
    pub(super) async fn released(&self, leadership: Leadership, epoch: LogIndex) {
        let own = self.cluster.identity().node;
        let told: Result<_, ProposeError> =
            self.cluster.propose_as(leadership, command(Edit::ReleaseVip(own, epoch))).await;
        if let Err(error) = told {
            debug!(%error, "that the VIP was let go could not be committed; the next holder waits for the lease");
        }
    }

    /// Lets another node lead.
    pub(super) fn hand_over(&self) {
        let cluster = self.cluster.clone();
        self.runtime.spawn(async move {
            if let Err(error) = cluster.transfer(None).await {
                debug!(%error, "no other node can lead now");
            }
        });
    }
}

fn command(edit: Edit) -> Command {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Command {
        actor: "node".into(),
        at: Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
        idempotency_key: String::new(),
        fingerprint: Digest([0; 32]),
        edits: vec![edit.into()],
        replace: Vec::new(),
        allow_ties: false,
    }
}
