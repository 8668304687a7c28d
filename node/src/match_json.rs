//! The `match` of a group in JSON: alternatives of conditions, each written as shortly as it can be.
//!
//! A condition is a string (equal), a list of strings (equal to one of them), or an object of tests. What a test may hold
//! is for the replicated state to say, which names the place; here is only the shape.

use std::collections::BTreeMap;
use std::fmt;

use raft::state::{Alternative, Condition, Test};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One way to match: labels and what is asked of each.
pub type AlternativeJson = BTreeMap<String, ConditionJson>;

/// What is asked of one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionJson(Condition);

/// Alternatives as they are stored.
#[must_use]
pub fn rules_of(json: Vec<AlternativeJson>) -> Vec<Alternative> {
    json.into_iter()
        .map(|alternative| alternative.into_iter().map(|(label, asked)| (label, asked.0)).collect())
        .collect()
}

/// Alternatives as they are shown.
#[must_use]
pub fn json_of(rules: &[Alternative]) -> Vec<AlternativeJson> {
    let condition = |(label, asked): (&String, &Condition)| (label.clone(), ConditionJson(asked.clone()));
    rules.iter().map(|alternative| alternative.iter().map(condition).collect()).collect()
}

/// Reads alternatives; none at all would match nothing.
pub(crate) fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<AlternativeJson>, D::Error> {
    struct Read;
    impl<'de> Visitor<'de> for Read {
        type Value = Vec<AlternativeJson>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of alternatives")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<AlternativeJson>, A::Error> {
            let mut rules = Vec::new();
            while let Some(rule) = list.next_element()? {
                rules.push(rule);
            }
            // Refused here and not later, while the reader knows where it is.
            if rules.is_empty() { Err(A::Error::custom("no alternative, so nothing could match")) } else { Ok(rules) }
        }
    }
    deserializer.deserialize_seq(Read)
}

/// One value or several.
#[derive(Debug, Default)]
struct Values(Vec<String>);

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Values;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E>(self, text: &str) -> Result<Values, E> {
                Ok(Values(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Values, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(Values(values))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// The tests of one label by their names.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tests {
    #[serde(default, deserialize_with = "given")]
    r#in: Option<Values>,
    #[serde(default, deserialize_with = "given")]
    not_in: Option<Values>,
    #[serde(default, deserialize_with = "given")]
    glob: Option<Values>,
    #[serde(default, deserialize_with = "given")]
    not_glob: Option<Values>,
    #[serde(default, deserialize_with = "given")]
    subnet: Option<Values>,
    #[serde(default, deserialize_with = "given")]
    not_subnet: Option<Values>,
    #[serde(default, deserialize_with = "given")]
    present: Option<bool>,
}

/// `null` is a typing error like any other.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl From<Tests> for Condition {
    /// In one order, whatever the order they were written in.
    fn from(tests: Tests) -> Self {
        let Tests { r#in, not_in, glob, not_glob, subnet, not_subnet, present } = tests;
        let listed = [
            r#in.map(|values| Test::In(values.0)),
            not_in.map(|values| Test::NotIn(values.0)),
            glob.map(|values| Test::Glob(values.0)),
            not_glob.map(|values| Test::NotGlob(values.0)),
            subnet.map(|values| Test::Subnet(values.0)),
            not_subnet.map(|values| Test::NotSubnet(values.0)),
            present.map(Test::Present),
        ];
        listed.into_iter().flatten().collect()
    }
}

impl<'de> Deserialize<'de> for ConditionJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Condition;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a list of strings or an object of tests")
            }

            fn visit_str<E>(self, text: &str) -> Result<Condition, E> {
                Ok(vec![Test::In(vec![text.to_owned()])])
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Condition, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(vec![Test::In(values)])
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Condition, A::Error> {
                Tests::deserialize(MapAccessDeserializer::new(map)).map(Condition::from)
            }
        }
        deserializer.deserialize_any(Read).map(Self)
    }
}

impl Serialize for ConditionJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let [Test::In(values)] = &self.0[..] {
            return Shown(values).serialize(serializer);
        }
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for test in &self.0 {
            match test {
                Test::Present(wanted) => map.serialize_entry(test.name(), wanted)?,
                other => map.serialize_entry(test.name(), &Shown(other.values()))?,
            }
        }
        map.end()
    }
}

/// One value as itself, several as a list.
struct Shown<'a>(&'a [String]);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            [value] => value.serialize(serializer),
            values => values.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Condition, String> {
        serde_json::from_str::<ConditionJson>(text).map(|json| json.0).map_err(|error| error.to_string())
    }

    #[test]
    fn a_condition_is_shown_as_shortly_as_it_can_be_written() {
        for (written, shown) in [
            (r#""a""#, r#""a""#),
            (r#"["a"]"#, r#""a""#),
            (r#"["a","b"]"#, r#"["a","b"]"#),
            (r#"{"in":["a","b"]}"#, r#"["a","b"]"#),
            (r#"{"glob":["a*"]}"#, r#"{"glob":"a*"}"#),
            (r#"{"not_glob":["a*","b*"],"in":"x"}"#, r#"{"in":"x","not_glob":["a*","b*"]}"#),
            (r#"{"present":true}"#, r#"{"present":true}"#),
            (
                r#"{"not_subnet":"10.9.0.0/16","subnet":"10.0.0.0/8","not_in":["y","y"]}"#,
                r#"{"not_in":["y","y"],"subnet":"10.0.0.0/8","not_subnet":"10.9.0.0/16"}"#,
            ),
            // For the state to refuse, which names the place.
            ("[]", "[]"),
            ("{}", "{}"),
        ] {
            let condition = read(written).unwrap();
            assert_eq!(serde_json::to_string(&ConditionJson(condition.clone())).unwrap(), shown, "{written}");
            assert_eq!(read(shown).unwrap(), condition, "{written}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for (text, part) in [
            ("7", "expected a string, a list of strings or an object of tests"),
            ("null", "expected a string"),
            ("[7]", "expected a string"),
            (r#"{"glob":7}"#, "expected a string or a list of strings"),
            (r#"{"glob":null}"#, "expected a string or a list of strings"),
            (r#"{"present":"yes"}"#, "expected a boolean"),
            (r#"{"globs":"a"}"#, "unknown field `globs`"),
            (r#"{"glob":"a","glob":"b"}"#, "duplicate field"),
        ] {
            assert!(read(text).unwrap_err().contains(part), "{text}: {:?}", read(text));
        }
    }
}
