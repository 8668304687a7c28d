//! What was measured on one node, beside what is promised, as Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::load::Answers;
use crate::memory::Flatness;
use crate::serve::{GROUPS, JUDGED, PATHS};

/// Scripts a second that must be reached, however many groups there are.
const SCRIPTS_MIN: f64 = 20_000.0;
/// How much slower the slowest round may be than the fastest for "the same whatever the number of groups".
const SPREAD_MAX: f64 = 1.5;
/// Resident memory with [`JUDGED`] groups, in MiB: 100 MB.
const RESIDENT_MAX: f64 = 95.0;
/// Growth during transfers that still counts as flat, in MiB: a read buffer for each of 64 downloads.
const GROWTH_MAX: f64 = 64.0;
/// From start to ready with [`JUDGED`] groups.
const READY_MAX: Duration = Duration::from_secs(1);
/// One `apply` of [`JUDGED`] groups.
const APPLY_MAX: Duration = Duration::from_secs(5);
/// matchbox v0.11, measured on a host of the same kind with `wrk -t1 -c4`: groups and requests a second.
const MATCHBOX: [(usize, f64); 2] = [(1, 13_370.0), (1_000, 54.5)];

/// Everything measured so far.
#[derive(Default)]
pub(crate) struct Report {
    rounds: BTreeMap<usize, Round>,
    flat: Option<Flatness>,
}

#[derive(Default)]
struct Round {
    applied: Duration,
    started: Duration,
    resident: f64,
    answers: BTreeMap<&'static str, Answers>,
}

impl Report {
    fn round(&mut self, groups: usize) -> &mut Round {
        self.rounds.entry(groups).or_default()
    }

    pub(crate) fn applied(&mut self, groups: usize, took: Duration) {
        self.round(groups).applied = took;
    }

    pub(crate) fn started(&mut self, groups: usize, took: Duration) {
        self.round(groups).started = took;
    }

    pub(crate) fn resident(&mut self, groups: usize, mib: f64) {
        self.round(groups).resident = mib;
    }

    pub(crate) fn answered(&mut self, groups: usize, path: &'static str, answers: Answers) {
        self.round(groups).answers.insert(path, answers);
    }

    pub(crate) fn flat(&mut self, flat: Flatness) {
        self.flat = Some(flat);
    }

    /// Whether every promise was kept.
    pub(crate) fn reached(&self) -> bool {
        self.verdicts().iter().all(|(_, _, kept)| *kept)
    }

    /// Each promise, what was measured, and whether it was kept.
    fn verdicts(&self) -> Vec<(String, String, bool)> {
        let most = GROUPS[GROUPS.len() - 1];
        let slowest = self.range(PATHS[0]).0;
        let judged = self.rounds.get(&JUDGED);
        let (started, applied, resident) = judged
            .map_or((Duration::MAX, Duration::MAX, f64::MAX), |round| (round.started, round.applied, round.resident));
        let mut list = vec![
            (
                format!("`/ipxe?mac=…` with 1 to {most} groups ≥ {SCRIPTS_MIN:.0}/s"),
                format!("slowest {slowest:.0}/s"),
                slowest >= SCRIPTS_MIN,
            ),
            (
                format!("start to ready with {JUDGED} groups ≤ {READY_MAX:?}"),
                format!("{} ms", started.as_millis()),
                started <= READY_MAX,
            ),
            (
                format!("one apply of {JUDGED} groups ≤ {APPLY_MAX:?}"),
                format!("{} ms", applied.as_millis()),
                applied <= APPLY_MAX,
            ),
            (
                format!("resident with {JUDGED} groups ≤ {RESIDENT_MAX} MiB"),
                format!("{resident:.1} MiB"),
                resident <= RESIDENT_MAX,
            ),
        ];
        for path in PATHS {
            let (slowest, fastest) = self.range(path);
            list.push((
                format!("`{path}` the same from 1 to {most} groups (within × {SPREAD_MAX})"),
                format!("× {:.2}", fastest / slowest),
                fastest / slowest <= SPREAD_MAX,
            ));
        }
        if let Some(flat) = self.flat {
            for (what, most) in [("a 2 GiB upload", flat.uploading), ("64 downloads of 2 GiB", flat.downloading)] {
                let growth = most - flat.before;
                list.push((
                    format!("flat during {what} (growth ≤ {GROWTH_MAX} MiB)"),
                    format!("{:.1} → {most:.1} MiB", flat.before),
                    growth <= GROWTH_MAX,
                ));
            }
        }
        list
    }

    /// Answers a second on that path in the slowest and the fastest round.
    fn range(&self, path: &str) -> (f64, f64) {
        let rates = GROUPS.iter().filter_map(|groups| Some(self.rounds.get(groups)?.answers.get(path)?.per_second));
        rates.fold((f64::MAX, 0.0_f64), |(low, high), rate| (low.min(rate), high.max(rate)))
    }

    /// The report as Markdown.
    pub(crate) fn text(&self) -> String {
        let mut text =
            String::from("Node and load generator share the cores.\n\n| promised | measured | kept |\n|---|---|---|\n");
        for (promise, measured, kept) in self.verdicts() {
            let _ = writeln!(text, "| {promise} | {measured} | {} |", if kept { "yes" } else { "**no**" });
        }
        text.push_str("\n| groups | /ipxe | p50 | p99 | /generic | /metadata | matchbox /ipxe | one apply of all | start to ready | resident |\n|---|---|---|---|---|---|---|---|---|---|\n");
        for (groups, round) in &self.rounds {
            let matchbox = MATCHBOX
                .iter()
                .find(|(count, _)| count == groups)
                .map_or("not measured".into(), |(_, rate)| format!("{rate}"));
            let rate = |path| round.answers.get(path).map_or(0.0, |answers| answers.per_second);
            let ipxe = round.answers.get(PATHS[0]);
            let _ = writeln!(
                text,
                "| {groups} | {:.0}/s | {} | {} | {:.0}/s | {:.0}/s | {matchbox} | {} ms | {} ms | {:.1} MiB |",
                rate(PATHS[0]),
                ipxe.map_or("", |answers| &answers.p50),
                ipxe.map_or("", |answers| &answers.p99),
                rate(PATHS[1]),
                rate(PATHS[2]),
                round.applied.as_millis(),
                round.started.as_millis(),
                round.resident
            );
        }
        text.push_str(
            "\nThe memory bound is judged at rest; during transfers the growth is, and the sum may pass the bound.\n\n`wrk -t1 -c32 -d10s` asks for random machines over kept-alive connections. matchbox's column was measured earlier on a host of \
             the same kind with `wrk -t1 -c4`, not in this run; it is a rough scale, not a race. The race beside nginx, dnsmasq and the rest, in one \
             run, is still to come.\n",
        );
        text
    }
}
