//! Conditions as they are checked: labels and values in normal form, and the one place that says whether they hold.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::sync::Arc;

use super::pattern::{Subnet, glob};
use super::rules::{Condition, Test};
use crate::types::Mac;

/// The label that only alternatives know: where the request comes from, whatever it says itself.
pub const ADDRESS_LABEL: &str = "address";

/// A label as conditions name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Label {
    /// One that the machine says.
    Said(String),
    /// Its address.
    Address,
}

impl Label {
    /// The label an alternative means by this name.
    #[must_use]
    pub(super) fn of(name: &str) -> Self {
        if name == ADDRESS_LABEL { Self::Address } else { Self::Said(name.to_owned()) }
    }

    /// As written.
    #[must_use]
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Said(name) => name,
            Self::Address => ADDRESS_LABEL,
        }
    }

    fn is_mac(&self) -> bool {
        matches!(self, Self::Said(name) if name.eq_ignore_ascii_case("mac"))
    }

    /// A value this label may have, in the form it is compared in.
    ///
    /// # Errors
    /// Why it can never have that value.
    fn normal(&self, value: &str) -> Result<String, String> {
        match self {
            Self::Said(_) if self.is_mac() => {
                value.parse::<Mac>().map(|mac| mac.to_string()).map_err(|error| error.to_string())
            }
            Self::Said(_) => Ok(value.to_owned()),
            Self::Address => value
                .parse::<IpAddr>()
                .map(|address| address.to_canonical().to_string())
                .map_err(|_| format!("`{}` is not an IP address", value.escape_debug())),
        }
    }

    /// A pattern for this label. MAC addresses are compared in lower case with colons.
    fn normal_pattern(&self, pattern: &str) -> String {
        if self.is_mac() { pattern.to_ascii_lowercase().replace('-', ":") } else { pattern.to_owned() }
    }
}

/// What is known of a request when a group is looked for.
#[derive(Debug, Clone)]
pub(super) struct Facts<'a> {
    labels: &'a BTreeMap<String, String>,
    /// Empty: unknown.
    address: String,
}

impl<'a> Facts<'a> {
    /// MAC labels are in normal form already.
    #[must_use]
    pub(super) fn new(labels: &'a BTreeMap<String, String>, address: Option<IpAddr>) -> Self {
        let address = address.map(|address| address.to_canonical().to_string()).unwrap_or_default();
        Self { labels, address }
    }

    /// The value of a label; an absent one has the empty value.
    #[must_use]
    pub(super) fn value(&self, label: &Label) -> &str {
        self.known(label).unwrap_or_default()
    }

    /// The value of a label that is there.
    #[must_use]
    pub(super) fn known(&self, label: &Label) -> Option<&str> {
        match label {
            Label::Said(name) => self.labels.get(name).map(String::as_str),
            Label::Address => Some(self.address.as_str()).filter(|address| !address.is_empty()),
        }
    }
}

/// A test as it is checked. Equal checks mean the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Check {
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Glob(BTreeSet<String>),
    NotGlob(BTreeSet<String>),
    Subnet(BTreeSet<Subnet>),
    NotSubnet(BTreeSet<Subnet>),
    Present(bool),
}

impl Check {
    /// The check that a test of this label stands for.
    ///
    /// # Errors
    /// Which of its values cannot be read, and why.
    pub(super) fn read(label: &Label, test: &Test) -> Result<Self, (usize, String)> {
        fn all<T: Ord>(
            values: &[String],
            read: impl Fn(&str) -> Result<T, String>,
        ) -> Result<BTreeSet<T>, (usize, String)> {
            let read = |(at, value): (usize, &String)| read(value).map_err(|error| (at, error));
            values.iter().enumerate().map(read).collect()
        }
        Ok(match test {
            Test::In(values) => Self::In(all(values, |value| label.normal(value))?),
            Test::NotIn(values) => Self::NotIn(all(values, |value| label.normal(value))?),
            Test::Glob(patterns) => Self::Glob(all(patterns, |pattern| Ok(label.normal_pattern(pattern)))?),
            Test::NotGlob(patterns) => Self::NotGlob(all(patterns, |pattern| Ok(label.normal_pattern(pattern)))?),
            Test::Subnet(networks) => Self::Subnet(all(networks, str::parse)?),
            Test::NotSubnet(networks) => Self::NotSubnet(all(networks, str::parse)?),
            Test::Present(wanted) => Self::Present(*wanted),
        })
    }

