//! The one place where an error becomes a status code and the one shape all of them have.
//!
//! `{"code", "message", "field", "hint", "request_id"}`, with `object` where several were sent and `errors` where there
//! are several. A code is for programs and never changes; a message says what and where, a hint what to do.

use std::fmt::Display;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use raft::ProposeError;
use raft::command::{Refusal, RefusalCode};
use serde::Serialize;

use crate::assets::{ReadError, ReceiveError};
use crate::replication::CopiesError;

/// How many problems one answer lists.
pub(super) const PROBLEMS_MAX: usize = 100;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    /// What kind of problem, in one word for programs.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// Where in the request, as a path (`items[3].selector.mac`); empty for the request as a whole.
    pub field: String,
    /// What to do.
    pub hint: String,
    /// Which object it is about, where that is not clear from the path of the request.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub object: String,
}

/// A request that was not done, for one reason or several.
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    status: StatusCode,
    problems: Vec<Problem>,
    /// Seconds.
    retry_after: Option<u64>,
}

/// What every handler answers.
pub(super) type Answer<T> = Result<T, ApiError>;

impl ApiError {
    /// One problem.
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Display, hint: impl Display) -> Self {
        let problem = Problem {
            code,
            message: message.to_string(),
            field: String::new(),
            hint: hint.to_string(),
            object: String::new(),
        };
        Self { status, problems: vec![problem], retry_after: None }
    }

    /// A request that cannot be understood.
    pub(super) fn bad_request(code: &'static str, message: impl Display, hint: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message, hint)
    }

    /// A request that is understood and not acceptable.
    pub(super) fn unprocessable(code: &'static str, message: impl Display, hint: impl Display) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message, hint)
    }

    /// There is no such object.
    pub(super) fn not_found(object: impl Display) -> Self {
        let hint = "list what exists; names are case-sensitive";
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no {object}"), hint)
    }

    /// Bytes were sent to a node that keeps none.
    pub(super) fn witness(data_nodes: &[String]) -> Self {
        let hint = format!("send them to a node that does: {}", data_nodes.join(", "));
        Self::new(StatusCode::MISDIRECTED_REQUEST, "witness", "this node is a witness and stores no assets", hint)
    }

    /// The disk or a thread of this node failed.
    pub(super) fn internal(message: impl Display) -> Self {
        let hint = "this is not about the request: look at this node's log and disk";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message, hint)
    }

    /// Says where in the request the problem is.
    #[must_use]
    pub(super) fn at(mut self, field: impl Into<String>) -> Self {
        self.problems[0].field = field.into();
        self
    }

    /// The same as a mistake in the body, at that place.
    #[must_use]
    pub(super) fn invalid_at(mut self, field: &str) -> Self {
        self.status = StatusCode::UNPROCESSABLE_ENTITY;
        self.problems[0].code = "invalid";
        self.at(field)
    }

    /// The same as a request that cannot be understood.
    #[must_use]
    pub(super) fn unreadable(mut self, code: &'static str) -> Self {
        self.status = StatusCode::BAD_REQUEST;
        self.problems[0].code = code;
        self
    }

    /// Puts `prefix` before the place of every problem.
    #[must_use]
    pub(super) fn below(mut self, prefix: &str) -> Self {
        for problem in &mut self.problems {
            problem.field = join(prefix, &problem.field);
        }
        self
    }

    /// Several errors as one; the first decides the status.
    #[must_use]
    pub(super) fn all(errors: Vec<Self>) -> Option<Self> {
        let mut errors = errors.into_iter();
        let mut first = errors.next()?;
        first.problems.extend(errors.flat_map(|error| error.problems));
        first.problems.truncate(PROBLEMS_MAX);
        Some(first)
    }

    /// The same where nothing was asked to be as before: then a conflict is not about a guard.
    #[must_use]
    pub(super) fn unguarded(mut self) -> Self {
        if self.status == StatusCode::PRECONDITION_FAILED {
            self.status = StatusCode::CONFLICT;
            self.problems[0].code = "refused";
        }
        self
    }

    /// Its HTTP status.
    #[must_use]
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// What is wrong; never empty.
    #[must_use]
    pub(super) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// A caller that nobody knows.
    pub(super) fn unauthenticated(code: &'static str, message: &str, hint: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, message, hint)
    }

    /// The answer as it goes out.
    pub(super) fn render(&self, request_id: &str) -> Response {
        #[derive(Serialize)]
        struct Shape<'a> {
            #[serde(flatten)]
            first: &'a Problem,
            #[serde(skip_serializing_if = "<[Problem]>::is_empty")]
            errors: &'a [Problem],
            request_id: &'a str,
        }
        let errors = if self.problems.len() > 1 { &self.problems[..] } else { &[] };
        let shape = Shape { first: &self.problems[0], errors, request_id };
        let text = serde_json::to_vec(&shape).expect("text and lists are JSON");
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// `a` and `b.c` are `a.b.c`; `a` and `[1]` are `a[1]`.
pub(super) fn join(prefix: &str, field: &str) -> String {
    let dot = if prefix.is_empty() || field.is_empty() || field.starts_with('[') { "" } else { "." };
    format!("{prefix}{dot}{field}")
}

