//! The comparisons `eq`, `ne`, `lt`, `le`, `gt` and `ge`, with Go's rules on what compares with what.

use super::funcs::Fault;
use super::value::Value;

/// Whether the first value equals any of the others.
///
/// # Errors
/// When there is no other, or two values are of kinds that never compare; integers and floats are such.
pub(super) fn equal_any(first: &Value, others: &[Value]) -> Result<bool, Fault> {
    if others.is_empty() {
        return Err("nothing to compare with; give two values".to_owned());
    }
    for other in others {
        if equal(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal(left: &Value, right: &Value) -> Result<bool, Fault> {
    match (left, right) {
        (Value::Nil, Value::Nil) => Ok(true),
        (Value::Nil, _) | (_, Value::Nil) => Ok(false),
        (Value::Bool(left), Value::Bool(right)) => Ok(left == right),
        (Value::Float(left), Value::Float(right)) => Ok(left == right),
        (Value::Whole(whole), Value::Float(float)) | (Value::Float(float), Value::Whole(whole)) => {
            Ok(as_float(*whole) == *float)
        }
        (Value::String(left), Value::String(right)) => Ok(left == right),
        _ => match (integer(left), integer(right)) {
            (Some(left), Some(right)) => Ok(left == right),
            _ => Err(unlike(left, right)),
        },
    }
}

/// Whether the first value is less than the second.
///
/// # Errors
/// When the values are not both texts, both floats or both integers.
pub(super) fn less(left: &Value, right: &Value) -> Result<bool, Fault> {
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => Ok(left < right),
        (Value::Whole(left), Value::Float(right)) => Ok(as_float(*left) < *right),
        (Value::Float(left), Value::Whole(right)) => Ok(*left < as_float(*right)),
        (Value::String(left), Value::String(right)) => Ok(left < right),
        _ => match (integer(left), integer(right)) {
            (Some(left), Some(right)) => Ok(left < right),
            _ => Err(unordered(left, right)),
        },
    }
}

/// Whether the first value is less than or equal to the second.
///
/// # Errors
/// As [`less`].
pub(super) fn less_or_equal(left: &Value, right: &Value) -> Result<bool, Fault> {
    Ok(less(left, right)? || equal(left, right)?)
}

fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::Int(number) => Some(i128::from(*number)),
        Value::Byte(number) => Some(i128::from(*number)),
        Value::Whole(number) => Some(*number),
        _ => None,
    }
}

/// The nearest float, which is what the number would be in Go.
fn as_float(whole: i128) -> f64 {
    whole as f64
}

fn unlike(left: &Value, right: &Value) -> Fault {
    let mut fault = format!("{} does not compare with {}", left.kind(), right.kind());
    if matches!((left, right), (Value::Float(_), Value::Int(_)) | (Value::Int(_), Value::Float(_))) {
        fault.push_str("; write the number with a point, as in 1.0");
    }
    fault
}

fn unordered(left: &Value, right: &Value) -> Fault {
    match (left, right) {
        (Value::Bool(_), Value::Bool(_)) | (Value::Nil, Value::Nil) => {
            format!("{} has no order; use eq or ne", left.kind())
        }
        _ => unlike(left, right),
    }
}
