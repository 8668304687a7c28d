//! One node: scripts a second, memory, start, with few groups and many.

use std::fs;

use anyhow::{Context, Result};
use raftboot_ha_tests::evidence::Evidence;
use raftboot_ha_tests::lab::{Host, Lab};
use raftboot_ha_tests::node::Node;

use crate::serve_report::Report;
use crate::{load, memory, say, section, start};

/// How many groups the node holds in each round.
pub(crate) const GROUPS: [usize; 4] = [1, 1_000, 10_000, 100_000];
/// What machines ask, by their MAC.
pub(crate) const PATHS: [&str; 3] = ["/ipxe", "/generic", "/metadata"];
/// The round at which memory and start are judged.
pub(crate) const JUDGED: usize = 10_000;

/// Measures, writes the section, and answers whether every promise was kept.
pub(crate) fn measure() -> Result<bool> {
    let mut report = Report::default();
    for groups in GROUPS {
        let mut evidence = Evidence::new(&format!("bench-{groups}"), "ha-tests/bench serve")?;
        let lab = Lab::new()?;
        let host = lab.host("node", 2)?;
        let mut node = Node::new(&host, &evidence)?;
        round(&mut report, &mut node, &host, groups).with_context(|| format!("with {groups} groups"))?;
        evidence.passed();
    }
    say(&report.text());
    section::write("serve", "One node: scripts, memory, start", &report.text())?;
    Ok(report.reached())
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
    for path in PATHS {
        report.answered(groups, path, load::answers(node, host, path, groups)?);
    }
    if groups == JUDGED {
        report.flat(memory::under_transfers(node, host)?);
    }
    node.stop()?;
    Ok(())
}
