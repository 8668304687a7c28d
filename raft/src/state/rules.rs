//! The richer selector of a group as it is stored: alternatives, each of them conditions on labels.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::objects::Group;

/// One way to match: every label it names must meet its condition.
pub type Alternative = BTreeMap<String, Condition>;

/// What is asked of one label: all of these tests, each kind at most once.
pub type Condition = Vec<Test>;

/// One question about a label's value; a label that is absent has the empty value. Variants are only ever added at the
/// end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Test {
    /// It is one of these.
    In(Vec<String>),
    /// It is none of these.
    NotIn(Vec<String>),
    /// One of these patterns fits.
    Glob(Vec<String>),
    /// None of these patterns fits.
    NotGlob(Vec<String>),
    /// It is an IP address in one of these networks.
    Subnet(Vec<String>),
    /// It is no IP address in one of these networks.
    NotSubnet(Vec<String>),
    /// It is not empty, or (`false`) it is.
    Present(bool),
}

impl Test {
    /// The word for it in JSON and in messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::In(_) => "in",
            Self::NotIn(_) => "not_in",
            Self::Glob(_) => "glob",
            Self::NotGlob(_) => "not_glob",
            Self::Subnet(_) => "subnet",
            Self::NotSubnet(_) => "not_subnet",
            Self::Present(_) => "present",
        }
    }

    /// What the value is compared with, as written; nothing for `present`.
    #[must_use]
    pub fn values(&self) -> &[String] {
        match self {
            Self::In(values)
            | Self::NotIn(values)
            | Self::Glob(values)
            | Self::NotGlob(values)
            | Self::Subnet(values)
            | Self::NotSubnet(values) => values,
            Self::Present(_) => &[],
        }
    }
}

/// A group with rules, for edits and records: its bytes hold the rules too. Those of `Group` are what was published
/// before there were any, and hold none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruled(pub Group);

/// The published fields of a group with rules, in their order.
#[derive(Serialize, Deserialize)]
struct Fields<'a> {
    id: Cow<'a, str>,
    name: Cow<'a, str>,
    profile: Cow<'a, str>,
    selector: Cow<'a, BTreeMap<String, String>>,
    metadata: Cow<'a, str>,
    rules: Cow<'a, [Alternative]>,
}

impl Serialize for Ruled {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Group { id, name, profile, selector, metadata, rules } = &self.0;
        let fields = Fields {
            id: id.into(),
            name: name.into(),
            profile: profile.into(),
            selector: Cow::Borrowed(selector),
            metadata: metadata.into(),
            rules: rules.into(),
        };
        fields.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Ruled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Fields { id, name, profile, selector, metadata, rules } = Fields::deserialize(deserializer)?;
        Ok(Self(Group {
            id: id.into_owned(),
            name: name.into_owned(),
            profile: profile.into_owned(),
            selector: selector.into_owned(),
            metadata: metadata.into_owned(),
            rules: rules.into_owned(),
        }))
    }
}

/// How `Group` holds its rules in bytes: not at all. Losing them silently is refused.
pub(super) mod none {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

    use super::Alternative;

    pub(in crate::state) fn serialize<S: Serializer>(rules: &[Alternative], serializer: S) -> Result<S::Ok, S::Error> {
        if rules.is_empty() {
            return ().serialize(serializer);
        }
        Err(ser::Error::custom("a group with rules is written as `Ruled`"))
    }

    pub(in crate::state) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Alternative>, D::Error> {
        <()>::deserialize(deserializer).map(|()| Vec::new())
    }
}
