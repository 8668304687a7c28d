//! The cluster on the command line: who may join, who leads, who goes, what its nodes share.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use ureq::http::Method;

use super::connect::Connection;
use super::failure::Failure;
use super::objects::get;
use super::output::{Format, Terminal, parse, text};
use super::tokens::seconds;

/// Which node.
#[derive(Debug, Args)]
pub struct TransferArguments {
    /// Its name or id [default: the best there is]
    node: Option<String>,
}

/// Which node goes.
#[derive(Debug, Args)]
pub struct RemoveArguments {
    /// Its name or id
    node: String,
    /// Accept less safety, or the loss of files that only this node holds
    #[arg(long)]
    force: bool,
}

/// How the node asked leaves.
#[derive(Debug, Args)]
pub struct LeaveArguments {
    /// Accept less safety, or the loss of files that only this node holds
    #[arg(long)]
    force: bool,
}

/// What a join token shall be.
#[derive(Debug, Args)]
pub struct JoinTokenArguments {
    /// How long it is good for: 90s, 15m, 12h, 30d
    #[arg(long, value_name = "DURATION", value_parser = seconds, default_value = "1h")]
    ttl: u64,
}

/// What can be done with what the nodes share about the cluster.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Print it
    Get,
    /// Change it: vip=10.0.20.5 dns_names=boot.lab,pxe.lab two_node=none|witness|survivor preferred=NODE
    Set {
        /// What to set; an empty value is the default again
        #[arg(required = true, value_name = "KEY=VALUE")]
        values: Vec<String>,
    },
}

pub(super) fn run(connection: &Connection, action: Action, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let client = connection.open()?;
    match action {
        Action::Get => get(&client, connection.format, "/cluster/settings", terminal),
        Action::Set { values } => {
            let patch = patch_of(&values)?;
            let answer = client.send(Method::PATCH, "/cluster/settings", &[], patch.to_string().as_bytes())?;
            terminal.written(connection.format, "cluster settings", &answer)
        }
    }
}

fn patch_of(values: &[String]) -> Result<Value, Failure> {
    let mut patch = Map::new();
    for assignment in values {
        let Some((key, value)) = assignment.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(Failure::usage(format!("`{assignment}` sets nothing"), "write it as KEY=VALUE"));
        };
        let value = match key {
            _ if value.is_empty() => Value::Null,
            "dns_names" => value.split(',').map(str::trim).filter(|name| !name.is_empty()).collect(),
            _ => Value::from(value),
        };
        patch.insert(key.to_owned(), value);
    }
    Ok(Value::Object(patch))
}

pub(super) fn join_token(
    connection: &Connection,
    arguments: &JoinTokenArguments,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let body = json!({"expires_in_seconds": arguments.ttl}).to_string();
    let client = connection.open()?;
    let value = parse(&client.send(Method::POST, "/cluster/join-tokens", &[], body.as_bytes())?)?;
    if connection.format == Format::Table {
        terminal.complain(&format!("on the node that joins, before {}:", text(&value["expires_at"])));
    }
    terminal.show(connection.format, &value, || format!("{}\n", text(&value["join"])))
}

pub(super) fn transfer(
    connection: &Connection,
    arguments: &TransferArguments,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let body = json!({"to": arguments.node}).to_string();
    let value = parse(&connection.open()?.send(Method::POST, "/cluster/transfer", &[], body.as_bytes())?)?;
    terminal
        .show(connection.format, &value, || format!("node {} ({}) leads now\n", text(&value["name"]), value["leader"]))
}

pub(super) fn remove(
    connection: &Connection,
    arguments: &RemoveArguments,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let force = if arguments.force { "true" } else { "false" };
    let path = format!("/cluster/members/{}", arguments.node);
    let value = parse(&connection.open()?.delete_with(&path, &[("force", force)])?)?;
    terminal.show(connection.format, &value, || gone(&value))
}

pub(super) fn leave(
    connection: &Connection,
    arguments: &LeaveArguments,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let force = if arguments.force { "true" } else { "false" };
    let value = parse(&connection.open()?.send(Method::POST, "/cluster/leave", &[("force", force)], b"")?)?;
    terminal.show(connection.format, &value, || gone(&value))
}

fn gone(value: &Value) -> String {
    if value["effect"] == "unchanged" {
        return format!("node {} had been removed before\n", value["id"]);
    }
    format!("node {} ({}) is no member any more; its process ends\n", text(&value["name"]), value["id"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_become_a_patch() {
        let patch = |words: &[&str]| patch_of(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        let words = ["vip=10.0.0.9", "dns_names=a.lab, b.lab", "preferred=", "two_node=survivor"];
        let want =
            json!({"vip": "10.0.0.9", "dns_names": ["a.lab", "b.lab"], "preferred": null, "two_node": "survivor"});
        assert_eq!(patch(&words).unwrap(), want);
        assert_eq!(patch(&["vip"]).unwrap_err().exit_code(), 2);
    }
}
