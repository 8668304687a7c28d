//! An Ignition config inside of a Butane config, under `ignition.config`, which Butane checks before it embeds it.

use serde_json::Value;

use super::super::ignition;
use super::{RULES_MINOR_MAX, numbers};

/// Checks an inner config if it is of the spec version `3.minor`, as which the outer one will be written; one of
/// another version is left to the Ignition that reads it.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(inner: &[u8], minor: u8) -> Result<(), String> {
    let mut config: Value = serde_json::from_slice(inner).map_err(|error| format!("it is not JSON: {error}"))?;
    let named = config.get_mut("ignition").and_then(|ignition| ignition.get_mut("version"));
    let numbers = named.as_ref().and_then(|version| numbers(version.as_str()?));
    let (Some(version), Some(numbers)) = (named, numbers) else { return Err("it has no `ignition.version`".into()) };
    if numbers != [3, u64::from(minor), 0] {
        return Ok(());
    }
    if minor <= RULES_MINOR_MAX {
        return ignition::reserialise(inner).map(drop);
    }
    *version = format!("3.{RULES_MINOR_MAX}.0").into();
    ignition::reserialise(config.to_string().as_bytes()).map(drop)
}
