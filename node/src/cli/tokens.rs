//! API tokens on the command line.

use clap::{Subcommand, ValueEnum};
use raft::state::Role;
use serde_json::{Value, json};
use ureq::http::Method;

use super::connect::{Connection, list};
use super::failure::Failure;
use super::objects::{changed, delete, show_list};
use super::output::{Format, Terminal, parse, text};

/// What a token's bearer may do.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum RoleName {
    /// Look
    Read,
    /// Change what machines boot
    Operate,
    /// Everything, tokens and settings included
    Admin,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Read => Self::Read,
            RoleName::Operate => Self::Operate,
            RoleName::Admin => Self::Admin,
        }
    }
}

impl RoleName {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Make a token and print it; it is not shown again
    Create {
        /// Who or what will use it; the log names it
        name: String,
        /// What it may do
        #[arg(long, value_enum)]
        role: RoleName,
        /// How long it is valid: 90s, 15m, 12h, 30d [default: for ever]
        #[arg(long, value_name = "DURATION", value_parser = seconds)]
        expires_in: Option<u64>,
    },
    /// List tokens
    List,
    /// Give a token another secret and print it; it is not shown again
    Rotate {
        /// Its id
        id: String,
        /// For how long the secret before is accepted too, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        grace: u64,
    },
    /// Revoke a token
    Delete {
        /// Its id
        id: String,
    },
}

pub(super) fn run(connection: &Connection, action: Action, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let client = connection.open()?;
    match action {
        Action::Create { name, role, expires_in } => {
            let body = json!({"name": name, "role": role.name(), "expires_in_seconds": expires_in}).to_string();
            let value = parse(&client.send(Method::POST, "/tokens", &[], body.as_bytes())?)?;
            if connection.format == Format::Table {
                terminal.complain("keep this token; it is not shown again:");
            }
            terminal.show(connection.format, &value, || format!("{}\n", text(&value["token"])))
        }
        Action::List => {
            let items = list(&client, "/tokens", &[])?;
            let row = |item: &Value| {
                let expires = expires(item);
                vec![text(&item["id"]), text(&item["name"]), text(&item["role"]), expires, changed(item)]
            };
            show_list(connection.format, &["ID", "NAME", "ROLE", "EXPIRES", "CHANGED"], items, row, terminal)
        }
        Action::Rotate { id, grace } => {
            let body = json!({ "grace_seconds": grace }).to_string();
            let path = format!("/tokens/{id}/rotate");
            let value = parse(&client.send(Method::POST, &path, &[], body.as_bytes())?)?;
            if connection.format == Format::Table {
                let until = text(&value["former_until"]);
                let former = if until.is_empty() {
                    "the secret before is refused from now on".to_owned()
                } else {
                    format!("the secret before is accepted until {until}")
                };
                terminal.complain(&format!("keep this token; it is not shown again; {former}:"));
            }
            terminal.show(connection.format, &value, || format!("{}\n", text(&value["token"])))
        }
        Action::Delete { id } => delete(&client, connection.format, "token", &format!("/tokens/{id}"), &id, terminal),
    }
}

/// When a token ends, in words.
fn expires(item: &Value) -> String {
    let Some(end) = item["expires_in_seconds"].as_i64() else {
        return if item["expires_at"].is_null() { "never".into() } else { text(&item["expires_at"]) };
    };
    match end {
        ..=0 => format!("expired on {}", text(&item["expires_at"])),
        1..7200 => format!("in {} minutes", end / 60),
        7200..172_800 => format!("in {} hours", end / 3600),
        _ => format!("in {} days, {}", end / 86_400, text(&item["expires_at"])),
    }
}

/// A duration with its unit, in seconds.
///
/// # Errors
/// How to write one.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    let parsed = units.iter().find_map(|(unit, seconds)| {
        let number: u64 = text.strip_suffix(*unit)?.parse().ok()?;
        number.checked_mul(*seconds).filter(|seconds| *seconds > 0)
    });
    parsed.ok_or_else(|| "write a number and one of s, m, h, d, such as 30d".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_token_is_said_in_words() {
        let at = "2026-11-21T09:54:07Z";
        for (seconds, words) in [
            (json!(null), "never"),
            (json!(-5), "expired on 2026-11-21T09:54:07Z"),
            (json!(600), "in 10 minutes"),
            (json!(90_000), "in 25 hours"),
            (json!(864_000), "in 10 days, 2026-11-21T09:54:07Z"),
        ] {
            let end = if seconds.is_null() { json!(null) } else { json!(at) };
            assert_eq!(expires(&json!({ "expires_at": end, "expires_in_seconds": seconds })), words);
        }
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("30d"), Ok(2_592_000));
        for text in ["", "30", "d", "-1d", "0s", "1w", "99999999999999999999d"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
