//! The shared settings on the command line.

use std::collections::BTreeSet;

use clap::Subcommand;
use serde_json::{Map, Value};
use ureq::http::Method;

use super::connect::Connection;
use super::failure::Failure;
use super::objects::get;
use super::output::Terminal;

/// Settings that are lists of words.
const LISTS: [&str; 1] = ["extra_kernel_args"];

/// What can be done with the settings.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Print the settings
    Get,
    /// Change settings: dhcp_mode=off, script_style=matchbox, extra_kernel_args="console=ttyS0 quiet", loaders.bios=undionly.kpxe
    Set {
        /// What to set; an empty value is the default again
        #[arg(required = true, value_name = "KEY=VALUE")]
        values: Vec<String>,
    },
    /// Make settings the default again
    Unset {
        /// Which
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
    },
}

pub(super) fn run(connection: &Connection, action: Action, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let client = connection.open()?;
    let patch = match action {
        Action::Get => return get(&client, connection.format, "/settings", terminal),
        Action::Set { values } => patch_of(&values)?,
        Action::Unset { keys } => patch_of(&keys.iter().map(|key| format!("{key}=")).collect::<Vec<_>>())?,
    };
    let answer = client.send(Method::PATCH, "/settings", &[], patch.to_string().as_bytes())?;
    terminal.written(connection.format, "settings", &answer)
}

/// `a.b=c` as a merge patch: `{"a": {"b": "c"}}`.
///
/// # Errors
/// A usage error for what is no assignment.
pub(super) fn patch_of(values: &[String]) -> Result<Value, Failure> {
    let mut patch = Value::Object(Map::new());
    let mut seen = BTreeSet::new();
    for assignment in values {
        let Some((key, value)) = assignment.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            let hint = format!(
                "write it as {}=VALUE",
                Some(assignment.trim_matches('=')).filter(|key| !key.is_empty()).unwrap_or("KEY")
            );
            return Err(Failure::usage(format!("`{assignment}` is no KEY=VALUE"), hint));
        };
        if !seen.insert(key) {
            return Err(Failure::usage(format!("`{key}` is set twice"), "keep one of the two"));
        }
        let mut place = &mut patch;
        // Only the first dot divides: what follows is a name of the user's own.
        for part in key.splitn(2, '.') {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            place = place.as_object_mut().expect("just made one").entry(part).or_insert(Value::Null);
        }
        *place = value_of(key, value);
    }
    Ok(patch)
}

fn value_of(key: &str, value: &str) -> Value {
    if value.is_empty() {
        return Value::Null;
    }
    let json = serde_json::from_str::<Value>(value).ok();
    if LISTS.contains(&key) {
        let words = || value.split_whitespace().map(Value::from).collect();
        return json.filter(Value::is_array).unwrap_or_else(words);
    }
    json.filter(|json| json.is_boolean() || json.is_array() || json.is_object()).unwrap_or_else(|| value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_become_a_patch() {
        let words = |text: &str| -> Vec<String> { text.split('|').map(str::to_owned).collect() };
        for (text, want) in [
            ("dhcp_mode=off", r#"{"dhcp_mode":"off"}"#),
            ("extra_kernel_args=console=ttyS0 quiet", r#"{"extra_kernel_args":["console=ttyS0","quiet"]}"#),
            (r#"extra_kernel_args=["a b"]"#, r#"{"extra_kernel_args":["a b"]}"#),
            ("loaders.efi-x64=ipxe.efi|loaders.bios=", r#"{"loaders":{"bios":null,"efi-x64":"ipxe.efi"}}"#),
            ("hold=true|loader=7", r#"{"hold":true,"loader":"7"}"#),
            ("a.b.c=d", r#"{"a":{"b.c":"d"}}"#),
        ] {
            assert_eq!(patch_of(&words(text)).unwrap().to_string(), want, "{text}");
        }
        assert_eq!(patch_of(&words("dhcp_mode")).unwrap_err().exit_code(), 2);
        assert_eq!(patch_of(&words("=off")).unwrap_err().exit_code(), 2);
    }
}
