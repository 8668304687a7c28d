//! How the cluster and the node asked are: first what needs a hand, then who is there.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde_json::Value;

use super::connect::Connection;
use super::failure::Failure;
use super::output::{Terminal, bytes, parse, table, text};
use crate::times::{for_people, parse_rfc3339};

/// How to say it.
#[derive(Debug, Args)]
pub struct Arguments {
    /// End with exit code 1 if anything needs a hand, or nobody answers: for monitoring that runs commands
    #[arg(long)]
    check: bool,
}

pub(super) fn run(connection: &Connection, arguments: &Arguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let status = parse(&connection.open()?.get("/status", &[])?)?;
    terminal.show(connection.format, &status, || describe(&status))?;
    let wrong = status["problems"].as_array().is_none_or(|problems| !problems.is_empty());
    if arguments.check && wrong { Err(Failure::told_already()) } else { Ok(()) }
}

fn describe(status: &Value) -> String {
    let sections = [attention(status), lines(&cluster(status)), nodes(status), lines(&node(status))];
    sections.into_iter().filter(|section| !section.is_empty()).collect::<Vec<_>>().join("\n")
}

/// What needs a hand, with what to do; the one thing to read at night.
fn attention(status: &Value) -> String {
    let list: Vec<&Value> = status["problems"].as_array().into_iter().flatten().collect();
    let verdict = match list.len() {
        0 => return "all is well\n".into(),
        1 => "1 thing needs a hand:\n".to_owned(),
        count => format!("{count} things need a hand:\n"),
    };
    let said = list.iter().map(|problem| {
        let page = clean(&problem["page"]);
        let page = if page.is_empty() { page } else { format!("  see {page}\n") };
        format!("! {}\n  {}\n{page}", clean(&problem["message"]), clean(&problem["hint"]))
    });
    verdict + &said.collect::<String>()
}

/// `for 3 days (since 2026-11-25T02:00:00Z)`, by the clock of the node that was asked; nothing if the time is missing.
fn lasting(status: &Value, since: &Value) -> Option<String> {
    let since = since.as_str()?;
    let age = age(status, since)?;
    Some(format!("for {} (since {since})", for_people(age)))
}

fn age(status: &Value, since: &str) -> Option<Duration> {
    let here = || SystemTime::now().duration_since(UNIX_EPOCH).ok();
    let now = status["at"].as_str().and_then(parse_rfc3339).map(Duration::from_secs).or_else(here)?;
    Some(now.saturating_sub(Duration::from_secs(parse_rfc3339(since)?)))
}

/// Names come from other nodes' configurations: no control character may reach the terminal.
fn clean(value: &Value) -> String {
    text(value).chars().filter(|letter| !letter.is_control()).collect()
}

