//! Many objects as one change: all of it or nothing.

use std::collections::BTreeMap;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use raft::command::{Edit, Effect, GuardedEdit};
use raft::state::{self, Kind, RecordKey, Role};
use raft::types::{Digest, LogIndex};
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::body::{APPLY_BYTES_MAX, blocking, json_text};
use super::document::{self, Bytes};
use super::error::{Answer, ApiError, PROBLEMS_MAX};
use super::json::{self, Members};
use super::warnings::{self, Warning};
use super::write::{Change, Done, Write, effect_name, key_of};
use super::{Context, templates, view};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    items: Vec<Members>,
    /// Kinds of which only what is in `items` remains.
    #[serde(default)]
    replace: Vec<Kind>,
    /// Accept groups with equal selectors; the lowest id wins.
    #[serde(default)]
    allow_ties: bool,
    /// Say what would happen and do nothing.
    #[serde(default)]
    dry_run: bool,
    /// Name bytes although only one node holds them.
    #[serde(default)]
    allow_single_copy: bool,
    /// Store templates of which no machine can be given anything.
    #[serde(default)]
    allow_unusable: bool,
    /// Bytes that will have been uploaded by the time it is done; only for a dry run.
    #[serde(default)]
    promised: Vec<Digest>,
}

/// The answer to an `apply`.
#[derive(Serialize)]
struct Applied {
    index: Option<LogIndex>,
    dry_run: bool,
    created: usize,
    updated: usize,
    unchanged: usize,
    pruned: u32,
    effects: Vec<Item>,
    warnings: Vec<Warning>,
}

#[derive(Serialize)]
struct Item {
    object: String,
    effect: &'static str,
}

pub(super) async fn apply(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    write: Write,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let write = write.without_guard()?;
    let bytes = json_text(&headers, body, APPLY_BYTES_MAX).await?;
    let reader = context.clone();
    let asked = write.clone();
    let (change, digest, dry_run, single, repeated, judged) = blocking(move || {
        let request: Request = json::read(&bytes)?;
        let (dry_run, single, digest) = (request.dry_run, request.allow_single_copy, Digest::of(&bytes));
        let repeated = !dry_run && asked.is_repeated(&reader, digest);
        let judged = !repeated && templates::judged(&reader.cluster.read(), request.allow_unusable);
        Ok((change_of(&reader, &caller, request, repeated)?, digest, dry_run, single, repeated, judged))
    })
    .await?;
    // What an earlier change removed is not known any more, only how much it was.
    let doomed = if repeated { Vec::new() } else { doomed(&context.cluster.read(), &change) };
    let edits: Vec<Edit> = change.edits.iter().map(|edit| edit.edit.clone()).collect();
    let place = |at: u32| format!("items[{at}]");
    let done = if dry_run {
        let (write, context) = (write, context.clone());
        blocking(move || write.rehearse(&context, change, place)).await?
    } else {
        if !repeated {
            context.replicator.ensure(&newly_named(&context.cluster.read(), &edits), single).await?;
        }
        write.commit(&context, change, digest, place).await?
    };
    let context = if judged { context.without_template_check() } else { context };
    blocking(move || Ok(view::answer(&report(&context, &done, &edits, doomed, dry_run)))).await
}

/// The bytes that get a name which did not lead to them before.
fn newly_named(state: &state::State, edits: &[Edit]) -> Vec<(Digest, u64)> {
    let named = edits.iter().filter_map(|edit| match edit {
        Edit::PutAsset(asset) => Some(asset),
        _ => None,
    });
    let fresh = named.filter(|asset| state.asset(&asset.name).is_none_or(|old| old.value.digest != asset.digest));
    let blobs: BTreeMap<Digest, u64> = fresh.map(|asset| (asset.digest, asset.size)).collect();
    blobs.into_iter().collect()
}

fn report(context: &Context, done: &Done, edits: &[Edit], doomed: Vec<RecordKey>, dry_run: bool) -> Applied {
    let count = |wanted: Effect| done.effects.iter().filter(|effect| **effect == wanted).count();
    let put = edits
        .iter()
        .zip(&done.effects)
        .filter_map(|(edit, effect)| Some(Item { object: key_of(edit)?.to_string(), effect: effect_name(*effect) }));
    let pruned = doomed.iter().map(|key| Item { object: key.to_string(), effect: "deleted" });
    let removed: Vec<Edit> = doomed.iter().filter_map(removal).collect();
    Applied {
        index: (!dry_run).then_some(done.index),
        dry_run,
        created: count(Effect::Created),
        updated: count(Effect::Updated),
        unchanged: count(Effect::Unchanged),
        pruned: done.pruned,
        effects: put.chain(pruned).collect(),
        warnings: warnings::of(edits.iter().chain(&removed), &done.state, &context.checks),
    }
}

