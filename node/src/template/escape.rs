//! The escapers `html`, `js` and `urlquery`.

use super::budget::Budget;
use super::funcs::Fault;
use super::printf;
use super::runes::{is_printable, runes};
use super::value::Value;

/// The arguments of an escaper as one text, joined as `print` joins them; null shows as `<no value>`.
pub(super) fn joined(arguments: &[Value], budget: &mut Budget) -> Result<Vec<u8>, Fault> {
    let shown: Vec<Value> = arguments
        .iter()
        .map(|value| match value {
            Value::Nil => Value::text(printf::NO_VALUE),
            other => other.clone(),
        })
        .collect();
    printf::print(&shown, budget)
}

/// Escapes the five characters of HTML and replaces NUL.
pub(super) fn html(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            0 => out.extend("\u{fffd}".as_bytes()),
            b'"' => out.extend(b"&#34;"),
            b'\'' => out.extend(b"&#39;"),
            b'&' => out.extend(b"&amp;"),
            b'<' => out.extend(b"&lt;"),
            b'>' => out.extend(b"&gt;"),
            other => out.push(*other),
        }
    }
    out
}

/// Escapes what could end a JavaScript text or open a tag, and what cannot be printed.
pub(super) fn js(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for rune in runes(text) {
        let char = rune.lossy();
        match char {
            '\\' => out.extend(br"\\"),
            '\'' => out.extend(br"\'"),
            '"' => out.extend(b"\\\""),
            '<' | '>' | '&' | '=' | '\0'..='\u{1f}' => out.extend(format!("\\u{:04X}", u32::from(char)).bytes()),
            _ if char.is_ascii() || is_printable(char) => out.extend(rune.bytes),
            _ => out.extend(format!("\\u{:04X}", u32::from(char)).bytes()),
        }
    }
    out
}

/// Escapes a text for use in a query; a blank becomes `+`.
pub(super) fn url_query(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b' ' => out.push(b'+'),
            b'-' | b'_' | b'.' | b'~' => out.push(*byte),
            _ if byte.is_ascii_alphanumeric() => out.push(*byte),
            _ => out.extend(format!("%{byte:02X}").bytes()),
        }
    }
    out
}
