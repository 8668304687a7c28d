//! Refuses changes that nodes of an older version could not read, as long as there is one.

use http::StatusCode;

use super::Context;
use super::error::{Answer, ApiError};

/// Refuses while a node that answers is of another version than this one.
///
/// # Errors
/// `versions_differ`, naming the node.
pub(super) async fn same(context: &Context) -> Answer<()> {
    let Some((name, version)) = context.observe.of_another_version().await else { return Ok(()) };
    let message = format!("node {name} is of version {version}, this one of {}", context.version);
    let hint = "update every node first: one of another version may not be able to read such a change";
    Err(ApiError::new(StatusCode::CONFLICT, "versions_differ", message, hint))
}
