//! The functions a template can call, except `and` and `or`, which decide what is evaluated at all.

use std::sync::Arc;

use bytes::Bytes;

use super::budget::Budget;
use super::value::Value;
use super::{compare, escape, printf};

/// A function's failure: what is wrong and what to do; the caller knows where.
pub(super) type Fault = String;

macro_rules! functions {
    ($($variant:ident $name:literal $least:literal $most:tt,)*) => {
        /// The functions of the language; there are no others.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Func { $($variant,)* }

        impl Func {
            /// The function of a name.
            pub(super) fn from_name(name: &[u8]) -> Option<Self> {
                [$((Self::$variant, $name),)*].into_iter().find(|(_, known)| known.as_bytes() == name).map(|(func, _)| func)
            }

            /// Its name.
            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// All names, for messages.
            pub(super) fn names() -> String {
                [$($name,)*].join(", ")
            }

            /// How many arguments it takes, at least and at most.
            fn arity(self) -> (usize, usize) {
                match self { $(Self::$variant => ($least, $most),)* }
            }
        }
    };
}

/// Stands for "any number of arguments".
const MANY: usize = usize::MAX;

functions! {
    And "and" 1 MANY,
    Call "call" 1 MANY,
    Eq "eq" 1 MANY,
    Ge "ge" 2 2,
    Gt "gt" 2 2,
    Html "html" 0 MANY,
    Index "index" 1 MANY,
    Js "js" 0 MANY,
    Le "le" 2 2,
    Len "len" 1 1,
    Lt "lt" 2 2,
    Ne "ne" 2 2,
    Not "not" 1 1,
    Or "or" 1 MANY,
    Print "print" 0 MANY,
    Printf "printf" 1 MANY,
    Println "println" 0 MANY,
    Slice "slice" 1 MANY,
    UrlQuery "urlquery" 0 MANY,
}

impl Func {
    /// Refuses a call with a number of arguments that the function never takes.
    pub(super) fn check_arity(self, count: usize) -> Result<(), Fault> {
        let (least, most) = self.arity();
        if (least..=most).contains(&count) {
            return Ok(());
        }
        let wanted = if least == most { least.to_string() } else { format!("at least {least}") };
        Err(format!("{} takes {wanted} argument(s), here are {count}", self.name()))
    }

    /// Calls the function; `and` and `or` answer as if nothing were short-circuited.
    pub(super) fn call(self, arguments: &[Value], budget: &mut Budget) -> Result<Value, Fault> {
        let first = arguments.first().unwrap_or(&Value::Nil);
        let second = arguments.get(1).unwrap_or(&Value::Nil);
        if matches!(self, Self::Eq | Self::Ne | Self::Lt | Self::Le | Self::Gt | Self::Ge) {
            let texts = arguments
                .iter()
                .filter_map(|value| if let Value::String(text) = value { Some(text.len()) } else { None });
            budget.spend_bytes(texts.sum())?;
        }
        Ok(match self {
            Self::And => arguments.iter().find(|value| !value.truth()).or(arguments.last()).unwrap_or(first).clone(),
            Self::Or => arguments.iter().find(|value| value.truth()).or(arguments.last()).unwrap_or(first).clone(),
            Self::Call => {
                return Err("call needs a function as a value, and data holds none; call it by its name".to_owned());
            }
            Self::Eq => Value::Bool(compare::equal_any(first, &arguments[1..])?),
            Self::Ne => Value::Bool(!compare::equal_any(first, &arguments[1..])?),
            Self::Lt => Value::Bool(compare::less(first, second)?),
            Self::Le => Value::Bool(compare::less_or_equal(first, second)?),
            Self::Gt => Value::Bool(!compare::less_or_equal(first, second)?),
            Self::Ge => Value::Bool(!compare::less(first, second)?),
            Self::Not => Value::Bool(!first.truth()),
            Self::Len => len(first)?,
            Self::Index => index(first, &arguments[1..])?,
            Self::Slice => slice(first, &arguments[1..], budget)?,
            Self::Print => text(printf::print(arguments, budget)?),
            Self::Println => text(printf::println(arguments, budget)?),
            Self::Printf => {
                let Value::String(format) = first else {
                    return Err(format!("printf needs a text as its first argument, this is {}", first.kind()));
                };
                text(printf::printf(format, &arguments[1..], budget)?)
            }
            Self::Html => text(escape::html(&escape::joined(arguments, budget)?)),
            Self::Js => text(escape::js(&escape::joined(arguments, budget)?)),
            Self::UrlQuery => text(escape::url_query(&escape::joined(arguments, budget)?)),
        })
    }
}

