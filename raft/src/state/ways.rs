//! The ways in which a group can match: each fixes the values of some labels, and may ask more of others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::condition::{ADDRESS_LABEL, Check, Conditions, Facts, Label, checks};
use super::objects::Group;
use super::rules::{Alternative, Test};
use super::select::normal_selector;

/// In how many ways a group may match: its alternatives, each times the combinations of the values it lists.
pub const WAYS_MAX: usize = 1024;

/// Size of the labels and exact values of all ways of a group together, in bytes: the index keeps copies for each way.
pub const WAYS_BYTES_MAX: usize = 256 * 1024;

/// One way to match.
#[derive(Debug, Clone)]
pub(super) struct Way {
    /// Labels and the only values they may have.
    pub(super) exact: BTreeMap<Label, String>,
    /// What is asked of other labels.
    pub(super) rest: Option<Arc<Conditions>>,
    /// Which alternative it is of; `None`: the group has none.
    pub(super) alternative: Option<u32>,
}

/// How much a way asks for: labels, and how many of them for exact values.
pub(super) type Weight = (usize, usize);

impl Way {
    /// The more it asks for, the better.
    #[must_use]
    pub(super) fn weight(&self) -> Weight {
        let rest = self.rest.as_ref().map_or(0, |rest| rest.labels_len());
        (self.exact.len() + rest, self.exact.len())
    }
}

/// Sorted `key=value` pairs, joined by commas: the text by which matchbox orders groups.
#[must_use]
pub(super) fn exact_text<'a>(pairs: impl Iterator<Item = (&'a Label, &'a String)>) -> String {
    let mut pairs: Vec<String> = pairs.map(|(label, value)| format!("{}={value}", label.name())).collect();
    pairs.sort_unstable();
    pairs.join(",")
}

/// What a group asks of each label, by itself or by one alternative.
struct Asked {
    alternative: Option<u32>,
    /// Labels and the values they may have; these have passed all checks of that label.
    exact: BTreeMap<Label, BTreeSet<String>>,
    rest: Option<Arc<Conditions>>,
}

impl Asked {
    /// `None` if it asks for something that cannot be read: nothing matches that.
    fn of(selector: &BTreeMap<String, String>, rule: Option<(u32, &Alternative)>) -> Option<Self> {
        let said = |(name, value): (&String, &String)| (Label::Said(name.clone()), BTreeSet::from([value.clone()]));
        let mut exact: BTreeMap<Label, BTreeSet<String>> = selector.iter().map(said).collect();
        let mut rest = BTreeMap::new();
        for (name, condition) in rule.into_iter().flat_map(|(_, alternative)| alternative) {
            let label = Label::of(name);
            let checks = checks(&label, condition)?;
            let listed = checks.iter().find_map(|check| match check {
                Check::In(values) => Some(values.clone()),
                _ => None,
            });
            if let Some(values) = exact.remove(&label).or(listed) {
                let passes = |value: &String| checks.iter().all(|check| check.holds(value));
                exact.insert(label, values.into_iter().filter(passes).collect());
            } else {
                rest.insert(label, checks);
            }
        }
        Some(Self { alternative: rule.map(|(number, _)| number), exact, rest: Conditions::new(rest) })
    }

    /// One for each combination of values.
    fn ways(self) -> impl Iterator<Item = Way> {
        let mut combinations = vec![BTreeMap::new()];
        for (label, values) in &self.exact {
            let with = |before: &BTreeMap<Label, String>, value: &String| {
                let mut exact = before.clone();
                exact.insert(label.clone(), value.clone());
                exact
            };
            combinations =
                combinations.iter().flat_map(|before| values.iter().map(move |value| with(before, value))).collect();
        }
        combinations.into_iter().map(move |exact| Way { exact, rest: self.rest.clone(), alternative: self.alternative })
    }

    /// The way in which a request meets this.
    fn met_by(self, facts: &Facts<'_>) -> Option<Way> {
        if self.rest.as_ref().is_some_and(|rest| !rest.hold(facts)) {
            return None;
        }
        let met = |(label, values): (Label, BTreeSet<String>)| {
            let value = facts.value(&label).to_owned();
            values.contains(&value).then_some((label, value))
        };
        let exact = self.exact.into_iter().map(met).collect::<Option<_>>()?;
        Some(Way { exact, rest: self.rest, alternative: self.alternative })
    }
}

