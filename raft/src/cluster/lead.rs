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
    /// The voters of a change that was begun, maybe by an earlier leader, and is only half done.
    half_done: Option<BTreeSet<u64>>,
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
        if !can_go_on_after(&step, &now) {
            tracing::warn!(?step, "too few of these voters answer: the membership stays until they do");
            tokio::time::sleep(LOOK_EVERY * 4).await;
            continue;
        }
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

/// Nothing while an entry about it is not committed yet.
fn membership_of(desk: &Desk) -> Option<Now> {
    let views = desk.view();
    let metrics = desk.metrics.borrow_watched();
    let membership = metrics.membership_config.membership();
    let settled = metrics.membership_config.log_id() == metrics.committed_membership_config.log_id();
    if !settled {
        return None;
    }
    // Two sets of voters, the old and the new: whoever began this may be gone, so whoever leads ends it.
    let half_done = membership.get_joint_config().get(1).cloned();
    let addresses = membership.nodes().map(|(id, peer)| (*id, peer.address.clone())).collect();
    Some(Now { voters: membership.voter_ids().collect(), addresses, views, half_done })
}

fn next(state: &State, now: &Now, own: u64) -> Option<StepTo> {
    if let Some(voters) = &now.half_done {
        return Some(StepTo::Voters(voters.clone()));
    }
    if let Some(id) = now.addresses.keys().find(|id| **id != own && state.was_removed(**id)) {
        let mut voters = now.voters.clone();
        return Some(if voters.remove(id) { StepTo::Voters(voters) } else { StepTo::Drop(*id) });
    }
    // Before anything is done for a node whose place another one has taken.
    let successors = state.members().filter(|member| now.voters.contains(&member.id));
    let mut replaced = successors.filter_map(|member| member.replaces);
    if let Some(old) = replaced.find(|old| state.member(*old).is_some() && *old != own) {
        return Some(StepTo::Retire(old));
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
        if !now.voters.contains(&member.id) && ready(member.id) && holds_what_it_must(state, member.id) {
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

/// Whether enough of the voters that a step leaves are there to commit it: a change that cannot be committed takes the
/// cluster with it. One that was begun is ended in any case.
fn can_go_on_after(step: &StepTo, now: &Now) -> bool {
    let StepTo::Voters(voters) = step else { return true };
    let alive = now.views.iter().filter(|view| voters.contains(&view.id) && view.is_alive()).count();
    now.half_done.is_some() || alive > voters.len() / 2
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Command, GuardedEdit};
    use crate::state::{Announcement, NewMember};
    use crate::types::{Digest, LogIndex, Timestamp};

    fn apply(state: &mut State, edit: Edit) {
        let index = LogIndex(state.applied().0 + 1);
        let command = Command {
            actor: "test".into(),
            at: Timestamp(1),
            idempotency_key: String::new(),
            fingerprint: Digest([0; 32]),
            edits: vec![GuardedEdit::from(edit)],
            replace: Vec::new(),
            allow_ties: false,
        };
        state.apply(index, &command);
    }

    /// Node 1 founded the cluster; 2 and 3 joined.
    fn three() -> State {
        let mut state = State::default();
        let (kind, peer, boot) = (NodeKind::Data, "a1".to_owned(), String::new());
        apply(&mut state, Edit::AnnounceMember(Announcement { id: 1, name: "n1".into(), kind, peer, boot }));
        for id in [2_u8, 3] {
            let (name, peer) = (format!("n{id}"), format!("a{id}"));
            apply(&mut state, Edit::AddMember(NewMember { name, kind, peer, boot: String::new(), instance: [id; 16] }));
        }
        state
    }

    fn now(voters: &[u64], learners: &[u64]) -> Now {
        let ids = voters.iter().chain(learners);
        let view =
            |id: &u64| PeerView { id: *id, voter: voters.contains(id), silent_for_millis: Some(0), lag: Some(0) };
        Now {
            voters: voters.iter().copied().collect(),
            addresses: ids.clone().map(|id| (*id, format!("a{id}"))).collect(),
            views: ids.map(view).collect(),
            half_done: None,
        }
    }

    #[test]
    fn nodes_are_sent_the_log_and_then_vote_one_at_a_time() {
        let state = three();
        assert_eq!(next(&state, &now(&[1], &[]), 1), Some(StepTo::AddLearner(2, "a2".into())));
        assert_eq!(next(&state, &now(&[1], &[2]), 1), Some(StepTo::AddLearner(3, "a3".into())));
        assert_eq!(next(&state, &now(&[1], &[2, 3]), 1), Some(StepTo::Voters([1, 2].into())));
        assert_eq!(next(&state, &now(&[1, 2], &[3]), 1), Some(StepTo::Voters([1, 2, 3].into())));
        assert_eq!(next(&state, &now(&[1, 2, 3], &[]), 1), None);
    }

    #[test]
    fn a_node_that_is_behind_or_silent_does_not_vote_yet() {
        let state = three();
        let mut behind = now(&[1, 2], &[3]);
        behind.views[2].lag = Some(LAG_MAX + 1);
        assert_eq!(next(&state, &behind, 1), None);
        let mut silent = now(&[1, 2], &[3]);
        silent.views[2].silent_for_millis = None;
        assert_eq!(next(&state, &silent, 1), None);
    }

    #[test]
    fn a_change_that_an_earlier_leader_left_half_done_is_ended_first() {
        let mut state = three();
        apply(&mut state, Edit::RemoveMember(3));
        let half = Now { half_done: Some([1, 2].into()), ..now(&[1, 2, 3], &[]) };
        assert_eq!(next(&state, &half, 1), Some(StepTo::Voters([1, 2].into())));
        assert_eq!(next(&state, &now(&[1, 2], &[3]), 1), Some(StepTo::Drop(3)));
    }

    #[test]
    fn no_step_is_taken_to_voters_that_could_not_commit_it() {
        let step = StepTo::Voters([1, 4].into());
        let mut four = now(&[1, 2, 3, 4], &[]);
        assert!(can_go_on_after(&step, &four));
        four.views[3].silent_for_millis = None;
        assert!(!can_go_on_after(&step, &four));
        assert!(can_go_on_after(&StepTo::Voters([1, 2, 4].into()), &four));
    }

    #[test]
    fn an_address_that_changed_is_followed() {
        let state = three();
        let mut moved = now(&[1, 2, 3], &[]);
        moved.addresses.insert(3, "elsewhere".into());
        assert_eq!(next(&state, &moved, 1), Some(StepTo::Move(3, "a3".into())));
    }

    #[test]
    fn who_takes_a_place_votes_instead_and_the_old_one_goes_from_the_records() {
        let mut state = three();
        let (name, peer, boot) = ("n3".to_owned(), "a4".to_owned(), String::new());
        apply(&mut state, Edit::AddMember(NewMember { name, kind: NodeKind::Data, peer, boot, instance: [4; 16] }));
        assert_eq!(next(&state, &now(&[1, 2, 3], &[4]), 1), Some(StepTo::Voters([1, 2, 4].into())));
        assert_eq!(next(&state, &now(&[1, 2, 4], &[3]), 1), Some(StepTo::Retire(3)));
    }
}
