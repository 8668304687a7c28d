//! The Content-Type of an answer: by file name extension, else from the first bytes, as Go's `net/http` decides.
//!
//! Sources: the WHATWG MIME Sniffing standard (<https://mimesniff.spec.whatwg.org/>) in the extent Go implements it.

/// How many bytes are looked at.
pub(super) const SNIFF_BYTES: usize = 512;

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// Extensions that are known without a system's MIME tables; all others are sniffed.
const BY_EXTENSION: &[(&str, &str)] = &[
    ("avif", "image/avif"),
    ("css", "text/css; charset=utf-8"),
    ("gif", "image/gif"),
    ("htm", HTML),
    ("html", HTML),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("wasm", "application/wasm"),
    ("webp", "image/webp"),
    ("xml", "text/xml; charset=utf-8"),
];

/// The type a file's extension stands for, in any case.
#[must_use]
pub(super) fn by_extension(name: &str) -> Option<&'static str> {
    let file = name.rsplit('/').next()?;
    let (_, extension) = file.rsplit_once('.')?;
    BY_EXTENSION.iter().find(|(known, _)| known.eq_ignore_ascii_case(extension)).map(|(_, media)| *media)
}

/// Tags that make HTML, when a blank or `>` follows.
const TAGS: &[&[u8]] = &[
    b"<!DOCTYPE HTML",
    b"<HTML",
    b"<HEAD",
    b"<SCRIPT",
    b"<IFRAME",
    b"<H1",
    b"<DIV",
    b"<FONT",
    b"<TABLE",
    b"<A",
    b"<STYLE",
    b"<TITLE",
    b"<B",
    b"<BODY",
    b"<BR",
    b"<P",
    b"<!--",
];

/// Byte patterns at the very beginning; `.` in the second column stands for any byte. In the order of the standard.
const SIGNATURES: &[(&[u8], &[u8], &str)] = &[
    (b"%PDF-", b"", "application/pdf"),
    (b"%!PS-Adobe-", b"", "application/postscript"),
    (b"\xfe\xff\0\0", b"xx..", "text/plain; charset=utf-16be"),
    (b"\xff\xfe\0\0", b"xx..", "text/plain; charset=utf-16le"),
    (b"\xef\xbb\xbf\0", b"xxx.", TEXT),
    (b"\0\0\x01\0", b"", "image/x-icon"),
    (b"\0\0\x02\0", b"", "image/x-icon"),
    (b"BM", b"", "image/bmp"),
    (b"GIF87a", b"", "image/gif"),
    (b"GIF89a", b"", "image/gif"),
    (b"RIFF\0\0\0\0WEBPVP", b"xxxx....xxxxxx", "image/webp"),
    (b"\x89PNG\r\n\x1a\n", b"", "image/png"),
    (b"\xff\xd8\xff", b"", "image/jpeg"),
    (b"FORM\0\0\0\0AIFF", b"xxxx....xxxx", "audio/aiff"),
    (b"ID3", b"", "audio/mpeg"),
    (b"OggS\0", b"", "application/ogg"),
    (b"MThd\0\0\0\x06", b"", "audio/midi"),
    (b"RIFF\0\0\0\0AVI ", b"xxxx....xxxx", "video/avi"),
    (b"RIFF\0\0\0\0WAVE", b"xxxx....xxxx", "audio/wave"),
];

/// The patterns that come after MP4 in the standard's order.
const LATER_SIGNATURES: &[(&[u8], &str)] = &[
    (b"\x1a\x45\xdf\xa3", "video/webm"),
    (b"\0\x01\0\0", "font/ttf"),
    (b"OTTO", "font/otf"),
    (b"ttcf", "font/collection"),
    (b"wOFF", "font/woff"),
    (b"wOF2", "font/woff2"),
    (b"\x1f\x8b\x08", "application/x-gzip"),
    (b"PK\x03\x04", "application/zip"),
    (b"Rar!\x1a\x07\0", "application/x-rar-compressed"),
    (b"Rar!\x1a\x07\x01\0", "application/x-rar-compressed"),
    (b"\0asm", "application/wasm"),
];

