//! What became of every object that was written, and whether what is found afterwards agrees with it. Pure.

use crate::admin::Outcome;
use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

/// One object, written by one writer only, one write after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// The object.
    pub key: String,
    /// The node that was asked last.
    pub node: Ipv4Addr,
    /// The last value whose write was acknowledged.
    pub acknowledged: Option<String>,
    /// The value of a later write whose outcome nobody knows; nothing is written to the object after it.
    pub unknown: Option<String>,
}

impl Fate {
    /// An object that was never written.
    #[must_use]
    pub fn new(key: String, node: Ipv4Addr) -> Self {
        Self { key, node, acknowledged: None, unknown: None }
    }

    /// Notes what became of one write.
    pub fn note(&mut self, value: String, node: Ipv4Addr, outcome: &Outcome) {
        self.node = node;
        match outcome {
            Outcome::Acknowledged => self.acknowledged = Some(value),
            Outcome::Unknown(_) => self.unknown = Some(value),
            Outcome::Refused(_) => {}
        }
    }

    /// Whether another write would leave open which of two is there.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.unknown.is_some()
    }
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
    /// Counts one more.
    pub fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Acknowledged => self.acknowledged += 1,
            Outcome::Refused(_) => self.refused += 1,
            Outcome::Unknown(_) => self.unknown += 1,
        }
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.unknown += other.unknown;
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
    /// There with another value than the last.
    Changed {
        /// The object.
        key: String,
        /// What may be there.
        allowed: Vec<String>,
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
            Self::Changed { key, allowed, found } => write!(f, "{key}: {found:?} is there instead of {allowed:?}"),
            Self::Refused(key) => write!(f, "{key}: refused and yet there"),
            Self::Phantom(key) => write!(f, "{key}: there and never written"),
        }
    }
}

/// Compares what was written with what one node shows.
#[must_use]
pub fn check(fates: &[Fate], found: &BTreeMap<String, String>) -> Vec<Violation> {
    let written: BTreeMap<&str, &Fate> = fates.iter().map(|fate| (fate.key.as_str(), fate)).collect();
    let mut violations: Vec<Violation> =
        written.values().filter_map(|fate| compare(fate, found.get(&fate.key))).collect();
    let phantoms = found.keys().filter(|key| !written.contains_key(key.as_str()));
    violations.extend(phantoms.map(|key| Violation::Phantom(key.clone())));
    violations
}

fn compare(fate: &Fate, found: Option<&String>) -> Option<Violation> {
    let key = fate.key.clone();
    let allowed: Vec<String> = fate.acknowledged.iter().chain(&fate.unknown).cloned().collect();
    match found {
        None if fate.acknowledged.is_some() => Some(Violation::Lost(key)),
        Some(_) if allowed.is_empty() => Some(Violation::Refused(key)),
        Some(found) if !allowed.contains(found) => Some(Violation::Changed { key, allowed, found: found.clone() }),
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

    const NODE: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 2);

    fn refused() -> Outcome {
        Outcome::Refused("503".into())
    }

    fn unknown() -> Outcome {
        Outcome::Unknown("504".into())
    }

    /// Writes "1", "2", … to one object with these outcomes, then looks at what is there.
    #[track_caller]
    fn check_one(outcomes: &[Outcome], found: Option<&str>, violations: &[Violation]) {
        let mut fate = Fate::new("a".into(), NODE);
        for (number, outcome) in (1..).zip(outcomes) {
            fate.note(format!("{number}"), NODE, outcome);
        }
        let found = found.map(|value| ("a".to_owned(), value.to_owned())).into_iter().collect();
        assert_eq!(check(&[fate], &found), violations);
    }

    #[test]
    fn what_agrees_is_no_violation() {
        check_one(&[Outcome::Acknowledged], Some("1"), &[]);
        check_one(&[Outcome::Acknowledged, refused()], Some("1"), &[]);
        check_one(&[Outcome::Acknowledged, Outcome::Acknowledged], Some("2"), &[]);
        check_one(&[refused()], None, &[]);
        for found in [Some("1"), None] {
            check_one(&[unknown()], found, &[]);
        }
        for found in ["1", "2"] {
            check_one(&[Outcome::Acknowledged, unknown()], Some(found), &[]);
        }
    }

    #[test]
    fn every_kind_of_broken_promise_is_found() {
        check_one(&[Outcome::Acknowledged], None, &[Violation::Lost("a".into())]);
        check_one(&[Outcome::Acknowledged, unknown()], None, &[Violation::Lost("a".into())]);
        check_one(&[refused()], Some("1"), &[Violation::Refused("a".into())]);
        let changed = |allowed: &[&str], found: &str| Violation::Changed {
            key: "a".into(),
            allowed: allowed.iter().map(|value| (*value).to_owned()).collect(),
            found: found.into(),
        };
        check_one(&[Outcome::Acknowledged, Outcome::Acknowledged], Some("1"), &[changed(&["2"], "1")]);
        check_one(&[Outcome::Acknowledged, refused()], Some("2"), &[changed(&["1"], "2")]);
        check_one(&[unknown()], Some("other"), &[changed(&["1"], "other")]);
        let found = BTreeMap::from([("b".to_owned(), "x".to_owned())]);
        assert_eq!(check(&[Fate::new("a".into(), NODE)], &found), [Violation::Phantom("b".into())]);
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
