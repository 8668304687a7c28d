//! Request paths as Go's router sees them: percent-decoded, cleaned, redirected when they were not clean.

use std::borrow::Cow;

/// What the path of a request comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cleaned<'a> {
    /// It is clean; decoded bytes.
    Clean(Cow<'a, [u8]>),
    /// It is not: the client is sent here (percent-encoded, without the query).
    Redirect(String),
    /// A percent sign without two hexadecimal digits, or no absolute path at all.
    Malformed,
}

/// Decodes and cleans the path of a request target.
#[must_use]
pub(super) fn clean(raw: &str) -> Cleaned<'_> {
    if !raw.starts_with('/') {
        return Cleaned::Malformed;
    }
    let Some(path) = percent_decode(raw.as_bytes()) else { return Cleaned::Malformed };
    if is_clean(&path) {
        return Cleaned::Clean(path);
    }
    let mut cleaned = lexical(&path);
    // A folder of assets keeps its slash: matchbox's router sends `/assets` there anyway.
    if (path.ends_with(b"/") || cleaned == b"/assets") && cleaned != b"/" {
        cleaned.push(b'/');
    }
    if cleaned == *path { Cleaned::Clean(path) } else { Cleaned::Redirect(encode(&cleaned)) }
}

/// A name below a folder, cleaned like a path that cannot climb out of it: `sub/../a/` is `a`, `../a` is `a`.
#[must_use]
pub(super) fn below(name: &str) -> Cow<'_, str> {
    let plain = !name.is_empty() && name.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if plain {
        return Cow::Borrowed(name);
    }
    let cleaned = lexical(&[b"/", name.as_bytes()].concat());
    Cow::Owned(String::from_utf8_lossy(&cleaned[1..]).into_owned())
}

fn is_clean(path: &[u8]) -> bool {
    !path.windows(2).any(|pair| pair == b"//" || pair == b"/.")
}

/// The absolute path without empty parts, `.` and `..`, and without a slash at the end.
fn lexical(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    let mut out = Vec::with_capacity(path.len() + 1);
    for part in parts {
        out.push(b'/');
        out.extend_from_slice(part);
    }
    if out.is_empty() { b"/".to_vec() } else { out }
}

/// Replaces `%41` by `A`; `None` where a percent sign is not followed by two hexadecimal digits.
#[must_use]
pub(super) fn percent_decode(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(first) = bytes.iter().position(|byte| *byte == b'%') else { return Some(Cow::Borrowed(bytes)) };
    let mut out = bytes[..first].to_vec();
    let mut rest = &bytes[first..];
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let [high, low, tail @ ..] = rest else { return None };
        out.push(u8::try_from(hex(*high)? << 4 | hex(*low)?).ok()?);
        rest = tail;
    }
    Some(Cow::Owned(out))
}

fn hex(byte: u8) -> Option<u32> {
    char::from(byte).to_digit(16)
}

/// Percent-encodes a path for a `Location` header or a link.
#[must_use]
pub(super) fn encode(path: &[u8]) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(byte) {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unclean_paths_are_redirected_to_the_clean_one() {
        for (raw, want) in [
            ("//ipxe", Some("/ipxe")),
            ("/a/../ipxe", Some("/ipxe")),
            ("/%2E%2E/ipxe", Some("/ipxe")),
            ("/%2fipxe", Some("/ipxe")),
            ("/ipxe/.", Some("/ipxe")),
            ("/ipxe//", Some("/ipxe/")),
            ("/..", Some("/")),
            ("/assets/..%2f..%2fetc", Some("/etc")),
            ("/assets/f/..", Some("/assets/")),
            ("/a b//\u{e9}", Some("/a%20b/%C3%A9")),
            ("/ipxe", None),
            ("/ipxe/", None),
            ("/", None),
            ("/assets/..ok/.hidden", None),
            ("/assets/...", None),
        ] {
            let got = match clean(raw) {
                Cleaned::Redirect(to) => Some(to),
                Cleaned::Clean(_) => None,
                Cleaned::Malformed => panic!("{raw} is malformed"),
            };
            assert_eq!(got.as_deref(), want, "{raw}");
        }
    }

    #[test]
    fn escapes_are_decoded_once_and_broken_ones_refused() {
        assert_eq!(clean("/%69pxe"), Cleaned::Clean(Cow::Borrowed(b"/ipxe")));
        assert_eq!(clean("/%252e"), Cleaned::Clean(Cow::Borrowed(b"/%2e")));
        for raw in ["/100%.img", "/%", "/%4", "/%zz", "*", "", "ipxe"] {
            assert_eq!(clean(raw), Cleaned::Malformed, "{raw}");
        }
    }

    #[test]
    fn names_never_climb_out_of_their_folder() {
        for (name, want) in [
            ("a/b", "a/b"),
            ("a..b", "a..b"),
            ("/a", "a"),
            ("./a", "a"),
            ("sub/../a/", "a"),
            ("../../etc/x", "etc/x"),
            ("..", ""),
            ("", ""),
        ] {
            assert_eq!(below(name), want, "{name}");
        }
    }
}
