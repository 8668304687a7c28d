//! Metadata of groups as matchbox reads and answers it: a JSON object, written anew as Go writes JSON. Pure.

use serde_json::{Map, Number, Value};

use crate::go_json::{go_text, write_text};

/// What is stored of metadata as it was sent: the text of an object, or nothing.
///
/// # Errors
/// Why it is no JSON object.
pub(super) fn stored(sent: &[u8]) -> Result<String, String> {
    if sent.is_empty() {
        return Ok(String::new());
    }
    let text = go_text(sent);
    let read: Option<Map<String, Value>> =
        serde_json::from_str(&text).map_err(|error| format!("it is not a JSON object: {error}"))?;
    let empty = read.is_none_or(|object| object.is_empty());
    Ok(if empty { String::new() } else { text.trim().to_owned() })
}

/// Metadata as clients see it: compact, keys sorted, markup escaped. `exact`: every number as a 64-bit float, which
/// changes large integers.
pub(super) fn shown(text: &str, exact: bool) -> String {
    if text.is_empty() {
        return String::new();
    }
    // Checked to be an object before it was stored.
    let Ok(object) = serde_json::from_str(text) else { return text.to_owned() };
    let mut out = String::with_capacity(text.len());
    write(&mut out, &Value::Object(object), exact);
    out
}

fn write(out: &mut String, value: &Value, exact: bool) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number_text(number, exact)),
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(out, item, exact);
            }
            out.push(']');
        }
        Value::Object(entries) => {
            out.push('{');
            for (at, (key, item)) in entries.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_text(key, out);
                out.push(':');
                write(out, item, exact);
            }
            out.push('}');
        }
    }
}

/// Fixed notation from 1e-6 up to 1e21, as ECMAScript and Go write numbers; else the shortest exponent.
fn number_text(number: &Number, exact: bool) -> String {
    let whole =
        number.as_i64().map(|whole| whole.to_string()).or_else(|| number.as_u64().map(|whole| whole.to_string()));
    if let Some(whole) = whole.filter(|_| !exact) {
        return whole;
    }
    let float = number.as_f64().unwrap_or(0.0);
    if float == 0.0 {
        return if float.is_sign_negative() { "-0".into() } else { "0".into() };
    }
    if (1e-6..1e21).contains(&float.abs()) {
        return format!("{float}");
    }
    let text = format!("{float:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) if !exponent.starts_with('-') => format!("{mantissa}e+{exponent}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::{shown, stored};

    #[test]
    fn only_an_object_is_metadata_and_an_empty_one_is_none() {
        for (sent, want) in [
            ("", Some("")),
            ("{}", Some("")),
            ("null", Some("")),
            (" {\"a\" : 1}\n", Some("{\"a\" : 1}")),
            ("[1]", None),
            ("\"text\"", None),
            ("{\"a\":1} x", None),
            ("{'a':1}", None),
        ] {
            assert_eq!(stored(sent.as_bytes()).ok().as_deref(), want, "{sent}");
        }
    }

    #[test]
    fn it_is_shown_as_go_writes_json() {
        for (text, want) in [
            ("", ""),
            (r#"{"b":1, "a":2}"#, r#"{"a":2,"b":1}"#),
            (r#"{"s" : "<a&b>" , "l" : [ 1 , 2.50 , null ] }"#, r#"{"l":[1,2.5,null],"s":"\u003ca\u0026b\u003e"}"#),
            (r#"{"e":1e21,"f":1.0,"s":1e-7,"m":1000000}"#, r#"{"e":1e+21,"f":1,"m":1000000,"s":1e-7}"#),
            (
                r#"{"u":"\u00e9\ud83c\udf32","c":"\u0001\t\u2028"}"#,
                "{\"c\":\"\\u0001\\t\\u2028\",\"u\":\"\u{e9}\u{1f332}\"}",
            ),
            (r#"{"d":1,"d":2}"#, r#"{"d":2}"#),
        ] {
            assert_eq!(shown(text, true), want, "{text}");
            assert_eq!(shown(text, false), want, "{text}");
        }
    }

    #[test]
    fn large_integers_stay_what_they_are_unless_matchbox_is_to_be_matched() {
        let text = r#"{"big":12345678901234567890}"#;
        assert_eq!(shown(text, false), text);
        assert_eq!(shown(text, true), r#"{"big":12345678901234567000}"#);
    }
}
