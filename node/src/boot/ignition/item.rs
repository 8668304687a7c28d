//! Reads JSON into the fields of a schema and writes them again, in both cases as Go's `encoding/json` does.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::schema::{Field, Kind};
use crate::go_json::{fields, folded, write_text};

/// A value that fits its schema; objects hold only the fields that are to be written, in order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    Text(String),
    Int(i64),
    Bool(bool),
    List(Vec<Item>),
    Object(Vec<(&'static str, Item)>),
}

/// What is wrong, and where: `storage.files[0].mode: …`.
pub(super) type Problem = String;

/// Reads an object of a config of spec `3.minor`.
pub(super) fn read(schema: &'static [Field], text: &str, minor: u8) -> Result<Item, Problem> {
    object(schema, text, minor, None)
}

/// `before` is what the same key said earlier in the same object: Go adds to it.
fn object(schema: &'static [Field], text: &str, minor: u8, before: Option<Item>) -> Result<Item, Problem> {
    let mut slots: Vec<Option<Item>> = schema.iter().map(|_| None).collect();
    if let Some(Item::Object(members)) = before {
        for (name, item) in members {
            if let Some(at) = schema.iter().position(|field| field.name == name) {
                slots[at] = Some(item);
            }
        }
    }
    for (key, raw) in fields(text).map_err(|error| error.to_string())? {
        let known = schema.iter().position(|field| field.name == key);
        let known = known.or_else(|| schema.iter().position(|field| folded(field.name) == folded(&key)));
        let Some(at) = known.filter(|at| schema[*at].since <= minor) else { continue };
        if raw.get() == "null" {
            // Nothing for lists and optional fields; others keep what they have.
            if matches!(
                schema[at].kind,
                Kind::OptionalText | Kind::OptionalInt | Kind::OptionalBool | Kind::Texts | Kind::Objects(_)
            ) {
                slots[at] = None;
            }
            continue;
        }
        let before = slots[at].take();
        slots[at] =
            Some(value(schema[at].kind, &raw, minor, before).map_err(|problem| within(schema[at].name, &problem))?);
    }
    let members =
        schema.iter().zip(slots).filter_map(|(field, slot)| Some((field.name, written(field.kind, slot, minor)?)));
    Ok(Item::Object(members.collect()))
}

/// `files` and `[0].mode: …` make `files[0].mode: …`.
fn within(name: &str, problem: &str) -> Problem {
    let gap = if problem.starts_with('[') || problem.starts_with(": ") { "" } else { "." };
    let plain = !problem.starts_with('[') && !problem.split(' ').next().is_some_and(|word| word.ends_with(':'));
    if plain { format!("{name}: {problem}") } else { format!("{name}{gap}{problem}") }
}

fn value(kind: Kind, raw: &RawValue, minor: u8, before: Option<Item>) -> Result<Item, Problem> {
    Ok(match kind {
        Kind::Text | Kind::OptionalText | Kind::TextBefore(_) | Kind::TextUnlessEmpty => Item::Text(decode(raw)?),
        Kind::OptionalInt | Kind::IntUnlessZero => Item::Int(decode(raw)?),
        Kind::OptionalBool => Item::Bool(decode(raw)?),
        Kind::Texts => {
            let texts: Vec<Option<String>> = decode(raw)?;
            Item::List(texts.into_iter().map(|text| Item::Text(text.unwrap_or_default())).collect())
        }
        Kind::Objects(schema) => {
            let list: Vec<Box<RawValue>> = decode(raw)?;
            let items = list.iter().enumerate().map(|(at, raw)| {
                object(schema, raw.get(), minor, None).map_err(|problem| within(&format!("[{at}]"), &problem))
            });
            Item::List(items.collect::<Result<_, _>>()?)
        }
        Kind::Object(schema) => object(schema, raw.get(), minor, before)?,
    })
}

fn decode<T: DeserializeOwned>(raw: &RawValue) -> Result<T, Problem> {
    serde_json::from_str(raw.get()).map_err(|error| error.to_string())
}

/// What is written of a field: nothing, or what it holds, or the empty form of what must be there.
fn written(kind: Kind, slot: Option<Item>, minor: u8) -> Option<Item> {
    match (kind, slot) {
        (Kind::Text, None) => Some(Item::Text(String::new())),
        (Kind::TextBefore(optional_since), None) if minor < optional_since => Some(Item::Text(String::new())),
        (Kind::TextUnlessEmpty, Some(Item::Text(text))) if text.is_empty() => None,
        (Kind::IntUnlessZero, Some(Item::Int(0))) => None,
        (Kind::Texts | Kind::Objects(_), Some(Item::List(list))) if list.is_empty() => None,
        (Kind::Object(schema), None) => {
            let empty = schema.iter().filter_map(|field| Some((field.name, written(field.kind, None, minor)?)));
            Some(Item::Object(empty.collect()))
        }
        (_, slot) => slot,
    }
}

impl Item {
    /// A member of an object.
    pub(super) fn get(&self, name: &str) -> Option<&Item> {
        let Self::Object(members) = self else { return None };
        members.iter().find(|(key, _)| *key == name).map(|(_, item)| item)
    }

    /// Replaces a member that is there.
    pub(super) fn set(&mut self, name: &str, item: Item) {
        if let Self::Object(members) = self
            && let Some((_, old)) = members.iter_mut().find(|(key, _)| *key == name)
        {
            *old = item;
        }
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Item> {
        let Self::Object(members) = self else { return None };
        members.iter_mut().find(|(key, _)| *key == name).map(|(_, item)| item)
    }

    /// A member of an object that is a text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Self::Text(text)) => Some(text),
            _ => None,
        }
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
    pub(super) fn list(&self, name: &str) -> &[Item] {
        match self.get(name) {
            Some(Self::List(list)) => list,
            _ => &[],
        }
    }

    /// Compact JSON as Go writes it: `<`, `>` and `&` escaped.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Text(text) => write_text(text, out),
            Self::Int(number) => out.push_str(&number.to_string()),
            Self::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
            Self::List(list) => {
                for (at, item) in list.iter().enumerate() {
                    out.push(if at == 0 { '[' } else { ',' });
                    item.write(out);
                }
                out.push_str(if list.is_empty() { "[]" } else { "]" });
            }
            Self::Object(members) => {
                for (at, (name, item)) in members.iter().enumerate() {
                    out.push(if at == 0 { '{' } else { ',' });
                    write_text(name, out);
                    out.push(':');
                    item.write(out);
                }
                out.push_str(if members.is_empty() { "{}" } else { "}" });
            }
        }
    }
}
