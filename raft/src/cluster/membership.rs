//! Who belongs to the cluster: nodes are let in and out, leadership is handed over; each refusal says why.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::Instant as _;
use openraft::rt::watch::WatchReceiver as _;
use tokio::time::{Instant, timeout};

use super::desk::{Desk, now, problem};
use crate::command::{Command, Edit, Outcome};
use crate::peer::{CallProblem, PeerView, ProblemKind};
use crate::state::{Member, NewMember, NodeKind, State};
use crate::type_config::Proposal;
use crate::types::Digest;

/// A peer that has answered within this is alive.
pub const ALIVE_WITHIN: Duration = Duration::from_secs(2);
/// How long a transfer of leadership may take.
const TRANSFER_MAX: Duration = Duration::from_secs(3);
/// How long a new leader waits to hear from every voter before it judges who is alive.
const SETTLE_MAX: Duration = Duration::from_secs(1);
/// How long the target may take to have the whole log.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);

impl PeerView {
    /// Whether it has answered lately.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.silent_for_millis.is_some_and(|millis| u128::from(millis) < ALIVE_WITHIN.as_millis())
    }
}

impl Desk {
    /// What the other nodes look like from here; only the leader knows.
    pub(crate) fn view(&self) -> Vec<PeerView> {
        let metrics = self.metrics.borrow_watched();
        let Some(heartbeats) = &metrics.heartbeat else { return Vec::new() };
        let voters: BTreeSet<u64> = metrics.membership_config.voter_ids().collect();
        let last = metrics.last_log_index.unwrap_or(0);
        let views = heartbeats.iter().map(|(id, acked)| {
            let own = *id == self.node;
            let silent =
                if own { Some(Duration::ZERO) } else { acked.as_ref().map(|acked| acked.into_inner().elapsed()) };
            let matched = metrics.replication.as_ref().and_then(|all| all.get(id)).and_then(Option::as_ref);
            PeerView {
                id: *id,
                voter: voters.contains(id),
                silent_for_millis: silent.map(|silent| u64::try_from(silent.as_millis()).unwrap_or(u64::MAX)),
                lag: if own { Some(0) } else { matched.map(|matched| last.saturating_sub(matched.index)) },
            }
        });
        views.collect()
    }

    /// The same, once every voter has had the time to answer a leader that was elected just now.
    async fn settled_view(&self) -> Vec<PeerView> {
        let until = Instant::now() + SETTLE_MAX;
        let mut metrics = self.metrics.clone();
        loop {
            let views = self.view();
            if Instant::now() >= until || views.iter().all(|view| !view.voter || view.silent_for_millis.is_some()) {
                return views;
            }
            let _ = timeout(Duration::from_millis(20), metrics.changed()).await;
        }
    }

    pub(super) async fn commit(&self, edit: Edit) -> Result<(), CallProblem> {
        let command = Command {
            actor: "node".into(),
            at: now(),
            idempotency_key: String::new(),
            fingerprint: Digest([0; 32]),
            edits: vec![edit.into()],
            replace: Vec::new(),
            allow_ties: false,
        };
        match self.write(Proposal(Arc::new(command)), None).await?.outcome {
            Outcome::Applied { .. } => Ok(()),
            Outcome::Refused(refusals) => {
                let said: Vec<String> =
                    refusals.into_iter().map(|refusal| format!("{}; {}", refusal.message, refusal.hint)).collect();
                Err(problem(ProblemKind::Refused, said.join(". ")))
            }
        }
    }

    /// Lets a node in. A node of the same name is replaced if it is gone, and only then.
    pub(super) async fn admit(&self, new: NewMember) -> Result<Member, CallProblem> {
        let _alone = self.membership.lock().await;
        let views = self.settled_view().await;
        let state = self.model.state();
        let known = |state: &State| state.members().find(|member| member.instance == new.instance).cloned();
        if known(&state).is_none()
            && let Some(other) = state.members().find(|member| member.name == new.name)
            // One that the leader knows nothing of is not known to be gone.
            && (other.id == self.node
                || views.iter().find(|view| view.id == other.id).is_none_or(PeerView::is_alive))
        {
            let message = format!(
                "node {} is called `{}` already and is alive; set another `name`, or stop that node first if this one is to take its place",
                other.id, other.name
            );
            return Err(problem(ProblemKind::Refused, message));
        }
        self.commit(Edit::AddMember(new.clone())).await?;
        let state = self.model.state();
        known(&state)
            .map(|member| (*member).clone())
            .ok_or_else(|| problem(ProblemKind::Unknown, "the node was let in and is gone again"))
    }

    /// Lets a node go, unless that would endanger what is left.
    pub(super) async fn dismiss(&self, id: u64, force: bool) -> Result<(), CallProblem> {
        // One at a time: each looks at what the one before has left.
        let _alone = self.membership.lock().await;
        let state = self.model.state();
        if state.member(id).is_none() {
            return if state.was_removed(id) {
                Ok(())
            } else {
                Err(problem(ProblemKind::Refused, format!("there is no node {id}")))
            };
        }
        let views = self.settled_view().await;
        if let Some(why) = danger(&state, &views, id, force) {
            return Err(problem(ProblemKind::Refused, why));
        }
        if id == self.node {
            // Somebody else must lead the cluster without this node.
            let next = self.hand_over(None).await?;
            let message = format!("node {next} leads now; ask again");
            return Err(problem(ProblemKind::NotLeader, message));
        }
        self.commit(Edit::RemoveMember(id)).await
    }

