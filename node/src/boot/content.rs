//! Decides what part of a content a request gets: preconditions and ranges (RFC 9110 §13, §14) as Go's `net/http` does.

use http::{HeaderMap, HeaderName, Method, StatusCode, header};

use super::date;

/// What is known of a content before any of it is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meta<'a> {
    /// Its length in bytes.
    pub size: u64,
    /// Its entity tag with the quotes, or empty.
    pub etag: &'a str,
    /// When it last changed, in seconds since 1970.
    pub modified: Option<i64>,
}

/// A part of a content: `start..start + length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// How many bytes.
    pub length: u64,
}

impl Range {
    /// `bytes 0-3/36`
    #[must_use]
    pub fn content_range(self, size: u64) -> String {
        // An empty range (`bytes=-0`) ends before it starts, as in Go.
        let last = i128::from(self.start) + i128::from(self.length) - 1;
        format!("bytes {}-{last}/{size}", self.start)
    }
}

/// What to answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// One range: 206.
    One(Range),
    /// Several ranges: 206, `multipart/byteranges`.
    Many(Vec<Range>),
    /// 304 or 412, without a body.
    Status(StatusCode),
    /// 416 with this line; `overlap_size` is named in `Content-Range` when the range was well-formed.
    Unsatisfiable {
        /// What is wrong.
        message: &'static str,
        /// The length of the content, if the range is merely beyond it.
        overlap_size: Option<u64>,
    },
}

/// How many ranges one request may ask for; with more it gets the whole content.
pub(super) const RANGES_MAX: usize = 64;

/// Decides for one request.
#[must_use]
pub(super) fn decide(method: &Method, headers: &HeaderMap, meta: Meta<'_>) -> Part {
    let reads = *method == Method::GET || *method == Method::HEAD;
    if precondition_fails(headers, meta) {
        return Part::Status(StatusCode::PRECONDITION_FAILED);
    }
    let unchanged = if reads { StatusCode::NOT_MODIFIED } else { StatusCode::PRECONDITION_FAILED };
    match text(headers, header::IF_NONE_MATCH) {
        Some(tags) if lists(tags, meta.etag, true) => return Part::Status(unchanged),
        Some(_) => {}
        None if reads && not_modified_since(headers, meta) => return Part::Status(unchanged),
        None => {}
    }
    let range = text(headers, header::RANGE).filter(|_| !reads || if_range_holds(headers, meta));
    range.map_or(Part::Whole, |range| ranges(range, meta.size))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().filter(|value| !value.is_empty())
}

fn precondition_fails(headers: &HeaderMap, meta: Meta<'_>) -> bool {
    if let Some(tags) = text(headers, header::IF_MATCH) {
        return !lists(tags, meta.etag, false);
    }
    let since = text(headers, header::IF_UNMODIFIED_SINCE).and_then(date::parse);
    matches!((since, meta.modified), (Some(since), Some(modified)) if modified > since)
}

fn not_modified_since(headers: &HeaderMap, meta: Meta<'_>) -> bool {
    let since = text(headers, header::IF_MODIFIED_SINCE).and_then(date::parse);
    matches!((since, meta.modified), (Some(since), Some(modified)) if modified <= since)
}

fn if_range_holds(headers: &HeaderMap, meta: Meta<'_>) -> bool {
    let Some(condition) = text(headers, header::IF_RANGE) else { return true };
    match first_tag(condition) {
        Some((tag, _)) => strong_match(tag, meta.etag),
        None => meta.modified.is_some() && date::parse(condition) == meta.modified,
    }
}

/// Whether a list of entity tags holds `etag` or is `*`.
fn lists(list: &str, etag: &str, weak: bool) -> bool {
    let mut rest = list;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.starts_with('*') {
            return true;
        }
        let Some((tag, more)) = first_tag(rest) else { return false };
        let same = if weak { weak_match(tag, etag) } else { strong_match(tag, etag) };
        if same {
            return true;
        }
        rest = more;
    }
}

fn strong_match(tag: &str, etag: &str) -> bool {
    tag == etag && tag.starts_with('"')
}

fn weak_match(tag: &str, etag: &str) -> bool {
    tag.strip_prefix("W/").unwrap_or(tag) == etag.strip_prefix("W/").unwrap_or(etag)
}

/// The entity tag at the beginning, with quotes and `W/`, and what follows it.
fn first_tag(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches([' ', '\t']);
    let quoted = text.strip_prefix("W/").unwrap_or(text).strip_prefix('"')?;
    let length = quoted.find('"')?;
    let plain = quoted[..length].bytes().all(|byte| byte == 0x21 || byte >= 0x23 && byte != 0x7f);
    plain.then(|| text.split_at(text.len() - quoted.len() + length + 1))
}

