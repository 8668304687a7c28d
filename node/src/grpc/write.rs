//! One write: the command it becomes, and the wait until it is replicated, failovers included.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use raft::ProposeError;
use raft::command::{Command, Edit, Guard, GuardedEdit, Outcome, RefusalCode};
use raft::state::{Role, State};
use raft::types::{Digest, Timestamp};
use tokio::time::{Instant, sleep};
use tonic::{Request, Status};
use tracing::{debug, info};

use super::{Context, LOOK_EVERY, WAIT_MAX, status};
use crate::https::{Peer, PeerCertificates};

/// Who asks: the actor in the log.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    actor: String,
    address: String,
}

impl Context {
    /// Who made a request, by the certificate it came with, if that one may do what `needed` may.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` for a certificate that is not good any more, `PERMISSION_DENIED` for one with a lesser role.
    pub(super) fn caller<T>(&self, request: &Request<T>, needed: Role) -> Result<Caller, Status> {
        let extensions = request.extensions();
        let address = extensions.get::<Peer>().map(|peer| peer.0.to_string()).unwrap_or_default();
        let refused = |status: Status| {
            info!(client = address, reason = status.message(), "a call over gRPC was refused");
            status
        };
        let certificates = extensions.get::<PeerCertificates>().ok_or_else(|| refused(status::nobody()))?;
        let holder = self.callers.admit(certificates, SystemTime::now());
        let holder = holder.map_err(|error| refused(status::unknown_caller(&error)))?;
        if holder.role < needed {
            return Err(refused(status::forbidden(&holder.name, holder.role, needed)));
        }
        Ok(Caller { actor: format!("grpc:{}", holder.name), address })
    }

    /// Makes one change; returns the state once it is durable on a quorum and applied here.
    ///
    /// Each try builds on the object as it was seen here, so that one whose answer was lost can be made again without undoing
    /// what somebody else has written since.
    ///
    /// # Errors
    /// Why it was not made, or is not known to be.
    pub(super) async fn write(&self, caller: &Caller, edit: Edit) -> Result<Arc<State>, Status> {
        let give_up = Instant::now() + WAIT_MAX;
        let mut guard = guard_of(&self.cluster.read(), &edit)?;
        let mut perhaps_made = false;
        loop {
            let error = match self.cluster.propose(command(caller, GuardedEdit { guard, edit: edit.clone() })).await {
                Ok(committed) => {
                    let Outcome::Refused(refusals) = committed.outcome else {
                        debug!(actor = caller.actor, index = %committed.index, "a change over gRPC");
                        return Ok(self.cluster.read());
                    };
                    let state = self.cluster.read();
                    let all = |code| refusals.iter().all(|refusal| refusal.code == code);
                    // The try whose answer was lost has made it.
                    if perhaps_made && (all(RefusalCode::NotFound) || is_made(&state, &edit)) {
                        return Ok(state);
                    }
                    if all(RefusalCode::Conflict) && !perhaps_made && Instant::now() < give_up {
                        // Somebody was faster, or this node lagged; it has applied the refusal, and with it what came before.
                        guard = guard_of(&state, &edit)?;
                        continue;
                    }
                    let refused = status::refused(&refusals);
                    info!(
                        actor = caller.actor,
                        client = caller.address,
                        reason = refused.message(),
                        "a change over gRPC was refused"
                    );
                    return Err(if perhaps_made && all(RefusalCode::Conflict) { status::overtaken() } else { refused });
                }
                Err(error) => error,
            };
            perhaps_made |= error.may_be_applied();
            let again = matches!(error, ProposeError::Unavailable | ProposeError::Unknown(_));
            if !again || Instant::now() >= give_up {
                info!(actor = caller.actor, client = caller.address, %error, "a change over gRPC was not made");
                return Err(status::not_written(&error, perhaps_made));
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

/// What the edit builds on: the object as it is in `state`.
///
/// # Errors
/// For a group that says more than this interface can.
fn guard_of(state: &State, edit: &Edit) -> Result<Guard, Status> {
    let revision = match edit {
        Edit::PutGroup(group) => {
            let there = state.group(&group.id);
            if there.is_some_and(|there| !there.value.rules.is_empty()) {
                return Err(status::richer(&group.id));
            }
            there.map(|there| there.revision)
        }
        Edit::PutProfile(profile) => state.profile(&profile.id).map(|there| there.revision),
        Edit::PutTemplate(template) => state.template(template.kind, &template.name).map(|there| there.revision),
        Edit::DeleteGroup(id) => {
            return Ok(state.group(id).map_or(Guard::Any, |there| Guard::Revision(there.revision)));
        }
        Edit::DeleteProfile(id) => {
            return Ok(state.profile(id).map_or(Guard::Any, |there| Guard::Revision(there.revision)));
        }
        Edit::DeleteTemplate(kind, name) => {
            return Ok(state.template(*kind, name).map_or(Guard::Any, |there| Guard::Revision(there.revision)));
        }
        _ => return Ok(Guard::Any),
    };
    Ok(revision.map_or(Guard::Absent, Guard::Revision))
}

/// Whether `state` is as the edit wants it.
fn is_made(state: &State, edit: &Edit) -> bool {
    match edit {
        Edit::PutGroup(group) => state.group(&group.id).is_some_and(|there| there.value == *group),
        Edit::PutProfile(profile) => state.profile(&profile.id).is_some_and(|there| there.value == *profile),
        Edit::PutTemplate(template) => {
            state.template(template.kind, &template.name).is_some_and(|there| there.value == *template)
        }
        _ => false,
    }
}

fn command(caller: &Caller, edit: GuardedEdit) -> Command {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Command {
        actor: caller.actor.clone(),
        at: Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
        idempotency_key: String::new(),
        fingerprint: Digest([0; 32]),
        edits: vec![edit],
        replace: Vec::new(),
        // The provider may create the successor of a group before it removes the group (decision 0006).
        allow_ties: true,
    }
}
