//! Machines that boot while the holder of the floating address is killed, at every stage that iPXE or later runs.

use crate::{say, section};
use anyhow::Result;
use raftboot_ha_tests::cluster::Shape;
use raftboot_ha_tests::firmware::Firmware;
use raftboot_ha_tests::mid_boot::{BootSite, Stage};
use raftboot_ha_tests::trial::Trial;
use raftboot_ha_tests::writers::Plan;
use std::fmt::Write as _;

/// Boots `rounds` machines through a kill each, and answers whether none was lost.
pub(crate) fn measure(rounds: usize) -> Result<bool> {
    let trial = Trial::start("bench-boots", Shape::Three, None, Plan::BESIDE, "ha-tests/bench boots")?;
    let mut site = BootSite::start(trial)?;
    let mut counts: Vec<(Firmware, Stage, usize, usize)> = Vec::new();
    let cases = Firmware::ALL.into_iter().flat_map(|firmware| Stage::ALL.map(|stage| (firmware, stage)));
    for (firmware, stage) in cases.cycle().take(rounds) {
        let lost = match site.boot_through(firmware, stage) {
            Ok(survived) => {
                let seconds = survived.booted.took.as_secs_f64();
                say(&format!(
                    "{firmware} at {stage:?}: booted in {seconds:.1} s, silent {} ms",
                    survived.outage.as_millis()
                ));
                0
            }
            Err(error) => {
                say(&format!("LOST {firmware} at {stage:?}: {error:#}"));
                1
            }
        };
        match counts.iter_mut().find(|count| (count.0, count.1) == (firmware, stage)) {
            Some(count) => (count.2, count.3) = (count.2 + 1, count.3 + lost),
            None => counts.push((firmware, stage, 1, lost)),
        }
    }
    let report = site.trial.conclude()?;
    let mut text = String::from("| firmware | holder killed at | boots | lost |\n|---|---|---|---|\n");
    for (firmware, stage, boots, lost) in &counts {
        writeln!(text, "| {firmware} | {stage:?} | {boots} | {lost} |")?;
    }
    writeln!(
        text,
        "\nWrites meanwhile, counted back on every node: {}; {} instants with two responders.",
        report.tally,
        report.verdict.two_responders()
    )?;
    say(&text);
    section::write("boots", "Boots through a failover", &text)?;
    Ok(counts.iter().all(|count| count.3 == 0))
}
