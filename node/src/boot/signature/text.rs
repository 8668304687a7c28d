//! Which bodies are plainly text: those for which every program finds the same canonical form (RFC 9580 §5.2.4.1).

/// No more than this of one line is hashed by every `gpg`: 2.2 cuts from 19,994 bytes on, its end not counted.
const LINE_BYTES_MAX: usize = 19_990;

/// Whether programs agree on what a signature of this as a text covers; if not, it must be signed byte by byte.
///
/// They agree on LF and CR LF. A CR alone is kept by some, dropped or taken for the end of a line by others; `gpg` drops a
/// NUL at the end of a line, and what a line has beyond its buffer.
pub(super) fn is_text(body: &[u8]) -> bool {
    body.split_inclusive(|byte| *byte == b'\n').all(|line| {
        let bare = line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\n")).unwrap_or(line);
        bare.len() <= LINE_BYTES_MAX && !bare.iter().any(|byte| matches!(byte, b'\r' | 0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_on_which_programs_disagree_are_no_text() {
        let cases: [(&[u8], bool); 15] = [
            (b"", true),
            (b"a", true),
            (b"\n", true),
            (b"\r\n", true),
            (b"a\nb\r\nc", true),
            (b"\n\n\r\n\n", true),
            (b"blanks \t\n", true),
            (b"\xff\x1a\n\x80", true),
            (b"\r", false),
            (b"a\r", false),
            (b"a\rb\n", false),
            (b"a\r\r\n", false),
            (b"fine\n\rnot\n", false),
            (b"a\0\n", false),
            (b"\0", false),
        ];
        for (body, wanted) in cases {
            assert_eq!(is_text(body), wanted, "{body:?}");
        }
    }

    #[test]
    fn lines_that_some_would_cut_are_no_text() {
        let line = |length: usize| [&vec![b'x'; length], &b"\r\n"[..]].concat();
        assert!(is_text(&line(LINE_BYTES_MAX)));
        assert!(!is_text(&line(LINE_BYTES_MAX + 1)));
    }
}
