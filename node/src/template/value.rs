//! The values a template works on, shaped like the Go types that JSON decodes to.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

/// One value of the template language. Cloning costs at most a reference count.
///
/// Texts are bytes, not `str`: labels decoded from a query need not be UTF-8.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// JSON `null`, and what `index` finds under an absent key.
    Nil,
    /// A truth value.
    Bool(bool),
    /// An integer written in a template or counted by it; JSON numbers are never this.
    Int(i64),
    /// A whole number from JSON that is kept to its last digit; it is an integer and a float alike.
    Whole(i128),
    /// One byte of a text, as `index` returns it.
    Byte(u8),
    /// A number from JSON, or one written with a point or an exponent.
    Float(f64),
    /// A text.
    String(Bytes),
    /// A list.
    List(Arc<[Value]>),
    /// A map with text keys.
    Map(Arc<Map>),
}

/// A map with text keys, iterated in byte order of the keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Map {
    entries: BTreeMap<Bytes, Value>,
    texts_only: bool,
}

impl Map {
    /// An empty map whose values may be of any kind.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty map of texts: `index` answers an empty text for an absent key instead of nothing.
    pub fn of_texts() -> Self {
        Self { entries: BTreeMap::new(), texts_only: true }
    }

    /// Sets a key, replacing what was there.
    pub fn insert(&mut self, key: impl Into<Bytes>, value: Value) {
        self.entries.insert(key.into(), value);
    }

    /// Sets a key unless it is there already.
    pub fn insert_first(&mut self, key: impl Into<Bytes>, value: Value) {
        self.entries.entry(key.into()).or_insert(value);
    }

    /// The value under a key.
    pub fn get(&self, key: &[u8]) -> Option<&Value> {
        self.entries.get(key)
    }

    /// What stands for the value of an absent key.
    pub fn absent(&self) -> Value {
        if self.texts_only { Value::String(Bytes::new()) } else { Value::Nil }
    }

    /// Keys and values in byte order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Value)> {
        self.entries.iter()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The name of the map's type in Go, as `%T` and `%#v` print it.
    pub(super) fn type_name(&self) -> &'static str {
        if self.texts_only { "map[string]string" } else { "map[string]interface {}" }
    }
}

impl Value {
    /// A text value.
    pub fn text(text: impl AsRef<[u8]>) -> Self {
        Self::String(Bytes::copy_from_slice(text.as_ref()))
    }

    /// Whether `if`, `with`, `and`, `or` and `not` take the value as true.
    pub(super) fn truth(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(truth) => *truth,
            Self::Int(number) => *number != 0,
            Self::Whole(number) => *number != 0,
            Self::Byte(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::String(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Map(map) => !map.is_empty(),
        }
    }

    /// The name of the value's type in Go, as `%T` prints it.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::Whole(_) => "int",
            Self::Byte(_) => "uint8",
            Self::Float(_) => "float64",
            Self::String(_) => "string",
            Self::List(_) => "[]interface {}",
            Self::Map(map) => map.type_name(),
        }
    }

    /// What a person calls the value's kind; used in error messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Whole(_) => "an integer",
            Self::Byte(_) => "a byte",
            Self::Float(_) => "a number with a fraction",
            Self::String(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// What becomes of whole numbers in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Numbers {
    /// They stay what they are.
    #[default]
    Whole,
    /// They become 64-bit floats, as in Go: 1000000 prints as `1e+06`, and from 2^53 on digits are lost.
    Floats,
}

impl Value {
    /// A value read from JSON. The depth is that of the JSON value, which its parser bounds.
    pub fn read(json: &serde_json::Value, numbers: Numbers) -> Self {
        match json {
            serde_json::Value::Null => Self::Nil,
            serde_json::Value::Bool(truth) => Self::Bool(*truth),
            serde_json::Value::Number(number) => {
                let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
                match whole.filter(|_| numbers == Numbers::Whole) {
                    Some(whole) => Self::Whole(whole),
                    None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
                }
            }
            serde_json::Value::String(text) => Self::text(text),
            serde_json::Value::Array(items) => Self::List(items.iter().map(|item| Self::read(item, numbers)).collect()),
            serde_json::Value::Object(entries) => Self::Map(Arc::new(Map::read(entries, numbers))),
        }
    }

    /// The same number as an integer of a template, if it is one.
    pub(super) fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Byte(number) => Some(i64::from(*number)),
            Self::Whole(number) => i64::try_from(*number).ok(),
            _ => None,
        }
    }
}

impl Map {
    /// A map read from a JSON object.
    pub fn read(entries: &serde_json::Map<String, serde_json::Value>, numbers: Numbers) -> Self {
        let mut map = Self::new();
        for (key, value) in entries {
            map.insert(Bytes::copy_from_slice(key.as_bytes()), Value::read(value, numbers));
        }
        map
    }
}
