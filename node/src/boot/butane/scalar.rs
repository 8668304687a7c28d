//! What a YAML scalar means to a program written in Go: mostly YAML 1.2, with the numbers of YAML 1.1.

use std::borrow::Cow;

/// What a scalar means.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    /// Also integers that need more than 64 bits.
    Float(f64),
    /// Text, and everything that only text can hold.
    Text,
    Binary(Vec<u8>),
}

/// Says what a scalar means, of its tag, whether it stands there without quotes, and what stands there.
///
/// # Errors
/// If the tag does not fit.
pub(super) fn resolve(tag: Option<&str>, plain: bool, value: &str) -> Result<Scalar, String> {
    let misfit = |tag: &str| format!("`{}` does not fit its tag {tag}", shown(value));
    Ok(match (tag, untagged(value)) {
        (None, _) if !plain => Scalar::Text,
        (None, scalar) => scalar,
        (Some("!!null"), Scalar::Null) => Scalar::Null,
        (Some("!!bool"), Scalar::Bool(truth)) => Scalar::Bool(truth),
        (Some("!!int"), Scalar::Int(number)) => Scalar::Int(number),
        (Some("!!float"), Scalar::Float(number)) => Scalar::Float(number),
        (Some("!!float"), Scalar::Int(number)) => Scalar::Float(number as f64),
        (Some("!!binary"), _) => Scalar::Binary(base64(value).ok_or_else(|| misfit("!!binary"))?),
        (Some(tag @ ("!!null" | "!!bool" | "!!int" | "!!float")), _) => return Err(misfit(tag)),
        (Some(_), _) => Scalar::Text,
    })
}

/// How much of a config's own words a message shows, in characters.
const SHOWN_CHARS_MAX: usize = 100;

/// A config's own words for a message: control characters escaped, cut to a length.
pub(super) fn shown(text: &str) -> String {
    let more = if text.chars().nth(SHOWN_CHARS_MAX).is_some() { "…" } else { "" };
    let first: String = text.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect();
    first + more
}

fn untagged(value: &str) -> Scalar {
    match value {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "true" | "True" | "TRUE" => return Scalar::Bool(true),
        "false" | "False" | "FALSE" => return Scalar::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        _ => {}
    }
    if !value.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) {
        return Scalar::Text;
    }
    // A number that begins with its point has no underscores.
    let digits = if value.starts_with('.') { Cow::Borrowed(value) } else { Cow::Owned(value.replace('_', "")) };
    match integer(&digits) {
        Some(number) => i64::try_from(number).map_or(Scalar::Float(number as f64), Scalar::Int),
        None => float(&digits).map_or(Scalar::Text, Scalar::Float),
    }
}

/// An integer in any of the bases of Go: `0644` and `0o644` are octal.
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.bytes().all(|digit| digit.is_ascii_alphanumeric()) {
        return None;
    }
    let number = i128::from_str_radix(digits, base).ok().filter(|number| *number <= i128::from(u64::MAX))?;
    Some(if negative { -number } else { number })
}

fn float(text: &str) -> Option<f64> {
    // Rust knows more words for numbers, such as `+inf`; YAML floats are digits, a point and an exponent.
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    text.parse().ok().filter(|number: &f64| plain && number.is_finite())
}

/// Standard base64 with its padding; line breaks in it do not count.
fn base64(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text.replace(['\n', '\r'], "")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_go_reads() {
        for (text, want) in [
            ("0644", Scalar::Int(420)),
            ("0o644", Scalar::Int(420)),
            ("0O644", Scalar::Int(420)),
            ("420", Scalar::Int(420)),
            ("4_20", Scalar::Int(420)),
            ("0x1A4", Scalar::Int(420)),
            ("0b11", Scalar::Int(3)),
            ("-0b11", Scalar::Int(-3)),
            ("+5", Scalar::Int(5)),
            ("0", Scalar::Int(0)),
            ("0888", Scalar::Float(888.0)),
            ("1.5", Scalar::Float(1.5)),
            (".5", Scalar::Float(0.5)),
            ("5.", Scalar::Float(5.0)),
            ("1e3", Scalar::Float(1000.0)),
            ("-1E+3", Scalar::Float(-1000.0)),
            ("9223372036854775808", Scalar::Float(2f64.powi(63))),
            ("1e999", Scalar::Text),
            ("1.4.0", Scalar::Text),
            ("-", Scalar::Text),
            ("--5", Scalar::Text),
            ("0x", Scalar::Text),
            ("+inf", Scalar::Text),
            ("._5", Scalar::Text),
            ("2024-01-02", Scalar::Text),
            ("yes", Scalar::Text),
            ("nUll", Scalar::Text),
            ("True", Scalar::Bool(true)),
            ("FALSE", Scalar::Bool(false)),
            ("~", Scalar::Null),
            ("", Scalar::Null),
            ("-.inf", Scalar::Float(f64::NEG_INFINITY)),
        ] {
            assert_eq!(resolve(None, true, text), Ok(want), "{text}");
            assert_eq!(resolve(None, false, text), Ok(Scalar::Text), "{text}");
        }
    }

    #[test]
    fn tags_overrule_and_must_fit() {
        for (tag, text, want) in [
            ("!!str", "5", Some(Scalar::Text)),
            ("!!int", "5", Some(Scalar::Int(5))),
            ("!!float", "5", Some(Scalar::Float(5.0))),
            ("!!bool", "true", Some(Scalar::Bool(true))),
            ("!!binary", "aGk=\n", Some(Scalar::Binary(b"hi".to_vec()))),
            ("!mine", "5", Some(Scalar::Text)),
            ("!!int", "x", None),
            ("!!bool", "yes", None),
            ("!!null", "x", None),
            ("!!binary", "aGk", None),
        ] {
            assert_eq!(resolve(Some(tag), false, text).ok(), want, "{tag} {text}");
        }
    }
}
