//! How the node is, for people and for programs.

use serde_json::Value;

use super::connect::Connection;
use super::failure::Failure;
use super::output::{Terminal, bytes, parse, table, text};

pub(super) fn run(connection: &Connection, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let status = parse(&connection.open()?.get("/status", &[])?)?;
    terminal.show(connection.format, &status, || describe(&status))
}

fn describe(status: &Value) -> String {
    let cluster = &status["cluster"];
    let free = status["blobs"]["free_bytes"].as_u64().map_or_else(|| "unknown".into(), bytes);
    let mut lines = vec![
        ("version", text(&status["version"])),
        ("up since", text(&status["started_at"])),
        ("ready", if status["ready"] == true { "yes" } else { "no: no leader is known" }.into()),
        ("cluster", format!("{} generation {}", text(&cluster["cluster_id"]), cluster["generation"])),
        ("node", format!("{} ({}), term {}", cluster["node_id"], text(&cluster["role"]), cluster["term"])),
        ("log", format!("applied {} of {}", cluster["applied"], cluster["last_log"])),
        ("objects", text(&status["objects"])),
        ("disk", format!("{free} free")),
    ];
    if let Some(count) = status["blobs"]["quarantined"].as_u64().filter(|count| *count > 0) {
        lines.push(("damaged", format!("{count} files in quarantine")));
    }
    let parts: Vec<&Value> = status["parts"].as_array().into_iter().flatten().collect();
    let mut rows: Vec<Vec<String>> = lines.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    rows.extend(parts.iter().map(|part| {
        let (state, detail) = (text(&part["state"]), text(&part["detail"]));
        vec![text(&part["name"]), format!("{state} {detail}").trim_end().to_owned()]
    }));
    let all = table(&["", ""], &rows);
    // Without the empty head.
    all.split_once('\n').map_or(String::new(), |(_, rest)| rest.to_owned())
}
