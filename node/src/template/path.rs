//! Follows a path of fields into a value.

use bytes::Bytes;

use super::funcs::Fault;
use super::value::Value;

/// The value at the end of a path of fields that hangs on `start`.
pub(super) fn follow(from: &Value, start: &str, path: &[Bytes]) -> Result<Value, Fault> {
    let mut value = from;
    for (depth, field) in path.iter().enumerate() {
        let found = match value {
            Value::Map(map) => map.get(field),
            _ => None,
        };
        value = found.ok_or_else(|| absent(value, start, &path[..depth], field))?;
    }
    Ok(value.clone())
}

/// Says that `value`, found at `start` and `path`, has no such field.
fn absent(value: &Value, start: &str, path: &[Bytes], field: &[u8]) -> Fault {
    let name = String::from_utf8_lossy(field);
    let mut holder = start.to_owned();
    for field in path {
        holder.push('.');
        holder.push_str(&String::from_utf8_lossy(field));
    }
    match value {
        Value::Map(_) => {
            let place = if holder.is_empty() { "." } else { &holder };
            format!("{holder}.{name} is not in the data; add it, or write index {place} {name:?} if it may be absent")
        }
        Value::Nil => {
            format!("{holder}.{name} asks for a field of null; test what stands before .{name} with if or with")
        }
        other => format!("{holder}.{name} asks for a field of {}; only maps have fields", other.kind()),
    }
}
