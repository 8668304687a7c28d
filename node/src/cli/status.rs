//! How the cluster and the node asked are: first what needs a hand, then who is there.

use serde_json::Value;

use super::connect::Connection;
use super::failure::Failure;
use super::output::{Terminal, bytes, parse, table, text};

pub(super) fn run(connection: &Connection, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let status = parse(&connection.open()?.get("/status", &[])?)?;
    terminal.show(connection.format, &status, || describe(&status))
}

fn describe(status: &Value) -> String {
    let sections = [attention(status), lines(&cluster(status)), nodes(status), lines(&node(status))];
    sections.into_iter().filter(|section| !section.is_empty()).collect::<Vec<_>>().join("\n")
}

/// What needs a hand, with what to do; the one thing to read at night.
fn attention(status: &Value) -> String {
    let list: Vec<&Value> = status["problems"].as_array().into_iter().flatten().collect();
    if list.is_empty() {
        return "all is well\n".into();
    }
    list.iter().map(|problem| format!("! {}\n  {}\n", clean(&problem["message"]), clean(&problem["hint"]))).collect()
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
        Some("held") => format!("{} held by {} since {}", text(&vip["address"]), held(), text(&vip["since"])),
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
        lines.push(("blobs", format!("{count} with too few copies")));
    }
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
                Some(millis) => format!("no, for {} s", millis / 1000),
                None => "no".into(),
            },
        };
        let count = |name: &str| member[name].as_u64().map_or_else(|| "?".into(), |count| count.to_string());
        let place = format!("{} ({})", text(&member["name"]), member["id"]);
        vec![place, role + witness, answers, count("lag"), count("replicas_missing"), text(&member["peer"])]
    };
    let rows: Vec<Vec<String>> = status["members"].as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    table(&["NODE", "ROLE", "ANSWERS", "BEHIND", "FILES MISSING", "PEER"], &rows)
}

/// The node that was asked.
fn node(status: &Value) -> Vec<(String, String)> {
    let cluster = &status["cluster"];
    let free = status["blobs"]["free_bytes"].as_u64().map_or_else(|| "unknown".into(), bytes);
    let id = cluster["node_id"].as_u64().unwrap_or_default();
    let ready = if status["ready"] == true { "ready" } else { "not ready: no leader is known to it" };
    let mut lines = vec![
        ("asked", format!("{}, {}, {ready}", named(status, id), text(&cluster["role"]))),
        ("version", format!("{}, up since {}", text(&status["version"]), text(&status["started_at"]))),
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
        let status = json!({
            "version": "1", "started_at": "2026-11-25T01:00:00Z", "ready": true,
            "cluster": {"cluster_id": "c", "generation": 1, "node_id": 1, "role": "leader", "term": 7, "leader": 1, "applied": 9, "last_log": 9},
            "members": [member(1, "node-a", true), member(2, "node-b", false)],
            "vip": {"address": "10.0.0.9", "state": "held", "holder": 1, "since": "2026-11-25T02:00:00Z"},
            "blobs": {"under_replicated": 2, "free_bytes": 1024},
            "problems": [{"message": "node node-b (2) has not answered for 34 s", "hint": "start it\u{1b}[2J"}],
        });
        let said = describe(&status);
        let want = [
            "! node node-b (2) has not answered for 34 s",
            "  start it[2J",
            "",
            "cluster  c generation 1",
            "leader   node-a (1), term 7",
            "vip      10.0.0.9 held by node-a (1) since 2026-11-25T02:00:00Z",
            "blobs    2 with too few copies",
            "",
            "NODE        ROLE    ANSWERS       BEHIND  FILES MISSING  PEER",
            "node-a (1)  leader  asked         0       2              10.0.0.1:7443",
            "node-b (2)  voter   no, for 34 s  0       2              10.0.0.1:7443",
            "",
            "asked    node-a (1), leader, ready",
        ];
        assert_eq!(said.lines().take(want.len()).collect::<Vec<_>>(), want, "{said}");
        let calm = json!({"problems": [], "cluster": {"leader": null}, "vip": null});
        assert!(describe(&calm).starts_with("all is well\n"));
    }
}
