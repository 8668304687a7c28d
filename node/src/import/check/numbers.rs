//! Whole numbers in metadata that matchbox prints otherwise.

use serde_json::Value;

use super::{Looking, NAMED_MAX, Verdict, some};
use crate::template::format_number;

/// How much of the way to a number is shown, in characters.
const WAY_CHARS_MAX: usize = 100;

impl Looking<'_> {
    /// Matchbox takes all numbers for floats: 1000000 prints as `1e+06` there.
    pub(super) fn numbers(&mut self, object: &str, metadata: &str) {
        // What cannot be read has been left out before.
        let Ok(value) = serde_json::from_str::<Value>(metadata) else { return };
        let mut found = Vec::new();
        walk(&value, &mut String::new(), &mut found);
        if found.is_empty() {
            return;
        }
        let message = format!("matchbox prints whole numbers otherwise: {}", some(found.into_iter()));
        let hint = "`raftboot settings set script_style=matchbox` prints them as matchbox does";
        self.say(Verdict::Differs, object, "metadata", message, hint);
    }
}

/// The depth is that of the JSON, which its parser bounds.
fn walk(value: &Value, way: &mut String, found: &mut Vec<String>) {
    let length = way.len();
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if length > 0 {
                    way.push('.');
                }
                way.push_str(name);
                walk(member, way, found);
                way.truncate(length);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                way.push_str(&format!("[{at}]"));
                walk(item, way, found);
                way.truncate(length);
            }
        }
        // What needs more than 64 bits is a float here too.
        Value::Number(number) if number.is_i64() || number.is_u64() => {
            let there = number.as_f64().map(format_number).unwrap_or_default();
            if there != number.to_string() {
                // Only the first few are named; the rest count.
                let is_named = found.len() < NAMED_MAX;
                let way = || way.chars().take(WAY_CHARS_MAX).collect::<String>();
                found.push(if is_named { format!("{} is {there} there, {number} here", way()) } else { String::new() });
            }
        }
        _ => {}
    }
}
