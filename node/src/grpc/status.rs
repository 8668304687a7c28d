//! The one place where an error becomes a gRPC status.

use raft::ProposeError;
use raft::command::{Refusal, RefusalCode};
use raft::state::{Role, TemplateKind};
use tonic::Status;

use crate::callers::Refused;

/// A request without the message it is about; matchbox ends its whole process then.
pub(super) fn missing(field: &str) -> Status {
    Status::invalid_argument(format!("{field}: the request holds none"))
}

/// What matchbox itself refuses, with the code it refuses everything with.
pub(super) fn as_matchbox(message: impl Into<String>) -> Status {
    Status::unknown(message)
}

/// A call without a certificate, which no port of ours lets in.
pub(super) fn nobody() -> Status {
    Status::unauthenticated("the call came without a client certificate")
}

/// A certificate that is not accepted (any more).
pub(super) fn unknown_caller(refused: &Refused) -> Status {
    Status::unauthenticated(format!("{refused}; {}", refused.hint()))
}

/// A certificate whose role does not reach.
pub(super) fn forbidden(name: &str, has: Role, needs: Role) -> Status {
    let word = |role: Role| match role {
        Role::Read => "read",
        Role::Operate => "operate",
        Role::Admin => "admin",
    };
    let (name, has, needs) = (name.escape_debug(), word(has), word(needs));
    Status::permission_denied(format!(
        "the certificate {name} has the role {has}; this needs {needs}: `raftboot cert client NAME --role {needs}`"
    ))
}

/// There is none of that name.
pub(super) fn not_found(what: &str, name: &str) -> Status {
    Status::not_found(format!("there is no {what} `{}`", name.escape_debug()))
}

/// A group that says more than can be said here.
pub(super) fn richer(id: &str) -> Status {
    let id = id.escape_debug();
    Status::failed_precondition(format!(
        "group/{id}: it has `match`, which would be lost: change it with `raftboot group put`, or delete it first"
    ))
}

/// No machine could be given what this template makes.
pub(super) fn unusable(kind: TemplateKind, name: &str, problem: &str) -> Status {
    Status::invalid_argument(format!("{} template `{}`: {problem}", kind.name(), name.escape_debug()))
}

/// Nobody says what is acknowledged.
pub(super) fn not_known(error: &ProposeError) -> Status {
    Status::unavailable(format!("{error}, so it is not known what there is; `raftboot status` shows the nodes"))
}

/// What could be stored and never read again: an answer has the same limit.
pub(super) fn unreadable(what: &str, bytes: usize, most: usize) -> Status {
    Status::resource_exhausted(format!("{what}: {bytes} bytes when it is read again, at most {most}"))
}

/// Larger than a message may be.
pub(super) fn too_large(kind: TemplateKind, name: &str, bytes: usize, most: usize) -> Status {
    let (kind, name) = (kind.name(), name.escape_debug());
    Status::resource_exhausted(format!(
        "{kind} template `{name}`: {bytes} bytes, at most {most}: serve large files as assets"
    ))
}

/// A refusal by the replicated state; nothing was changed.
pub(super) fn refused(refusals: &[Refusal]) -> Status {
    let Some(first) = refusals.first() else {
        return Status::internal("the change was refused without a reason: report this as a bug");
    };
    let field = if first.field.is_empty() { String::new() } else { format!(" {}", first.field) };
    let message = format!("{}{field}: {}; {}", first.object, first.message, first.hint);
    match first.code {
        RefusalCode::NotFound => Status::not_found(message),
        RefusalCode::Invalid => Status::invalid_argument(message),
        RefusalCode::Conflict | RefusalCode::SelectorTie | RefusalCode::KeyReused => Status::aborted(message),
    }
}

/// A change whose first answer was lost, and after which somebody else has written.
pub(super) fn overtaken() -> Status {
    Status::deadline_exceeded(
        "no answer came in time, and somebody else has changed the object since; read it to see what it is now",
    )
}

/// A change that was not committed, or is not known to be.
pub(super) fn not_written(error: &ProposeError, perhaps_made: bool) -> Status {
    let message = error.to_string();
    match error {
        ProposeError::Unavailable if perhaps_made => Status::deadline_exceeded(format!(
            "{message}; an earlier try may have been written: read it to see what it is now"
        )),
        ProposeError::Unavailable => {
            Status::unavailable(format!("{message}: nothing was written; `raftboot status` shows the nodes"))
        }
        ProposeError::Refused(_) => Status::failed_precondition(message),
        ProposeError::Unknown(_) => Status::deadline_exceeded(format!("{message}; read it to see what it is now")),
        ProposeError::TooLarge { .. } => Status::resource_exhausted(message),
        ProposeError::Fatal(_) => Status::unavailable(format!("{message}: this node has stopped, ask another one")),
    }
}
