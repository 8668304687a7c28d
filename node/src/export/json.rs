//! JSON as matchbox writes its files: indented by tabs, `<`, `>` and `&` escaped, keys of maps sorted, no newline at the end.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::go_json::write_text;

/// A value that is about to be written.
#[derive(Debug, Clone)]
pub(super) enum Json {
    /// A number, a truth value or null, as it was written: a detour over floating point would round it.
    Plain(String),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// An object, in this order.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a value; the keys of its objects are sorted, and of those that come twice the last one counts, as in Go.
    ///
    /// # Errors
    /// Where it is no JSON.
    pub(super) fn sorted(text: &str) -> Result<Self, serde_json::Error> {
        let text = text.trim();
        Ok(match text.as_bytes().first() {
            Some(b'{') => {
                let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text)?;
                let member = |(key, value): (String, Box<RawValue>)| Ok((key, Self::sorted(value.get())?));
                Self::Object(members.into_iter().map(member).collect::<Result<_, _>>()?)
            }
            Some(b'[') => {
                let items: Vec<Box<RawValue>> = serde_json::from_str(text)?;
                Self::List(items.iter().map(|item| Self::sorted(item.get())).collect::<Result<_, _>>()?)
            }
            Some(b'"') => Self::Text(serde_json::from_str(text)?),
            _ => Self::Plain(serde_json::from_str::<Box<RawValue>>(text)?.get().to_owned()),
        })
    }

    /// Writes it; the whole of a file.
    #[must_use]
    pub(super) fn written(&self) -> String {
        let mut out = String::new();
        self.write(0, &mut out);
        out
    }

    fn write(&self, depth: usize, out: &mut String) {
        let line = |depth: usize, out: &mut String| {
            out.push('\n');
            out.extend(std::iter::repeat_n('\t', depth));
        };
        match self {
            Self::Plain(text) => out.push_str(text),
            Self::Text(text) => write_text(text, out),
            Self::List(items) if items.is_empty() => out.push_str("[]"),
            Self::Object(members) if members.is_empty() => out.push_str("{}"),
            Self::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    line(depth + 1, out);
                    item.write(depth + 1, out);
                }
                line(depth, out);
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (at, (key, value)) in members.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    line(depth + 1, out);
                    write_text(key, out);
                    out.push_str(": ");
                    value.write(depth + 1, out);
                }
                line(depth, out);
                out.push('}');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_matchbox_does() {
        for (text, want) in [
            (r#"{"b":1,"a":[],"c":{}}"#, "{\n\t\"a\": [],\n\t\"b\": 1,\n\t\"c\": {}\n}"),
            (r#" {"x":["a",{"y":null}]} "#, "{\n\t\"x\": [\n\t\t\"a\",\n\t\t{\n\t\t\t\"y\": null\n\t\t}\n\t]\n}"),
            (
                r#"{"n":12345678901234567890,"m":1.0,"e":1e6}"#,
                "{\n\t\"e\": 1e6,\n\t\"m\": 1.0,\n\t\"n\": 12345678901234567890\n}",
            ),
            (r#"{"a":1,"a":2}"#, "{\n\t\"a\": 2\n}"),
            (r#""a=1&b=<c>\u00e4\u2028\n\u0001""#, r#""a=1\u0026b=\u003cc\u003eä\u2028\n\u0001""#),
            ("{}", "{}"),
            ("true", "true"),
        ] {
            assert_eq!(Json::sorted(text).unwrap().written(), want, "{text}");
        }
        for text in ["", "{", "nonsense", "1 2", r#"{"a":}"#] {
            assert!(Json::sorted(text).is_err(), "{text}");
        }
    }
}
