//! Keeps a flood of packets from becoming a flood of log lines.

use std::time::{Duration, Instant};

/// Lines about boot requests let through in each [`PERIOD`]: a rack that gets power is heard in full, a flood is counted.
pub(super) const LINES_MAX: u32 = 200;
/// Lines about refused requests: anybody can ask for what is not there, as often as they like.
pub(super) const REFUSALS_MAX: u32 = 5;
/// How long a period lasts.
pub(super) const PERIOD: Duration = Duration::from_secs(1);

/// Counts lines in the current period.
#[derive(Debug)]
pub(super) struct Gate {
    most: u32,
    since: Option<Instant>,
    passed: u32,
    suppressed: u64,
}

/// Whether a line may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// Yes; so many were left out since the last one that was written in an earlier period.
    Write(u64),
    /// No.
    Suppress,
}

impl Gate {
    /// Nothing has been written yet; so many lines are let through in each period.
    pub(super) fn new(most: u32) -> Self {
        Self { most, since: None, passed: 0, suppressed: 0 }
    }

    /// Asks for one more line.
    pub(super) fn ask(&mut self, now: Instant) -> Pass {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= PERIOD) {
            self.since = Some(now);
            self.passed = 0;
        }
        if self.passed >= self.most {
            self.suppressed += 1;
            return Pass::Suppress;
        }
        self.passed += 1;
        Pass::Write(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted_and_then_heard_of_again() {
        let (mut gate, start) = (Gate::new(LINES_MAX), Instant::now());
        let passes = |gate: &mut Gate, at| (0..500).filter(|_| gate.ask(at) != Pass::Suppress).count();
        assert_eq!(passes(&mut gate, start), LINES_MAX as usize);
        assert_eq!(passes(&mut gate, start + PERIOD / 2), 0);
        assert_eq!(gate.ask(start + PERIOD), Pass::Write(800));
        assert_eq!(gate.ask(start + PERIOD), Pass::Write(0));
    }
}
