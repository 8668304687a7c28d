//! Upper and lower case one character at a time, as Go maps them: a text never changes its number of characters.

use super::runes::{self, runes};

/// The text in lower case; bytes that are not UTF-8 become U+FFFD unless the text is plain ASCII.
pub(super) fn to_lower(text: &[u8]) -> Vec<u8> {
    map(text, lower)
}

/// The text in upper case; bytes that are not UTF-8 become U+FFFD.
pub(super) fn to_upper(text: &[u8]) -> Vec<u8> {
    map(text, upper)
}

fn map(text: &[u8], change: fn(char) -> char) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for rune in runes(text) {
        runes::push(&mut out, change(rune.lossy()));
    }
    out
}

/// Only U+0130 has two characters in lower case, of which the first is the simple mapping.
fn lower(char: char) -> char {
    char.to_lowercase().next().unwrap_or(char)
}

/// Characters with a longer upper case (ß, ﬁ) keep their form, except Greek letters with a subscript iota, which have
/// a single capital.
fn upper(char: char) -> char {
    let mut capitals = char.to_uppercase();
    let first = capitals.next().unwrap_or(char);
    if capitals.next().is_none() {
        return first;
    }
    match char {
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => {
            char::from_u32(u32::from(char) + 8).unwrap_or(char)
        }
        '\u{1fb3}' => '\u{1fbc}',
        '\u{1fc3}' => '\u{1fcc}',
        '\u{1ff3}' => '\u{1ffc}',
        other => other,
    }
}
