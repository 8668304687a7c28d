//! Quotes texts and characters as Go source would write them.

use super::runes::{is_printable, push, runes};

/// A text between double quotes; with `ascii` everything beyond ASCII is escaped too.
pub(super) fn text(text: &[u8], ascii: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    out.push(b'"');
    for rune in runes(text) {
        match rune.char {
            Some(char) => escape(&mut out, char, '"', ascii),
            None => out.extend(format!("\\x{:02x}", rune.bytes[0]).bytes()),
        }
    }
    out.push(b'"');
    out
}

/// Appends a character between single quotes.
pub(super) fn character(out: &mut Vec<u8>, char: char, ascii: bool) {
    out.push(b'\'');
    escape(out, char, '\'', ascii);
    out.push(b'\'');
}

/// Whether a text can stand between backquotes unchanged.
pub(super) fn fits_backquotes(text: &[u8]) -> bool {
    runes(text).all(|rune| {
        let plain = |char| char == '\t' || char >= ' ' && char != '\u{7f}' && char != '`' && char != '\u{feff}';
        rune.char.is_some_and(plain)
    })
}

fn escape(out: &mut Vec<u8>, char: char, quote: char, ascii: bool) {
    let short = match char {
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\u{c}' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\u{b}' => "\\v",
        '\\' => "\\\\",
        _ => "",
    };
    let code = u32::from(char);
    if !short.is_empty() {
        out.extend(short.bytes());
    } else if char == quote {
        out.push(b'\\');
        push(out, char);
    } else if is_printable(char) && (char.is_ascii() || !ascii) {
        push(out, char);
    } else if code < 0x80 {
        out.extend(format!("\\x{code:02x}").bytes());
    } else if code < 0x10000 {
        out.extend(format!("\\u{code:04x}").bytes());
    } else {
        out.extend(format!("\\U{code:08x}").bytes());
    }
}
