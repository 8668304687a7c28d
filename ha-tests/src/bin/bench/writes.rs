//! Acknowledged writes a second on three nodes, each synced on a quorum before its answer.

use crate::{say, section};
use anyhow::Result;
use raftboot_ha_tests::cluster::{Cluster, Shape};
use raftboot_ha_tests::wait::pace;
use raftboot_ha_tests::writers::{Plan, percentile};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// Writers at once, and the writes a second that must be reached.
const CASES: [(usize, f64); 2] = [(1, 300.0), (64, 3_000.0)];
const LASTS: Duration = Duration::from_secs(20);
const COUNT_BACK_MAX: Duration = Duration::from_secs(30);

/// Measures and answers whether the rates were reached.
pub(crate) fn measure() -> Result<bool> {
    let mut cluster = Cluster::found("bench-writes", Shape::Three, None, "ha-tests/bench writes")?;
    let mut text = String::from(
        "Each write changes one profile through the admin API (HTTPS) of any of three nodes; writers and nodes share the cores.\n\n\
         | writers | acknowledged/s | p50 | p99 | refused | unknown | promised | kept |\n|---|---|---|---|---|---|---|---|\n",
    );
    let mut kept = true;
    for (count, least) in CASES {
        let writers = cluster.write(Plan::full(count))?;
        pace(Instant::now() + LASTS);
        let history = writers.stop()?;
        let tally = history.count_back(&cluster.addresses(), COUNT_BACK_MAX)?;
        let ms = |percent| percentile(history.latencies(), percent).as_secs_f64() * 1e3;
        let rate = history.per_second();
        let reached = rate >= least;
        kept &= reached;
        writeln!(
            text,
            "| {count} | {rate:.0} | {:.2} ms | {:.2} ms | {} | {} | ≥ {least}/s | {} |",
            ms(50),
            ms(99),
            tally.refused,
            tally.unknown,
            if reached { "yes" } else { "**no**" }
        )?;
    }
    say(&text);
    section::write("writes", "Writes of three nodes", &text)?;
    cluster.evidence.passed();
    Ok(kept)
}
