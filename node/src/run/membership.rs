//! Keeps the cluster's record of this node true: says who it is whenever that differs, quietly until it is heard.

use std::time::Duration;

use raft::Cluster;
use raft::command::{Edit, Outcome};
use raft::state::Announcement;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::own;

/// How often the record is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often it is tried again while there is no leader to hear it.
const RETRY_EVERY: Duration = Duration::from_millis(500);
/// How often a refusal is tried again: somebody may have freed the name.
const REFUSED_RETRY_EVERY: Duration = Duration::from_secs(60);

/// Runs until told to stop.
pub(super) async fn announce(cluster: Cluster, said: Announcement, stop: CancellationToken) {
    let mut pause = Duration::ZERO;
    while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        pause = match needed(&cluster, &said) {
            false => LOOK_EVERY,
            true => match stop.run_until_cancelled(say(&cluster, &said)).await {
                Some(pause) => pause,
                None => return,
            },
        };
    }
}

/// Whether the record differs. A node that joined waits until it sees itself: before that it has nothing to compare.
fn needed(cluster: &Cluster, said: &Announcement) -> bool {
    let state = cluster.read();
    match state.member(said.id) {
        Some(member) => {
            let recorded = (&member.name, member.kind, &member.peer, &member.boot);
            recorded != (&said.name, said.kind, &said.peer, &said.boot)
        }
        // Records from before nodes announced themselves.
        None => state.members().len() == 0 && cluster.status().voters == [said.id],
    }
}

async fn say(cluster: &Cluster, said: &Announcement) -> Duration {
    match cluster.propose(own::command(vec![Edit::AnnounceMember(said.clone())])).await {
        Ok(done) => match done.outcome {
            Outcome::Applied { .. } => {
                info!(name = said.name, peer = said.peer, boot = said.boot, "the cluster knows this node");
                LOOK_EVERY
            }
            Outcome::Refused(refusals) => {
                for refusal in refusals {
                    warn!(
                        reason = refusal.message,
                        remedy = refusal.hint,
                        "the cluster does not take what this node says of itself"
                    );
                }
                REFUSED_RETRY_EVERY
            }
        },
        Err(error) => {
            debug!(%error, "this node could not say who it is yet");
            RETRY_EVERY
        }
    }
}
