//! What a template sees: a group's metadata, its selectors and the request, in one map.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::case::to_lower;
use super::value::{Map, Numbers, Value};

/// Builds the map that templates and `/metadata` read.
///
/// Metadata keys stand at the top level; selectors, their keys lower-cased, override them; `request` replaces
/// whatever carried that name and holds `query` (the labels, of repeated ones the first) and `raw_query` (undecoded).
pub fn data<K, V>(
    metadata: Option<&serde_json::Map<String, serde_json::Value>>,
    numbers: Numbers,
    selector: &BTreeMap<String, String>,
    labels: impl IntoIterator<Item = (K, V)>,
    raw_query: impl AsRef<[u8]>,
) -> Value
where
    K: AsRef<[u8]>,
    V: AsRef<[u8]>,
{
    let mut root = metadata.map(|entries| Map::read(entries, numbers)).unwrap_or_default();
    for (key, value) in selector {
        root.insert(to_lower(key.as_bytes()), Value::text(value));
    }
    let mut query = Map::of_texts();
    for (key, value) in labels {
        query.insert_first(Bytes::copy_from_slice(key.as_ref()), Value::text(value));
    }
    let mut request = Map::new();
    request.insert("query", Value::Map(Arc::new(query)));
    request.insert("raw_query", Value::text(raw_query));
    root.insert("request", Value::Map(Arc::new(request)));
    Value::Map(Arc::new(root))
}
