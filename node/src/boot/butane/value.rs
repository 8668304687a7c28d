//! The values of a Butane config between reading and writing: objects in the order Ignition has their fields.

/// One value; members of objects bear Butane's names until they are written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    /// What `inline` holds, which need not be text.
    Bytes(Vec<u8>),
    Int(i64),
    Bool(bool),
    List(Vec<Value>),
    Object(Vec<(&'static str, Value)>),
}

/// A text, from anything that can be one.
pub(super) fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

impl Value {
    /// An object without members.
    pub(super) const EMPTY: Self = Self::Object(Vec::new());

    /// A member of an object.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// A member of a member, and so on: `boot_device.luks.tpm2`.
    pub(super) fn at(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |value, name| value.get(name))
    }

    /// Takes a member out of an object.
    pub(super) fn take(&mut self, name: &str) -> Option<Self> {
        let Self::Object(members) = self else { return None };
        let at = members.iter().position(|(key, _)| *key == name)?;
        Some(members.remove(at).1)
    }

    /// The text, if it is one.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A member of an object that is a text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Self::as_text)
    }

    /// A member of an object that is a text and not empty.
    pub(super) fn filled(&self, name: &str) -> Option<&str> {
        self.text(name).filter(|text| !text.is_empty())
    }

    /// A member of an object that is an integer.
    pub(super) fn int(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Some(Self::Int(number)) => Some(*number),
            _ => None,
        }
    }

    /// Whether a member of an object is there and true.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some(&Self::Bool(true))
    }

    /// A member of an object that is a list; empty if it is absent.
    pub(super) fn list(&self, name: &str) -> &[Self] {
        match self.get(name) {
            Some(Self::List(list)) => list,
            _ => &[],
        }
    }

    /// Whether it says nothing: an empty list, or an object of which the same is true throughout.
    pub(super) fn is_nothing(&self) -> bool {
        match self {
            Self::List(list) => list.is_empty(),
            Self::Object(members) => members.iter().all(|(_, value)| value.is_nothing()),
            Self::Text(_) | Self::Bytes(_) | Self::Int(_) | Self::Bool(_) => false,
        }
    }

    /// Writes it as JSON under Ignition's names, without members that say nothing.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Text(text) => write_text(text, out),
            Self::Bytes(bytes) => write_text(&String::from_utf8_lossy(bytes), out),
            Self::Int(number) => out.push_str(&number.to_string()),
            Self::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
            Self::List(list) => {
                out.push('[');
                for (at, value) in list.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    value.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (at, (name, value)) in members.iter().filter(|(_, value)| !value.is_nothing()).enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    write_text(&ignition_name(name), out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// `size_mib` is `sizeMiB` to Ignition.
fn ignition_name(name: &str) -> String {
    let mut words = name.split('_');
    let mut out = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at(word.len().min(1));
        out.push_str(&first.to_ascii_uppercase());
        out.push_str(if word == "mib" { "iB" } else { rest });
    }
    out
}

/// Puts Butane's names into the way to a field that a problem begins with: `storage.disks[0].sizeMiB: …`.
pub(super) fn butane_names(problem: &str) -> String {
    let (way, what) = problem.split_at(problem.find(": ").unwrap_or(0));
    let mut out = String::with_capacity(problem.len() + 8);
    for letter in way.replace("MiB", "Mib").chars() {
        if letter.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out + what
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_translated_both_ways() {
        for (butane, ignition) in [
            ("path", "path"),
            ("size_mib", "sizeMiB"),
            ("type_guid", "typeGuid"),
            ("ssh_authorized_keys", "sshAuthorizedKeys"),
            ("tpm2", "tpm2"),
        ] {
            assert_eq!(ignition_name(butane), ignition);
            assert_eq!(
                butane_names(&format!("storage.x[0].{ignition}: sizeMiB")),
                format!("storage.x[0].{butane}: sizeMiB")
            );
        }
        assert_eq!(butane_names("noWay"), "noWay");
    }

    #[test]
    fn what_says_nothing_is_not_written() {
        let mut out = String::new();
        let inner = Value::Object(vec![("b", Value::EMPTY), ("c", Value::List(Vec::new()))]);
        let list = Value::List(vec![Value::EMPTY, text("\"<\n")]);
        Value::Object(vec![("a", inner), ("no_proxy", list), ("n", Value::Int(0))]).write(&mut out);
        assert_eq!(out, r#"{"noProxy":[{},"\"<\n"],"n":0}"#);
    }
}
