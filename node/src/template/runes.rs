//! Text as Go reads it: characters, with every byte that is not UTF-8 standing for one broken character.

/// One character of a text: its bytes, and the character unless the byte is not UTF-8.
pub(super) struct Rune<'a> {
    /// The bytes it takes; exactly one when `char` is none.
    pub(super) bytes: &'a [u8],
    /// The character, or none for a byte that is not UTF-8.
    pub(super) char: Option<char>,
}

impl Rune<'_> {
    /// The character, with U+FFFD for a broken byte.
    pub(super) fn lossy(&self) -> char {
        self.char.unwrap_or(char::REPLACEMENT_CHARACTER)
    }
}

/// The characters of a text in order.
pub(super) fn runes(text: &[u8]) -> impl Iterator<Item = Rune<'_>> {
    text.utf8_chunks().flat_map(|chunk| {
        let valid = chunk.valid();
        let good = valid
            .char_indices()
            .map(move |(at, char)| Rune { bytes: &valid.as_bytes()[at..at + char.len_utf8()], char: Some(char) });
        let broken = chunk.invalid().chunks(1).map(|bytes| Rune { bytes, char: None });
        good.chain(broken)
    })
}

/// How many characters a text has.
pub(super) fn count(text: &[u8]) -> usize {
    runes(text).count()
}

/// The first `characters` characters of a text.
pub(super) fn truncate(text: &[u8], characters: usize) -> &[u8] {
    let length = runes(text).take(characters).map(|rune| rune.bytes.len()).sum();
    &text[..length]
}

/// The first character of a text.
pub(super) fn first(text: &[u8]) -> Option<Rune<'_>> {
    runes(&text[..text.len().min(4)]).next()
}

/// Whether a character is printed as it is when quoting: letters, marks, numbers, punctuation, symbols and the blank.
pub(super) fn is_printable(char: char) -> bool {
    if char.is_ascii() {
        return (' '..='~').contains(&char);
    }
    // Behind another character `escape_debug` leaves combining marks alone, so only the unprintable is escaped.
    let mut pair = String::from("a");
    pair.push(char);
    pair.escape_debug().nth(1) != Some('\\')
}

/// Appends a character in UTF-8.
pub(super) fn push(out: &mut Vec<u8>, char: char) {
    out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
}
