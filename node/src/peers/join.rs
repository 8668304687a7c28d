//! Lets a node in that holds a join token: it is given an id and all it needs to become a member.

use std::sync::PoisonError;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use raft::ProposeError;
use raft::state::{self, NewMember};
use raft::types::{Digest, Timestamp};
use tracing::{info, warn};

use super::{Caller, Context, refuse};
use crate::certs::Authority;
use crate::membership::{JoinAnswer, JoinRequest, JoinToken, REQUEST_BYTES_MAX, hex16, same, unhex16};

pub(super) async fn join(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let address = caller.address.ip();
    let attempts = || context.attempts.lock().unwrap_or_else(PoisonError::into_inner);
    let wait = attempts().wait(address, Instant::now());
    if let Some(wait) = wait {
        let message = format!("too many attempts to join from {address} have failed");
        let mut response =
            refuse(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", message, "wait a minute, then try again");
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
        return response;
    }
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if let Err(denied) = admit(&context.cluster.read(), bearer.unwrap_or_default(), now()) {
        attempts().failed(address, Instant::now());
        warn!(%address, reason = denied.code, "an attempt to join was refused");
        return refuse(StatusCode::UNAUTHORIZED, denied.code, denied.message, denied.hint);
    }
    let new = match read(body).await {
        Ok(new) => new,
        Err(what) => {
            attempts().failed(address, Instant::now());
            let message = format!("the request to join cannot be read: {what}");
            return refuse(
                StatusCode::BAD_REQUEST,
                "invalid",
                message,
                "run the same version of raftboot on both nodes",
            );
        }
    };
    let name = new.name.clone();
    let member = match context.cluster.join(new).await {
        Ok(member) => member,
        Err(error) => return refused(&error),
    };
    info!(node = member.id, name, %address, replaces = member.replaces, "a node joins");
    let directory = context.data_dir.clone();
    let authority = tokio::task::spawn_blocking(move || {
        let authority = Authority::open(&directory, SystemTime::now())?;
        Ok((authority.certificate()?, authority.key()))
    });
    match authority.await.unwrap_or_else(|error| Err(anyhow::Error::from(error))) {
        Ok((ca_certificate, ca_key)) => {
            let identity = context.cluster.identity();
            let answer = JoinAnswer {
                cluster: hex16(&identity.cluster),
                generation: identity.generation,
                node: member.id,
                replaces: member.replaces,
                ca_certificate,
                ca_key,
            };
            let text = serde_json::to_vec(&answer).expect("numbers and texts are JSON");
            ([(CONTENT_TYPE, "application/json")], text).into_response()
        }
        Err(error) => {
            let message = format!("the node asked cannot read its CA: {error:#}");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal", message, "look at that node's data directory")
        }
    }
}

/// Why a bearer may not join.
#[derive(Debug, PartialEq, Eq)]
struct Denied {
    code: &'static str,
    message: &'static str,
    hint: &'static str,
}

fn admit(state: &state::State, bearer: &str, now: Timestamp) -> Result<(), Denied> {
    let hint = "make a new one on a node of the cluster: `raftboot join-token`";
    let unknown = Denied { code: "token_invalid", message: "the cluster does not know this join token", hint };
    let Some((id, digest)) = JoinToken::of_bearer(bearer) else { return Err(unknown) };
    let stored = state.join_token(id);
    // The same work for a token that does not exist.
    let proven = same(&digest, stored.map_or(&Digest([0; 32]), |stored| &stored.value.secret_sha256));
    match stored.filter(|_| proven) {
        None => Err(unknown),
        Some(stored) if stored.value.expires <= now => {
            Err(Denied { code: "token_expired", message: "the join token has expired", hint })
        }
        Some(_) => Ok(()),
    }
}

async fn read(body: Body) -> Result<NewMember, String> {
    let bytes = to_bytes(body, REQUEST_BYTES_MAX).await.map_err(|error| error.to_string())?;
    let JoinRequest { name, kind, peer, boot, instance } =
        serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    let instance = unhex16(&instance).filter(|instance| *instance != [0; 16]);
    let instance = instance.ok_or("`instance` is not 32 hexadecimal digits")?;
    Ok(NewMember { name, kind, peer, boot, instance })
}

fn refused(error: &ProposeError) -> Response {
    let message = error.to_string();
    match error {
        ProposeError::Refused(_) => {
            refuse(StatusCode::CONFLICT, "refused", message, "see `raftboot status` on a node of the cluster")
        }
        ProposeError::TooLarge { .. } => refuse(StatusCode::BAD_REQUEST, "invalid", message, "use shorter names"),
        ProposeError::Unavailable | ProposeError::Unknown(_) | ProposeError::Fatal(_) => {
            let hint = "run the same command again: it is the same request; see `raftboot status` if it stays so";
            refuse(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message, hint)
        }
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
