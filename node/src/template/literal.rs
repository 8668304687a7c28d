//! Numbers, characters and texts written in a template, as Go writes them.

use bytes::Bytes;

use super::runes::{self, runes};
use super::value::Value;

/// Reads a number: decimal, `0x`, `0o`, `0b` or `0…` (octal) integers, decimal and hexadecimal floats, with `_` between digits.
pub(super) fn number(text: &str) -> Result<Value, String> {
    let (negative, magnitude) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if magnitude.ends_with('i') {
        return Err(format!("complex number {text} is not supported; use a real number"));
    }
    let lower = magnitude.to_ascii_lowercase();
    let hex = lower.starts_with("0x");
    let float = lower.contains(['.', 'p']) || !hex && lower.contains('e');
    let bad = || format!("bad number {text}; write it like 42, 0x2a, 1.5 or 1e3");
    let plain = without_underscores(&lower, hex).ok_or_else(bad)?;
    if float {
        let value = if hex { hex_float(&plain) } else { decimal_float(&plain) };
        let value = value.ok_or_else(bad)?;
        return Ok(Value::Float(if negative { -value } else { value }));
    }
    let (digits, radix) = match plain.as_bytes() {
        [b'0', b'x', ..] => (&plain[2..], 16),
        [b'0', b'o', ..] => (&plain[2..], 8),
        [b'0', b'b', ..] => (&plain[2..], 2),
        [b'0', _, ..] => (&plain[1..], 8),
        _ => (plain.as_str(), 10),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(bad());
    }
    let value = i128::from_str_radix(digits, radix).ok();
    let value = value.and_then(|value| i64::try_from(if negative { -value } else { value }).ok());
    value
        .map(Value::Int)
        .ok_or_else(|| format!("integer {text} does not fit in 64 bits; write it with a point, as in 1e20"))
}

/// An underscore may stand only between two digits or behind a base prefix.
fn without_underscores(text: &str, hex: bool) -> Option<String> {
    let bytes = text.as_bytes();
    let is_digit = |byte: &u8| if hex { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
    let placed = |at: usize| {
        let before = at.checked_sub(1).and_then(|at| bytes.get(at));
        let behind_prefix = at == 2 && bytes[0] == b'0' && matches!(bytes[1], b'x' | b'o' | b'b');
        (behind_prefix || before.is_some_and(is_digit)) && bytes.get(at + 1).is_some_and(is_digit)
    };
    let well = text.match_indices('_').all(|(at, _)| placed(at));
    well.then(|| text.replace('_', ""))
}

fn decimal_float(text: &str) -> Option<f64> {
    let digits = text.chars().all(|char| char.is_ascii_digit() || "e.+-".contains(char));
    let value: f64 = digits.then(|| text.parse().ok())??;
    value.is_finite().then_some(value)
}

/// `0x`, hexadecimal digits with an optional point, `p` and a power of two. Digits beyond 64 bits are rounded away.
fn hex_float(text: &str) -> Option<f64> {
    let (mantissa, power) = text.strip_prefix("0x")?.split_once('p')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.len() + fraction.len() == 0 {
        return None;
    }
    let mut value = 0.0_f64;
    for char in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(char.to_digit(16)?);
    }
    let power: i32 = power.parse().ok()?;
    let power = power.checked_sub(i32::try_from(fraction.len()).ok()?.checked_mul(4)?)?;
    let half = power / 2;
    let value = value * 2.0_f64.powi(half) * 2.0_f64.powi(power - half);
    value.is_finite().then_some(value)
}

/// Reads a character between single quotes; its value is an integer.
pub(super) fn character(quoted: &[u8]) -> Result<Value, String> {
    let text = String::from_utf8_lossy(quoted);
    let bad = || format!("bad character {text}; write one character between single quotes, a text between double ones");
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).ok_or_else(bad)?;
    let (piece, rest) = unescape(inner, b'\'').ok_or_else(bad)?;
    if !rest.is_empty() {
        return Err(bad());
    }
    Ok(Value::Int(match piece {
        Piece::Byte(byte) => i64::from(byte),
        Piece::Char(char) => i64::from(u32::from(char)),
    }))
}

/// Reads a text between double quotes, with Go's escapes.
pub(super) fn quoted(text: &[u8]) -> Result<Bytes, String> {
    let mut rest = &text[1..text.len() - 1];
    let mut out = Vec::with_capacity(rest.len());
    while !rest.is_empty() {
        let Some((piece, behind)) = unescape(rest, b'"') else {
            let found = String::from_utf8_lossy(&rest[..rest.len().min(2)]).into_owned();
            return Err(format!("unknown escape {found} in a text; write \\\\ for a backslash, or use `raw quotes`"));
        };
        match piece {
            Piece::Byte(byte) => out.push(byte),
            Piece::Char(char) => runes::push(&mut out, char),
        }
        rest = behind;
    }
    Ok(out.into())
}

/// Reads a text between backquotes; carriage returns are dropped, as in Go.
pub(super) fn raw(text: &[u8]) -> Bytes {
    text[1..text.len() - 1].iter().copied().filter(|byte| *byte != b'\r').collect()
}

enum Piece {
    Byte(u8),
    Char(char),
}

/// The first character of a quoted text, escapes resolved, and what follows it.
fn unescape(text: &[u8], quote: u8) -> Option<(Piece, &[u8])> {
    let rune = runes(text).next()?;
    if rune.bytes != b"\\" {
        let plain = rune.bytes != [quote];
        return plain.then(|| (Piece::Char(rune.lossy()), &text[rune.bytes.len()..]));
    }
    let (kind, rest) = text[1..].split_first()?;
    let byte = match kind {
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 11,
        b'\\' => b'\\',
        b'x' => return code(rest, 2, 16).and_then(|(code, rest)| Some((Piece::Byte(u8::try_from(code).ok()?), rest))),
        b'u' => return code(rest, 4, 16).and_then(|(code, rest)| Some((Piece::Char(char::from_u32(code)?), rest))),
        b'U' => return code(rest, 8, 16).and_then(|(code, rest)| Some((Piece::Char(char::from_u32(code)?), rest))),
        b'0'..=b'7' => {
            return code(&text[1..], 3, 8).and_then(|(code, rest)| Some((Piece::Byte(u8::try_from(code).ok()?), rest)));
        }
        other if *other == quote => quote,
        _ => return None,
    };
    Some((Piece::Byte(byte), rest))
}

fn code(text: &[u8], digits: usize, radix: u32) -> Option<(u32, &[u8])> {
    let (head, rest) = text.split_at_checked(digits)?;
    let head = str::from_utf8(head).ok().filter(|head| head.chars().all(|char| char.is_digit(radix)))?;
    Some((u32::from_str_radix(head, radix).ok()?, rest))
}