/// The edit that would have removed it.
fn removal(key: &RecordKey) -> Option<Edit> {
    match key {
        RecordKey::Profile(id) => Some(Edit::DeleteProfile(id.clone())),
        RecordKey::Template(kind, name) => Some(Edit::DeleteTemplate(*kind, name.clone())),
        _ => None,
    }
}

/// Every mistake of every item, in one answer.
fn change_of(context: &Context, caller: &Caller, request: Request, repeated: bool) -> Answer<Change> {
    if !request.promised.is_empty() && !request.dry_run {
        let message = "bytes can only be promised for a dry run";
        return Err(ApiError::unprocessable("invalid", message, "upload them first").at("promised"));
    }
    let stored = match request.promised.as_slice() {
        _ if repeated => Bytes::Any,
        [] => Bytes::Stored,
        promised => Bytes::Promised(promised),
    };
    for (at, kind) in request.replace.iter().enumerate() {
        if !matches!(kind, Kind::Profile | Kind::Group | Kind::Template | Kind::Asset) {
            let hint = "write profile, group, template or asset; others are changed one by one";
            let error = ApiError::unprocessable("invalid", "this kind cannot be replaced as a whole", hint);
            return Err(error.at(format!("replace[{at}]")));
        }
    }
    let state = context.cluster.read();
    let judged = templates::judged(&state, request.allow_unusable);
    let mut edits: Vec<GuardedEdit> = Vec::with_capacity(request.items.len());
    let mut errors = Vec::new();
    let mut first_of: BTreeMap<RecordKey, usize> = BTreeMap::new();
    for (at, item) in request.items.into_iter().enumerate() {
        let read = document::read(context, &state, item, None, stored).and_then(|edit| {
            match &edit.edit {
                // As on their own path.
                Edit::PutSettings(_) => caller.must_be(Role::Admin).map_err(|error| error.at("kind"))?,
                Edit::PutTemplate(template) if judged && !repeated => templates::usable(context, template)?,
                _ => {}
            }
            let before = key_of(&edit.edit).and_then(|key| first_of.insert(key.clone(), at).map(|first| (key, first)));
            before.map_or(Ok(edit), |(key, first)| {
                let hint = "keep one of the two";
                Err(ApiError::unprocessable("duplicate", format!("{key} is in items[{first}] already"), hint))
            })
        });
        match read {
            Ok(edit) => edits.push(edit),
            Err(error) => errors.push(error.below(&format!("items[{at}]"))),
        }
        if errors.len() >= PROBLEMS_MAX {
            break;
        }
    }
    match ApiError::all(errors) {
        Some(error) => Err(error),
        None => Ok(Change { edits, replace: request.replace, allow_ties: request.allow_ties }),
    }
}

/// What `replace` would remove, by the state as it is now; the count in the answer is that of the change itself.
fn doomed(state: &state::State, change: &Change) -> Vec<RecordKey> {
    let kept: std::collections::BTreeSet<RecordKey> =
        change.edits.iter().filter_map(|edit| key_of(&edit.edit)).collect();
    let mut keys: Vec<RecordKey> = Vec::new();
    for kind in &change.replace {
        match kind {
            Kind::Profile => keys.extend(state.profiles().map(|stored| RecordKey::Profile(stored.value.id.clone()))),
            Kind::Group => keys.extend(state.groups().map(|stored| RecordKey::Group(stored.value.id.clone()))),
            Kind::Template => keys.extend(
                state.templates().map(|stored| RecordKey::Template(stored.value.kind, stored.value.name.clone())),
            ),
            Kind::Asset => {
                keys.extend(state.assets_from("").map(|stored| RecordKey::Asset(stored.value.name.clone())));
            }
            Kind::Settings | Kind::Token | Kind::Machine => {}
        }
    }
    keys.retain(|key| !kept.contains(key));
    keys.sort();
    keys.dedup();
    keys
}
