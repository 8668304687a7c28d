//! Fills a node with groups, then asks for their scripts as fast as it answers.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use raftboot_ha_tests::lab::Host;
use raftboot_ha_tests::node::Node;
use raftboot_ha_tests::process::run;

/// How long `wrk` asks; its one thread shares the two cores with the node.
const SECONDS: u32 = 10;
/// Connections kept open by `wrk`.
const CONNECTIONS: u32 = 32;

/// What `wrk` measured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answers {
    pub(crate) per_second: f64,
    pub(crate) p50: String,
    pub(crate) p99: String,
}

/// Applies a profile, a template and `count` groups, one machine each, as one change; answers how long it took.
pub(crate) fn groups(node: &Node, count: usize) -> Result<Duration> {
    let mut text = String::from(
        "kind: profile\nid: worker\nboot: {kernel: /assets/vmlinuz, initrd: [/assets/initrd.img], args: [console=ttyS0]}\ngeneric_id: worker\n---\n\
         kind: template\ntype: generic\nname: worker\ncontent: \"hostname={{.hostname}}\\n\"\n",
    );
    for at in 0..count {
        let mac = mac(at).replace('-', ":");
        writeln!(
            text,
            "---\nkind: group\nid: g{at}\nprofile: worker\nselector: {{mac: \"{mac}\"}}\nmetadata: {{hostname: h{at}}}"
        )?;
    }
    let file = node.data().with_file_name("groups.yaml");
    fs::write(&file, text).context("write the groups")?;
    let begun = Instant::now();
    node.cli(&["apply", "-f", &file.to_string_lossy()])?;
    Ok(begun.elapsed())
}

fn mac(at: usize) -> String {
    format!("52-54-{:02x}-{:02x}-{:02x}-{:02x}", at >> 24 & 255, at >> 16 & 255, at >> 8 & 255, at & 255)
}

/// Asks `PATH?mac=…` for random machines among `count`, over connections kept open.
pub(crate) fn answers(node: &Node, host: &Host, path: &str, count: usize) -> Result<Answers> {
    let script = node.data().with_file_name("wrk.lua");
    let text = format!(
        "math.randomseed(7)\nrequest = function()\n local n = math.random(0, {})\n \
         return wrk.format('GET', string.format('{path}?mac=52-54-%02x-%02x-%02x-%02x', math.floor(n / 16777216) % 256, \
         math.floor(n / 65536) % 256, math.floor(n / 256) % 256, n % 256))\nend\n",
        count - 1
    );
    fs::write(&script, text).context("write wrk's script")?;
    let mut wrk = host.command("wrk");
    wrk.args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{SECONDS}s"), "--latency", "-s"]);
    wrk.arg(&script).arg("http://127.0.0.1:8080");
    let output = run(wrk)?;
    ensure!(!output.contains("Non-2xx"), "some answers were errors:\n{output}");
    Ok(Answers {
        per_second: field(&output, "Requests/sec:")?.parse().context("a number")?,
        p50: field(&output, "50%")?,
        p99: field(&output, "99%")?,
    })
}

fn field(output: &str, name: &str) -> Result<String> {
    let line = output.lines().find(|line| line.trim_start().starts_with(name));
    let value = line.and_then(|line| line.split_whitespace().nth(1));
    value.map(str::to_owned).with_context(|| format!("wrk did not print {name}:\n{output}"))
}