    /// Whether a label with this value passes.
    #[must_use]
    pub(super) fn holds(&self, value: &str) -> bool {
        let fits = |patterns: &BTreeSet<String>| patterns.iter().any(|pattern| glob(pattern, value));
        let lies_in = |networks: &BTreeSet<Subnet>| {
            value.parse::<IpAddr>().is_ok_and(|address| networks.iter().any(|network| network.holds(address)))
        };
        match self {
            Self::In(values) => values.contains(value),
            Self::NotIn(values) => !values.contains(value),
            Self::Glob(patterns) => fits(patterns),
            Self::NotGlob(patterns) => !fits(patterns),
            Self::Subnet(networks) => lies_in(networks),
            Self::NotSubnet(networks) => !lies_in(networks),
            Self::Present(wanted) => *wanted != value.is_empty(),
        }
    }

    /// How many comparisons it may take.
    #[must_use]
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::In(_) | Self::NotIn(_) | Self::Present(_) => 1,
            Self::Glob(patterns) | Self::NotGlob(patterns) => patterns.len(),
            Self::Subnet(networks) | Self::NotSubnet(networks) => networks.len(),
        }
    }
}

/// Values as a JSON list, so that no value can be taken for two.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = |values: &BTreeSet<String>| serde_json::to_string(values).map_err(|_| fmt::Error);
        let networks = |networks: &BTreeSet<Subnet>| {
            let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
            serde_json::to_string(&networks).map_err(|_| fmt::Error)
        };
        match self {
            Self::In(values) => write!(f, "in {}", texts(values)?),
            Self::NotIn(values) => write!(f, "not_in {}", texts(values)?),
            Self::Glob(patterns) => write!(f, "glob {}", texts(patterns)?),
            Self::NotGlob(patterns) => write!(f, "not_glob {}", texts(patterns)?),
            Self::Subnet(subnets) => write!(f, "subnet {}", networks(subnets)?),
            Self::NotSubnet(subnets) => write!(f, "not_subnet {}", networks(subnets)?),
            Self::Present(wanted) => write!(f, "present {wanted}"),
        }
    }
}

/// The checks of one label, sorted; `None` if a value cannot be read.
#[must_use]
pub(super) fn checks(label: &Label, condition: &Condition) -> Option<Vec<Check>> {
    let mut checks: Vec<Check> = condition.iter().map(|test| Check::read(label, test).ok()).collect::<Option<_>>()?;
    checks.sort();
    checks.dedup();
    Some(checks)
}

/// Conditions on labels that have no fixed value; never empty. Their order is that of their text.
#[derive(Debug)]
pub(super) struct Conditions {
    checks: BTreeMap<Label, Vec<Check>>,
    /// Equal exactly if they mean the same.
    text: String,
}

impl Conditions {
    /// `None` if there is no label.
    #[must_use]
    pub(super) fn new(checks: BTreeMap<Label, Vec<Check>>) -> Option<Arc<Self>> {
        let mut text = String::new();
        for (label, check) in checks.iter().flat_map(|(label, checks)| checks.iter().map(move |check| (label, check))) {
            let name = serde_json::to_string(label.name()).unwrap_or_default();
            let _ = write!(text, "{}{name} {check}", if text.is_empty() { "" } else { ", " });
        }
        (!checks.is_empty()).then(|| Arc::new(Self { checks, text }))
    }