/// Carried to the outermost layer, which knows the request's id and writes the body.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<ProposeError> for ApiError {
    fn from(error: ProposeError) -> Self {
        let message = error.to_string();
        match error {
            ProposeError::Unavailable => {
                let hint = "nothing was written: try again shortly, and look at `status` if it stays so";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message, hint).retry_after(1)
            }
            ProposeError::Refused(_) => {
                let hint = "nothing was changed; `raftboot status` shows the nodes";
                Self::new(StatusCode::CONFLICT, "refused", message, hint)
            }
            ProposeError::Unknown(_) => {
                let hint = "repeat it with the same Idempotency-Key, or read the object to see what it is now";
                Self::new(StatusCode::GATEWAY_TIMEOUT, "outcome_unknown", message, hint)
            }
            ProposeError::TooLarge { .. } => {
                let hint = "split it into several changes; large files belong into assets";
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message, hint)
            }
            ProposeError::Fatal(_) => {
                let hint = "this node has stopped and its log says why; the change may or may not have been kept: repeat it \
                            with the same Idempotency-Key once the node is back";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", message, hint)
            }
        }
    }
}

/// A refusal by the replicated state; `place` names the edit's place in the request.
pub(super) fn refused(refusals: Vec<Refusal>, place: impl Fn(u32) -> String) -> ApiError {
    let status = match refusals.first().map(|refusal| refusal.code) {
        Some(RefusalCode::Invalid) | None => StatusCode::UNPROCESSABLE_ENTITY,
        Some(RefusalCode::NotFound) => StatusCode::NOT_FOUND,
        Some(RefusalCode::Conflict) => StatusCode::PRECONDITION_FAILED,
        Some(RefusalCode::SelectorTie | RefusalCode::KeyReused) => StatusCode::CONFLICT,
    };
    let problems: Vec<Problem> = refusals
        .into_iter()
        .map(|refusal| Problem {
            code: code_name(refusal.code),
            message: refusal.message,
            field: join(&place(refusal.edit), &refusal.field),
            hint: refusal.hint,
            object: refusal.object,
        })
        .collect();
    if problems.is_empty() {
        return ApiError::new(status, "invalid", "the change was refused without a reason", "report this as a bug");
    }
    ApiError { status, problems, retry_after: None }
}

fn code_name(code: RefusalCode) -> &'static str {
    match code {
        RefusalCode::Invalid => "invalid",
        RefusalCode::NotFound => "not_found",
        RefusalCode::Conflict => "conflict",
        RefusalCode::SelectorTie => "selector_tie",
        RefusalCode::KeyReused => "key_reused",
    }
}

impl From<ReceiveError> for ApiError {
    fn from(error: ReceiveError) -> Self {
        let message = error.to_string();
        match error {
            ReceiveError::Busy => {
                let hint = "try again when one of them has ended";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "uploads_busy", message, hint).retry_after(5)
            }
            ReceiveError::TooLarge => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                message,
                "serve a file of that size from elsewhere",
            ),
            ReceiveError::NoSpace { .. } | ReceiveError::DiskFull => {
                let hint =
                    "nothing was kept: remove assets that are not needed, or give the data directory a larger disk";
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk_full", message, hint)
            }
            ReceiveError::Mismatch { .. } => {
                let hint = "nothing was kept: check the file and the digest, then upload again";
                Self::unprocessable("digest_mismatch", message, hint).at("digest")
            }
            ReceiveError::Length { .. } | ReceiveError::Interrupted(_) => {
                Self::bad_request("upload_interrupted", message, "nothing was kept: upload again")
            }
            ReceiveError::Disk(_) => Self::internal(message),
        }
    }
}

impl From<CopiesError> for ApiError {
    fn from(error: CopiesError) -> Self {
        let message = error.to_string();
        match error {
            CopiesError::UnderReplicated { .. } => {
                let hint = "the bytes are kept, the name was not given: start the missing node and try again, or allow a \
                            single copy (--allow-single-copy, ?allow_single_copy=true), which is lost with its disk until \
                            another node has copied it";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "under_replicated", message, hint).retry_after(5)
            }
            CopiesError::Nowhere(_) => {
                Self::unprocessable("blob_missing", message, "upload the bytes again").at("digest")
            }
            CopiesError::Propose(error) => error.into(),
        }
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        let hint = match error {
            ReadError::Missing | ReadError::Damaged => "upload the file again",
            ReadError::Busy => "try again in a few seconds",
            ReadError::Unreadable(_) => "look at this node's log and disk",
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "blob_unavailable", error, hint).retry_after(2)
    }
}
