//! Profiles and groups: list, read, write, delete.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use raft::command::Edit;
use raft::state::{Group, Test};
use raft::types::Digest;
use serde::Deserialize;

use super::body::{Asked, Names, OBJECT_BYTES_MAX, blocking, json_text};
use super::document::{self, Bytes, Expected};
use super::error::{Answer, ApiError};
use super::list::{Page, page};
use super::write::Write;
use super::{Context, json, view};

/// What a list of profiles may be narrowed by.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ProfileFilter {
    limit: Option<usize>,
    cursor: Option<String>,
    /// Beginning of the id.
    prefix: String,
}

pub(super) async fn list_profiles(
    State(context): State<Context>,
    Asked(filter): Asked<ProfileFilter>,
) -> Answer<Response> {
    let state = context.cluster.read();
    let found = state.profiles().filter(|stored| stored.value.id.starts_with(&filter.prefix));
    let asked = Page { limit: filter.limit, cursor: filter.cursor };
    page(asked, found, |stored| stored.value.id.clone(), |stored| view::profile(stored))
}

pub(super) async fn get_profile(State(context): State<Context>, Names(id): Names<String>) -> Answer<Response> {
    let state = context.cluster.read();
    let stored = state.profile(&id).ok_or_else(|| ApiError::not_found(format!("profile `{id}`")))?;
    Ok(view::profile(stored).answer())
}

pub(super) async fn put_profile(
    State(context): State<Context>,
    Names(id): Names<String>,
    write: Write,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    put(context, "profile", id, write, headers, body).await
}

pub(super) async fn delete_profile(
    State(context): State<Context>,
    Names(id): Names<String>,
    write: Write,
) -> Answer<Response> {
    write.one(&context, Edit::DeleteProfile(id), Digest::of(b"")).await
}

/// What a list of groups may be narrowed by.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GroupFilter {
    limit: Option<usize>,
    cursor: Option<String>,
    /// Beginning of the id.
    prefix: String,
    /// Id of the profile.
    profile: Option<String>,
    /// `key=value` of its selector, or listed by one of its alternatives.
    selector: Option<String>,
}

pub(super) async fn list_groups(State(context): State<Context>, Asked(filter): Asked<GroupFilter>) -> Answer<Response> {
    let selector = match filter.selector.as_deref().map(|text| text.split_once('=')) {
        Some(None) => {
            let hint = "write it as selector=key%3Dvalue";
            return Err(ApiError::bad_request("invalid_query", "a selector is `key=value`", hint).at("selector"));
        }
        other => other.flatten(),
    };
    let state = context.cluster.read();
    let found = state.groups().filter(|stored| {
        let group = &stored.value;
        group.id.starts_with(&filter.prefix)
            && filter.profile.as_ref().is_none_or(|profile| group.profile == *profile)
            && selector.is_none_or(|(key, value)| asks_for(group, key, value))
    });
    let asked = Page { limit: filter.limit, cursor: filter.cursor };
    page(asked, found, |stored| stored.value.id.clone(), |stored| view::group(stored))
}

/// Whether the group asks for that value of that label, as written.
fn asks_for(group: &Group, label: &str, value: &str) -> bool {
    let tests = group.rules.iter().filter_map(|alternative| alternative.get(label)).flatten();
    let mut listed = tests.filter(|test| matches!(test, Test::In(_))).flat_map(Test::values);
    group.selector.get(label).is_some_and(|found| found == value) || listed.any(|found| found == value)
}

pub(super) async fn get_group(State(context): State<Context>, Names(id): Names<String>) -> Answer<Response> {
    let state = context.cluster.read();
    let stored = state.group(&id).ok_or_else(|| ApiError::not_found(format!("group `{id}`")))?;
    Ok(view::group(stored).answer())
}

pub(super) async fn put_group(
    State(context): State<Context>,
    Names(id): Names<String>,
    write: Write,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    put(context, "group", id, write, headers, body).await
}

pub(super) async fn delete_group(
    State(context): State<Context>,
    Names(id): Names<String>,
    write: Write,
) -> Answer<Response> {
    write.one(&context, Edit::DeleteGroup(id), Digest::of(b"")).await
}

async fn put(
    context: Context,
    kind: &'static str,
    id: String,
    write: Write,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let bytes = json_text(&headers, body, OBJECT_BYTES_MAX).await?;
    let digest = Digest::of(&bytes);
    let reader = context.clone();
    let edit = blocking(move || {
        let object = json::read(&bytes)?;
        let expected = Some(Expected { kind, name: &id });
        document::read(&reader, &reader.cluster.read(), object, expected, Bytes::Stored)
    });
    write.one(&context, edit.await?.edit, digest).await
}
