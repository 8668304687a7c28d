//! Random mishaps over random shapes of clusters for a given time, with writers and the observer; prints tallies and every violation.

mod draw;

use anyhow::{Context, Result};
use draw::{mishap, plan, shape};
use raftboot_ha_tests::cluster::Shape;
use raftboot_ha_tests::lot::Lot;
use raftboot_ha_tests::observer::Verdict;
use raftboot_ha_tests::trial::Trial;
use raftboot_ha_tests::writers::Tally;
use std::collections::BTreeMap;
use std::io::{Write, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

const USAGE: &str =
    "usage: ha-tests/soak DURATION [--seed N]\n  DURATION  90s, 10m or 3h\n  --seed N  draw what another run drew";
/// A disk that can be filled, in MiB.
const SMALL_DISK: u32 = 512;
/// Mishaps one cluster goes through before everything is counted back and another one is founded.
const MISHAPS: std::ops::Range<usize> = 3..9;

/// Everything counted.
#[derive(Default)]
struct Totals {
    clusters: usize,
    mishaps: BTreeMap<String, Seen>,
    writes: Tally,
    violations: Vec<String>,
}

/// What one kind of mishap did.
#[derive(Default)]
struct Seen {
    count: usize,
    void: usize,
    worst: Duration,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((length, seed)) = read(&arguments) else {
        say(USAGE);
        return ExitCode::from(2);
    };
    say(&format!("seed {seed} (repeat with: ha-tests/soak {}s --seed {seed})", length.as_secs()));
    let mut lot = Lot::new(seed);
    let mut totals = Totals::default();
    let begun = Instant::now();
    while begun.elapsed() < length {
        let shape = shape(&mut lot);
        totals.clusters += 1;
        let number = totals.clusters;
        if let Err(error) = cluster(&mut lot, shape, seed, begun + length, &mut totals) {
            let text = format!("cluster {number} ({shape:?}, seed {seed}): {error:#}");
            say(&format!("VIOLATION {text}"));
            totals.violations.push(text);
        }
    }
    report(&totals, begun.elapsed(), seed);
    if totals.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read(arguments: &[String]) -> Option<(Duration, u64)> {
    let (length, seed) = match arguments {
        [length] => (length, SystemTime::UNIX_EPOCH.elapsed().ok()?.as_secs()),
        [length, flag, seed] if flag == "--seed" => (length, seed.parse().ok()?),
        _ => return None,
    };
    let unit = length.chars().last()?;
    let number: u64 = length.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => number,
        'm' => number * 60,
        'h' => number * 3600,
        _ => return None,
    };
    Some((Duration::from_secs(seconds), seed))
}

/// One cluster from its founding until all is counted back.
fn cluster(lot: &mut Lot, shape: Shape, seed: u64, end: Instant, totals: &mut Totals) -> Result<()> {
    let plan = plan(lot);
    let count = MISHAPS.start + lot.below(MISHAPS.len());
    let repeat = format!("ha-tests/soak 1h --seed {seed}");
    let mut trial = Trial::start("soak", shape, Some(SMALL_DISK), plan, &repeat)?;
    say(&format!("{shape:?}, {} writers", plan.writers));
    for _ in 0..count {
        if Instant::now() >= end {
            break;
        }
        let mishap = mishap(lot, shape);
        let name = mishap.to_string();
        let outcome = trial.suffer_once(mishap).with_context(|| name.clone())?;
        let verdict = &outcome.verdict;
        say(&format!("  {name}: {}", verdict.to_string().lines().next().unwrap_or_default()));
        note(totals.mishaps.entry(name.clone()).or_default(), verdict);
        anyhow::ensure!(verdict.overlaps.is_empty(), "{name}: two nodes answered: {verdict}");
    }
    let report = trial.conclude()?;
    say(&format!("  counted back: {}", report.tally));
    totals.writes.add(report.tally);
    Ok(())
}

fn note(seen: &mut Seen, verdict: &Verdict) {
    seen.count += 1;
    if verdict.is_void() {
        seen.void += 1;
    } else {
        seen.worst = seen.worst.max(verdict.outage());
    }
}

fn report(totals: &Totals, lasted: Duration, seed: u64) {
    say(&format!(
        "\nseed {seed}, {:.1} minutes, {} clusters; writes {}",
        lasted.as_secs_f64() / 60.0,
        totals.clusters,
        totals.writes
    ));
    say(&format!("{:<72} {:>6} {:>6} {:>16}", "mishap", "times", "void", "longest outage"));
    for (name, seen) in &totals.mishaps {
        say(&format!("{name:<72} {:>6} {:>6} {:>13} ms", seen.count, seen.void, seen.worst.as_millis()));
    }
    say(&format!("{} violations", totals.violations.len()));
    for violation in &totals.violations {
        say(&format!("VIOLATION {violation}"));
    }
}

fn say(text: &str) {
    // Stdout closed: nobody is left to be told, and the exit code still speaks.
    let _ = writeln!(stdout(), "{text}");
}
