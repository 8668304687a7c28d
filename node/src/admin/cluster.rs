//! The cluster itself: who belongs to it, what its nodes share, who may join, who leads.

use std::net::IpAddr;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use raft::command::Edit;
use raft::state::{self, Member};
use raft::types::{Digest, LogIndex, Timestamp};
use serde::{Deserialize, Serialize};

use super::body::{Asked, Names, OBJECT_BYTES_MAX, json_text};
use super::error::{Answer, ApiError};
use super::list::{Page, page};
use super::write::Write;
use super::{Context, clock, cluster_settings, expiry, json, picture, view};
use crate::membership::JoinToken;

/// How long a join token is good for unless somebody says.
const JOIN_SECONDS: u64 = 3600;
/// How long it may be good for: whoever finds it later gets the cluster's CA.
const JOIN_SECONDS_MAX: u64 = 30 * 86_400;

#[derive(Serialize)]
pub(super) struct Report {
    cluster_id: String,
    generation: u64,
    node_id: u64,
    leader: Option<u64>,
    settings: cluster_settings::ClusterJson,
    #[serde(flatten)]
    picture: picture::Picture,
}

pub(super) async fn read(State(context): State<Context>) -> Response {
    view::answer(&report(&context).await)
}

/// As the state and the leader have it; the nodes themselves are not asked.
pub(super) async fn report(context: &Context) -> Report {
    let overview = context.cluster.overview().await;
    let state = context.cluster.read();
    let status = picture::asked(context.cluster.status(), &overview);
    let mut picture = picture::draw(&state, &status, &overview, &[], clock::now().0);
    picture.problems.extend(expiry::troubles(&context.certificates.list(), &state, clock::now()));
    let settings = cluster_settings::json(&state);
    let raft::Status { cluster_id, generation, node_id, leader, .. } = status;
    Report { cluster_id, generation, node_id, leader, settings, picture }
}

pub(super) async fn read_settings(State(context): State<Context>) -> Response {
    view::cluster_settings(context.cluster.read().cluster().map(|stored| &**stored))
}

/// Replaces all of them: what the body leaves out is the default again.
pub(super) async fn write_settings(
    State(context): State<Context>,
    write: Write,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let bytes = json_text(&headers, body, OBJECT_BYTES_MAX).await?;
    let settings = cluster_settings::whole(&context, &context.cluster.read(), &bytes)?;
    write.one(&context, Edit::PutCluster(settings), Digest::of(&bytes)).await
}

