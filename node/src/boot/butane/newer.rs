//! What only newer specs of Ignition allow, and their own rules, which are Butane's to check before a machine does.

use super::value::Value;

type Check = Result<(), String>;

/// Checks a config that is to be of spec `3.minor`.
///
/// # Errors
/// What that spec does not allow, and where.
pub(super) fn check(config: &Value, minor: u8) -> Check {
    walk(config, "", &|value, way| {
        let source = value.text("source").unwrap_or_default();
        if minor < 4 && source.to_ascii_lowercase().starts_with("arn:") {
            return Err(format!("{way}.source: addresses that begin with `arn:` need a newer version"));
        }
        let hash = value.get("verification").and_then(|verification| verification.text("hash")).unwrap_or_default();
        if minor < 1 && hash.starts_with("sha256-") {
            return Err(format!("{way}.verification.hash: sha256 needs a newer version; write a sha512"));
        }
        for (at, filesystem) in value.list("filesystems").iter().enumerate() {
            if minor < 3 && filesystem.text("format") == Some("none") {
                return Err(format!("{way}.filesystems[{at}].format: `none` needs a newer version"));
            }
        }
        for (at, luks) in value.list("luks").iter().enumerate() {
            check_luks(luks).map_err(|problem| format!("{way}.luks[{at}].{problem}"))?;
        }
        Ok(())
    })
}

fn check_luks(luks: &Value) -> Check {
    let absent = Value::EMPTY;
    let clevis = luks.get("clevis").unwrap_or(&absent);
    for (at, tang) in clevis.list("tang").iter().enumerate() {
        let advertisement = tang.filled("advertisement");
        if advertisement.is_some_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_err()) {
            return Err(format!("clevis.tang[{at}].advertisement: it is not JSON"));
        }
    }
    if !luks.get("cex").is_some_and(|cex| cex.is_true("enabled")) {
        return Ok(());
    }
    let pin = clevis.get("custom").and_then(|custom| custom.filled("pin"));
    let threshold = clevis.int("threshold").unwrap_or(0) != 0;
    if pin.is_some() || !clevis.list("tang").is_empty() || clevis.is_true("tpm2") || threshold {
        return Err("cex: not together with clevis".into());
    }
    if luks.get("key_file").is_some_and(|file| file.filled("source").is_some()) {
        return Err("cex: not together with a key file".into());
    }
    Ok(())
}

fn walk(value: &Value, way: &str, check: &impl Fn(&Value, &str) -> Check) -> Check {
    match value {
        Value::Object(members) => {
            check(value, way)?;
            let gap = if way.is_empty() { "" } else { "." };
            members.iter().try_for_each(|(name, member)| walk(member, &format!("{way}{gap}{name}"), check))
        }
        Value::List(list) => {
            list.iter().enumerate().try_for_each(|(at, value)| walk(value, &format!("{way}[{at}]"), check))
        }
        Value::Text(_) | Value::Bytes(_) | Value::Int(_) | Value::Bool(_) => Ok(()),
    }
}

/// Takes out of a config of spec `3.minor` what the rules of older specs would not understand: from 3.6 on, a pin of
/// Clevis that has its config may have any name.
pub(super) fn remove(config: &mut Value, minor: u8) {
    match config {
        Value::List(list) => list.iter_mut().for_each(|value| remove(value, minor)),
        Value::Object(members) => {
            let named = |value: &Value| value.filled("pin").is_some() && value.filled("config").is_some();
            members.retain(|(name, value)| minor < 6 || *name != "custom" || !named(value));
            members.iter_mut().for_each(|(_, value)| remove(value, minor));
        }
        Value::Text(_) | Value::Bytes(_) | Value::Int(_) | Value::Bool(_) => {}
    }
}