/// What the group asks for, by each of its alternatives or by its selector alone.
fn asked(group: &Group) -> impl Iterator<Item = Asked> {
    let selector = normal_selector(&group.selector);
    let alone = group.rules.is_empty().then_some(None);
    let rules = (0_u32..).zip(&group.rules).map(Some);
    alone.into_iter().chain(rules).filter_map(move |rule| Asked::of(selector.as_ref()?, rule))
}

/// In how many ways the group can match at most: some may be equal, or impossible.
#[must_use]
pub(super) fn ways_len(group: &Group) -> usize {
    if group.rules.is_empty() {
        return 1;
    }
    group.rules.iter().map(|rule| combinations(group, rule)).fold(0, usize::saturating_add)
}

/// How many bytes the labels and exact values of all ways have together, counted without making them.
#[must_use]
pub(super) fn ways_bytes(group: &Group) -> usize {
    let selector: usize = group.selector.iter().map(|(name, value)| name.len() + value.len()).sum();
    let of_rule = |rule: &Alternative| {
        let ways = combinations(group, rule);
        // Each value of a list is in as many ways as all other lists have combinations.
        let of_list = |(name, values): (&String, &[String])| {
            let bytes: usize = values.iter().map(|value| name.len() + value.len()).sum();
            bytes.saturating_mul(ways / values.len().max(1))
        };
        lists(group, rule).map(of_list).fold(selector.saturating_mul(ways), usize::saturating_add)
    };
    group.rules.iter().map(of_rule).fold(0, usize::saturating_add)
}

/// The labels of an alternative that it lists values of, and these; without those that the selector has fixed.
fn lists<'a>(group: &'a Group, rule: &'a Alternative) -> impl Iterator<Item = (&'a String, &'a [String])> {
    let is_free = move |name: &String| name.as_str() == ADDRESS_LABEL || !group.selector.contains_key(name);
    rule.iter().filter(move |(name, _)| is_free(name)).flat_map(|(name, condition)| {
        let listed = condition.iter().filter(|test| matches!(test, Test::In(_)));
        listed.map(move |test| (name, test.values()))
    })
}

fn combinations(group: &Group, rule: &Alternative) -> usize {
    lists(group, rule).map(|(_, values)| values.len()).fold(1, usize::saturating_mul)
}

/// The alternatives of a group that nothing can meet, counted from 0: none of the values they list, or that the selector
/// fixes, passes their other tests.
#[must_use]
pub fn impossible_alternatives(group: &Group) -> Vec<u32> {
    let Some(selector) = normal_selector(&group.selector) else { return Vec::new() };
    let is_impossible = |(number, rule): &(u32, &Alternative)| {
        let asked = Asked::of(&selector, Some((*number, *rule)));
        asked.is_none_or(|asked| asked.exact.values().any(BTreeSet::is_empty))
    };
    (0_u32..).zip(&group.rules).filter(is_impossible).map(|(number, _)| number).collect()
}

/// Whether some way of the group may ask more than exact values.
#[must_use]
pub(super) fn has_patterns(group: &Group) -> bool {
    group.rules.iter().flatten().any(|(_, condition)| !condition.iter().any(|test| matches!(test, Test::In(_))))
}

/// All ways in which the group can match; none if there are too many, which is refused before a group is stored.
#[must_use]
pub(super) fn ways(group: &Group) -> Vec<Way> {
    if ways_len(group) > WAYS_MAX {
        return Vec::new();
    }
    if group.rules.is_empty() {
        let said = |(name, value)| (Label::Said(name), value);
        let exact = normal_selector(&group.selector).map(|selector| selector.into_iter().map(said).collect());
        return exact.map(|exact| Way { exact, rest: None, alternative: None }).into_iter().collect();
    }
    asked(group).flat_map(|asked| asked.ways()).collect()
}

/// The ways in which the group matches a request, one for each alternative that holds: the plain definition that the
/// index must agree with.
pub(super) fn ways_met(group: &Group, facts: &Facts<'_>) -> impl Iterator<Item = Way> {
    asked(group).filter_map(|asked| asked.met_by(facts))
}
