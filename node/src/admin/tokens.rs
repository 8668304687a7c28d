//! API tokens: create, list, delete. A secret is shown once and never stored.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use raft::command::Edit;
use raft::state::{self, Role, Token, TokenRotation};
use raft::types::{Digest, LogIndex, Timestamp};
use serde::{Deserialize, Serialize};

use super::auth::CERTIFICATE_ACTOR;
use super::body::{Asked, Names, OBJECT_BYTES_MAX, json_text};
use super::error::{Answer, ApiError};
use super::list::{Page, page};
use super::secret::Secret;
use super::write::Write;
use super::{Context, clock, json, versions, view};

/// Bytes of a token's name.
const NAME_BYTES_MAX: usize = 128;
/// How long a token that expires may be valid.
const LIFETIME_SECONDS_MAX: u64 = 100 * 365 * 86_400;
/// How long the secret before a new one may be accepted.
const GRACE_SECONDS_MAX: u64 = 30 * 86_400;
/// The actor of what the service does by itself; no token may pass for it.
pub(super) const NODE: &str = "node";

/// What a list of tokens may be narrowed by.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Filter {
    limit: Option<usize>,
    cursor: Option<String>,
    /// Beginning of the name.
    prefix: String,
    role: Option<Role>,
}

pub(super) async fn list(State(context): State<Context>, Asked(filter): Asked<Filter>) -> Answer<Response> {
    let state = context.cluster.read();
    let found = state.tokens().filter(|stored| {
        let Token { name, role, .. } = &stored.value;
        name.starts_with(&filter.prefix) && filter.role.is_none_or(|wanted| wanted == *role)
    });
    let asked = Page { limit: filter.limit, cursor: filter.cursor };
    page(
        asked,
        found,
        |stored| stored.value.id.clone(),
        |stored| {
            let former = state.former_secret(&stored.value.id);
            view::token(stored, former.map(|former| &**former))
        },
    )
}

/// What a new token shall be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: String,
    role: Role,
    /// How long it is valid; for ever if left out.
    expires_in_seconds: Option<u64>,
}

#[derive(Serialize)]
struct Created {
    index: LogIndex,
    effect: &'static str,
    id: String,
    name: String,
    role: Role,
    expires_at: Option<String>,
    /// The only time it is shown.
    token: String,
    warnings: [(); 0],
}

pub(super) async fn create(
    State(context): State<Context>,
    write: Write,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let write = write.without_key()?.without_guard()?;
    let wanted: Wanted = json::read(&json_text(&headers, body, OBJECT_BYTES_MAX).await?)?;
    if wanted.name.is_empty() || wanted.name.len() > NAME_BYTES_MAX || wanted.name.chars().any(char::is_control) {
        let message = format!("a token's name has 1 to {NAME_BYTES_MAX} bytes and no control characters");
        return Err(ApiError::unprocessable("invalid", message, "say who or what will use it").at("name"));
    }
    if wanted.name == NODE || [CERTIFICATE_ACTOR, "grpc:"].iter().any(|prefix| wanted.name.starts_with(prefix)) {
        let message = format!(
            "`{NODE}` is what the log calls the service itself, `{CERTIFICATE_ACTOR}…` and `grpc:…` holders of certificates"
        );
        return Err(ApiError::unprocessable("invalid", message, "say who or what will use it").at("name"));
    }
    if wanted.expires_in_seconds.is_some_and(|seconds| seconds > LIFETIME_SECONDS_MAX) {
        let message = format!("a token expires after at most {LIFETIME_SECONDS_MAX} seconds (100 years)");
        let hint = "leave it out for a token that does not expire";
        return Err(ApiError::unprocessable("invalid", message, hint).at("expires_in_seconds"));
    }
    if wanted.expires_in_seconds == Some(0) {
        let hint = "leave it out for a token that does not expire";
        return Err(
            ApiError::unprocessable("invalid", "the token would be born expired", hint).at("expires_in_seconds")
        );
    }
    let secret =
        Secret::generate().map_err(|error| ApiError::internal(format!("no randomness for a token: {error}")))?;
    let lifetime = |seconds: u64| Timestamp(clock::now().0.saturating_add(seconds.saturating_mul(1000)));
    let token = Token {
        id: secret.id().to_owned(),
        name: wanted.name,
        secret_sha256: secret.sha256(),
        role: wanted.role,
        expires: wanted.expires_in_seconds.map(lifetime),
    };
    let done = write.commit(&context, Edit::PutToken(token.clone()), Digest([0; 32]), |_| String::new()).await?;
    let created = Created {
        index: done.index,
        effect: "created",
        id: token.id,
        name: token.name,
        role: token.role,
        expires_at: token.expires.and_then(clock::rfc3339),
        token: secret.reveal(),
        warnings: [],
    };
    Ok((StatusCode::CREATED, view::answer(&created)).into_response())
}

