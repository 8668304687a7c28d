//! `explain`: which group a machine belongs to, and what decided between it and the others.

use std::fmt::Write as _;
use std::net::IpAddr;

use clap::Args;
use serde_json::{Map, Value, json};
use ureq::http::Method;

use super::connect::Connection;
use super::failure::Failure;
use super::output::{Terminal, parse, table, text};

/// Which machine, and what it says.
#[derive(Debug, Args)]
pub struct Arguments {
    /// MAC or UUID: what is recorded of it is what it is taken to say; a MAC need not have been seen
    machine: Option<String>,
    /// A label it says too, or another value of one; KEY= is an empty value
    #[arg(short, long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// Where it asks from, instead of the address recorded
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// Show this group wherever it stands
    #[arg(long, value_name = "ID")]
    group: Option<String>,
    /// How many groups that match, and that nearly do, are shown
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
}

pub(super) fn run(connection: &Connection, arguments: &Arguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let mut labels = Map::new();
    for label in &arguments.labels {
        let Some((key, value)) = label.split_once('=') else {
            return Err(Failure::usage(format!("`{label}` is no KEY=VALUE"), "write it as arch=x86_64"));
        };
        if labels.insert(key.to_owned(), value.into()).is_some() {
            return Err(Failure::usage(format!("the label `{key}` is set twice"), "keep one of the two"));
        }
    }
    let Arguments { machine, labels: _, address, group, limit } = arguments;
    let body =
        json!({ "machine": machine, "labels": labels, "address": address, "group": group, "limit": limit }).to_string();
    let answer = parse(&connection.open()?.send(Method::POST, "/explain", &[], body.as_bytes())?)?;
    terminal.show(connection.format, &answer, || told(&answer, machine.as_deref()))
}

/// For people.
fn told(answer: &Value, machine: Option<&str>) -> String {
    let mut out = verdict(answer, machine.unwrap_or("a machine that says this"));
    let address = text(&answer["address"]);
    let address = if address.is_empty() { "an unknown address".to_owned() } else { address };
    let labels = text(&answer["labels"]);
    let labels = if labels.is_empty() { "nothing".to_owned() } else { labels };
    let _ = writeln!(out, "It says {labels}; it asks from {address}.");
    let missing = text(&answer["not_known"]).replace(' ', ", ");
    if !missing.is_empty() {
        let _ = writeln!(
            out,
            "Not known, and so taken as empty: {missing}. Say --label KEY=VALUE (or --address IP) if it differs."
        );
    }
    let rows: Vec<Vec<String>> = items(&answer["matching"])
        .map(|one| ["group", "by", "labels", "exact", "why"].map(|name| text(&one[name])).into())
        .collect();
    if !rows.is_empty() {
        let _ = write!(out, "\nThese match{}:\n", more(&answer["matching_total"], rows.len()));
        out.push_str(&table(&["GROUP", "BY", "LABELS", "EXACT", "WHY"], &rows));
    }
    let rows: Vec<Vec<String>> = items(&answer["failing"])
        .flat_map(|one| items(&one["failed"]).map(move |failed| failure(one, failed)))
        .collect();
    if !rows.is_empty() {
        let _ = write!(out, "\nThese do not{}:\n", more(&answer["failing_total"], items(&answer["failing"]).count()));
        out.push_str(&table(&["GROUP", "FAILS AT", "ASKS FOR", "FOUND"], &rows));
    }
    out
}

fn verdict(answer: &Value, machine: &str) -> String {
    let machine: String = machine.chars().flat_map(char::escape_debug).collect();
    let held = if answer["hold"] == true { " It is held, so it gets no profile until it is let go." } else { "" };
    match answer["group"].as_str() {
        None => format!("No group matches {machine}.{held}\n"),
        Some(group) => {
            let (by, profile) = (text(&answer["by"]), text(&answer["profile"]));
            let missing = if answer["profile_exists"] == true { "" } else { ", which does not exist" };
            format!("{machine} belongs to group {group} by its {by}: profile {profile}{missing}.{held}\n")
        }
    }
}

fn failure(group: &Value, failed: &Value) -> Vec<String> {
    let asked = items(&failed["asked"]).map(text).collect::<Vec<_>>().join(" or ");
    let found = failed["found"].as_str().map_or_else(|| "(absent)".to_owned(), |found| format!("`{found}`"));
    vec![text(&group["group"]), text(&failed["field"]), shortened(&asked), found]
}

/// How much of a long list one row shows, in characters.
const ASKED_CHARS_MAX: usize = 60;

fn shortened(asked: &str) -> String {
    match asked.char_indices().nth(ASKED_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &asked[..end]),
        None => asked.to_owned(),
    }
}

fn more(total: &Value, shown: usize) -> String {
    match total.as_u64() {
        Some(total) if total > shown as u64 => format!(" ({shown} of {total})"),
        _ => String::new(),
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}
