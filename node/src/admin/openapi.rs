//! The description of this API for programs: `openapi.yaml`, served as JSON with the product's version.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use super::write::json;

/// As it is written, by hand.
const TEXT: &str = include_str!("openapi.yaml");

/// What parts of the document have in common, for YAML's anchors; readers of JSON get it where it belongs.
const SHARED: &str = "x-shared";

static SERVED: LazyLock<Bytes> = LazyLock::new(|| json(&document()).into());

pub(super) async fn read() -> Response {
    ([(CONTENT_TYPE, "application/json")], SERVED.clone()).into_response()
}

/// The document as it is served.
pub(super) fn document() -> Map<String, Value> {
    // Limits are for what others write: this text has few anchors and many references to them.
    let options = serde_saphyr::options! { budget: None, strict_booleans: true };
    let read = serde_saphyr::from_str_with_options(TEXT, options);
    let mut document: Map<String, Value> = read.expect("a test reads this file");
    document.remove(SHARED);
    if let Some(info) = document.get_mut("info") {
        info["version"] = env!("CARGO_PKG_VERSION").into();
    }
    document
}
