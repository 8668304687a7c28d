//! How long the floating address is silent when it is moved on purpose.

use crate::table::{Promise, Row, markdown};
use crate::{say, section};
use anyhow::{Context, Result};
use raftboot_ha_tests::cluster::Shape;
use raftboot_ha_tests::trial::Trial;
use raftboot_ha_tests::writers::Plan;
use std::time::Duration;

/// Promised, plus the probe's interval on one side.
const P99: Duration = Duration::from_millis(110);
/// Void rounds after which the computer is called too busy.
const VOID_MAX: usize = 100;

/// Moves the address round and round, and answers whether it was kept.
pub(crate) fn measure(rounds: usize) -> Result<bool> {
    let trial = Trial::start("bench-transfer", Shape::Three, None, Plan::BESIDE, "ha-tests/bench transfer")?;
    let mut row = Row::new("raftboot transfer", Promise { p50: None, p99: Some(P99), one_holder: true });
    while row.silences.len() < rounds {
        let holder = trial.holder()?;
        let next = (holder + 1) % trial.cluster.members().len();
        let begun = trial.observer.now();
        trial.cluster.cli(holder, &["transfer", trial.cluster.members()[next].host.name()])?;
        trial.until_held_by(next).context("after a transfer")?;
        let verdict = trial.observer.judge(&(begun..trial.observer.now()))?;
        say(&format!("transfer {}: {verdict}", row.silences.len() + 1));
        row.two_responders += verdict.two_responders();
        if verdict.is_void() {
            row.void += 1;
            anyhow::ensure!(row.void < VOID_MAX, "the observer paused {VOID_MAX} times: this computer is too busy");
            continue;
        }
        row.silences.push(verdict.outage());
    }
    let report = trial.conclude()?;
    let rows = [row];
    let text = format!("{}\nWrites meanwhile, counted back on every node: {}.\n", markdown(&rows), report.tally);
    say(&text);
    section::write("transfer", "Planned moves", &text)?;
    Ok(rows[0].kept())
}