fn cluster(status: &Value) -> Vec<(String, String)> {
    let cluster = &status["cluster"];
    let leader = match cluster["leader"].as_u64() {
        Some(id) => format!("{}, term {}", named(status, id), cluster["term"]),
        None => "nobody: changes are refused, machines still boot".into(),
    };
    let vip = &status["vip"];
    let held = || vip["holder"].as_u64().map_or_else(|| "nobody".into(), |id| named(status, id));
    let vip = match vip["state"].as_str() {
        None => "none".into(),
        Some("held") => {
            let lasting = lasting(status, &vip["since"]).map_or_else(String::new, |lasting| format!(" {lasting}"));
            format!("{} held by {}{lasting}", text(&vip["address"]), held())
        }
        Some("unknown") => {
            format!("{}: no leader is known to say who holds it; it was {}", text(&vip["address"]), held())
        }
        Some(state) => format!("{} {state}", text(&vip["address"])),
    };
    let mut lines = vec![
        ("cluster", format!("{} generation {}", text(&cluster["cluster_id"]), cluster["generation"])),
        ("leader", leader),
        ("vip", vip),
    ];
    if let Some(count) = status["blobs"]["under_replicated"].as_u64().filter(|count| *count > 0) {
        let names = clean(&status["blobs"]["under_replicated_names"]);
        lines.push(("files", format!("{count} with too few copies: {names}")));
    }
    let backup =
        status["last_backup"].as_str().and_then(|at| Some(format!("{} ago ({at})", for_people(age(status, at)?))));
    lines.push(("backup", backup.unwrap_or_else(|| "none is known of: `raftboot backup FILE` makes one".into())));
    lines.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// `node-a (1)`.
fn named(status: &Value, id: u64) -> String {
    let members = status["members"].as_array().into_iter().flatten();
    let name = members.into_iter().find(|member| member["id"] == id).map(|member| text(&member["name"]));
    name.map_or_else(|| format!("node {id}"), |name| format!("{name} ({id})"))
}

fn nodes(status: &Value) -> String {
    let own = &status["cluster"]["node_id"];
    let row = |member: &Value| {
        let role = if member["leader"] == true { "leader".into() } else { text(&member["role"]) };
        let witness = if member["kind"] == "witness" { ", witness" } else { "" };
        let answers = match (member["id"] == *own, member["reachable"].as_bool()) {
            (true, _) => "asked".into(),
            (_, None) => "?".into(),
            (_, Some(true)) => "yes".into(),
            (_, Some(false)) => match member["silent_for_millis"].as_u64() {
                Some(millis) => format!("no, for {}", for_people(Duration::from_millis(millis))),
                None => "no".into(),
            },
        };
        let count = |name: &str| member[name].as_u64().map_or_else(|| "?".into(), |count| count.to_string());
        let place = format!("{} ({})", text(&member["name"]), member["id"]);
        let free = member["disk_free_bytes"].as_u64().map_or_else(|| "?".into(), bytes);
        let version = member["version"].as_str().map_or_else(|| "?".into(), str::to_owned);
        let (lag, missing) = (count("lag"), count("replicas_missing"));
        vec![place, role + witness, answers, lag, missing, free, version, text(&member["peer"])]
    };
    let rows: Vec<Vec<String>> = status["members"].as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    table(&["NODE", "ROLE", "ANSWERS", "BEHIND", "FILES MISSING", "DISK FREE", "VERSION", "PEER"], &rows)
}

/// The node that was asked.
fn node(status: &Value) -> Vec<(String, String)> {
    let cluster = &status["cluster"];
    let free = status["blobs"]["free_bytes"].as_u64().map_or_else(|| "unknown".into(), bytes);
    let id = cluster["node_id"].as_u64().unwrap_or_default();
    let ready = if status["ready"] == true { "ready" } else { "not ready: no leader is known to it" };
    let up = lasting(status, &status["started_at"]).map_or_else(String::new, |lasting| format!(", up {lasting}"));
    let version = format!("{}{up}", text(&status["version"]));
    let mut lines = vec![
        ("asked", format!("{}, {}, {ready}", named(status, id), text(&cluster["role"]))),
        ("version", version),
        ("log", format!("applied {} of {}", cluster["applied"], cluster["last_log"])),
        ("objects", text(&status["objects"])),
        ("disk", format!("{free} free")),
    ];
    if let Some(count) = status["blobs"]["quarantined"].as_u64().filter(|count| *count > 0) {
        lines.push(("damaged", format!("{count} files in quarantine")));
    }
    let mut lines: Vec<(String, String)> = lines.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    lines.extend(status["parts"].as_array().into_iter().flatten().map(|part| {
        let (state, detail) = (text(&part["state"]), text(&part["detail"]));
        (text(&part["name"]), format!("{state} {detail}").trim_end().to_owned())
    }));
    lines
}

fn lines(pairs: &[(String, String)]) -> String {
    let rows: Vec<Vec<String>> = pairs.iter().map(|(name, value)| vec![name.clone(), value.clone()]).collect();
    let all = table(&["", ""], &rows);
    // Without the empty head.
    all.split_once('\n').map_or(String::new(), |(_, rest)| rest.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_needs_a_hand_comes_first_and_names_are_names() {
        let member = |id: u64, name: &str, reachable: bool| {
            json!({"id": id, "name": name, "kind": "data", "peer": "10.0.0.1:7443", "role": "voter", "leader": id == 1,
                   "reachable": reachable, "silent_for_millis": 34_000, "lag": 0, "replicas_missing": 2})
        };
        let mut asked = member(1, "node-a", true);
        (asked["disk_free_bytes"], asked["version"]) = (json!(3_u64 << 30), json!("1.2"));
        let status = json!({
            "at": "2026-11-28T02:00:00Z",
            "version": "1", "started_at": "2026-11-25T01:00:00Z", "ready": true,
            "cluster": {"cluster_id": "c", "generation": 1, "node_id": 1, "role": "leader", "term": 7, "leader": 1, "applied": 9, "last_log": 9},
            "members": [asked, member(2, "node-b", false)],
            "vip": {"address": "10.0.0.9", "state": "held", "holder": 1, "since": "2026-11-25T02:00:00Z"},
            "blobs": {"under_replicated": 2, "under_replicated_names": ["talos/k", "talos/i"], "free_bytes": 1024},
            "last_backup": "2026-11-28T00:30:00Z",
            "problems": [{"message": "node node-b (2) has not answered for 34 seconds", "hint": "start it\u{1b}[2J", "page": "docs/a.md#b"}],
        });
        let said = describe(&status);
        let want = [
            "1 thing needs a hand:",
            "! node node-b (2) has not answered for 34 seconds",
            "  start it[2J",
            "  see docs/a.md#b",
            "",
            "cluster  c generation 1",
            "leader   node-a (1), term 7",
            "vip      10.0.0.9 held by node-a (1) for 3 days (since 2026-11-25T02:00:00Z)",
            "files    2 with too few copies: talos/k talos/i",
            "backup   90 minutes ago (2026-11-28T00:30:00Z)",
            "",
            "NODE        ROLE    ANSWERS             BEHIND  FILES MISSING  DISK FREE  VERSION  PEER",
            "node-a (1)  leader  asked               0       2              3.0 GiB    1.2      10.0.0.1:7443",
            "node-b (2)  voter   no, for 34 seconds  0       2              ?          ?        10.0.0.1:7443",
            "",
            "asked    node-a (1), leader, ready",
            "version  1, up for 3 days (since 2026-11-25T01:00:00Z)",
        ];
        assert_eq!(said.lines().take(want.len()).collect::<Vec<_>>(), want, "{said}");
        let calm = json!({"problems": [], "cluster": {"leader": null}, "vip": null});
        assert!(describe(&calm).starts_with("all is well\n"));
        let many = json!({"problems": [{"message": "a"}, {"message": "b"}]});
        assert!(describe(&many).starts_with("2 things need a hand:\n! a\n"));
    }
}
