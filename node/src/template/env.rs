//! The `/metadata` answer: the data map as `KEY=value` lines.

use super::case::to_upper;
use super::number::format_number;
use super::value::{Map, Value};

/// Writes one `KEY=value` line per text, boolean and number, sorted bytewise.
///
/// A key is its path joined by `_` in upper case. Lists and nulls are left out; nothing is quoted or escaped. Keys
/// that differ only in case give several lines.
pub fn env_file(data: &Value) -> Vec<u8> {
    let mut lines = Vec::new();
    if let Value::Map(map) = data {
        collect(map, None, &mut lines);
    }
    lines.sort_unstable();
    lines.concat()
}

fn collect(map: &Map, path: Option<&[u8]>, lines: &mut Vec<Vec<u8>>) {
    for (key, value) in map.iter() {
        let mut name = path.map(|path| [path, b"_"].concat()).unwrap_or_default();
        name.extend(to_upper(key));
        let shown = match value {
            Value::Map(inner) => {
                collect(inner, Some(&name), lines);
                continue;
            }
            Value::Nil | Value::List(_) => continue,
            Value::String(text) => text.to_vec(),
            Value::Bool(truth) => truth.to_string().into_bytes(),
            Value::Float(number) => format_number(*number).into_bytes(),
            Value::Int(number) => number.to_string().into_bytes(),
            Value::Whole(number) => number.to_string().into_bytes(),
            Value::Byte(number) => number.to_string().into_bytes(),
        };
        name.push(b'=');
        name.extend(shown);
        name.push(b'\n');
        lines.push(name);
    }
}
