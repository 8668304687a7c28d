//! The change of the cluster's CA: how far it is, and its next step.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use raft::command::Edit;
use raft::state::{CaRecord, CaStage, CaStep};
use raft::types::{Digest, LogIndex};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::body::{OBJECT_BYTES_MAX, blocking, json_text};
use super::certificates::of_issuer;
use super::error::{Answer, ApiError};
use super::write::Write;
use super::{Context, clock, json, versions, view};
use crate::rotation::Rotation;

#[derive(Serialize)]
struct Report {
    /// `trust`, `issue`; `none` while nothing changes.
    stage: &'static str,
    /// The CA by which the node asked issues certificates.
    issuing: Digest,
    /// The CAs that it trusts.
    trusted: Vec<Digest>,
    old: Option<Digest>,
    new: Option<Digest>,
    since: Option<String>,
    members: Vec<Followed>,
    /// Certificates of clients, still good, that end with the old CA.
    clients_of_old: Vec<String>,
    /// Those that end if the change is given up.
    clients_of_new: Vec<String>,
    /// Whether a change was finished without the node asked.
    missed: bool,
    next: &'static str,
}

#[derive(Serialize)]
struct Followed {
    id: u64,
    name: String,
    trusts_new: bool,
    issued_by_new: bool,
}

fn rotation(context: &Context) -> Answer<Rotation> {
    context.rotation.clone().ok_or_else(|| ApiError::internal("this node has no CA"))
}

fn under_way(record: Option<&CaRecord>) -> Option<&CaRecord> {
    record.filter(|record| record.stage != CaStage::Done)
}

pub(super) async fn read(State(context): State<Context>) -> Answer<Response> {
    let rotation = rotation(&context)?;
    let missed = rotation.was_missed();
    let (issuing, trusted) = blocking(move || {
        let files = rotation.files();
        let issuing = files.authority().and_then(|authority| authority.digest()).map_err(ApiError::internal)?;
        Ok((issuing, files.trusted().map_err(ApiError::internal)?))
    })
    .await?;
    let (state, now) = (context.cluster.read(), clock::now());
    let record = under_way(state.ca().map(|record| &**record));
    let members = state.members().map(|member| Followed {
        id: member.id,
        name: member.name.clone(),
        trusts_new: record.is_some_and(|record| record.trusting.contains(&member.id)),
        issued_by_new: record.is_some_and(|record| record.issuing.contains(&member.id)),
    });
    Ok(view::answer(&Report {
        stage: record.map_or("none", |record| if record.stage == CaStage::Trust { "trust" } else { "issue" }),
        issuing,
        trusted,
        old: record.map(|record| record.old),
        new: record.map(|record| record.new),
        since: record.and_then(|record| clock::rfc3339(record.since)),
        members: members.collect(),
        clients_of_old: record.map_or_else(Vec::new, |record| of_issuer(&state, &record.old, now)),
        clients_of_new: record.map_or_else(Vec::new, |record| of_issuer(&state, &record.new, now)),
        missed,
        next: next(record, &state),
    }))
}

fn next(record: Option<&CaRecord>, state: &raft::state::State) -> &'static str {
    let all = |said: &std::collections::BTreeSet<u64>| state.members().all(|member| said.contains(&member.id));
    match record {
        None => "nothing changes; `raftboot ca rotate` begins",
        Some(record) if record.stage == CaStage::Trust && !all(&record.trusting) => {
            "wait until every node trusts the new CA"
        }
        Some(record) if record.stage == CaStage::Trust => {
            "give clients the new ca.crt (`raftboot ca certificate`), then `raftboot ca rotate --issue`; back: `raftboot ca rotate --back`"
        }
        Some(record) if !all(&record.issuing) => "wait until every node has a certificate of the new CA",
        Some(_) => {
            "give clients new certificates (`raftboot cert client`), then `raftboot ca rotate --finish`; back: `raftboot ca rotate --back`"
        }
    }
}

/// What to trust in order to trust this cluster's nodes: both CAs while one takes the other's place.
pub(super) async fn certificate(State(context): State<Context>) -> Answer<Response> {
    let rotation = rotation(&context)?;
    let pem = blocking(move || {
        let authority = rotation.files().authority();
        authority.and_then(|authority| authority.certificate()).map_err(ApiError::internal)
    });
    Ok(([(CONTENT_TYPE, "application/x-pem-file")], pem.await?).into_response())
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Step {
    Begin,
    Issue,
    Finish,
    Back,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    step: Step,
    /// Also where nodes have not followed or clients still need what goes.
    #[serde(default)]
    force: bool,
}

#[derive(Serialize)]
struct Stepped {
    index: LogIndex,
    effect: &'static str,
    stage: &'static str,
    old: Option<Digest>,
    new: Option<Digest>,
    warnings: [(); 0],
}

pub(super) async fn step(
    State(context): State<Context>,
    write: Write,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let write = write.without_key()?.without_guard()?;
    let wanted: Wanted = json::read(&json_text(&headers, body, OBJECT_BYTES_MAX).await?)?;
    versions::same(&context).await?;
    let state = context.cluster.read();
    let record = under_way(state.ca().map(|record| &**record)).cloned();
    let commit =
        async |step| write.commit(&context, Edit::StepCa(step, wanted.force), Digest([0; 32]), |_| String::new()).await;
    let done = match (wanted.step, &record) {
        (Step::Begin, None) => {
            let prepared = rotation(&context)?.prepare().await;
            let prepared = prepared.map_err(|error| ApiError::internal(format!("no CA could be made: {error:#}")))?;
            let done = commit(CaStep::Begin { old: prepared.old, new: prepared.new }).await;
            if done.as_ref().is_err_and(|error| error.status().is_client_error())
                && let Err(error) = prepared.discard()
            {
                warn!(%error, "the files of a CA that is not wanted could not be removed");
            }
            done?
        }
        // The record itself says why not.
        (Step::Begin, Some(record)) => commit(CaStep::Begin { old: record.old, new: record.new }).await?,
        (Step::Issue, _) => commit(CaStep::Issue).await?,
        (Step::Finish, record) => {
            spare_clients(&state, record.as_ref().map(|record| &record.old), wanted.force)?;
            commit(CaStep::Finish).await?
        }
        (Step::Back, record) => {
            let last = record.as_ref().filter(|record| record.stage == CaStage::Trust);
            spare_clients(&state, last.map(|record| &record.new), wanted.force)?;
            commit(CaStep::Back).await?
        }
    };
    let record = done.state.ca().cloned();
    let record = under_way(record.as_deref());
    Ok(view::answer(&Stepped {
        index: done.index,
        effect: "updated",
        stage: record.map_or("none", |record| if record.stage == CaStage::Trust { "trust" } else { "issue" }),
        old: record.map(|record| record.old),
        new: record.map(|record| record.new),
        warnings: [],
    }))
}

/// Refuses to end a CA by which clients call.
fn spare_clients(state: &raft::state::State, issuer: Option<&Digest>, force: bool) -> Answer<()> {
    let needed = issuer.map_or_else(Vec::new, |issuer| of_issuer(state, issuer, clock::now()));
    if needed.is_empty() || force {
        return Ok(());
    }
    let shown: Vec<&str> = needed.iter().take(10).map(String::as_str).collect();
    let message = format!("{} client certificates of that CA are good still: {}", needed.len(), shown.join(", "));
    let hint = "give these clients new ones and revoke the old ones (`raftboot cert revoke SERIAL`), or use --force: they are refused then";
    Err(ApiError::new(StatusCode::CONFLICT, "clients_need_it", message, hint))
}
