//! SIGSTOP of the holder for every time around which the lease decides: never two responders.

use crate::table::{Promise, Row, markdown};
use crate::{say, section};
use anyhow::{Context, Result};
use raftboot_ha_tests::cluster::Shape;
use raftboot_ha_tests::mishap::{Mishap, Moment, Who};
use raftboot_ha_tests::trial::Trial;
use raftboot_ha_tests::writers::Plan;
use std::time::Duration;

/// Milliseconds.
const FROM: u64 = 50;
const TO: u64 = 700;
const STEP: usize = 10;
/// Durations in one row of the table.
const ROW: u64 = 50;

/// Freezes `rounds` times for each duration and moment, and answers whether there was one holder throughout.
pub(crate) fn measure(rounds: usize) -> Result<bool> {
    let mut trial = Trial::start("bench-freeze", Shape::Three, None, Plan::BESIDE, "ha-tests/bench freeze")?;
    let promise = Promise { one_holder: true, ..Promise::default() };
    let mut rows: Vec<Row> = Vec::new();
    for lasts in (FROM..=TO).step_by(STEP) {
        if (lasts - FROM).is_multiple_of(ROW) {
            rows.push(Row::new(format!("SIGSTOP from {lasts} ms"), promise));
        }
        let row = rows.last_mut().context("the first duration begins a row")?;
        for moment in [Moment::Any, Moment::Renewal].into_iter().cycle().take(2 * rounds) {
            let mishap = Mishap::Freeze(Who::Holder, moment, Duration::from_millis(lasts));
            let verdict = trial.suffer_once(mishap)?.verdict;
            say(&format!("{mishap}: {verdict}"));
            row.void += usize::from(verdict.is_void());
            row.silences.push(verdict.outage());
            row.two_responders += verdict.two_responders();
        }
    }
    let report = trial.conclude()?;
    let text = format!("{}\nWrites meanwhile, counted back on every node: {}.\n", markdown(&rows), report.tally);
    say(&text);
    section::write("freeze", "Holder frozen (SIGSTOP) and woken", &text)?;
    Ok(rows.iter().all(Row::kept))
}
