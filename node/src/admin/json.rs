//! Reads JSON strictly, and says of a mistake where it is: line and column, and the path of the field.

use std::fmt;

use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Error;
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::error::{Answer, ApiError, join};

/// How many members of one object are read; ours have a handful.
const MEMBERS_MAX: usize = 256;

/// Reads `text` as a `T`.
///
/// # Errors
/// `invalid_json` with line and column if it is no JSON; `invalid` with the field's path if it is not a `T`.
pub(super) fn read<T: DeserializeOwned>(text: &[u8]) -> Answer<T> {
    let text = std::str::from_utf8(text).map_err(|error| {
        let message = format!("the body is not UTF-8 at byte {}", error.valid_up_to());
        ApiError::bad_request("invalid_json", message, "send JSON in UTF-8")
    })?;
    // serde would take the values of a list for the fields, in their order.
    if text.trim_start().starts_with('[') {
        let read: Result<IgnoredAny, Error> = serde_json::from_str(text);
        read.map_err(|error| explain(&error, text))?;
        let message = "invalid type: sequence, expected an object";
        return Err(ApiError::unprocessable("invalid", message, "put the fields into {…}"));
    }
    serde_json::from_str(text).map_err(|error| explain(&error, text))
}

fn explain(error: &Error, text: &str) -> ApiError {
    let whole = error.to_string();
    let message = whole.rsplit_once(" at line ").map_or(whole.as_str(), |(message, _)| message);
    let place = format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        Category::Syntax | Category::Eof | Category::Io => {
            ApiError::bad_request("invalid_json", format!("{place}: {message}"), "send a JSON document")
        }
        Category::Data => {
            let at = path_at(text, offset(text, error.line(), error.column()));
            let missing = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
            let field = missing.map_or(at.clone(), |name| join(&at, name));
            ApiError::unprocessable("invalid", message, hint_for(message)).at(field)
        }
    }
}

fn hint_for(message: &str) -> &'static str {
    if message.starts_with("unknown field") {
        "check the spelling, or remove the field"
    } else if message.starts_with("missing field") {
        "add the field"
    } else if message.contains("expected a string") {
        "write the value in quotes"
    } else {
        "write the value as the reference shows it"
    }
}

/// Bytes of `text` that had been read when the reader was at this line and column.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (start + column).min(text.len())
}

/// The path of the value that ends at, or holds, the byte at `end`. `text` is valid JSON up to there.
fn path_at(text: &str, end: usize) -> String {
    enum Step {
        Member(String),
        Element(usize),
    }
    let bytes = &text.as_bytes()[..end];
    let mut steps: Vec<Step> = Vec::new();
    let (mut at, mut key_next) = (0, false);
    while at < bytes.len() {
        let last = at + 1 == bytes.len();
        match bytes[at] {
            // A mistake about a container is noticed at its first byte.
            b'{' | b'[' if last => {}
            b'{' => {
                steps.push(Step::Member(String::new()));
                key_next = true;
            }
            b'[' => {
                steps.push(Step::Element(0));
                key_next = false;
            }
            b'}' | b']' => {
                steps.pop();
                key_next = false;
            }
            b',' => match steps.last_mut() {
                Some(Step::Element(index)) => *index += 1,
                _ => key_next = true,
            },
            b'"' => {
                let start = at;
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                if let (true, Some(Step::Member(key))) = (key_next, steps.last_mut()) {
                    let quoted = text.get(start..=at).unwrap_or_default();
                    *key = serde_json::from_str(quoted).unwrap_or_default();
                    key_next = false;
                }
            }
            _ => {}
        }
        at += 1;
    }
    steps.iter().fold(String::new(), |path, step| match step {
        Step::Member(key) => join(&path, key),
        Step::Element(index) => format!("{path}[{index}]"),
    })
}

/// The members of a JSON object, each as it was written.
#[derive(Debug, Clone, Default)]
pub(super) struct Members(Vec<(String, Box<RawValue>)>);

