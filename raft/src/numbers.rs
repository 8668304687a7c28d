//! What happened since the start, counted for monitoring without a lock on anybody's way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the classes: from a drive with a safe cache to one that hangs. Answers to machines take the same times.
const BOUNDS_MICROS: [u64; 14] =
    [100, 250, 500, 1000, 2500, 5000, 10_000, 20_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000];

/// How long something took, in classes.
#[derive(Debug, Default)]
pub struct Timings {
    classes: [AtomicU64; BOUNDS_MICROS.len()],
    count: AtomicU64,
    micros: AtomicU64,
}

impl Timings {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        let classes = [const { AtomicU64::new(0) }; BOUNDS_MICROS.len()];
        Self { classes, count: AtomicU64::new(0), micros: AtomicU64::new(0) }
    }

    /// Counts one more.
    pub fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(class) = BOUNDS_MICROS.iter().position(|bound| micros <= *bound) {
            self.classes[class].fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// What was counted so far.
    #[must_use]
    pub fn look(&self) -> Spread {
        let mut below = 0;
        let classes = BOUNDS_MICROS.iter().zip(&self.classes).map(|(bound, class)| {
            below += class.load(Ordering::Relaxed);
            (Duration::from_micros(*bound), below)
        });
        let classes: Vec<_> = classes.collect();
        // One that is counted just now may be in a class and not in the sum yet.
        let count = self.count.load(Ordering::Relaxed).max(below);
        Spread { classes, count, sum: Duration::from_micros(self.micros.load(Ordering::Relaxed)) }
    }
}

/// How long things took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spread {
    /// An upper bound, and how many took no longer than that.
    pub classes: Vec<(Duration, u64)>,
    /// How many there were.
    pub count: u64,
    /// How long they took together.
    pub sum: Duration,
}

/// What is counted where it happens.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) proposals: AtomicU64,
    pub(crate) proposals_failed: AtomicU64,
    pub(crate) proposals_under_way: AtomicU64,
    pub(crate) leader_changes: AtomicU64,
    pub(crate) campaigns: AtomicU64,
}

impl Counters {
    /// Counts a proposal until it is over, however that comes.
    pub(crate) fn proposal(&self) -> UnderWay<'_> {
        self.proposals.fetch_add(1, Ordering::Relaxed);
        self.proposals_under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay { counters: self, failed: true }
    }
}

/// A proposal on its way; one that is dropped has failed.
pub(crate) struct UnderWay<'a> {
    counters: &'a Counters,
    failed: bool,
}

impl UnderWay<'_> {
    /// It was answered.
    pub(crate) fn done(mut self) {
        self.failed = false;
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.counters.proposals_under_way.fetch_sub(1, Ordering::Relaxed);
        if self.failed {
            self.counters.proposals_failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// How the consensus of this node does, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Numbers {
    /// The last log entry known to be committed.
    pub committed: u64,
    /// Log entries on the disk.
    pub log_entries: u64,
    /// Bytes of log entries written since the start.
    pub log_bytes_written: u64,
    /// How long writes took that had to be on the disk before they were answered.
    pub syncs: Spread,
    /// Changes proposed through this node.
    pub proposals: u64,
    /// Of those, the ones that came to nothing, or whose outcome is unknown.
    pub proposals_failed: u64,
    /// Of those, the ones without an answer yet.
    pub proposals_under_way: u64,
    /// How often this node saw another leader than before.
    pub leader_changes: u64,
    /// How often this node stood for election.
    pub campaigns: u64,
    /// Bytes of the last snapshot, and how old it is.
    pub snapshot: Option<(u64, Duration)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_long_is_in_no_small_class() {
        let timings = Timings::default();
        for millis in [0, 1, 15, 30, 10_000] {
            timings.note(Duration::from_millis(millis));
        }
        let spread = timings.look();
        let upto = |millis| spread.classes.iter().find(|(bound, _)| *bound == Duration::from_millis(millis)).unwrap().1;
        assert_eq!((upto(1), upto(20), upto(50), upto(5000), spread.count), (2, 3, 4, 4, 5));
        assert_eq!(spread.sum, Duration::from_millis(10_046));
    }

    #[test]
    fn a_proposal_nobody_answers_has_failed() {
        let counters = Counters::default();
        counters.proposal().done();
        let waiting = counters.proposal();
        let now = || {
            [&counters.proposals, &counters.proposals_under_way, &counters.proposals_failed]
                .map(|counter| counter.load(Ordering::Relaxed))
        };
        assert_eq!(now(), [2, 1, 0]);
        drop(waiting);
        assert_eq!(now(), [2, 0, 1]);
    }
}
