//! Cuts between two hosts, made on the bridge, so that neither host's own rules are touched or can undo them.

use super::Fault;
use crate::lab::{Host, Lab};
use crate::process::run_with_input;
use anyhow::Result;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};

/// The port nodes talk to each other on.
const PEER_PORT: u16 = 7443;

static CUTS: AtomicU32 = AtomicU32::new(0);

/// Which way nothing passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// From the first host to the second.
    OneWay,
    /// In both directions.
    BothWays,
}

/// What does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// The nodes' own talk; probes for the floating address pass.
    Peers,
    /// Every frame, as when two switches have lost each other.
    Everything,
}

/// Cuts what goes from `from` to `to`; heals by removing its rules.
///
/// # Errors
/// When `nft` cannot.
pub fn cut(lab: &Lab, from: &Host, to: &Host, cut: Cut, traffic: Traffic) -> Result<Fault> {
    let table = format!("cut{}", CUTS.fetch_add(1, Ordering::Relaxed));
    let arrow = if cut == Cut::OneWay { "->" } else { "<->" };
    let name = format!("cut {} {arrow} {} ({traffic:?})", from.name(), to.name()).to_lowercase();
    let rules = rules(&table, from, to, cut, traffic);
    let lab = lab.clone();
    let again = lab.clone();
    Fault::strike(name, move || nft(&lab, &rules), move || nft(&again, &format!("delete table bridge {table}\n")))
}

fn rules(table: &str, from: &Host, to: &Host, cut: Cut, traffic: Traffic) -> String {
    let mut text =
        format!("table bridge {table} {{\n chain forward {{\n  type filter hook forward priority 0; policy accept;\n");
    let mut ways = vec![(from, to)];
    if cut == Cut::BothWays {
        ways.push((to, from));
    }
    for (from, to) in ways {
        let way = format!("  ether saddr {} ether daddr {}", from.mac(), to.mac());
        // Writing to a String cannot fail.
        let _ = match traffic {
            Traffic::Everything => writeln!(text, "{way} drop"),
            Traffic::Peers => writeln!(text, "{way} tcp dport {PEER_PORT} drop\n{way} tcp sport {PEER_PORT} drop"),
        };
    }
    text.push_str(" }\n}\n");
    text
}

fn nft(lab: &Lab, text: &str) -> Result<()> {
    let mut nft = lab.switch_command("nft");
    nft.args(["-f", "-"]);
    run_with_input(nft, text).map(drop)
}