fn text(bytes: Vec<u8>) -> Value {
    Value::String(bytes.into())
}

fn len(value: &Value) -> Result<Value, Fault> {
    let length = match value {
        Value::String(text) => text.len(),
        Value::List(items) => items.len(),
        Value::Map(map) => map.len(),
        other => return Err(format!("len takes a text, a list or a map, this is {}", other.kind())),
    };
    Ok(Value::Int(i64::try_from(length).expect("lengths are bounded")))
}

fn index(value: &Value, path: &[Value]) -> Result<Value, Fault> {
    let mut found = value.clone();
    if found == Value::Nil {
        return Err("index of null; test the value with if or with first".to_owned());
    }
    for key in path {
        found = match (&found, key) {
            (Value::Map(map), Value::String(key)) => map.get(key).cloned().unwrap_or_else(|| map.absent()),
            (Value::Map(_), other) => return Err(format!("index of a map needs a text, this is {}", other.kind())),
            (Value::List(items), key) => {
                let at = position(key, items.len())?;
                items.get(at).cloned().ok_or_else(|| outside(at, items.len()))?
            }
            (Value::String(text), key) => {
                let at = position(key, text.len())?;
                text.get(at).copied().map(Value::Byte).ok_or_else(|| outside(at, text.len()))?
            }
            (Value::Nil, _) => return Err("index of null; test the value with if or with first".to_owned()),
            (other, _) => return Err(format!("index takes a list, a map or a text, this is {}", other.kind())),
        };
    }
    Ok(found)
}

fn slice(value: &Value, bounds: &[Value], budget: &mut Budget) -> Result<Value, Fault> {
    let length = match value {
        Value::String(text) => text.len(),
        Value::List(items) => items.len(),
        other => return Err(format!("slice takes a text or a list, this is {}", other.kind())),
    };
    let most = if matches!(value, Value::List(_)) { 3 } else { 2 };
    if bounds.len() > most {
        return Err(format!("slice takes at most {most} positions here"));
    }
    let mut positions = [0, length, length];
    for (place, bound) in positions.iter_mut().zip(bounds) {
        *place = position(bound, length)?;
    }
    let [start, end, limit] = positions;
    if start > end || end > limit {
        return Err(format!("slice from {start} to {end} runs backwards"));
    }
    Ok(match value {
        Value::List(items) => {
            budget.spend(end - start)?;
            Value::List(Arc::from(&items[start..end]))
        }
        Value::String(text) => Value::String(text.slice(start..end)),
        _ => Value::String(Bytes::new()),
    })
}

/// A position from 0 up to and including `length`.
fn position(value: &Value, length: usize) -> Result<usize, Fault> {
    let wanted = match value {
        Value::Int(_) | Value::Byte(_) | Value::Whole(_) => value.as_int().unwrap_or(i64::MAX),
        other => return Err(format!("a position must be an integer such as 0, this is {}", other.kind())),
    };
    let found = usize::try_from(wanted).ok().filter(|at| *at <= length);
    found.ok_or_else(|| outside(wanted, length))
}

fn outside(at: impl std::fmt::Display, length: usize) -> Fault {
    format!("position {at} is outside, the length is {length}; test it with len first")
}
