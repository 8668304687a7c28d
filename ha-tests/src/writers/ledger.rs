//! What was written with which outcome, and whether what is found afterwards agrees with it. Pure.

use crate::admin::Outcome;
use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

/// One write of one object that nobody else writes.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The object.
    pub key: String,
    /// What was written.
    pub value: String,
    /// The node that was asked last.
    pub node: Ipv4Addr,
    /// When it was sent, since the writers began.
    pub sent: Duration,
    /// How long until the outcome was known.
    pub took: Duration,
    /// What became of it.
    pub outcome: Outcome,
}

/// How often each outcome came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Kept, the server said.
    pub acknowledged: usize,
    /// Certainly not written.
    pub refused: usize,
    /// Either.
    pub unknown: usize,
}

impl Tally {
    /// Counts outcomes.
    #[must_use]
    pub fn of(entries: &[Entry]) -> Self {
        let mut tally = Self::default();
        for entry in entries {
            match entry.outcome {
                Outcome::Acknowledged => tally.acknowledged += 1,
                Outcome::Refused(_) => tally.refused += 1,
                Outcome::Unknown(_) => tally.unknown += 1,
            }
        }
        tally
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "acknowledged={} refused={} unknown={}", self.acknowledged, self.refused, self.unknown)
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Acknowledged and not there.
    Lost(String),
    /// There with a value nobody wrote to it.
    Changed {
        /// The object.
        key: String,
        /// What was written.
        written: String,
        /// What is there.
        found: String,
    },
    /// Refused and there.
    Refused(String),
    /// There and never written.
    Phantom(String),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(key) => write!(f, "{key}: acknowledged and lost"),
            Self::Changed { key, written, found } => write!(f, "{key}: {written:?} was written, {found:?} is there"),
            Self::Refused(key) => write!(f, "{key}: refused and yet there"),
            Self::Phantom(key) => write!(f, "{key}: there and never written"),
        }
    }
}

/// Compares what was written with what one node shows.
#[must_use]
pub fn check(entries: &[Entry], found: &BTreeMap<String, String>) -> Vec<Violation> {
    let written: BTreeMap<&str, &Entry> = entries.iter().map(|entry| (entry.key.as_str(), entry)).collect();
    let mut violations: Vec<Violation> =
        written.values().filter_map(|entry| compare(entry, found.get(&entry.key))).collect();
    let phantoms = found.keys().filter(|key| !written.contains_key(key.as_str()));
    violations.extend(phantoms.map(|key| Violation::Phantom(key.clone())));
    violations
}

fn compare(entry: &Entry, found: Option<&String>) -> Option<Violation> {
    let key = entry.key.clone();
    match (&entry.outcome, found) {
        (Outcome::Acknowledged, None) => Some(Violation::Lost(key)),
        (Outcome::Refused(_), Some(_)) => Some(Violation::Refused(key)),
        (_, Some(found)) if *found != entry.value => {
            Some(Violation::Changed { key, written: entry.value.clone(), found: found.clone() })
        }
        _ => None,
    }
}

/// The value below which `percent` of `sorted` lie (nearest rank); zero for none.
#[must_use]
pub fn percentile(sorted: &[Duration], percent: u32) -> Duration {
    let rank = (sorted.len() * percent as usize).div_ceil(100);
    sorted.get(rank.max(1) - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, outcome: Outcome) -> Entry {
        let node = Ipv4Addr::new(10, 88, 0, 2);
        let (sent, took) = (Duration::ZERO, Duration::ZERO);
        Entry { key: key.into(), value: format!("value of {key}"), node, sent, took, outcome }
    }

    #[track_caller]
    fn check_one(outcome: Outcome, found: &[(&str, &str)], violations: &[Violation]) {
        let found = found.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        assert_eq!(check(&[entry("a", outcome)], &found), violations);
    }

    #[test]
    fn what_agrees_is_no_violation() {
        check_one(Outcome::Acknowledged, &[("a", "value of a")], &[]);
        check_one(Outcome::Refused("503".into()), &[], &[]);
        check_one(Outcome::Unknown("504".into()), &[], &[]);
        check_one(Outcome::Unknown("504".into()), &[("a", "value of a")], &[]);
    }

    #[test]
    fn every_kind_of_broken_promise_is_found() {
        check_one(Outcome::Acknowledged, &[], &[Violation::Lost("a".into())]);
        check_one(Outcome::Refused("503".into()), &[("a", "value of a")], &[Violation::Refused("a".into())]);
        let changed = Violation::Changed { key: "a".into(), written: "value of a".into(), found: "other".into() };
        check_one(Outcome::Acknowledged, &[("a", "other")], std::slice::from_ref(&changed));
        check_one(Outcome::Unknown("504".into()), &[("a", "other")], &[changed]);
        check_one(Outcome::Acknowledged, &[("a", "value of a"), ("b", "x")], &[Violation::Phantom("b".into())]);
    }

    #[test]
    fn percentiles_are_measured_values() {
        let sorted: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sorted, 50), Duration::from_millis(50));
        assert_eq!(percentile(&sorted, 99), Duration::from_millis(99));
        assert_eq!(percentile(&sorted[..1], 99), Duration::from_millis(1));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