fn ranges(value: &str, size: u64) -> Part {
    let malformed = Part::Unsatisfiable { message: "invalid range\n", overlap_size: None };
    let Some(list) = value.strip_prefix("bytes=") else { return malformed };
    let mut ranges = Vec::new();
    let mut beyond = false;
    for spec in list.split(',').map(|spec| spec.trim_matches([' ', '\t'])).filter(|spec| !spec.is_empty()) {
        match range(spec, size) {
            Ok(Some(range)) => ranges.push(range),
            Ok(None) => beyond = true,
            Err(Malformed) => return malformed,
        }
    }
    if beyond && ranges.is_empty() && size > 0 {
        return Part::Unsatisfiable { message: "invalid range: failed to overlap\n", overlap_size: Some(size) };
    }
    // More bytes than there are: an attack or a careless client, so it gets the content once.
    let asked: u128 = ranges.iter().map(|range| u128::from(range.length)).sum();
    if asked > u128::from(size) || ranges.len() > RANGES_MAX {
        return Part::Whole;
    }
    match ranges[..] {
        [] => Part::Whole,
        [one] => Part::One(one),
        _ => Part::Many(ranges),
    }
}

struct Malformed;

/// One range of a list; `None` if it begins beyond the end.
fn range(spec: &str, size: u64) -> Result<Option<Range>, Malformed> {
    let (first, last) = spec.split_once('-').ok_or(Malformed)?;
    let (first, last) = (first.trim_matches([' ', '\t']), last.trim_matches([' ', '\t']));
    if first.is_empty() {
        let length = integer(last)?.min(size);
        return Ok(Some(Range { start: size - length, length }));
    }
    let start = integer(first)?;
    if start >= size {
        return Ok(None);
    }
    let end = if last.is_empty() { size - 1 } else { integer(last)? };
    if end < start {
        return Err(Malformed);
    }
    Ok(Some(Range { start, length: end.min(size - 1) - start + 1 }))
}

/// A number as Go's `ParseInt` reads it: a plus sign is allowed, and 63 bits.
fn integer(text: &str) -> Result<u64, Malformed> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Malformed);
    }
    digits.parse::<i64>().ok().and_then(|number| u64::try_from(number).ok()).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: Meta<'_> = Meta { size: 36, etag: "\"abc\"", modified: Some(784_111_777) };

    fn check(headers: &str, want: &str) {
        let mut map = HeaderMap::new();
        for line in headers.split('|').filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap();
            map.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let got = match decide(&Method::GET, &map, META) {
            Part::Whole => "whole".to_owned(),
            Part::One(range) => range.content_range(META.size),
            Part::Many(list) => list.iter().map(|range| range.content_range(META.size)).collect::<Vec<_>>().join("; "),
            Part::Status(status) => status.as_u16().to_string(),
            Part::Unsatisfiable { message, overlap_size } => format!("416 {} {overlap_size:?}", message.trim_end()),
        };
        assert_eq!(got, want, "{headers}");
    }

    #[test]
    fn ranges_are_cut_to_the_content() {
        check("", "whole");
        check("range: bytes=0-3", "bytes 0-3/36");
        check("range: bytes=-4", "bytes 32-35/36");
        check("range: bytes=-1000", "bytes 0-35/36");
        check("range: bytes=30-99", "bytes 30-35/36");
        check("range: bytes=0-1, 4-5", "bytes 0-1/36; bytes 4-5/36");
        check("range: bytes=0-30,1-35", "whole");
        check("range: bytes=36-", "416 invalid range: failed to overlap Some(36)");
        check("range: bytes=99-,1-2", "bytes 1-2/36");
        check("range: bytes=5-3", "416 invalid range None");
        check("range: bytes=18446744073709551615-", "416 invalid range None");
        check("range: lines=1-2", "416 invalid range None");
        check("range: bytes=-0", "bytes 36-35/36");
        let many = format!("range: bytes={}", "0-0,".repeat(RANGES_MAX + 1));
        check(&many, "whole");
    }

    #[test]
    fn preconditions_are_heeded_in_the_order_of_the_rfc() {
        check("if-none-match: \"x\", W/\"abc\"", "304");
        check("if-none-match: *", "304");
        check("if-none-match: \"x\"|if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT", "whole");
        check("if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT", "304");
        check("if-modified-since: Sun, 06 Nov 1994 08:49:36 GMT", "whole");
        check("if-match: \"x\"", "412");
        check("if-match: W/\"abc\"", "412");
        check("if-match: \"x\", \"abc\"|range: bytes=1-2", "bytes 1-2/36");
        check("if-unmodified-since: Sun, 06 Nov 1994 08:49:36 GMT", "412");
        check("range: bytes=1-2|if-range: \"abc\"", "bytes 1-2/36");
        check("range: bytes=1-2|if-range: \"x\"", "whole");
        check("range: bytes=1-2|if-range: Sun, 06 Nov 1994 08:49:37 GMT", "bytes 1-2/36");
        check("range: bytes=1-2|if-range: nonsense", "whole");
    }
}
