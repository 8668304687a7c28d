//! Machines on the command line.

use clap::Subcommand;
use serde_json::Value;
use ureq::http::Method;

use super::connect::{Connection, list};
use super::failure::Failure;
use super::objects::{delete, get, show_list};
use super::output::{Terminal, text};
use super::settings::patch_of;

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
        Action::Delete { machine } => {
            delete(&client, connection.format, "machine", &format!("/machines/{machine}"), &machine, terminal)
        }
    }
}

/// What differs from the default.
fn policy(policy: &Value) -> String {
    let members = policy.as_object().into_iter().flatten();
    let set = members.filter(|(_, value)| **value != Value::Bool(false) && **value != Value::String(String::new()));
    set.map(|(key, value)| format!("{key}={}", text(value))).collect::<Vec<_>>().join(" ")
}
