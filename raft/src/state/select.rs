//! Finds the group for a machine's labels without looking at every group.
//!
//! Each way in which a group can match is filed by the set of label names it asks exact values of (its shape) and, within
//! a shape, by the values. A request costs one look-up per shape, however many groups there are; conditions on other
//! labels are checked for the few that are found so. The order is: most labels first, then most exact ones, then the
//! greatest text of sorted `key=value` pairs, then the greatest text of the other conditions, then the lowest id. For
//! groups without alternatives that is matchbox's.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound::{Included, Unbounded};
use std::sync::Arc;

use imbl::OrdMap;

use super::condition::{Conditions, Facts, Label};
use super::objects::Group;
use super::ways::{Way, Weight, exact_text, has_patterns, ways};
use crate::types::Mac;

/// How many labels a way asks for and how many of them for exact values, most first; and the names of the latter.
type Shape = (Reverse<Weight>, Vec<Label>);

/// Where a way is filed within its shape: those with the same exact values beside each other, the best first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    values: Vec<String>,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// Before all that have these values.
    First,
    /// That of a group.
    Of(Reverse<Option<Arc<Conditions>>>, String),
}

/// Derived from the groups; never stored.
#[derive(Debug, Clone, Default)]
pub struct SelectorIndex {
    /// The alternative that each filed way is of.
    shapes: OrdMap<Shape, OrdMap<Slot, Option<u32>>>,
    /// Comparisons that ways with the same exact labels may take together; without those that take none.
    crowds: OrdMap<Vec<(Label, String)>, usize>,
    /// How many ways belong to groups with alternatives.
    ruled: usize,
}

/// A filed way that fits a request.
#[derive(Clone, Copy)]
struct Found<'a> {
    names: &'a [Label],
    slot: &'a Slot,
    alternative: Option<u32>,
}

impl<'a> Found<'a> {
    fn id(self) -> &'a str {
        match &self.slot.place {
            Place::Of(_, id) => id,
            Place::First => "",
        }
    }

    fn rest(self) -> Option<&'a Conditions> {
        match &self.slot.place {
            Place::Of(Reverse(rest), _) => rest.as_deref(),
            Place::First => None,
        }
    }

    /// Between two of the same weight.
    fn beats(self, other: Self) -> bool {
        let rank =
            |found: Self| (exact_text(found.names.iter().zip(&found.slot.values)), found.rest(), Reverse(found.id()));
        rank(self) > rank(other)
    }
}

impl SelectorIndex {
    /// Files `group`. A group whose selector cannot be normalised is left out: it can match nothing.
    pub(super) fn insert(&mut self, group: &Group) {
        for way in ways(group) {
            let (crowd, weight) = crowd(&way);
            let alternative = way.alternative;
            let (shape, slot) = file_under(way, &group.id);
            let slots = self.shapes.entry(shape).or_default();
            if slots.contains_key(&slot) {
                // Two alternatives that mean the same: the first one counts.
                continue;
            }
            slots.insert(slot, alternative);
            self.ruled += usize::from(alternative.is_some());
            if weight > 0 {
                *self.crowds.entry(crowd).or_insert(0) += weight;
            }
        }
    }

    /// Takes `group` out again.
    pub(super) fn remove(&mut self, group: &Group) {
        for way in ways(group) {
            let (crowd, weight) = crowd(&way);
            let (shape, slot) = file_under(way, &group.id);
            let Some(slots) = self.shapes.get_mut(&shape) else { continue };
            let Some(alternative) = slots.remove(&slot) else { continue };
            if slots.is_empty() {
                self.shapes.remove(&shape);
            }
            self.ruled -= usize::from(alternative.is_some());
            match self.crowds.get(&crowd).copied() {
                Some(all) if all > weight => drop(self.crowds.insert(crowd, all - weight)),
                _ => drop(self.crowds.remove(&crowd)),
            }
        }
    }