    /// How many labels they are about.
    #[must_use]
    pub(super) fn labels_len(&self) -> usize {
        self.checks.len()
    }

    /// How many comparisons they may take.
    #[must_use]
    pub(super) fn weight(&self) -> usize {
        self.checks.values().flatten().map(Check::weight).sum()
    }

    /// As text.
    #[must_use]
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether all of them hold.
    #[must_use]
    pub(super) fn hold(&self, facts: &Facts<'_>) -> bool {
        self.checks.iter().all(|(label, checks)| {
            let value = facts.value(label);
            checks.iter().all(|check| check.holds(value))
        })
    }
}

impl PartialEq for Conditions {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Conditions {}

impl PartialOrd for Conditions {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Conditions {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(label: &str, test: Test, cases: &[(&str, bool)]) {
        let check = Check::read(&Label::of(label), &test).unwrap();
        for (value, want) in cases {
            assert_eq!(check.holds(value), *want, "{label} {test:?} {value}");
        }
    }

    fn texts(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn each_test_says_what_it_is_named_after() {
        check("os", Test::In(texts(&["a", ""])), &[("a", true), ("", true), ("b", false), ("A", false)]);
        check("os", Test::NotIn(texts(&["a", "b"])), &[("a", false), ("", true), ("c", true)]);
        check("serial", Test::Glob(texts(&["AB*", "?"])), &[("AB1", true), ("x", true), ("", false), ("xAB", false)]);
        check("serial", Test::NotGlob(texts(&["AB*"])), &[("AB1", false), ("", true)]);
        check(
            "address",
            Test::Subnet(texts(&["10.0.0.0/8", "2001:db8::/32"])),
            &[("10.1.2.3", true), ("2001:db8::7", true), ("192.0.2.1", false), ("", false), ("10.1", false)],
        );
        check("address", Test::NotSubnet(texts(&["10.0.0.0/8"])), &[("10.1.2.3", false), ("", true)]);
        check("asset", Test::Present(true), &[("x", true), ("", false)]);
        check("asset", Test::Present(false), &[("x", false), ("", true)]);
    }

    #[test]
    fn macs_and_addresses_are_compared_in_normal_form() {
        let mac = "52:54:00:12:ab:56";
        check("mac", Test::In(texts(&["52-54-00-12-AB-56"])), &[(mac, true)]);
        check("MAC", Test::NotIn(texts(&["5254.0012.AB56"])), &[(mac, false)]);
        check("Mac", Test::Glob(texts(&["52-54-00-*", "*:AB:??"])), &[(mac, true), ("52:55:00:12:aa:56", false)]);
        check("address", Test::In(texts(&["2001:DB8::0:7"])), &[("2001:db8::7", true)]);
        check("address", Test::In(texts(&["::ffff:192.0.2.7"])), &[("192.0.2.7", true)]);
    }

    #[test]
    fn values_that_nothing_could_have_are_named() {
        let bad = |label: &str, test: Test| Check::read(&Label::of(label), &test).unwrap_err();
        assert_eq!(bad("mac", Test::In(texts(&["52:54:00:12:34:56", "zz"]))).0, 1);
        assert!(bad("address", Test::NotIn(texts(&["host"]))).1.contains("not an IP address"));
        assert!(bad("address", Test::Subnet(texts(&["10.0.0.0/8", "10.0.0.1/8"]))).1.contains("within the network"));
    }

    #[test]
    fn the_address_is_that_of_the_request_and_not_what_it_says() {
        let labels = BTreeMap::from([("address".to_owned(), "10.0.0.1".to_owned())]);
        let facts = Facts::new(&labels, Some("::ffff:192.0.2.7".parse().unwrap()));
        assert_eq!(facts.value(&Label::of("address")), "192.0.2.7");
        assert_eq!(facts.value(&Label::Said("address".into())), "10.0.0.1", "a selector asks what the machine says");
        assert_eq!(Facts::new(&labels, None).known(&Label::Address), None);
    }
}
