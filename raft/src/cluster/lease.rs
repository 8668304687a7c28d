//! What this node may rely on as a leader right now; read by whoever must not trust the async runtime.

use std::time::{Duration, Instant};

use openraft::rt::watch::WatchReceiver as _;
use openraft::{Instant as _, ServerState};

use super::Cluster;
use crate::type_config::Leadership;

/// A look at leadership at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// This node's leadership; `None`: it does not lead.
    pub leading: Option<Leadership>,
    /// When something was sent that a quorum has answered since; no other leader can be elected before
    /// `Timing::election_max` has passed since then. `None`: not yet in this leadership.
    pub quorum_acked: Option<Instant>,
    /// Whether this node alone is a quorum: its lease never ends.
    pub alone: bool,
    /// The node that leads, as far as is known here.
    pub leader: Option<u64>,
    /// Since when no leader has been heard; zero on a leader that a quorum answers.
    pub silent_for: Option<Duration>,
    /// Whether this node votes.
    pub voter: bool,
}

impl Cluster {
    /// Looks at leadership; never waits.
    #[must_use]
    pub fn lease(&self) -> Lease {
        let inner = &self.inner;
        let metrics = inner.metrics.borrow_watched();
        let running = metrics.running_state.is_ok() && inner.health.fatal().is_none();
        let own = inner.identity.node;
        let leads = running
            && metrics.state == ServerState::Leader
            && metrics.vote.committed
            && metrics.vote.leader_id.node_id == own;
        let voters = metrics.membership_config.membership().get_joint_config();
        let alone = voters.iter().all(|set| set.iter().eq([&own]));
        // Ours first: a pause between the two must make the answer older, never younger.
        let now = Instant::now();
        let acked = metrics.last_quorum_acked.as_ref().and_then(|acked| now.checked_sub(acked.into_inner().elapsed()));
        let quorum_acked = if alone { Some(now) } else { acked };
        Lease {
            leading: leads.then_some(metrics.vote.leader_id),
            quorum_acked: quorum_acked.filter(|_| leads),
            alone: leads && alone,
            leader: metrics.current_leader.filter(|_| running),
            silent_for: if leads { quorum_acked.map(|acked| acked.elapsed()) } else { inner.heard.ago() },
            voter: voters.iter().any(|set| set.contains(&own)),
        }
    }
}