    /// The id of the group that wins for a request, and by which of its alternatives.
    #[must_use]
    pub(super) fn find(&self, facts: &Facts<'_>) -> Option<(&str, Option<u32>)> {
        let mut best: Option<(Weight, Found<'_>)> = None;
        for ((Reverse(weight), names), slots) in &self.shapes {
            if best.is_some_and(|(found, _)| found > *weight) {
                break;
            }
            let values: Vec<String> = names.iter().map(|label| facts.value(label).to_owned()).collect();
            let from = Slot { values, place: Place::First };
            let same =
                slots.range::<_, Slot>((Included(&from), Unbounded)).take_while(|(slot, _)| slot.values == from.values);
            let mut found = same.map(|(slot, alternative)| Found { names, slot, alternative: *alternative });
            let Some(found) = found.find(|found| found.rest().is_none_or(|rest| rest.hold(facts))) else { continue };
            if best.is_none_or(|(_, other)| found.beats(other)) {
                best = Some((*weight, found));
            }
        }
        best.map(|(_, found)| (found.id(), found.alternative))
    }

    /// The groups that ask for the same in one way as `group` in one of its ways, each with the alternative of `group`;
    /// itself included if filed.
    pub fn equals_of<'a>(&'a self, group: &Group) -> impl Iterator<Item = (&'a str, Option<u32>)> + use<'a> {
        ways(group).into_iter().flat_map(|way| {
            let alternative = way.alternative;
            let (shape, from) = file_under(way, "");
            let equal = self.shapes.get(&shape).into_iter().flat_map(move |slots| {
                let same_place = |slot: &Slot| match (&slot.place, &from.place) {
                    (Place::Of(rest, _), Place::Of(wanted, _)) => rest == wanted,
                    _ => false,
                };
                let equal: Vec<&str> = slots
                    .range::<_, Slot>((Included(&from), Unbounded))
                    .map(|(slot, _)| slot)
                    .take_while(|slot| slot.values == from.values && same_place(slot))
                    .filter_map(|slot| match &slot.place {
                        Place::Of(_, id) => Some(id.as_str()),
                        Place::First => None,
                    })
                    .collect();
                equal
            });
            equal.map(move |id| (id, alternative))
        })
    }

    /// How many ways belong to groups with alternatives.
    #[must_use]
    pub(super) fn ruled_len(&self) -> usize {
        self.ruled
    }

    /// How many comparisons a request may take that asks for the same exact values as `group` in one of its ways.
    #[must_use]
    pub(super) fn crowd_of(&self, group: &Group) -> usize {
        if !has_patterns(group) {
            return 0;
        }
        let patterned = ways(group).into_iter().filter(|way| way.rest.is_some());
        patterned.filter_map(|way| self.crowds.get(&crowd(&way).0).copied()).max().unwrap_or(0)
    }
}

/// Its exact labels, and how many comparisons its other conditions may take.
fn crowd(way: &Way) -> (Vec<(Label, String)>, usize) {
    let Some(rest) = &way.rest else { return (Vec::new(), 0) };
    (way.exact.iter().map(|(label, value)| (label.clone(), value.clone())).collect(), rest.weight())
}

/// The selector as it is matched: the value of a key that reads `mac` in any case is a MAC in lower-case colon form.
///
/// `None` if that value is not a MAC address.
#[must_use]
pub fn normal_selector(selector: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    selector
        .iter()
        .map(|(key, value)| {
            let value =
                if key.eq_ignore_ascii_case("mac") { value.parse::<Mac>().ok()?.to_string() } else { value.clone() };
            Some((key.clone(), value))
        })
        .collect()
}

fn file_under(way: Way, id: &str) -> (Shape, Slot) {
    let weight = way.weight();
    let (names, values) = way.exact.into_iter().unzip();
    ((Reverse(weight), names), Slot { values, place: Place::Of(Reverse(way.rest), id.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str) -> BTreeMap<String, String> {
        let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    fn check(groups: &[(&str, &str)], labels: &str, want: Option<&str>) {
        let mut index = SelectorIndex::default();
        for (id, selector) in groups {
            index.insert(&Group { id: (*id).to_owned(), selector: map(selector), ..Group::default() });
        }
        let labels = map(labels);
        let found = index.find(&Facts::new(&labels, None)).map(|(id, _)| id);
        assert_eq!(found, want, "labels {labels:?} among {groups:?}");
    }

    #[test]
    fn most_selectors_win_then_the_greatest_text_then_the_lowest_id() {
        check(
            &[("d", ""), ("a", "os=x"), ("b", "os=x mac=52:54:00:12:34:56")],
            "os=x mac=52:54:00:12:34:56",
            Some("b"),
        );
        check(&[("one", "a=1 k=1"), ("two", "k=1 z=1")], "k=1 z=1 a=1", Some("two"));
        check(&[("d2", ""), ("d1", "")], "anything=1", Some("d1"));
        check(&[("a", "os=x")], "os=y", None);
    }

    #[test]
    fn a_missing_label_equals_an_empty_selector_value() {
        check(&[("e", "os="), ("d", "")], "", Some("e"));
        check(&[("e", "os="), ("d", "")], "os=x", Some("d"));
    }

    #[test]
    fn mac_selectors_match_in_normal_form_and_invalid_ones_never() {
        check(&[("m", "mac=52-54-00-12-AB-56")], "mac=52:54:00:12:ab:56", Some("m"));
        check(&[("bad", "mac=nonsense")], "mac=nonsense", None);
    }

    #[test]
    fn a_removed_group_matches_no_more() {
        let group = Group { id: "g".into(), selector: map("os=x"), ..Group::default() };
        let mut index = SelectorIndex::default();
        index.insert(&group);
        index.remove(&group);
        let labels = map("os=x");
        assert_eq!(index.find(&Facts::new(&labels, None)), None);
        assert!(index.shapes.is_empty());
    }
}
