//! What a leader sees to: that Raft's membership becomes what the replicated state says it should be, one step at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::rt::watch::WatchReceiver as _;

use super::desk::Desk;
use crate::command::Edit;
use crate::peer::PeerView;
use crate::state::{NodeKind, State};
use crate::type_config::Peer;

/// How often it looks, should nothing tell of a change.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A learner so few entries behind has the log.
const LAG_MAX: u64 = 64;
/// How long a change of membership may take before it is looked at again.
const CHANGE_MAX: Duration = Duration::from_secs(10);

/// The next step towards the membership that should be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum StepTo {
    /// Send a node the log.
    AddLearner(u64, String),
    /// Reach a node elsewhere.
    Move(u64, String),
    /// These vote from now on; the others go.
    Voters(BTreeSet<u64>),
    /// A learner goes.
    Drop(u64),
    /// The node whose place was taken goes from the records too.
    Retire(u64),
}

/// Raft's membership as it is.
#[derive(Debug, Clone, Default)]
struct Now {
    voters: BTreeSet<u64>,
    addresses: BTreeMap<u64, String>,
    views: Vec<PeerView>,
}

/// Keeps the membership as it should be, while this node leads.
pub(super) async fn run(desk: Desk) {
    let mut applied = desk.model.applied();
    loop {
        let _ = tokio::time::timeout(LOOK_EVERY, applied.changed()).await;
        if desk.leadership().is_none() || desk.health.fatal().is_some() {
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        }
        let Some(now) = membership_of(&desk) else { continue };
        let Some(step) = next(&desk.model.state(), &now, desk.node) else { continue };
        tracing::info!(?step, "changing the membership");
        match tokio::time::timeout(CHANGE_MAX, take(&desk, step.clone())).await {
            Ok(Ok(())) => {}
            // Somebody else leads by now, or nobody: nothing of ours failed.
            Ok(Err(error)) if desk.leadership().is_none() => {
                tracing::debug!(?step, error, "the membership was not changed")
            }
            Ok(Err(error)) => tracing::warn!(?step, error, "the membership could not be changed; trying again"),
            Err(_) => tracing::warn!(?step, "changing the membership takes long; looking again"),
        }
    }
}

/// Nothing while a change is under way.
fn membership_of(desk: &Desk) -> Option<Now> {
    let views = desk.view();
    let metrics = desk.metrics.borrow_watched();
    let membership = metrics.membership_config.membership();
    let settled = metrics.membership_config.log_id() == metrics.committed_membership_config.log_id();
    if membership.get_joint_config().len() != 1 || !settled {
        return None;
    }
    let addresses = membership.nodes().map(|(id, peer)| (*id, peer.address.clone())).collect();
    Some(Now { voters: membership.voter_ids().collect(), addresses, views })
}

fn next(state: &State, now: &Now, own: u64) -> Option<StepTo> {
    if let Some(id) = now.addresses.keys().find(|id| **id != own && state.was_removed(**id)) {
        let mut voters = now.voters.clone();
        return Some(if voters.remove(id) { StepTo::Voters(voters) } else { StepTo::Drop(*id) });
    }
    for member in state.members().filter(|member| !member.peer.is_empty()) {
        match now.addresses.get(&member.id) {
            None => return Some(StepTo::AddLearner(member.id, member.peer.clone())),
            Some(address) if *address != member.peer => return Some(StepTo::Move(member.id, member.peer.clone())),
            Some(_) => {}
        }
    }
    let ready = |id: u64| {
        let view = now.views.iter().find(|view| view.id == id);
        view.is_some_and(|view| view.is_alive() && view.lag.is_some_and(|lag| lag <= LAG_MAX))
    };
    for member in state.members().filter(|member| now.addresses.contains_key(&member.id)) {
        if now.voters.contains(&member.id) {
            if let Some(old) = member.replaces.filter(|old| state.member(*old).is_some() && *old != own) {
                return Some(StepTo::Retire(old));
            }
        } else if ready(member.id) && holds_what_it_must(state, member.id) {
            let mut voters = now.voters.clone();
            if let Some(old) = member.replaces {
                voters.remove(&old);
            }
            voters.insert(member.id);
            return Some(StepTo::Voters(voters));
        }
    }
    None
}

/// A data node votes only once it can serve every name there is.
fn holds_what_it_must(state: &State, id: u64) -> bool {
    let Some(member) = state.member(id) else { return false };
    if member.kind == NodeKind::Witness {
        return true;
    }
    state.assets_from("").all(|asset| {
        let digest = &asset.value.digest;
        // Bytes that nobody has any more must not keep a node out.
        state.holders(digest).any(|holder| holder == id) || state.holders(digest).next().is_none()
    })
}

async fn take(desk: &Desk, step: StepTo) -> Result<(), String> {
    let raft = &desk.raft;
    let text = |error: &dyn std::fmt::Display| error.to_string();
    match step {
        StepTo::AddLearner(id, address) => {
            raft.add_learner(id, Peer { address }, false).await.map(drop).map_err(|error| text(&error))
        }
        StepTo::Move(id, address) => {
            let nodes = BTreeMap::from([(id, Peer { address })]);
            raft.change_membership(ChangeMembers::SetNodes(nodes), true).await.map(drop).map_err(|error| text(&error))
        }
        StepTo::Voters(voters) => raft.change_membership(voters, false).await.map(drop).map_err(|error| text(&error)),
        StepTo::Drop(id) => {
            let gone = ChangeMembers::RemoveNodes(BTreeSet::from([id]));
            raft.change_membership(gone, false).await.map(drop).map_err(|error| text(&error))
        }
        StepTo::Retire(id) => desk.commit(Edit::RemoveMember(id)).await.map_err(|error| error.message),
    }
}
