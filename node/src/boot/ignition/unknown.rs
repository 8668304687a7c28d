//! Names in a config that its version of the spec does not have: a machine would pass over them without a word.

use super::schema::{CONFIG, Field, Kind};
use crate::go_json::{fields, folded};

/// Where they are, the first few: `kernelArguments (since 3.3)`, `storage.files[0].contnets`.
pub(super) fn unknown(text: &str, minor: u8) -> Vec<String> {
    let mut found = Vec::new();
    object(CONFIG, text, minor, "", &mut found);
    found
}

/// How many are told.
const TOLD_MAX: usize = 10;

fn object(schema: &'static [Field], text: &str, minor: u8, path: &str, found: &mut Vec<String>) {
    // What cannot be read has been refused before.
    for (key, raw) in fields(text).unwrap_or_default() {
        if found.len() >= TOLD_MAX {
            return;
        }
        let shown: String = key.chars().take(64).collect();
        let at = if path.is_empty() { shown } else { format!("{path}.{shown}") };
        let known = schema.iter().find(|field| field.name == key);
        match known.or_else(|| schema.iter().find(|field| folded(field.name) == folded(&key))) {
            None => found.push(at),
            Some(field) if field.since > minor => found.push(format!("{at} (since 3.{})", field.since)),
            Some(field) => within(field.kind, raw.get(), minor, &at, found),
        }
    }
}

fn within(kind: Kind, text: &str, minor: u8, path: &str, found: &mut Vec<String>) {
    match kind {
        Kind::Object(schema) => object(schema, text, minor, path, found),
        Kind::Objects(schema) => {
            let list: Option<Vec<Box<serde_json::value::RawValue>>> = serde_json::from_str(text).unwrap_or_default();
            for (at, item) in list.unwrap_or_default().iter().enumerate() {
                object(schema, item.get(), minor, &format!("{path}[{at}]"), found);
            }
        }
        _ => {}
    }
}
