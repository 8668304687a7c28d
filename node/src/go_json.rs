//! JSON objects as Go's `encoding/json` reads them, for files that were written for Go programs.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A field name as Go compares it: by simple case folding, under which the long s and the Kelvin sign are ASCII letters.
#[must_use]
pub fn folded(key: &str) -> String {
    key.chars()
        .map(|letter| match letter {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            other => other.to_ascii_lowercase(),
        })
        .collect()
}

/// The members of a JSON object in the order they stand there, repeated ones included; `null` has none.
///
/// # Errors
/// Where the JSON is broken, or that it is no object.
pub fn fields(text: &str) -> Result<Vec<(String, Box<RawValue>)>, serde_json::Error> {
    let fields: Option<Fields> = serde_json::from_str(text)?;
    Ok(fields.map(|fields| fields.0).unwrap_or_default())
}

struct Fields(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            if fields.len() == FIELDS_MAX {
                // Read on, so that broken JSON is still noticed, but keep no more of it.
                IgnoredAny::deserialize(MapAccessDeserializer::new(&mut map))?;
                break;
            }
            fields.push(field);
        }
        Ok(Fields(fields))
    }
}

/// How many members of an object are looked at; matchbox knows six.
const FIELDS_MAX: usize = 1024;

/// Adds a text in quotes, as Go writes it: `<`, `>`, `&` and the two line separators are escaped, other letters are left as
/// they are.
pub fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\x1f' => {
                out.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// The text Go sees: bytes that are not UTF-8, and escapes that are half of a surrogate pair, read as U+FFFD.
#[must_use]
pub fn go_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|_| text.push(char::REPLACEMENT_CHARACTER));
    }
    if text.contains("\\u") { without_lone_surrogates(&text) } else { text }
}

fn without_lone_surrogates(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let taken = match escaped_unit(rest) {
            Some(0xd800..0xdc00) if matches!(escaped_unit(&rest[6..]), Some(0xdc00..0xe000)) => 12,
            Some(0xd800..0xe000) => {
                out.push_str("\\ufffd");
                rest = &rest[6..];
                continue;
            }
            Some(_) => 6,
            // Another escape: two characters, whatever the second is.
            None => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
        };
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out.push_str(rest);
    out
}

fn escaped_unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_not_unicode_is_replaced_as_go_does() {
        let text = go_text(b"\"\xff\xe2\x82 \\ud800 \\ud83c\\udf32 \\\\ud800\"");
        let read: String = serde_json::from_str(&text).unwrap();
        assert_eq!(read, "\u{fffd}\u{fffd}\u{fffd} \u{fffd} \u{1f332} \\ud800");
        for cut in ["\\", "\\u", "\\ud8", "\\ud800", "\\ud800\\", "\\ud800\\u", "\\ud800é", "\\é"] {
            assert!(!go_text(cut.as_bytes()).is_empty(), "{cut}");
        }
    }

    #[test]
    fn members_keep_their_order_and_repetitions_up_to_a_bound() {
        let keys = |text: &str| fields(text).map(|list| list.into_iter().map(|(key, _)| key).collect::<Vec<_>>());
        assert_eq!(keys(r#"{"b":1,"a":2,"b":3}"#).unwrap(), ["b", "a", "b"]);
        assert_eq!(keys("null").unwrap(), [""; 0]);
        let members: Vec<String> = (0..FIELDS_MAX + 5).map(|at| format!("\"k{at}\":1")).collect();
        assert_eq!(keys(&format!("{{{}}}", members.join(","))).unwrap().len(), FIELDS_MAX);
        assert!(keys(&format!("{{{},}}", members.join(","))).is_err(), "broken JSON is noticed beyond the bound");
    }
}
