//! Who asks, and whether they may: bearer tokens looked up in the replicated state.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use raft::state::Role;
use raft::types::{Digest, Timestamp};
use tracing::warn;

use super::error::{Answer, ApiError};
use super::secret::Secret;
use super::{Context, clock};
use crate::https::Peer;
use crate::metrics::counted;

/// How many refused callers are logged in one `LOG_EVERY`.
const LOGGED_MAX: u32 = 10;
/// The time over which refused callers are counted.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Who asks, once that is known.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The token's name: the actor in the log.
    pub name: String,
    /// The token's id.
    pub token: String,
    /// What it may do.
    pub(super) role: Role,
}

/// Lets a request pass if its bearer may do what the route needs.
pub(super) async fn require(
    State((context, needed)): State<(Context, Role)>,
    mut request: Request,
    next: Next,
) -> Answer<Response> {
    match admit(&context, request.headers(), needed, clock::now()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            Ok(next.run(request).await)
        }
        Err(error) => {
            let peer = request.extensions().get::<Peer>().map(|peer| peer.0.to_string()).unwrap_or_default();
            context.refused.note(&peer, error.problems()[0].code, request.uri().path());
            Err(error)
        }
    }
}

fn admit(context: &Context, headers: &HeaderMap, needed: Role, now: Timestamp) -> Answer<Caller> {
    let header = headers.get(AUTHORIZATION).ok_or_else(|| {
        let hint =
            "send `Authorization: Bearer rbt_…`; the first token is in the file admin.token of the data directory";
        ApiError::unauthenticated("unauthenticated", "the request carries no token", hint)
    })?;
    let text = header.to_str().unwrap_or_default();
    let bearer = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let secret: Secret = bearer.and_then(|(_, token)| token.trim().parse().ok()).ok_or_else(|| {
        let hint = "send `Authorization: Bearer rbt_<id>_<secret>` with a token as it was printed when it was created";
        ApiError::unauthenticated("token_invalid", "the Authorization header holds no token", hint)
    })?;
    let state = context.cluster.read();
    let stored = state.token(secret.id());
    // The same work for a token that does not exist.
    let proven = secret.proves(stored.map_or(&Digest([0; 32]), |stored| &stored.value.secret_sha256));
    let Some(token) = stored.filter(|_| proven).map(|stored| &stored.value) else {
        let hint = "it was deleted, or belongs to another cluster: ask an administrator for a new one";
        return Err(ApiError::unauthenticated("token_invalid", "the token is not known here", hint));
    };
    if token.expires.is_some_and(|expires| expires <= now) {
        let message = format!("the token `{}` has expired", token.name);
        let hint = "ask an administrator for a new one: `raftboot token create`";
        return Err(ApiError::unauthenticated("token_expired", &message, hint));
    }
    let caller = Caller { name: token.name.clone(), token: token.id.clone(), role: token.role };
    caller.must_be(needed)?;
    Ok(caller)
}

impl Caller {
    /// Refuses a caller who may not do what `needed` may.
    pub(super) fn must_be(&self, needed: Role) -> Answer<()> {
        if self.role >= needed {
            return Ok(());
        }
        let (has, needs) = (role_name(self.role), role_name(needed));
        let message = format!("the token `{}` has the role {has}; this needs {needs}", self.name);
        let hint = format!("use a token with the role {needs}");
        Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", message, hint))
    }
}

/// The word for a role.
#[must_use]
pub(super) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Read => "read",
        Role::Operate => "operate",
        Role::Admin => "admin",
    }
}

/// Logs refused callers, a few at a time: a scanner must not fill the disk with log lines.
#[derive(Debug, Default)]
pub struct RefusedCallers {
    recent: Mutex<Option<(Instant, u32)>>,
}

impl RefusedCallers {
    fn note(&self, peer: &str, reason: &'static str, path: &str) {
        counted::ADMIN_REFUSED_CALLERS.one(reason);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let (since, count) = recent.filter(|(since, _)| now.duration_since(*since) < LOG_EVERY).unwrap_or_else(|| {
            let unlogged = recent.map_or(0, |(_, count)| count.saturating_sub(LOGGED_MAX));
            if unlogged > 0 {
                warn!(callers = unlogged, "more callers of the admin API were refused");
            }
            (now, 0)
        });
        if count < LOGGED_MAX {
            let path: String = path.chars().take(200).collect();
            warn!(peer, reason, path, "a caller of the admin API was refused");
        }
        *recent = Some((since, count.saturating_add(1)));
    }
}
