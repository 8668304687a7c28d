//! Why a request gets the group it gets: every group that matches, in order, and what fails for those that nearly do.
//!
//! It looks at every group and each of its conditions, and not into the index; tests hold that both agree.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::condition::{Check, Facts, Label};
use super::objects::Group;
use super::rules::Test;
use super::select::normal_selector;
use super::ways::{Way, exact_text, ways_met};
use super::{State, Stored};

/// What is asked of `State::explain`.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What the machine says, with MAC addresses in normal form.
    pub labels: &'a BTreeMap<String, String>,
    /// Where it asks from.
    pub address: Option<IpAddr>,
    /// A group that is to be among those shown, wherever it stands.
    pub group: Option<&'a str>,
    /// How many groups of each list are shown.
    pub limit: usize,
}

/// Which group wins, and why.
#[derive(Debug, Clone, Default)]
pub struct Explanation {
    /// Groups that match, the winner first.
    pub matching: Vec<Candidate>,
    /// How many there are in all.
    pub matching_len: usize,
    /// Groups that do not match although something they ask for holds, those with the fewest failures first.
    pub failing: Vec<Failing>,
    /// How many there are in all.
    pub failing_len: usize,
}

/// A group that matches.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The group.
    pub group: Arc<Stored<Group>>,
    /// The best of its alternatives that hold; `None`: it has none.
    pub alternative: Option<u32>,
    /// How many labels it asks for there.
    pub labels: usize,
    /// For how many of them it asks exact values.
    pub exact: usize,
    /// Those labels as `key=value`, and its other conditions: what decides between equals.
    pub text: String,
    /// Why it loses against the first one; `None`: it is the first.
    pub lost: Option<Lost>,
}

/// Why a group that matches loses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// It asks for fewer labels.
    FewerLabels,
    /// It asks for as many labels, and for exact values of fewer.
    FewerExact,
    /// It asks for as much, and its text comes first.
    LesserText,
    /// It asks for the same, and its id comes later.
    LaterId,
}

/// A group that does not match.
#[derive(Debug, Clone)]
pub struct Failing {
    /// The group.
    pub group: Arc<Stored<Group>>,
    /// The alternative with the fewest failures; `None`: it has none.
    pub alternative: Option<u32>,
    /// How many of the labels it asks for hold.
    pub held: usize,
    /// What fails.
    pub failed: Vec<Failed>,
}

/// A condition that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Where it is written: `selector.os`, `match[1].serial.glob`.
    pub field: String,
    /// The label it is about.
    pub label: String,
    /// What it asks, as written.
    pub asked: Vec<String>,
    /// The value of the label; `None`: it is absent, and has the empty value.
    pub found: Option<String>,
}

impl State {
    /// Says which group wins for a request, and what speaks against others. Looks at every group.
    #[must_use]
    pub fn explain(&self, question: Question<'_>) -> Explanation {
        let facts = Facts::new(question.labels, question.address);
        let mut matching: Vec<(Way, &Arc<Stored<Group>>)> = Vec::new();
        let mut failing: Vec<(Score, &Arc<Stored<Group>>)> = Vec::new();
        for group in self.groups() {
            let named = question.group == Some(group.value.id.as_str());
            match ways_met(&group.value, &facts).max_by(|one, other| rank(one).cmp(&rank(other))) {
                Some(way) => matching.push((way, group)),
                None => {
                    let score = score(&group.value, &facts);
                    if score.held > 0 || named {
                        failing.push((score, group));
                    }
                }
            }
        }
        matching.sort_by(|(one, group), (other, next)| {
            rank(other).cmp(&rank(one)).then_with(|| group.value.id.cmp(&next.value.id))
        });
        failing.sort_by_key(|(score, group)| (score.failed, Reverse(score.held), &group.value.id));
        let (matching_len, failing_len) = (matching.len(), failing.len());
        let first = matching.first().map(|(way, _)| way.clone());
        let shown =
            |at: usize, group: &Stored<Group>| at < question.limit || question.group == Some(group.value.id.as_str());
        Explanation {
            matching: (0_usize..)
                .zip(matching)
                .filter(|(at, (_, group))| shown(*at, group))
                .map(|(at, (way, group))| candidate(group, &way, first.as_ref().filter(|_| at > 0)))
                .collect(),
            matching_len,
            failing: (0_usize..)
                .zip(failing)
                .filter(|(at, (_, group))| shown(*at, group))
                .map(|(_, (score, group))| Failing {
                    group: group.clone(),
                    alternative: score.alternative,
                    held: score.held,
                    failed: failed(&group.value, score.alternative, &facts),
                })
                .collect(),
            failing_len,
        }
    }
}

