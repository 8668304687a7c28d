//! Finds the group for a machine's labels without looking at every group.
//!
//! Groups are filed by the set of label names they ask for (their shape) and, within a shape, by the values. A request
//! costs one look-up per shape, however many groups there are. The order is matchbox's: most selectors first, then
//! the greatest text of sorted `key=value` pairs, then the lowest id.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use imbl::{OrdMap, OrdSet};

use super::objects::Group;
use crate::types::Mac;

/// Label names a group asks for, most of them first.
type Shape = (Reverse<usize>, Vec<String>);

/// The groups that ask for the same values of the same labels.
#[derive(Debug, Clone, Default)]
struct Bucket {
    rank: String,
    ids: OrdSet<String>,
}

/// Derived from the groups; never stored.
#[derive(Debug, Clone, Default)]
pub struct SelectorIndex {
    shapes: OrdMap<Shape, OrdMap<Vec<String>, Bucket>>,
}

impl SelectorIndex {
    /// Files `group`. A group whose selector cannot be normalised is left out: it can match nothing.
    pub(super) fn insert(&mut self, group: &Group) {
        let Some(selector) = normal_selector(&group.selector) else { return };
        let (shape, values) = file_under(&selector);
        let buckets = self.shapes.entry(shape).or_default();
        let bucket = buckets.entry(values).or_insert_with(|| Bucket { rank: rank(&selector), ids: OrdSet::new() });
        bucket.ids.insert(group.id.clone());
    }

    /// Takes `group` out again.
    pub(super) fn remove(&mut self, group: &Group) {
        let Some(selector) = normal_selector(&group.selector) else { return };
        let (shape, values) = file_under(&selector);
        let Some(buckets) = self.shapes.get_mut(&shape) else { return };
        if let Some(bucket) = buckets.get_mut(&values) {
            bucket.ids.remove(&group.id);
            if bucket.ids.is_empty() {
                buckets.remove(&values);
            }
        }
        if buckets.is_empty() {
            self.shapes.remove(&shape);
        }
    }

    /// The id of the group that wins for these labels; a label that is absent counts as empty.
    #[must_use]
    pub fn find(&self, labels: &BTreeMap<String, String>) -> Option<&str> {
        let mut best: Option<(usize, &Bucket)> = None;
        for ((Reverse(count), names), buckets) in &self.shapes {
            if best.is_some_and(|(found, _)| found > *count) {
                break;
            }
            let values: Vec<String> = names.iter().map(|name| labels.get(name).cloned().unwrap_or_default()).collect();
            let Some(bucket) = buckets.get(&values) else { continue };
            if best.is_none_or(|(_, other)| beats(bucket, other)) {
                best = Some((*count, bucket));
            }
        }
        best.and_then(|(_, bucket)| bucket.ids.get_min()).map(String::as_str)
    }

    /// Ids of the groups whose selector means the same as `group`'s, itself included if filed.
    pub fn equals_of(&self, group: &Group) -> impl Iterator<Item = &str> {
        let bucket = normal_selector(&group.selector).and_then(|selector| {
            let (shape, values) = file_under(&selector);
            self.shapes.get(&shape)?.get(&values)
        });
        bucket.into_iter().flat_map(|bucket| bucket.ids.iter().map(String::as_str))
    }
}

fn beats(bucket: &Bucket, other: &Bucket) -> bool {
    (&bucket.rank, Reverse(bucket.ids.get_min())) > (&other.rank, Reverse(other.ids.get_min()))
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

fn file_under(selector: &BTreeMap<String, String>) -> (Shape, Vec<String>) {
    let names: Vec<String> = selector.keys().cloned().collect();
    ((Reverse(names.len()), names), selector.values().cloned().collect())
}

fn rank(selector: &BTreeMap<String, String>) -> String {
    let mut pairs: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.sort_unstable();
    pairs.join(",")
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
        assert_eq!(index.find(&map(labels)), want, "labels {labels:?} among {groups:?}");
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
        assert_eq!(index.find(&map("os=x")), None);
        assert!(index.shapes.is_empty());
    }
}
