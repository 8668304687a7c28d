//! Assets: names for blobs. An upload stores the bytes first and commits the name last.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, HeaderName};
use raft::command::Edit;
use raft::state::{Asset, check_edit};
use raft::types::Digest;
use serde::Deserialize;

use super::body::{Asked, Names, blocking};
use super::document::parse_digest;
use super::error::{Answer, ApiError, refused};
use super::list::{Page, page};
use super::write::Write;
use super::{Context, blobs, view};
use crate::replication::copies;

const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-content-sha256");

/// What a list of assets may be narrowed by.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Filter {
    limit: Option<usize>,
    cursor: Option<String>,
    /// Beginning of the name.
    prefix: String,
    /// The bytes they stand for.
    digest: Option<String>,
}

pub(super) async fn list(State(context): State<Context>, Asked(filter): Asked<Filter>) -> Answer<Response> {
    let digest = filter.digest.as_deref().map(parse_digest).transpose();
    let digest = digest.map_err(|error| error.unreadable("invalid_query"))?;
    // Each item is looked up on the disk.
    blocking(move || page_of(&context, filter, digest)).await
}

fn page_of(context: &Context, filter: Filter, digest: Option<Digest>) -> Answer<Response> {
    let state = context.cluster.read();
    let found = state
        .assets_from(&filter.prefix)
        .take_while(|stored| stored.value.name.starts_with(&filter.prefix))
        .filter(|stored| digest.is_none_or(|digest| stored.value.digest == digest));
    let asked = Page { limit: filter.limit, cursor: filter.cursor };
    let here = |asset: &Asset| context.store.size(&asset.digest) == Some(asset.size);
    page(
        asked,
        found,
        |stored| stored.value.name.clone(),
        |stored| view::asset(stored, here(&stored.value), copies(&state, &stored.value.digest)),
    )
}

/// How an asset is to be shown.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct How {
    /// The bytes themselves instead of a description.
    content: bool,
}

pub(super) async fn read(
    State(context): State<Context>,
    Names(name): Names<String>,
    Asked(how): Asked<How>,
) -> Answer<Response> {
    let state = context.cluster.read();
    let stored = state.asset(&name).ok_or_else(|| ApiError::not_found(format!("asset `{name}`")))?;
    let Asset { digest, size, media_type, .. } = &stored.value;
    if how.content {
        let media_type = if media_type.is_empty() { "application/octet-stream" } else { media_type };
        return blobs::send(&context, *digest, media_type).await;
    }
    Ok(view::asset(stored, context.store.size(digest) == Some(*size), copies(&state, digest)).answer())
}

/// What an upload says beside its bytes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct About {
    digest: Option<String>,
    media_type: String,
    origin: String,
    /// Give the name although only this node holds the bytes.
    allow_single_copy: bool,
}

pub(super) async fn write(
    State(context): State<Context>,
    Names(name): Names<String>,
    Asked(about): Asked<About>,
    write: Write,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let header = headers.get(CONTENT_SHA256).map(|value| value.to_str().unwrap_or_default().to_owned());
    let About { digest, media_type, origin, allow_single_copy } = about;
    let declared = header.or(digest).as_deref().map(parse_digest).transpose()?;
    let mut asset = Asset { name, digest: Digest([0; 32]), size: 0, media_type, origin };
    // Before gigabytes are sent for a name that cannot be.
    if let Err(refusal) = check_edit(&Edit::PutAsset(asset.clone())) {
        return Err(refused(vec![*refusal], |_| String::new()));
    }
    let received = blobs::receive(&context, &headers, body, declared).await?;
    (asset.digest, asset.size) = (received.digest, received.size);
    if !write.is_repeated(&context, received.digest) {
        context.replicator.ensure(&[(received.digest, received.size)], allow_single_copy).await?;
    }
    write.one(&context, Edit::PutAsset(asset), received.digest).await
}

pub(super) async fn delete(
    State(context): State<Context>,
    Names(name): Names<String>,
    write: Write,
) -> Answer<Response> {
    write.one(&context, Edit::DeleteAsset(name), Digest::of(b"")).await
}
