//! Takes out of a log line what nobody else should read. Pure.

use serde_json::Value;

/// What tokens begin with: those of the API, and those to join with.
const TOKENS: [&str; 2] = ["rbt_", "rbj_"];
/// What stands in place of what was taken out.
const LEFT_OUT: &str = "(left out)";
/// What a machine sent, or what a template made of it.
const SENT: [&str; 1] = ["query"];
/// Why something was refused may quote the template or the metadata that it is about; of other parts it may not.
const QUOTING: [&str; 2] = ["reason", "error"];
/// The parts that read templates.
const READERS: [&str; 3] = ["raftboot::boot", "raftboot::template", "raftboot::catalog::boot"];

/// The line as others may read it; nothing of one below `info`, which may quote what was sent.
#[must_use]
pub fn line(text: &str) -> Option<String> {
    let parsed = serde_json::from_str::<Value>(text);
    // A line that was cut may have lost what says whose it is.
    let cut = text.starts_with('{') && parsed.is_err();
    let fields: Vec<&str> = if cut || READERS.iter().any(|reader| text.contains(reader)) {
        SENT.iter().chain(&QUOTING).copied().collect()
    } else {
        SENT.to_vec()
    };
    let cleared = match parsed {
        Ok(Value::Object(mut members)) => {
            if matches!(members.get("level").and_then(Value::as_str), Some("DEBUG" | "TRACE")) {
                return None;
            }
            for field in fields {
                if let Some(value) = members.get_mut(field) {
                    *value = LEFT_OUT.into();
                }
            }
            Value::Object(members).to_string()
        }
        // For people, or JSON that was cut.
        _ => {
            let below = [" DEBUG ", " TRACE ", "\"level\":\"DEBUG\"", "\"level\":\"TRACE\""];
            if below.iter().any(|level| text.contains(level)) {
                return None;
            }
            fields.iter().fold(text.to_owned(), |text, field| {
                let text = without(&text, &format!(" {field}=\""));
                without(&text, &format!("\"{field}\":\""))
            })
        }
    };
    Some(TOKENS.iter().fold(cleared, |text, token| without_token(&text, token)))
}

/// Empties the quoted text that follows each `mark`; a quote within it is escaped.
fn without(text: &str, mark: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(mark) {
        let begins = at + mark.len();
        out.push_str(&rest[..begins]);
        out.push_str(LEFT_OUT);
        rest = &rest[begins..];
        let mut escaped = false;
        let end = rest.find(|letter: char| {
            let ends = letter == '"' && !escaped;
            escaped = letter == '\\' && !escaped;
            ends
        });
        rest = &rest[end.unwrap_or(rest.len())..];
    }
    out.push_str(rest);
    out
}

fn without_token(text: &str, begins: &str) -> String {
    let mut parts = text.split(begins);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(part.len());
        out.push_str(begins);
        out.push_str(LEFT_OUT);
        out.push_str(&part[end..]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_should_not_read_is_taken_out_of_lines_for_people_and_programs() {
        for (text, want) in [
            (
                r#"2026-11-25T10:00:00Z  INFO request{request_id="a"}: raftboot::boot::answer: nothing path=/ipxe query="k=\"S3CRET\"" reason="no S3CRET" mac="x""#,
                r#"2026-11-25T10:00:00Z  INFO request{request_id="a"}: raftboot::boot::answer: nothing path=/ipxe query="(left out)" reason="(left out)" mac="x""#,
            ),
            (
                r#"2026-11-25T10:00:00Z  INFO raftboot::vip::thread: let go reason="no quorum has answered in time""#,
                r#"2026-11-25T10:00:00Z  INFO raftboot::vip::thread: let go reason="no quorum has answered in time""#,
            ),
            (
                r#"2026-11-25T10:00:00Z  WARN raftboot::x: a token rbt_0123_abcdef, and rbj_zz."#,
                r#"2026-11-25T10:00:00Z  WARN raftboot::x: a token rbt_(left out), and rbj_(left out)."#,
            ),
            (
                r#"{"level":"WARN","query":"S3CRET","reason":"S3CRET","target":"raftboot::boot::answer"}"#,
                r#"{"level":"WARN","query":"(left out)","reason":"(left out)","target":"raftboot::boot::answer"}"#,
            ),
            (
                r#"{"level":"WARN","target":"raftboot::boot::answer","query":"S3CRET and it is cut he"#,
                r#"{"level":"WARN","target":"raftboot::boot::answer","query":"(left out)"#,
            ),
        ] {
            assert_eq!(line(text).as_deref(), Some(want));
        }
        for text in [
            "2026-11-25T10:00:00Z DEBUG raftboot::boot: S3CRET",
            r#"{"level":"DEBUG","message":"S3CRET"}"#,
            r#"{"level":"DEBUG","message":"S3CRET and cut"#,
        ] {
            assert_eq!(line(text), None);
        }
    }
}
