//! One write: its guard and its idempotency key, the command it becomes, and the answer.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use raft::command::{Command, Edit, Effect, Guard, GuardedEdit, Outcome};
use raft::state::{Kind, Record, RecordKey, Replay, Ruled, State};
use raft::types::{Digest, LogIndex};
use serde::Serialize;

use super::auth::Caller;
use super::error::{Answer, ApiError, refused};
use super::warnings::{self, Warning};
use super::{Context, clock};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Characters of an idempotency key.
const KEY_CHARS_MAX: usize = 128;

/// What a request's headers say about its write.
#[derive(Debug, Clone)]
pub(super) struct Write {
    actor: String,
    guard: Wanted,
    key: String,
    method_and_path: String,
}

/// What the caller wants to be true before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Anything,
    Absent,
    Present,
    Revision(LogIndex),
}

impl<S: Send + Sync> FromRequestParts<S> for Write {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Answer<Self> {
        let caller = parts.extensions.get::<Caller>();
        let caller = caller.ok_or_else(|| ApiError::internal("a write reached its handler without a caller"))?;
        Ok(Self {
            actor: caller.name.clone(),
            guard: wanted(&parts.headers)?,
            key: key(&parts.headers, &caller.token)?,
            method_and_path: format!("{} {}\n", parts.method, parts.uri),
        })
    }
}

fn wanted(headers: &HeaderMap) -> Answer<Wanted> {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default().trim().to_owned());
    match (text(IF_MATCH), text(IF_NONE_MATCH)) {
        (None, None) => Ok(Wanted::Anything),
        (Some(tag), None) if tag == "*" => Ok(Wanted::Present),
        (None, Some(tag)) if tag == "*" => Ok(Wanted::Absent),
        (Some(tag), None) => {
            let number = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(&tag);
            // The library would take a sign.
            let digits = Some(number).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
            let revision = digits.and_then(|digits| digits.parse().ok());
            revision.map(|revision| Wanted::Revision(LogIndex(revision))).ok_or_else(|| {
                let hint = "send one ETag as an earlier answer gave it, or `*`";
                ApiError::bad_request("invalid_guard", "If-Match is no revision", hint).at("If-Match")
            })
        }
        (given, Some(_)) => {
            let message = match given {
                Some(_) => "If-Match and If-None-Match exclude each other",
                None => "If-None-Match guards writes only as `*`",
            };
            let hint = "send `If-None-Match: *` to create only, or `If-Match` with a revision, not both";
            Err(ApiError::bad_request("invalid_guard", message, hint).at("If-None-Match"))
        }
    }
}

/// Keys of different tokens never meet.
fn key(headers: &HeaderMap, token: &str) -> Answer<String> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(String::new()) };
    let text = value.to_str().unwrap_or_default();
    let fits = !text.is_empty() && text.len() <= KEY_CHARS_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        return Ok(format!("{token}/{text}"));
    }
    let message = format!("an idempotency key is 1 to {KEY_CHARS_MAX} printable characters without blanks");
    Err(ApiError::bad_request("invalid_idempotency_key", message, "send a UUID").at("Idempotency-Key"))
}

/// What is to be done as one change.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// The edits, in order, each with what it builds on.
    pub edits: Vec<GuardedEdit>,
    /// Kinds of which only what is put here remains.
    pub replace: Vec<Kind>,
    /// Accept groups with equal selectors.
    pub allow_ties: bool,
}

impl From<Edit> for Change {
    fn from(edit: Edit) -> Self {
        Self { edits: vec![edit.into()], ..Self::default() }
    }
}

/// A change that is durable, or would be.
#[derive(Debug)]
pub(super) struct Done {
    /// Its log entry.
    pub index: LogIndex,
    /// What each edit did.
    pub effects: Vec<Effect>,
    /// How many objects `replace` removed.
    pub pruned: u32,
    /// The state after it.
    pub state: Arc<State>,
}

impl Write {
    /// Refuses an idempotency key where the answer could not be given a second time.
    ///
    /// # Errors
    /// `idempotency_unsupported` if there is one.
    pub(super) fn without_key(self) -> Answer<Self> {
        if self.key.is_empty() {
            return Ok(self);
        }
        let hint = "leave the Idempotency-Key out";
        let message = "this answer holds a secret that is not stored, so it cannot be repeated";
        Err(ApiError::bad_request("idempotency_unsupported", message, hint).at("Idempotency-Key"))
    }

