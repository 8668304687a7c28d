//! Ignition configs as matchbox serves them: read by the rules of their spec version, written anew as 3.4.0.
//!
//! Where matchbox answers an empty config with 200, so that a machine comes up without what it was meant to get, this
//! fails: the machine sees a 404 and tries again, and the log says what is wrong. Specs other than 3.0 to 3.4 are
//! served as they are stored: the Ignition that reads them knows better than we do.

mod address;
mod check;
mod item;
mod schema;
mod storage;

use item::Item;

use crate::go_json::{fields, folded, go_text};

/// The version that is written.
const WRITTEN: &str = "3.4.0";

/// Reads a config and writes it anew.
///
/// # Errors
/// What is wrong with it, and where.
pub(super) fn reserialise(stored: &[u8]) -> Result<Vec<u8>, String> {
    let text = go_text(stored);
    // A byte order mark is no JSON to Go either.
    let version = version(&text)?;
    let minor = match version.as_str() {
        "3.0.0" => 0,
        "3.1.0" => 1,
        "3.2.0" => 2,
        "3.3.0" => 3,
        "3.4.0" => 4,
        other if is_released(other) => return Ok(stored.to_vec()),
        other => return Err(format!("ignition.version: `{}` is no version of the spec", other.escape_debug())),
    };
    let mut config = item::read(schema::CONFIG, &text, minor)?;
    check::check(&config, minor)?;
    if let Some(ignition) = config.get_mut("ignition") {
        ignition.set("version", Item::Text(WRITTEN.into()));
    }
    let mut out = String::with_capacity(stored.len() + 256);
    config.write(&mut out);
    Ok(out.into_bytes())
}

/// `x.y.0` of a major version whose configs look like this: 2, and 3 beyond what is written anew.
fn is_released(version: &str) -> bool {
    let mut parts = version.split('.');
    let (major, minor, patch) = (parts.next(), parts.next(), parts.next());
    let number = |part: Option<&str>| part.filter(|part| part.len() <= 3).and_then(|part| part.parse::<u16>().ok());
    let plain = version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && parts.next().is_none();
    plain && number(minor).is_some() && matches!(number(major), Some(2 | 3)) && number(patch) == Some(0)
}

fn version(text: &str) -> Result<String, String> {
    let mut version = None;
    for (key, raw) in fields(text).map_err(|error| error.to_string())? {
        if folded(&key) != "ignition" {
            continue;
        }
        for (key, raw) in fields(raw.get()).map_err(|error| format!("ignition: {error}"))? {
            if folded(&key) == "version" {
                let read: Option<String> =
                    serde_json::from_str(raw.get()).map_err(|error| format!("ignition.version: {error}"))?;
                version = read.or(version);
            }
        }
    }
    version.ok_or_else(|| "ignition.version: missing; it says by which rules to read the config".into())
}

#[cfg(test)]
mod tests;