/// The type the first bytes of a content look like.
#[must_use]
pub(super) fn sniff(content: &[u8]) -> &'static str {
    let head = &content[..content.len().min(SNIFF_BYTES)];
    let blanks = head.iter().take_while(|byte| matches!(byte, b'\t' | b'\n' | b'\x0c' | b'\r' | b' ')).count();
    let text = &head[blanks..];
    if TAGS.iter().any(|tag| is_tag(text, tag)) {
        return HTML;
    }
    if text.starts_with(b"<?xml") {
        return "text/xml; charset=utf-8";
    }
    if let Some((.., media)) = SIGNATURES.iter().find(|(bytes, mask, _)| matches(head, bytes, mask)) {
        return media;
    }
    if is_mp4(head) {
        return "video/mp4";
    }
    if head.get(34..36) == Some(b"LP") {
        return "application/vnd.ms-fontobject";
    }
    if let Some((_, media)) = LATER_SIGNATURES.iter().find(|(bytes, _)| head.starts_with(bytes)) {
        return media;
    }
    if text.iter().any(|byte| matches!(byte, 0..=0x08 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f)) {
        return "application/octet-stream";
    }
    TEXT
}

fn is_tag(text: &[u8], tag: &[u8]) -> bool {
    let Some((start, rest)) = text.split_at_checked(tag.len()) else { return false };
    start.eq_ignore_ascii_case(tag) && matches!(rest.first(), Some(b' ' | b'>'))
}

fn matches(head: &[u8], bytes: &[u8], mask: &[u8]) -> bool {
    let Some(start) = head.get(..bytes.len()) else { return false };
    start.iter().zip(bytes).enumerate().all(|(at, (got, want))| mask.get(at) == Some(&b'.') || got == want)
}

/// An `ftyp` box that names a brand beginning with `mp4`.
fn is_mp4(head: &[u8]) -> bool {
    let Some((size, _)) = head.split_first_chunk::<4>() else { return false };
    let size = u32::from_be_bytes(*size) as usize;
    if head.len() < 12 || head.len() < size || !size.is_multiple_of(4) || head[4..8] != *b"ftyp" {
        return false;
    }
    // The four bytes after the major brand are its version.
    (8..size).step_by(4).filter(|at| *at != 12).any(|at| head.get(at..at + 3) == Some(b"mp4"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_told_apart_by_their_first_bytes() {
        for (content, want) in [
            (&b""[..], TEXT),
            (b"#!ipxe\nboot\n", TEXT),
            (b"{\"json\": true}", TEXT),
            (b"  \n<!doctype html>", HTML),
            (b"<a href>", HTML),
            (b"<abbr>", TEXT),
            (b"<b", TEXT),
            (b" <?xml version", "text/xml; charset=utf-8"),
            (b"\x1f\x8b\x08\0", "application/x-gzip"),
            (b"\xfd7zXZ\0", "application/octet-stream"),
            (b"MZ plain", TEXT),
            (b"RIFF1234WAVE", "audio/wave"),
            (b"RIFF1234", TEXT),
            (b"\xff\xfea\0", "text/plain; charset=utf-16le"),
            (b"\0\0\0\x0cftypmp42", "video/mp4"),
            (b"\0\0\0\x0cftypisom", "application/octet-stream"),
            (b"\x1bc", TEXT),
            (b"a\x0bb", "application/octet-stream"),
        ] {
            assert_eq!(sniff(content), want, "{:?}", String::from_utf8_lossy(content));
        }
        let mut late = vec![b'a'; SNIFF_BYTES];
        late.push(0);
        assert_eq!(sniff(&late), TEXT, "only the first {SNIFF_BYTES} bytes count");
    }

    #[test]
    fn extensions_are_known_in_any_case() {
        assert_eq!(by_extension("a/b.JSON"), Some("application/json"));
        assert_eq!(by_extension("a.json/b"), None);
        assert_eq!(by_extension("vmlinuz"), None);
        assert_eq!(by_extension("x.txt"), None);
    }
}
