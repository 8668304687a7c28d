//! Machines on the command line.

use clap::Subcommand;
use raft::types::Timestamp;
use serde_json::Value;
use ureq::http::Method;

use super::connect::{Connection, list};
use super::failure::Failure;
use super::objects::{delete, get, show_list};
use super::output::{Terminal, parse, table, text};
use super::settings::patch_of;
use crate::times::rfc3339_millis;

/// What can be done with machines.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// List machines seen or configured
    List {
        /// Only MACs that begin with this
        #[arg(long)]
        prefix: Option<String>,
        /// Only this SMBIOS UUID
        #[arg(long)]
        uuid: Option<String>,
        /// Only this serial
        #[arg(long)]
        serial: Option<String>,
        /// Only this architecture
        #[arg(long)]
        arch: Option<String>,
        /// Only machines that are held
        #[arg(long)]
        held: bool,
        /// Only machines seen within so many seconds
        #[arg(long, value_name = "SECONDS")]
        seen_within: Option<u64>,
    },
    /// Print a machine
    Get {
        /// MAC or UUID
        machine: String,
    },
    /// Say what is wanted of a machine: hold=true, loader=ipxe.efi, discovery_control=true
    Set {
        /// MAC or UUID; a MAC need not have been seen yet
        machine: String,
        /// What to set; an empty value is the default again
        #[arg(required = true, value_name = "KEY=VALUE")]
        values: Vec<String>,
    },
    /// Print what a machine did lately and what it got, from all nodes
    Timeline {
        /// MAC or UUID; a MAC need not have been seen yet
        machine: String,
    },
    /// Forget a machine
    Delete {
        /// MAC or UUID
        machine: String,
    },
}

pub(super) fn run(connection: &Connection, action: Action, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let client = connection.open()?;
    match action {
        Action::List { prefix, uuid, serial, arch, held, seen_within } => {
            let seen_within = seen_within.map(|seconds| seconds.to_string());
            let filters = [
                ("prefix", prefix.as_deref()),
                ("uuid", uuid.as_deref()),
                ("serial", serial.as_deref()),
                ("arch", arch.as_deref()),
                ("hold", held.then_some("true")),
                ("seen_within", seen_within.as_deref()),
            ];
            let items = list(&client, "/machines", &filters)?;
            let row = |item: &Value| {
                let names = ["mac", "address", "arch", "uuid", "serial", "last_seen"];
                names.iter().map(|name| text(&item[*name])).chain([policy(&item["policy"])]).collect()
            };
            let head = ["MAC", "ADDRESS", "ARCH", "UUID", "SERIAL", "LAST SEEN", "POLICY"];
            show_list(connection.format, &head, items, row, terminal)
        }
        Action::Get { machine } => get(&client, connection.format, &format!("/machines/{machine}"), terminal),
        Action::Set { machine, values } => {
            let patch = patch_of(&values)?.to_string();
            let answer = client.send(Method::PATCH, &format!("/machines/{machine}/policy"), &[], patch.as_bytes())?;
            terminal.written(connection.format, &format!("machine/{machine}"), &answer)
        }
        Action::Timeline { machine } => {
            let told = parse(&client.get(&format!("/machines/{machine}/timeline"), &[])?)?;
            let missing = text(&told["missing"]);
            if !missing.is_empty() {
                terminal.complain(&format!("warning: no answer from {missing}: what happened there is not shown"));
            }
            terminal.show(connection.format, &told, || timeline(&told))
        }
        Action::Delete { machine } => {
            delete(&client, connection.format, "machine", &format!("/machines/{machine}"), &machine, terminal)
        }
    }
}

/// What all nodes tell, by time.
fn timeline(told: &Value) -> String {
    let items = |list: &Value| list.as_array().cloned().unwrap_or_default();
    let mut rows: Vec<(u64, Vec<String>)> = Vec::new();
    for node in items(&told["nodes"]) {
        for event in items(&node["events"]) {
            let [at, last, times] = ["at", "last", "times"].map(|name| event[name].as_u64().unwrap_or_default());
            let mut detail = text(&event["detail"]);
            if times > 1 {
                let more = format!("({times} times, last {})", rfc3339_millis(Timestamp(last)));
                detail = format!("{detail} {more}").trim_start().to_owned();
            }
            rows.push((at, vec![rfc3339_millis(Timestamp(at)), text(&node["node"]), text(&event["what"]), detail]));
        }
    }
    rows.sort_by_key(|(at, _)| *at);
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(_, row)| row).collect();
    table(&["TIME", "NODE", "WHAT", "DETAIL"], &rows)
}

/// What differs from the default.
fn policy(policy: &Value) -> String {
    let members = policy.as_object().into_iter().flatten();
    let set = members.filter(|(_, value)| **value != Value::Bool(false) && **value != Value::String(String::new()));
    set.map(|(key, value)| format!("{key}={}", text(value))).collect::<Vec<_>>().join(" ")
}
