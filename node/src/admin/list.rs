//! Lists in pages: a cursor is the key of the last item given, so that pages stay right while objects come and go.

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use serde::Serialize;

use super::error::{Answer, ApiError};
use super::write::json;

/// Items of a page when nothing is asked for.
const LIMIT_DEFAULT: usize = 100;
/// Items of a page at most.
const LIMIT_MAX: usize = 1000;

/// Which page is asked for.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// How many items at most.
    pub limit: Option<usize>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

#[derive(Serialize)]
struct Listing<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

/// Answers one page of `items`, which come in the order of their keys. Only items on the page are shown in full.
///
/// # Errors
/// `invalid_query` for a limit out of range.
pub(super) fn page<T, V: Serialize>(
    page: Page,
    items: impl Iterator<Item = T>,
    key: impl Fn(&T) -> String,
    show: impl Fn(T) -> V,
) -> Answer<Response> {
    let limit = page.limit.unwrap_or(LIMIT_DEFAULT);
    if limit == 0 || limit > LIMIT_MAX {
        let message = format!("limit is {limit}; it may be 1 to {LIMIT_MAX}");
        return Err(ApiError::bad_request("invalid_query", message, "ask for more pages with `cursor`").at("limit"));
    }
    let after = page.cursor.unwrap_or_default();
    let mut rest = items.skip_while(|item| !after.is_empty() && key(item) <= after);
    let mut listing = Listing { items: Vec::new(), next_cursor: None };
    let mut last = String::new();
    for item in rest.by_ref().take(limit) {
        last = key(&item);
        listing.items.push(show(item));
    }
    if rest.next().is_some() {
        listing.next_cursor = Some(last);
    }
    Ok(([(CONTENT_TYPE, "application/json")], json(&listing)).into_response())
}