/// What decides between ways of different groups, before their ids.
fn rank(way: &Way) -> (super::ways::Weight, String, &str) {
    (way.weight(), exact_text(way.exact.iter()), way.rest.as_ref().map_or("", |rest| rest.text()))
}

fn candidate(group: &Arc<Stored<Group>>, way: &Way, winner: Option<&Way>) -> Candidate {
    let ((labels, exact), exact_text, rest) = rank(way);
    let lost = winner.map(|winner| {
        let (weight, text, other) = rank(winner);
        match weight {
            (more, _) if more > labels => Lost::FewerLabels,
            (_, more) if more > exact => Lost::FewerExact,
            _ if (text.as_str(), other) > (exact_text.as_str(), rest) => Lost::LesserText,
            _ => Lost::LaterId,
        }
    });
    let parts = [exact_text.as_str(), rest];
    let text = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    Candidate { group: group.clone(), alternative: way.alternative, labels, exact, text, lost }
}

/// How a group that does not match comes off, by the alternative that does best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Score {
    failed: usize,
    held: usize,
    alternative: Option<u32>,
}

fn score(group: &Group, facts: &Facts<'_>) -> Score {
    let selector = pairs(group, facts);
    let held = selector.iter().filter(|(.., holds)| *holds).count();
    let failed = selector.len() - held;
    let by_rule = (0_u32..).zip(&group.rules).map(|(number, rule)| {
        let mut score = Score { failed, held, alternative: Some(number) };
        for (name, condition) in rule {
            let label = Label::of(name);
            let failures = condition.iter().filter(|test| !holds(&label, test, facts)).count();
            score.failed += failures;
            score.held += usize::from(failures == 0);
        }
        score
    });
    by_rule.min_by_key(|score| (score.failed, Reverse(score.held))).unwrap_or(Score { failed, held, alternative: None })
}

fn failed(group: &Group, alternative: Option<u32>, facts: &Facts<'_>) -> Vec<Failed> {
    let failed = |field: String, label: &Label, asked: Vec<String>| Failed {
        field,
        label: label.name().to_owned(),
        asked,
        found: facts.known(label).map(str::to_owned),
    };
    let pairs = pairs(group, facts).into_iter().filter(|(.., holds)| !holds);
    let mut all: Vec<Failed> = pairs
        .map(|(name, value, _)| {
            failed(format!("selector.{name}"), &Label::Said(name.to_owned()), vec![value.to_owned()])
        })
        .collect();
    let Some((number, rule)) = alternative.and_then(|number| Some((number, group.rules.get(number as usize)?))) else {
        return all;
    };
    for (name, condition) in rule {
        let label = Label::of(name);
        for test in condition.iter().filter(|test| !holds(&label, test, facts)) {
            let asked = match test {
                Test::Present(wanted) => vec![wanted.to_string()],
                other => other.values().to_vec(),
            };
            all.push(failed(format!("match[{number}].{name}.{}", test.name()), &label, asked));
        }
    }
    all
}

/// The selector's labels and values as written, and whether each holds.
fn pairs<'a>(group: &'a Group, facts: &Facts<'_>) -> Vec<(&'a str, &'a str, bool)> {
    let asked = group.selector.iter().map(|(name, value)| {
        let one = BTreeMap::from([(name.clone(), value.clone())]);
        let wanted = normal_selector(&one).and_then(|mut one| one.remove(name));
        let found = facts.value(&Label::Said(name.clone()));
        (name.as_str(), value.as_str(), wanted.is_some_and(|wanted| wanted == found))
    });
    asked.collect()
}

fn holds(label: &Label, test: &Test, facts: &Facts<'_>) -> bool {
    Check::read(label, test).is_ok_and(|check| check.holds(facts.value(label)))
}