    /// Hands leadership to another node and returns which; what only a leader may hold is let go of first.
    pub(super) async fn hand_over(&self, to: Option<u64>) -> Result<u64, CallProblem> {
        let Some(leadership) = self.leadership() else {
            return Err(problem(ProblemKind::NotLeader, "this node does not lead"));
        };
        let to = match to {
            Some(to) if to == self.node => return Ok(to),
            Some(to) => self.check_target(to)?,
            None => self.best_target().ok_or_else(|| {
                problem(ProblemKind::Refused, "no other node can lead now: none is alive with the whole log")
            })?,
        };
        let until = Instant::now() + CATCH_UP_MAX;
        if let Some(release) = self.before_hand_over() {
            release().await;
        }
        // A target that lacks the last entry would refuse.
        let mut metrics = self.metrics.clone();
        while Instant::now() < until && !self.view().iter().any(|view| view.id == to && view.lag == Some(0)) {
            let _ = timeout(Duration::from_millis(5), metrics.changed()).await;
        }
        let failed = |error: &dyn std::fmt::Display| problem(ProblemKind::Unavailable, error.to_string());
        self.raft.trigger().transfer_leader(to).await.map_err(|error| failed(&error))?;
        let moved = timeout(TRANSFER_MAX, async {
            loop {
                let now = self.leader();
                if now.as_ref().is_some_and(|now| now.id != self.node) {
                    return now.map_or(to, |now| now.id);
                }
                if metrics.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
        });
        match moved.await {
            Ok(next) => {
                tracing::info!(from = self.node, to = next, term = leadership.term, "leadership was handed over");
                Ok(next)
            }
            Err(_) => Err(failed(&format!("node {to} did not take over within {TRANSFER_MAX:?}"))),
        }
    }

    fn check_target(&self, to: u64) -> Result<u64, CallProblem> {
        let refuse = |why: &str| Err(problem(ProblemKind::Refused, format!("node {to} cannot lead: {why}")));
        let state = self.model.state();
        match self.view().iter().find(|view| view.id == to) {
            None => refuse("it is no member"),
            Some(view) if !view.voter => refuse("it does not vote yet"),
            Some(view) if !view.is_alive() => refuse("it does not answer"),
            Some(_) if state.member(to).is_some_and(|member| member.kind == NodeKind::Witness) => {
                refuse("it is a witness, which serves no machines")
            }
            Some(_) => Ok(to),
        }
    }

    /// The living data node with the most of the log.
    fn best_target(&self) -> Option<u64> {
        let state = self.model.state();
        let fit = |view: &PeerView| {
            view.id != self.node
                && view.voter
                && view.is_alive()
                && state.member(view.id).is_none_or(|member| member.kind == NodeKind::Data)
        };
        let views = self.view();
        views
            .iter()
            .filter(|view| fit(view))
            .min_by_key(|view| (view.lag.unwrap_or(u64::MAX), view.id))
            .map(|view| view.id)
    }
}

/// Why a node must not go; nothing if it may. `force` accepts what loses safety, but never what loses the cluster.
fn danger(state: &State, views: &[PeerView], id: u64, force: bool) -> Option<String> {
    // A node whose removal is under way votes still, but not for long.
    let stays = |view: &&PeerView| view.voter && view.id != id && state.member(view.id).is_some();
    let left: Vec<&PeerView> = views.iter().filter(stays).collect();
    let alive = left.iter().filter(|view| view.is_alive()).count();
    let needed = left.len() / 2 + 1;
    let goes = views.iter().find(|view| view.id == id);
    if goes.is_some_and(|view| view.voter) && left.is_empty() {
        return Some(format!(
            "node {id} is the only one that votes, and there is no cluster without it: to end the cluster, stop its service and remove its data"
        ));
    }
    if goes.is_some_and(|view| view.voter) && alive < needed {
        return Some(format!(
            "without node {id} there would be {} voters, of which {needed} must work, and only {alive} do: bring them back first",
            left.len()
        ));
    }
    let data_left = state.data_nodes().filter(|member| member.id != id).count();
    if data_left == 0 {
        return Some(format!("node {id} is the only one that holds blobs: nothing could serve machines without it"));
    }
    if force {
        return None;
    }
    let only_copy = state
        .blobs()
        .filter(|blob| state.is_named(&blob.digest) && blob.replicas.len() == 1 && blob.replicas.contains(&id))
        .count();
    if only_copy > 0 {
        return Some(format!(
            "node {id} has the only copy of {only_copy} blobs: wait until others hold them (`raftboot status`), or use --force to lose them"
        ));
    }
    if goes.is_some_and(|view| view.voter && view.is_alive()) && left.len() == 2 {
        return Some(format!(
            "node {id} works, and with the two that are left no node may fail any more: use --force to accept that"
        ));
    }
    None
}
