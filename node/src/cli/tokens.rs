//! API tokens on the command line.

use clap::{Subcommand, ValueEnum};
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

impl RoleName {
    fn name(self) -> &'static str {
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
                let expires = if item["expired"] == true { "expired".into() } else { text(&item["expires_at"]) };
                vec![text(&item["id"]), text(&item["name"]), text(&item["role"]), expires, changed(item)]
            };
            show_list(connection.format, &["ID", "NAME", "ROLE", "EXPIRES", "CHANGED"], items, row, terminal)
        }
        Action::Delete { id } => delete(&client, connection.format, "token", &format!("/tokens/{id}"), &id, terminal),
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
    fn durations_have_a_unit() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("30d"), Ok(2_592_000));
        for text in ["", "30", "d", "-1d", "0s", "1w", "99999999999999999999d"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
