//! Measures what the product promises about speed and memory, prints it, and writes `docs/benchmarks.md`.

mod load;
mod memory;
mod report;
mod start;

use std::fs;
use std::io::{Write, stdout};
use std::process::ExitCode;

use anyhow::{Context, Result};
use raftboot_ha_tests::evidence::Evidence;
use raftboot_ha_tests::lab::{Host, Lab};
use raftboot_ha_tests::node::Node;

use report::Report;

/// How many groups the node holds in each round.
const GROUPS: [usize; 4] = [1, 1_000, 10_000, 100_000];
/// The round at which memory and start are judged.
const JUDGED: usize = 10_000;

fn main() -> ExitCode {
    match measure() {
        Ok(report) => {
            say(&report.text());
            if report.reached() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            say(&format!("BENCH FAILED: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<Report> {
    let mut report = Report::new()?;
    for groups in GROUPS {
        let mut evidence = Evidence::new(&format!("bench-{groups}"), "ha-tests/bench")?;
        let lab = Lab::new()?;
        let host = lab.host("node", 2)?;
        let mut node = Node::new(&host, &evidence)?;
        round(&mut report, &mut node, &host, groups).with_context(|| format!("with {groups} groups"))?;
        evidence.passed();
    }
    report.write()?;
    Ok(report)
}

fn round(report: &mut Report, node: &mut Node, host: &Host, groups: usize) -> Result<()> {
    say(&format!("== {groups} groups"));
    // The lab's nodes log every packet; a node in service does not.
    let config = fs::read_to_string(node.config()).context("read the node's configuration")?;
    fs::write(node.config(), config.replace("info,raftboot=debug", "info")).context("write it back")?;
    node.start()?;
    report.applied(groups, load::groups(node, groups)?);
    node.stop()?;
    report.started(groups, start::until_ready(node)?);
    report.resident(groups, memory::resident(node)?);
    report.answered(groups, load::scripts(node, host, groups)?);
    if groups == JUDGED {
        report.flat(memory::under_transfers(node, host)?);
    }
    node.stop()?;
    Ok(())
}

/// A line on standard output.
pub(crate) fn say(text: &str) {
    // Stdout closed: nobody is left to be told, and the exit code still speaks.
    let _ = writeln!(stdout(), "{text}");
}
