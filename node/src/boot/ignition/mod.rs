//! Ignition configs: read by the rules of their spec version, served as they are stored, or anew as matchbox does.
//!
//! Where matchbox answers an empty config with 200, so that a machine comes up without what it was meant to get, this
//! fails: the machine sees a 404 and tries again, and the log says what is wrong. A spec newer than 3.4 is held to the rules
//! of 3.4 as far as those go; 2.x, which is another language, is served unread.

mod address;
mod check;
mod item;
mod schema;
mod storage;
mod unknown;

use item::Item;

use crate::go_json::{fields, folded, go_text};

/// The version that is written.
const WRITTEN: &str = "3.4.0";

/// What is known of a config before it is read.
enum Version {
    /// `3.minor`, which is known to the last field.
    Known(u8),
    /// A later one of 3.
    Later,
    /// 2.x.
    Earlier,
}

/// The newest version whose every field is known.
const KNOWN_MINOR_MAX: u8 = 4;
/// How a later one is read: with every field there is.
const LATER_MINOR: u8 = u8::MAX;

/// Checks a config by the rules of its version.
///
/// # Errors
/// What is wrong with it, and where.
pub(super) fn check(stored: &[u8]) -> Result<(), String> {
    let text = go_text(stored);
    match version_of(&text)? {
        Version::Known(minor) => read(&text, minor).map(drop),
        // Later versions of the spec add to it, and lift some of its limits.
        Version::Later => read(&text, LATER_MINOR).map(drop),
        Version::Earlier => Ok(()),
    }
}

/// Names in a config that a machine would pass over, because its version of the spec does not have them; of later versions
/// nothing is known.
///
/// # Errors
/// As [`check`].
pub(super) fn unknown(stored: &[u8]) -> Result<Vec<String>, String> {
    check(stored)?;
    let text = go_text(stored);
    Ok(match version_of(&text)? {
        Version::Known(minor) => unknown::unknown(&text, minor),
        Version::Later | Version::Earlier => Vec::new(),
    })
}

/// Reads a config and writes it anew as 3.4.0, as matchbox does; one of another version than 3.0 to 3.4 is checked and left
/// as it is.
///
/// # Errors
/// What is wrong with it, and where.
pub(super) fn reserialise(stored: &[u8]) -> Result<Vec<u8>, String> {
    let text = go_text(stored);
    let Version::Known(minor) = version_of(&text)? else {
        return check(stored).map(|()| stored.to_vec());
    };
    let mut config = read(&text, minor)?;
    if let Some(ignition) = config.get_mut("ignition") {
        ignition.set("version", Item::Text(WRITTEN.into()));
    }
    let mut out = String::with_capacity(stored.len() + 256);
    config.write(&mut out);
    Ok(out.into_bytes())
}

fn read(text: &str, minor: u8) -> Result<Item, String> {
    let config = item::read(schema::CONFIG, text, minor)?;
    check::check(&config, minor)?;
    Ok(config)
}

fn version_of(text: &str) -> Result<Version, String> {
    // A byte order mark is no JSON to Go either.
    let version = version(text)?;
    Ok(match version.as_str() {
        "3.0.0" => Version::Known(0),
        "3.1.0" => Version::Known(1),
        "3.2.0" => Version::Known(2),
        "3.3.0" => Version::Known(3),
        "3.4.0" => Version::Known(KNOWN_MINOR_MAX),
        other if is_released(other) && other.starts_with('3') => Version::Later,
        other if is_released(other) => Version::Earlier,
        other => return Err(format!("ignition.version: `{}` is no version of the spec", other.escape_debug())),
    })
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
