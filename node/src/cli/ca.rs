//! `ca`: changes the cluster's CA, step by step, while everything goes on.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use ureq::http::Method;

use super::connect::Connection;
use super::failure::Failure;
use super::output::{Format, Terminal, parse, table, text};

/// What can be done about the CA.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// How far a change of the CA is, who has followed, and what comes next
    Status,
    /// Change it: a new CA that all nodes trust; then, with --issue, certificates by it; then, with --finish, without the old one
    Rotate(RotateArguments),
    /// Print what clients must trust: both CAs while one takes the place of the other
    Certificate,
}

/// Which step.
#[derive(Debug, Args)]
pub struct RotateArguments {
    /// Issue certificates by the new CA; every client must trust it by then
    #[arg(long, conflicts_with_all = ["finish", "back"])]
    issue: bool,
    /// Trust the old CA no more; certificates of it are refused from then on
    #[arg(long, conflicts_with = "back")]
    finish: bool,
    /// One step back
    #[arg(long)]
    back: bool,
    /// Also where nodes have not followed (they must join again), or clients still use certificates of the CA that goes
    #[arg(long)]
    force: bool,
}

pub(super) fn run(connection: &Connection, action: Action, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let client = connection.open()?;
    match action {
        Action::Certificate => terminal.print(&client.get("/ca/certificate", &[])?),
        Action::Status => {
            let status = parse(&client.get("/ca", &[])?)?;
            terminal.show(connection.format, &status, || describe(&status))
        }
        Action::Rotate(RotateArguments { issue, finish, back, force }) => {
            let status = parse(&client.get("/ca", &[])?)?;
            let stage = text(&status["stage"]);
            let step = match (issue, finish, back) {
                (true, ..) => "issue",
                (_, true, _) => "finish",
                (_, _, true) => "back",
                _ if stage == "none" => "begin",
                // Said once more, perhaps because the answer was lost: the next step is a decision of its own.
                _ => return terminal.show(connection.format, &status, || describe(&status)),
            };
            let body = json!({ "step": step, "force": force }).to_string();
            let done = parse(&client.send(Method::POST, "/ca/rotate", &[], body.as_bytes())?)?;
            if connection.format != Format::Table {
                return terminal.show(connection.format, &done, String::new);
            }
            terminal.print(&describe(&parse(&client.get("/ca", &[])?)?))
        }
    }
}

fn describe(status: &Value) -> String {
    let mut out = match status["stage"].as_str() {
        Some("trust") => format!("a new CA is being trusted, since {}\n", text(&status["since"])),
        Some("issue") => "certificates are issued by the new CA; the old one is trusted still\n".to_owned(),
        _ => format!("the CA is {}\n", text(&status["issuing"])),
    };
    if status["missed"] == true {
        out.push_str(
            "the CA was changed without this node: let it join again, `raftboot join ADDRESS --token … --wipe`\n",
        );
    }
    if status["stage"] != "none" {
        out.push_str(&format!("old: {}\nnew: {}\n\n", text(&status["old"]), text(&status["new"])));
        let yes = |value: &Value| if *value == true { "yes" } else { "no" }.to_owned();
        let members = status["members"].as_array().into_iter().flatten();
        let rows: Vec<Vec<String>> = members
            .map(|member| vec![text(&member["name"]), yes(&member["trusts_new"]), yes(&member["issued_by_new"])])
            .collect();
        out.push_str(&table(&["NODE", "TRUSTS NEW", "CERTIFICATE OF NEW"], &rows));
        for (key, which) in [("clients_of_old", "old"), ("clients_of_new", "new")] {
            let clients: Vec<String> = status[key].as_array().into_iter().flatten().map(text).collect();
            if !clients.is_empty() {
                out.push_str(&format!("\nclients with certificates of the {which} one: {}\n", clients.join(", ")));
            }
        }
        out.push('\n');
    }
    out.push_str(&format!("next: {}\n", text(&status["next"])));
    out
}