/// Changes what the body names. Somebody else's change in between is not overwritten: the caller is told to try again.
pub(super) async fn patch_settings(
    State(context): State<Context>,
    write: Write,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let bytes = json_text(&headers, body, OBJECT_BYTES_MAX).await?;
    let state = context.cluster.read();
    let settings = cluster_settings::merged(&context, &state, &bytes)?;
    let write = write.based_on(state.cluster().map(|stored| stored.revision));
    write.one(&context, Edit::PutCluster(settings), Digest::of(&bytes)).await
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TokenFilter {
    limit: Option<usize>,
    cursor: Option<String>,
}

pub(super) async fn list_tokens(State(context): State<Context>, Asked(filter): Asked<TokenFilter>) -> Answer<Response> {
    let state = context.cluster.read();
    let asked = Page { limit: filter.limit, cursor: filter.cursor };
    page(asked, state.join_tokens(), |stored| stored.value.id.clone(), |stored| view::join_token(stored))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WantedToken {
    expires_in_seconds: Option<u64>,
}

#[derive(Serialize)]
struct CreatedToken {
    index: LogIndex,
    effect: &'static str,
    id: String,
    expires_at: Option<String>,
    /// The only time it is shown.
    token: String,
    /// What to run on the node that joins.
    join: String,
    warnings: [(); 0],
}

pub(super) async fn create_token(
    State(context): State<Context>,
    write: Write,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let write = write.without_key()?.without_guard()?;
    let bytes = json_text(&headers, body, OBJECT_BYTES_MAX).await?;
    let wanted: WantedToken = if bytes.is_empty() { WantedToken::default() } else { json::read(&bytes)? };
    let seconds = wanted.expires_in_seconds.unwrap_or(JOIN_SECONDS);
    if !(1..=JOIN_SECONDS_MAX).contains(&seconds) {
        let message = format!("a join token is good for 1 to {JOIN_SECONDS_MAX} seconds (30 days)");
        let hint = "leave it out for one hour; new ones can be made at any time";
        return Err(ApiError::unprocessable("invalid", message, hint).at("expires_in_seconds"));
    }
    let ca = (context.ca)().ok_or_else(|| ApiError::internal("this node does not know the cluster's CA"))?;
    let token =
        JoinToken::generate(ca).map_err(|error| ApiError::internal(format!("no randomness for a token: {error}")))?;
    let expires = Timestamp(clock::now().0.saturating_add(seconds * 1000));
    let stored = state::JoinToken { id: token.id().into(), secret_sha256: token.sha256(), expires };
    let done = write.commit(&context, Edit::PutJoinToken(stored), Digest([0; 32]), |_| String::new()).await;
    let done = done.map_err(ApiError::unguarded)?;
    let own = done.state.member(context.cluster.identity().node).map(|member| member.peer.clone());
    let created = CreatedToken {
        index: done.index,
        effect: "created",
        id: token.id().into(),
        expires_at: clock::rfc3339(expires),
        join: format!("raftboot join {} --token {}", own.as_deref().unwrap_or("ADDRESS"), token.reveal()),
        token: token.reveal(),
        warnings: [],
    };
    Ok((StatusCode::CREATED, view::answer(&created)).into_response())
}

pub(super) async fn delete_token(
    State(context): State<Context>,
    Names(id): Names<String>,
    write: Write,
) -> Answer<Response> {
    write.one(&context, Edit::DeleteJoinToken(id), Digest::of(b"")).await
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Transfer {
    /// Name or id; the best there is if left out.
    to: Option<String>,
}

#[derive(Serialize)]
struct Moved {
    leader: u64,
    name: Option<String>,
}

/// Hands leadership, and with it the VIP, to another node.
pub(super) async fn transfer(
    State(context): State<Context>,
    write: Write,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let _write = write.without_key()?.without_guard()?;
    let bytes = json_text(&headers, body, OBJECT_BYTES_MAX).await?;
    let wanted: Transfer = if bytes.is_empty() { Transfer::default() } else { json::read(&bytes)? };
    let state = context.cluster.read();
    let to = wanted.to.map(|name| member(&state, &name).map(|member| member.id)).transpose()?;
    let leader = context.cluster.transfer(to).await?;
    let name = context.cluster.read().member(leader).map(|member| member.name.clone());
    Ok(view::answer(&Moved { leader, name }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Removal {
    /// Accept less safety.
    force: bool,
}

#[derive(Serialize)]
struct Gone {
    id: u64,
    name: String,
    effect: &'static str,
    warnings: [(); 0],
}

pub(super) async fn remove(
    State(context): State<Context>,
    Names(name): Names<String>,
    Asked(removal): Asked<Removal>,
    write: Write,
) -> Answer<Response> {
    let _write = write.without_key()?.without_guard()?;
    dismiss(&context, &name, removal.force).await
}

/// This node leaves.
pub(super) async fn leave(
    State(context): State<Context>,
    Asked(removal): Asked<Removal>,
    write: Write,
) -> Answer<Response> {
    let _write = write.without_key()?.without_guard()?;
    let own = context.cluster.identity().node.to_string();
    dismiss(&context, &own, removal.force).await
}

async fn dismiss(context: &Context, name: &str, force: bool) -> Answer<Response> {
    let state = context.cluster.read();
    let gone = |id, name: &str, effect| view::answer(&Gone { id, name: name.into(), effect, warnings: [] });
    // A repeated request, or one for a node that another operator has removed.
    if let Some(id) = name.parse().ok().filter(|id| state.was_removed(*id)) {
        return Ok(gone(id, "", "unchanged"));
    }
    let member = member(&state, name)?;
    context.cluster.remove(member.id, force).await?;
    Ok(gone(member.id, &member.name, "deleted"))
}

/// A node by name or id.
pub(super) fn member<'a>(state: &'a state::State, name: &str) -> Answer<&'a Member> {
    state.member_named(name).map(|member| &**member).ok_or_else(|| {
        let known: Vec<String> = state.members().map(|member| format!("{} ({})", member.name, member.id)).collect();
        let message = format!("there is no node `{}`", name.escape_debug());
        ApiError::new(StatusCode::NOT_FOUND, "not_found", message, format!("the cluster has {}", known.join(", ")))
    })
}

/// The node that has an address of its own, as far as is known.
pub(super) fn owner(context: &Context, state: &state::State, address: IpAddr) -> Option<String> {
    let host = |place: &str| {
        let place = place.strip_prefix("http://").unwrap_or(place);
        place.rsplit_once(':').and_then(|(host, _)| host.trim_matches(['[', ']']).parse::<IpAddr>().ok())
    };
    let dialled =
        state.members().find(|member| [&member.peer, &member.boot].into_iter().any(|at| host(at) == Some(address)));
    dialled
        .map(|member| format!("node {}", member.name))
        .or_else(|| (context.checks.own_addresses)().contains(&address).then(|| "this node".into()))
}
