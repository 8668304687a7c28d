//! Puts answers together: headers, the one 404, redirects, and contents of which a part may be asked.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode};

use super::body::Body;
use super::content::{self, Meta, Part, Range};
use super::date;
use super::sniff::sniff;

/// An answer on its way.
pub(super) type Answer = Response<Body>;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// Tells a client that a node cannot serve a file right now when to come back, in seconds. iPXE heeds it.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("2");

/// An answer with a body of a media type.
#[must_use]
pub(super) fn whole(status: StatusCode, media: HeaderValue, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Body::from(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, media);
    answer
}

/// 200 with the type its first bytes look like.
#[must_use]
pub(super) fn sniffed(body: impl Into<Bytes>) -> Answer {
    let body = body.into();
    whole(StatusCode::OK, HeaderValue::from_static(sniff(&body)), body)
}

/// An error as Go's `http.Error` writes it.
#[must_use]
pub(super) fn error(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = whole(status, TEXT, Bytes::from_static(text.as_bytes()));
    answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// The answer to everything that cannot be answered; the reason is in the log only.
#[must_use]
pub(super) fn not_found() -> Answer {
    error(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// The request makes no sense; the connection is closed.
#[must_use]
pub(super) fn malformed() -> Answer {
    let mut answer = whole(StatusCode::BAD_REQUEST, TEXT, Bytes::from_static(b"400 Bad Request"));
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// The bytes exist, but this node cannot serve them now: come back soon.
#[must_use]
pub(super) fn unavailable() -> Answer {
    let mut answer = error(StatusCode::SERVICE_UNAVAILABLE, "503 this node cannot serve the file right now\n");
    answer.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS);
    answer
}

/// 301 to `location`, with the query kept.
#[must_use]
pub(super) fn moved(location: &str, query: Option<&str>) -> Answer {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let Ok(value) = HeaderValue::from_str(&format!("{location}{query}")) else { return malformed() };
    let shown = escape_html(&format!("{location}{query}"));
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    let mut answer =
        whole(StatusCode::MOVED_PERMANENTLY, html, format!("<a href=\"{shown}\">Moved Permanently</a>.\n\n"));
    answer.headers_mut().insert(header::LOCATION, value);
    answer
}

/// Makes text safe between the tags and in the quoted attributes of HTML.
#[must_use]
pub(super) fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// A rendered content of which a part may be asked; it carries no date, as each machine's is its own.
#[must_use]
pub(super) fn rendered(method: &Method, headers: &HeaderMap, content: Vec<u8>) -> Answer {
    let media = HeaderValue::from_static(sniff(&content));
    in_memory(method, headers, &Bytes::from(content), "", media)
}

/// Bytes at hand of which a part may be asked.
#[must_use]
pub(super) fn in_memory(
    method: &Method,
    headers: &HeaderMap,
    content: &Bytes,
    etag: &str,
    media: HeaderValue,
) -> Answer {
    let meta = Meta { size: content.len() as u64, etag, modified: None };
    let (mut answer, ranges) = match plan(content::decide(method, headers, meta), meta, &media) {
        Plan::Done(answer) => return answer,
        Plan::Send { answer, ranges } => (answer, ranges),
    };
    let slice = |range: Range| {
        // A range lies within the content, which is in memory.
        let start = usize::try_from(range.start).unwrap_or(usize::MAX).min(content.len());
        let length = usize::try_from(range.length).unwrap_or(usize::MAX).min(content.len() - start);
        content.slice(start..start + length)
    };
    *answer.body_mut() = match ranges[..] {
        [one] => Body::from(slice(one)),
        _ => {
            let boundary = boundary(content);
            set_multipart(&mut answer, &boundary);
            let mut body = Vec::new();
            for range in &ranges {
                body.extend(part_head(&boundary, *range, meta.size, &media, body.is_empty()).bytes());
                body.extend_from_slice(&slice(*range));
            }
            body.extend(part_end(&boundary).bytes());
            Body::from(Bytes::from(body))
        }
    };
    answer
}

/// What a decision comes to.
pub(super) enum Plan {
    /// There is nothing to send.
    Done(Answer),
    /// The headers are set; the body is still to be made from these ranges, of which several make a multipart.
    Send {
        /// The answer without its body.
        answer: Answer,
        /// What to send, in order; never empty.
        ranges: Vec<Range>,
    },
}

/// Turns a decision into the headers that go with it.
#[must_use]
pub(super) fn plan(part: Part, meta: Meta<'_>, media: &HeaderValue) -> Plan {
    let done = |mut answer: Answer| {
        describe(&mut answer, meta);
        Plan::Done(answer)
    };
    let mut answer = Response::new(Body::empty());
    let ranges = match part {
        Part::Status(status) => {
            *answer.status_mut() = status;
            return done(answer);
        }
        Part::Unsatisfiable { message, overlap_size } => {
            let mut answer = error(StatusCode::RANGE_NOT_SATISFIABLE, message);
            if let Some(size) = overlap_size {
                set(&mut answer, header::CONTENT_RANGE, &format!("bytes */{size}"));
            }
            return done(answer);
        }
        Part::Whole => vec![Range { start: 0, length: meta.size }],
        Part::One(range) => {
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            set(&mut answer, header::CONTENT_RANGE, &range.content_range(meta.size));
            vec![range]
        }
        Part::Many(ranges) => {
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            ranges
        }
    };
    answer.headers_mut().insert(header::CONTENT_TYPE, media.clone());
    answer.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    describe(&mut answer, meta);
    Plan::Send { answer, ranges }
}

fn describe(answer: &mut Answer, meta: Meta<'_>) {
    if !meta.etag.is_empty() {
        set(answer, header::ETAG, meta.etag);
    }
    if let Some(modified) = meta.modified {
        set(answer, header::LAST_MODIFIED, &date::format(modified));
    }
}

/// Sets a header of our own making.
pub(super) fn set(answer: &mut Answer, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

/// Marks an answer as `multipart/byteranges`.
pub(super) fn set_multipart(answer: &mut Answer, boundary: &str) {
    set(answer, header::CONTENT_TYPE, &format!("multipart/byteranges; boundary={boundary}"));
}

/// A line that does not occur in the content: nobody can write a text that holds its own digest.
fn boundary(content: &[u8]) -> String {
    raft::types::Digest::of(content).to_string()
}

/// What stands before a part of a multipart answer.
#[must_use]
pub(super) fn part_head(boundary: &str, range: Range, size: u64, media: &HeaderValue, first: bool) -> String {
    let gap = if first { "" } else { "\r\n" };
    let media = media.to_str().unwrap_or("application/octet-stream");
    let range = range.content_range(size);
    format!("{gap}--{boundary}\r\nContent-Range: {range}\r\nContent-Type: {media}\r\n\r\n")
}

/// What stands after the last part.
#[must_use]
pub(super) fn part_end(boundary: &str) -> String {
    format!("\r\n--{boundary}--\r\n")
}