impl Members {
    /// Takes a member out, if there is one of that name, and reads it.
    ///
    /// # Errors
    /// `invalid` if it is not a `T`.
    pub(super) fn take<T: DeserializeOwned>(&mut self, name: &str) -> Answer<Option<T>> {
        let Some(at) = self.0.iter().position(|(key, _)| key == name) else { return Ok(None) };
        let (_, value) = self.0.remove(at);
        read(value.get().as_bytes()).map(Some).map_err(|error| error.below(name))
    }

    /// Forgets members that only ever travel from the server to the client.
    pub(super) fn drop_read_only(&mut self) {
        self.0.retain(|(key, _)| !READ_ONLY.contains(&key.as_str()));
    }

    /// Reads what is left as a `T`.
    ///
    /// # Errors
    /// `invalid` with the field's path.
    pub(super) fn finish<T: DeserializeOwned>(self) -> Answer<T> {
        let mut text = String::from("{");
        for (at, (key, value)) in self.0.iter().enumerate() {
            let key = serde_json::to_string(key).expect("text is JSON");
            text.push_str(if at == 0 { "" } else { "," });
            text.push_str(&format!("{key}:{}", value.get()));
        }
        text.push('}');
        read(text.as_bytes())
    }
}

/// What answers say about an object beside its own fields; ignored when it is sent back.
const READ_ONLY: [&str; 4] = ["revision", "created_at", "updated_at", "updated_by"];

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if members.iter().any(|(known, _)| *known == key) {
                        return Err(serde::de::Error::custom(format!("`{key}` is there twice")));
                    }
                    if members.len() == MEMBERS_MAX {
                        return Err(serde::de::Error::custom(format!("more than {MEMBERS_MAX} fields")));
                    }
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matchbox_json::{GroupJson, ProfileJson};

    fn field_of<T: DeserializeOwned + fmt::Debug>(text: &str) -> (String, String) {
        let error = read::<T>(text.as_bytes()).unwrap_err();
        let problem = error.problems()[0].clone();
        (problem.field, problem.message)
    }

    #[test]
    fn a_mistake_is_found_by_the_path_of_its_field() {
        for (text, field) in [
            (r#"{"id":"g","profil":"p"}"#, "profil"),
            (r#"{"id":"g","selector":{"mac":7}}"#, "selector.mac"),
            (r#"{"selector":{"a":"x\"}","b":[]},"id":"g"}"#, "selector.b"),
            (r#"{"id":["g"]}"#, "id"),
        ] {
            assert_eq!(field_of::<GroupJson>(text).0, field, "{text}");
        }
        for (text, field) in [
            ("{\n \"id\": \"p\",\n \"boot\": {\"initrd\": [\"a\", 5]}}", "boot.initrd[1]"),
            (r#"{"boot":{"kernel":"/k","argz":[]}}"#, "boot.argz"),
            (r#"{"boot":{"initrd":{}}}"#, "boot.initrd"),
            (r#"{"boot":{},"name":true}"#, "name"),
        ] {
            assert_eq!(field_of::<ProfileJson>(text).0, field, "{text}");
        }
    }

    #[test]
    fn broken_json_is_found_by_line_and_column() {
        let (field, message) = field_of::<ProfileJson>("{\n  \"id\": }");
        assert_eq!((field.as_str(), message.as_str()), ("", "line 2, column 9: expected value"));
        assert!(field_of::<ProfileJson>("{").1.contains("EOF"));
    }

    #[test]
    fn members_are_taken_once_and_the_rest_is_strict() {
        let mut members: Members = read(br#"{"kind":"group","id":"g","revision":7,"metadata":{"n":1.0}}"#).unwrap();
        assert_eq!(members.take::<String>("kind").unwrap().as_deref(), Some("group"));
        assert_eq!(members.take::<String>("kind").unwrap(), None);
        members.drop_read_only();
        assert_eq!(members.finish::<GroupJson>().unwrap().metadata.unwrap().get(), r#"{"n":1.0}"#);
        assert!(read::<Members>(br#"{"id":"a","id":"b"}"#).is_err());
    }
}