    /// Refuses a guard where there is no one object it could be about.
    ///
    /// # Errors
    /// `guard_unsupported` if there is one.
    pub(super) fn without_guard(self) -> Answer<Self> {
        if !self.is_guarded() {
            return Ok(self);
        }
        let hint = "leave If-Match and If-None-Match out";
        Err(ApiError::bad_request("guard_unsupported", "this cannot be guarded by a revision", hint).at("If-Match"))
    }

    /// Sets a revision that the edit builds on, unless the caller named one.
    #[must_use]
    pub(super) fn based_on(mut self, revision: Option<LogIndex>) -> Self {
        if !self.is_guarded() {
            self.guard = revision.map_or(Wanted::Absent, Wanted::Revision);
        }
        self
    }

    fn is_guarded(&self) -> bool {
        self.guard != Wanted::Anything
    }

    fn guard_of(&self, state: &State, edit: &Edit) -> Answer<Guard> {
        match self.guard {
            Wanted::Anything => Ok(Guard::Any),
            Wanted::Absent => Ok(Guard::Absent),
            Wanted::Revision(revision) => Ok(Guard::Revision(revision)),
            Wanted::Present => match key_of(edit).and_then(|key| revision_of(state, &key)) {
                Some(revision) => Ok(Guard::Revision(revision)),
                None => {
                    let hint = "create it without If-Match";
                    Err(ApiError::new(StatusCode::PRECONDITION_FAILED, "conflict", "it does not exist", hint))
                }
            },
        }
    }

    /// The command for this change. `body` is the digest of what was sent.
    fn command(&self, state: &State, change: Change, body: Digest) -> Answer<Command> {
        let mut edits = change.edits;
        if let (Some(first), true) = (edits.first_mut(), self.is_guarded()) {
            first.guard = self.guard_of(state, &first.edit)?;
        }
        let fingerprint = self.fingerprint(body);
        Ok(Command {
            actor: self.actor.clone(),
            at: clock::now(),
            idempotency_key: self.key.clone(),
            fingerprint,
            edits,
            replace: change.replace,
            allow_ties: change.allow_ties,
        })
    }

    /// Makes the change; returns when it is durable. `place` names an edit's place in the request.
    ///
    /// # Errors
    /// Why it was not made.
    pub(super) async fn commit(
        &self,
        context: &Context,
        change: impl Into<Change>,
        body: Digest,
        place: impl Fn(u32) -> String,
    ) -> Answer<Done> {
        let state = context.cluster.read();
        if let Some(first) = self.replay(&state, body) {
            return done(first.outcome.clone(), first.index, state, place);
        }
        let command = self.command(&state, change.into(), body)?;
        let committed = context.cluster.propose(command).await?;
        let state = context.cluster.read();
        // The same request may have been under way twice; the second one has the answer and the index of the first.
        let index = self.replay(&state, body).map_or(committed.index, |first| first.index);
        done(committed.outcome, index, state, place)
    }

    /// Says what the change would do, and does nothing.
    ///
    /// # Errors
    /// Why it would not be made.
    pub(super) fn rehearse(&self, context: &Context, change: Change, place: impl Fn(u32) -> String) -> Answer<Done> {
        let mut state = (*context.cluster.read()).clone();
        let mut command = self.command(&state, change, Digest([0; 32]))?;
        command.idempotency_key.clear();
        let index = LogIndex(state.applied().0 + 1);
        let outcome = state.apply(index, &command).0;
        done(outcome, index, Arc::new(state), place)
    }

    fn fingerprint(&self, body: Digest) -> Digest {
        Digest::of(format!("{}{body}", self.method_and_path).as_bytes())
    }

    /// What the same request with the same idempotency key was answered before.
    fn replay(&self, state: &State, body: Digest) -> Option<Arc<Replay>> {
        if self.key.is_empty() {
            return None;
        }
        match state.record(&RecordKey::Replay(self.key.clone()))? {
            Record::Replay(_, first) => (first.fingerprint == self.fingerprint(body)).then_some(first),
            _ => None,
        }
    }

    /// Whether this was done before and is only to be answered again, whatever has become of its object since.
    pub(super) fn is_repeated(&self, context: &Context, body: Digest) -> bool {
        self.replay(&context.cluster.read(), body).is_some()
    }

    /// The first answer to a request about one object that is sent again, where its object may be gone by now.
    pub(super) fn repeated(&self, context: &Context, body: Digest) -> Option<Answer<Response>> {
        let state = context.cluster.read();
        let first = self.replay(&state, body)?;
        let done = done(first.outcome.clone(), first.index, state, |_| String::new());
        Some(done.map(|done| written(&done, None, Vec::new())))
    }

