//! One write: the command it becomes, and the wait until it is replicated, failovers included.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use raft::ProposeError;
use raft::command::{Command, Edit, Outcome, RefusalCode};
use raft::state::State;
use raft::types::{Digest, Timestamp};
use tokio::time::{Instant, sleep};
use tonic::{Request, Status};
use tracing::{debug, info};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::{Context, LOOK_EVERY, WAIT_MAX, status};
use crate::https::{Peer, PeerCertificate};

/// Characters of a caller's name that are kept.
const NAME_CHARS_MAX: usize = 64;

/// Who asks: the actor in the log.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    actor: String,
    address: String,
}

/// Who made a request, by the common name of the certificate.
pub(super) fn caller<T>(request: &Request<T>) -> Caller {
    let extensions = request.extensions();
    let name = extensions.get::<PeerCertificate>().and_then(|certificate| common_name(&certificate.0));
    let actor = format!("grpc:{}", name.as_deref().unwrap_or("a certificate without a name"));
    let address = extensions.get::<Peer>().map(|peer| peer.0.to_string()).unwrap_or_default();
    Caller { actor, address }
}

fn common_name(certificate: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let name = certificate.tbs_certificate().subject().common_name().ok()??;
    let name = name.value();
    let printable = name.chars().filter(|letter| !letter.is_control());
    Some(printable.take(NAME_CHARS_MAX).collect())
}

impl Context {
    /// Makes one change; returns the state once it is durable on a quorum and applied here.
    ///
    /// A change whose fate is unknown is made again: all of them say what is to be, not what is to change.
    ///
    /// # Errors
    /// Why it was not made, or is not known to be.
    pub(super) async fn write(&self, caller: &Caller, edit: Edit) -> Result<Arc<State>, Status> {
        let give_up = Instant::now() + WAIT_MAX;
        let mut perhaps_made = false;
        loop {
            let error = match self.cluster.propose(command(caller, edit.clone())).await {
                Ok(committed) => {
                    return match committed.outcome {
                        Outcome::Applied { .. } => {
                            debug!(actor = caller.actor, index = %committed.index, "a change over gRPC");
                            Ok(self.cluster.read())
                        }
                        // It was removed by the try whose answer was lost.
                        Outcome::Refused(refusals)
                            if perhaps_made && refusals.iter().all(|refusal| refusal.code == RefusalCode::NotFound) =>
                        {
                            Ok(self.cluster.read())
                        }
                        Outcome::Refused(refusals) => {
                            let refused = status::refused(&refusals);
                            info!(
                                actor = caller.actor,
                                client = caller.address,
                                reason = refused.message(),
                                "a change over gRPC was refused"
                            );
                            Err(refused)
                        }
                    };
                }
                Err(error) => error,
            };
            perhaps_made |= error.may_be_applied();
            let again = matches!(error, ProposeError::Unavailable | ProposeError::Unknown(_));
            if !again || Instant::now() >= give_up {
                info!(actor = caller.actor, client = caller.address, %error, "a change over gRPC was not made");
                return Err(status::not_written(&error));
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

fn command(caller: &Caller, edit: Edit) -> Command {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Command {
        actor: caller.actor.clone(),
        at: Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
        idempotency_key: String::new(),
        fingerprint: Digest([0; 32]),
        edits: vec![edit.into()],
        replace: Vec::new(),
        // The provider may create the successor of a group before it removes the group (decision 0006).
        allow_ties: true,
    }
}
