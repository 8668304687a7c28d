//! Keeps what a request says from becoming a command of a script that a template makes of it.
//!
//! Pure. A template that merely shows a value is served; one whose text would change if a dangerous value were replaced
//! by a harmless one puts that value where an interpreter reads it, and is refused.

use std::collections::BTreeMap;

use super::labels::Labels;

/// What runs a rendered text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interpreter {
    /// iPXE, which reads `||`, `&&`, `${` and `#` wherever they stand.
    Ipxe,
    /// Another one; how it quotes is up to the template, but no quoting was meant for line breaks.
    Other,
}

impl Interpreter {
    /// Of a text, if it is a script. Blank space before the mark is passed over, to be on the safe side.
    #[must_use]
    pub(super) fn of(content: &[u8]) -> Option<Self> {
        let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content).trim_ascii_start();
        let name = content.strip_prefix(b"#!")?;
        Some(if name.starts_with(b"ipxe") || name.starts_with(b"gpxe") { Self::Ipxe } else { Self::Other })
    }

    /// Whether a value could be more than one word of text to it.
    #[must_use]
    pub(super) fn obeys(self, value: &str) -> bool {
        if value.chars().any(char::is_control) {
            return true;
        }
        if self == Self::Other {
            return false;
        }
        // What stands at an end can join with the text around it.
        let joins = value.starts_with(['|', '&', '{']) || value.ends_with(['|', '&', '$', '\\']);
        let comment = value.split(' ').any(|word| word.starts_with('#'));
        joins || comment || ["||", "&&", "${", ";"].iter().any(|sign| value.contains(sign))
    }
}

/// A request in which everything dangerous was replaced.
#[derive(Debug)]
pub(super) struct Harmless {
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The raw query.
    pub raw_query: String,
    /// What was replaced, for the log: keys, and `raw_query`; not all of them if they are many.
    pub replaced: Vec<String>,
}

/// How many keys a log line names.
const SHOWN_MAX: usize = 8;
/// How much of each, in characters.
const SHOWN_CHARS_MAX: usize = 64;

/// What a dangerous word becomes.
const NEUTRAL: &str = "x";

/// The same request without what `interpreter` would obey; `None` if it holds nothing of the kind.
#[must_use]
pub(super) fn harmless(interpreter: Interpreter, labels: &Labels, raw_query: &str) -> Option<Harmless> {
    let mut replaced: Vec<String> = Vec::new();
    let mut map = BTreeMap::new();
    for (key, value) in &labels.map {
        let (bad_key, bad_value) = (interpreter.obeys(key), interpreter.obeys(value));
        if bad_key || bad_value {
            replaced.push(key.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect());
        }
        let key = if bad_key { format!("{NEUTRAL}{}", replaced.len()) } else { key.clone() };
        map.insert(key, if bad_value { NEUTRAL.into() } else { value.clone() });
    }
    let bad_query = interpreter.obeys(raw_query);
    if bad_query {
        replaced.push("raw_query".into());
    }
    let raw_query = if bad_query { NEUTRAL.into() } else { raw_query.to_owned() };
    if replaced.is_empty() {
        return None;
    }
    replaced.truncate(SHOWN_MAX);
    Some(Harmless { labels: map, raw_query, replaced })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_told_by_its_mark() {
        for (content, want) in [
            ("#!ipxe\n", Some(Interpreter::Ipxe)),
            ("#!gpxe\n", Some(Interpreter::Ipxe)),
            ("\n #!ipxe\n", Some(Interpreter::Ipxe)),
            ("#!/bin/sh\n", Some(Interpreter::Other)),
            ("#cloud-config\n", None),
            ("", None),
        ] {
            assert_eq!(Interpreter::of(content.as_bytes()), want, "{content:?}");
        }
    }

    #[test]
    fn ipxe_obeys_signs_and_every_interpreter_line_breaks() {
        for value in ["a || b", "a && b", "${x}", "a;b", "#", "a #b", "a\\", "|", "$", "&", "{x"] {
            assert!(Interpreter::Ipxe.obeys(value) && !Interpreter::Other.obeys(value), "{value}");
        }
        for value in ["a\nb", "\r", "a\0", "\u{1b}[2J"] {
            assert!(Interpreter::Ipxe.obeys(value) && Interpreter::Other.obeys(value), "{value:?}");
        }
        for value in ["", "VMware-56 4d a#b", "a=1&b=$2|c", "52:54:00:12:34:56", "%7C%7C", "\u{e4}\\b"] {
            assert!(!Interpreter::Ipxe.obeys(value), "{value}");
        }
    }

    #[test]
    fn only_what_is_dangerous_is_replaced_and_named() {
        let query = "serial=a%0Ab&%7C%7C=c&d=e";
        let harmless = harmless(Interpreter::Ipxe, &Labels::parse(query), query).unwrap();
        assert_eq!(harmless.replaced, ["serial", "||"]);
        let labels: Vec<_> = harmless.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!((labels.join(" ").as_str(), harmless.raw_query.as_str()), ("d=e serial=x x2=c", query));
        assert!(super::harmless(Interpreter::Ipxe, &Labels::parse("a=b"), "a=b").is_none());
    }
}