    /// One edit to one object, and the answer to it.
    ///
    /// # Errors
    /// Why it was not made.
    pub(super) async fn one(&self, context: &Context, edit: Edit, body: Digest) -> Answer<Response> {
        let kept = edit.clone();
        let done = self.commit(context, edit, body, |_| String::new()).await?;
        // A repeated answer is about the object as it was then.
        let revision = key_of(&kept).and_then(|key| revision_of(&done.state, &key)).map(|now| now.min(done.index));
        let warnings = warnings::of([&kept], &done.state, &context.checks);
        Ok(written(&done, revision, warnings))
    }
}

fn done(outcome: Outcome, index: LogIndex, state: Arc<State>, place: impl Fn(u32) -> String) -> Answer<Done> {
    match outcome {
        Outcome::Applied { edits: effects, pruned } => Ok(Done { index, effects, pruned, state }),
        Outcome::Refused(refusals) => Err(refused(refusals, place)),
    }
}

fn written(done: &Done, revision: Option<LogIndex>, warnings: Vec<Warning>) -> Response {
    let effect = done.effects.first().copied().unwrap_or(Effect::Unchanged);
    let status = if effect == Effect::Created { StatusCode::CREATED } else { StatusCode::OK };
    let text = json(&Written { index: done.index, effect: effect_name(effect), revision, warnings });
    let mut response = (status, [(CONTENT_TYPE, "application/json")], text).into_response();
    if let Some(tag) = revision.and_then(etag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// The answer to a write of one object.
#[derive(Serialize)]
struct Written {
    index: LogIndex,
    effect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<LogIndex>,
    warnings: Vec<Warning>,
}

/// `"12"`.
pub(super) fn etag(revision: LogIndex) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{revision}\"")).ok()
}

/// The bytes of an answer.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("answers are JSON")
}

/// The word for what an edit did.
#[must_use]
pub(super) fn effect_name(effect: Effect) -> &'static str {
    match effect {
        Effect::Created => "created",
        Effect::Updated => "updated",
        Effect::Unchanged => "unchanged",
        Effect::Deleted => "deleted",
    }
}

/// The object an edit is about, where it has a revision.
pub(super) fn key_of(edit: &Edit) -> Option<RecordKey> {
    Some(match edit {
        Edit::PutProfile(profile) => RecordKey::Profile(profile.id.clone()),
        Edit::PutGroup(group) | Edit::PutRuledGroup(Ruled(group)) => RecordKey::Group(group.id.clone()),
        Edit::PutTemplate(template) => RecordKey::Template(template.kind, template.name.clone()),
        Edit::PutAsset(asset) => RecordKey::Asset(asset.name.clone()),
        Edit::PutSettings(_) => RecordKey::Settings,
        Edit::PutToken(token) => RecordKey::Token(token.id.clone()),
        Edit::DeleteProfile(id) => RecordKey::Profile(id.clone()),
        Edit::DeleteGroup(id) => RecordKey::Group(id.clone()),
        Edit::DeleteTemplate(kind, name) => RecordKey::Template(*kind, name.clone()),
        Edit::DeleteAsset(name) => RecordKey::Asset(name.clone()),
        Edit::DeleteToken(id) => RecordKey::Token(id.clone()),
        Edit::PutCluster(_) => RecordKey::Cluster,
        Edit::PutJoinToken(token) => RecordKey::JoinToken(token.id.clone()),
        Edit::DeleteJoinToken(id) => RecordKey::JoinToken(id.clone()),
        Edit::Sightings(_)
        | Edit::SetMachinePolicy(..)
        | Edit::DeleteMachine(_)
        | Edit::AnnounceMember(_)
        | Edit::AddMember(_)
        | Edit::RemoveMember(_)
        | Edit::ClaimVip(_)
        | Edit::ReleaseVip(..)
        | Edit::ReportBlobs(..)
        | Edit::WithdrawBlobs(..)
        | Edit::CondemnBlobs(_) => return None,
    })
}

fn revision_of(state: &State, key: &RecordKey) -> Option<LogIndex> {
    Some(match state.record(key)? {
        Record::Profile(stored) => stored.revision,
        Record::Group(stored) => stored.revision,
        Record::Template(stored) => stored.revision,
        Record::Asset(stored) => stored.revision,
        Record::Token(stored) => stored.revision,
        Record::Settings(stored) => stored.revision,
        Record::Cluster(stored) => stored.revision,
        Record::JoinToken(stored) => stored.revision,
        Record::Machine(_)
        | Record::Replay(..)
        | Record::Member(_)
        | Record::Roster(_)
        | Record::Vip(_)
        | Record::Blob(_) => return None,
    })
}