/// How a secret is to be replaced.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WantedRotation {
    /// For how long the secret before is accepted too.
    grace_seconds: u64,
}

#[derive(Serialize)]
struct Rotated {
    index: LogIndex,
    effect: &'static str,
    id: String,
    name: String,
    role: Role,
    expires_at: Option<String>,
    /// Until when the secret before is accepted too.
    former_until: Option<String>,
    /// The only time it is shown.
    token: String,
    warnings: [(); 0],
}

/// Gives a token another secret.
pub(super) async fn rotate(
    State(context): State<Context>,
    Names(id): Names<String>,
    write: Write,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let write = write.without_key()?.without_guard()?;
    let bytes = json_text(&headers, body, OBJECT_BYTES_MAX).await?;
    let wanted: WantedRotation = if bytes.is_empty() { WantedRotation::default() } else { json::read(&bytes)? };
    versions::same(&context).await?;
    if wanted.grace_seconds > GRACE_SECONDS_MAX {
        let message = format!("the secret before is accepted for at most {GRACE_SECONDS_MAX} seconds (30 days)");
        let hint = "leave it out if nobody uses that one any more";
        return Err(ApiError::unprocessable("invalid", message, hint).at("grace_seconds"));
    }
    let secret =
        Secret::generate_for(&id).map_err(|error| ApiError::internal(format!("no randomness for a token: {error}")))?;
    let secret = secret.ok_or_else(|| ApiError::not_found(format!("token `{}`", id.escape_debug())))?;
    let former_until = Timestamp(match wanted.grace_seconds {
        0 => 0,
        seconds => clock::now().0.saturating_add(seconds.saturating_mul(1000)),
    });
    let rotation = TokenRotation { id: id.clone(), secret_sha256: secret.sha256(), former_until };
    let done = write.commit(&context, Edit::RotateToken(rotation), Digest([0; 32]), |_| String::new()).await?;
    let token = done.state.token(&id).map(|stored| stored.value.clone());
    let token = token.ok_or_else(|| ApiError::not_found(format!("token `{id}` any more")))?;
    Ok(view::answer(&Rotated {
        index: done.index,
        effect: "updated",
        id,
        name: token.name,
        role: token.role,
        expires_at: token.expires.and_then(clock::rfc3339),
        former_until: clock::rfc3339(former_until),
        token: secret.reveal(),
        warnings: [],
    }))
}

pub(super) async fn delete(State(context): State<Context>, Names(id): Names<String>, write: Write) -> Answer<Response> {
    let digest = Digest::of(b"");
    // One at a time, so that two cannot each rely on the token that the other one removes.
    let _turn = context.revoking.lock().await;
    if !write.is_repeated(&context, digest) && is_last_admin(&context.cluster.read(), &id) {
        let message = "this is the last token with the role admin that does not expire";
        let hint = "create another one first: `raftboot token create --role admin NAME`";
        return Err(ApiError::new(StatusCode::CONFLICT, "last_admin_token", message, hint));
    }
    write.one(&context, Edit::DeleteToken(id), digest).await
}

/// Whether nobody could administer this cluster for good without that token. One that expires does not count: the
/// cluster would lock everybody out by itself.
fn is_last_admin(state: &state::State, id: &str) -> bool {
    let lasting = || admins(state, Timestamp(0)).filter(|token| token.expires.is_none());
    lasting().any(|token| token.id == id) && lasting().count() == 1
}

/// Tokens that may do everything, now.
pub(super) fn admins(state: &state::State, now: Timestamp) -> impl Iterator<Item = &Token> {
    state
        .tokens()
        .map(|stored| &stored.value)
        .filter(move |token| token.role == Role::Admin && token.expires.is_none_or(|expires| expires > now))
}
