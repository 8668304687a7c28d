//! The syntax of dnsmasq's files: one option a line, comments, quotes.

/// An option as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The file.
    pub file: String,
    /// Its number there, counted from 1.
    pub number: usize,
    /// As it is written, without blanks around it and without a comment.
    pub text: String,
    /// The option's name, without dashes in front.
    pub option: String,
    /// What stands behind `=`, divided at commas outside quotes; none without `=`.
    pub fields: Vec<String>,
}

impl Line {
    /// The fields that are no tags, and the tags: `tag:a`, `!a` where it is negated. `net:` is the old word for both.
    #[must_use]
    pub(super) fn without_tags(&self) -> (Vec<&str>, Vec<String>) {
        let mut tags = Vec::new();
        let mut fields = self.fields.as_slice();
        while let [first, rest @ ..] = fields {
            let Some(tag) = first.strip_prefix("tag:").or_else(|| first.strip_prefix("net:")) else { break };
            tags.push(tag.replace('#', ""));
            fields = rest;
        }
        (fields.iter().map(String::as_str).collect(), tags)
    }

    /// The whole value.
    #[must_use]
    pub(super) fn value(&self) -> String {
        self.fields.join(",")
    }
}

/// How many lines of one file are read.
const LINES_MAX: usize = 100_000;
/// Length of a line that is shown, in characters.
const TEXT_CHARS_MAX: usize = 200;

/// The options of a file.
#[must_use]
pub fn lines(text: &str, file: &str) -> Vec<Line> {
    let numbered = text.lines().take(LINES_MAX).enumerate();
    numbered.filter_map(|(at, line)| line_of(line, file, at + 1)).collect()
}

fn line_of(line: &str, file: &str, number: usize) -> Option<Line> {
    let (written, plain) = unquoted(line);
    let (option, value) = match plain.iter().position(|(letter, quoted)| *letter == '=' && !quoted) {
        Some(at) => (&plain[..at], Some(&plain[at + 1..])),
        None => (plain.as_slice(), None),
    };
    let option: String = option.iter().map(|(letter, _)| letter).collect();
    let option = option.trim().trim_start_matches("--").to_owned();
    if option.is_empty() && value.is_none() {
        return None;
    }
    let fields = value.map(|value| {
        let parts = value.split(|(letter, quoted)| *letter == ',' && !quoted);
        parts.map(|part| part.iter().map(|(letter, _)| letter).collect::<String>().trim().to_owned()).collect()
    });
    let text = written.chars().filter(|letter| !letter.is_control()).take(TEXT_CHARS_MAX).collect();
    Some(Line { file: file.to_owned(), number, text, option, fields: fields.unwrap_or_default() })
}

/// The line without its comment, and its letters without quotes, each with whether it stood in them.
fn unquoted(line: &str) -> (&str, Vec<(char, bool)>) {
    let mut letters = Vec::new();
    let mut in_quotes = false;
    let mut after_blank = true;
    let mut chars = line.char_indices();
    while let Some((at, letter)) = chars.next() {
        match letter {
            '"' => in_quotes = !in_quotes,
            '\\' if in_quotes => match chars.next() {
                Some((_, 't')) => letters.push(('\t', true)),
                Some((_, 'n' | 'r' | 'b' | 'e')) => letters.push((' ', true)),
                Some((_, other)) => letters.push((other, true)),
                None => {}
            },
            // Only behind a blank: `server=1.1.1.1#53` is no comment.
            '#' if !in_quotes && after_blank => return (line[..at].trim(), letters),
            other => letters.push((other, in_quotes)),
        }
        after_blank = letter.is_whitespace();
    }
    (line.trim(), letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_comments_and_quotes_are_read_as_dnsmasq_does() {
        for (text, want) in [
            ("port=0", "port|0"),
            ("  --port = 0  # no DNS", "port|0"),
            ("enable-tftp", "enable-tftp"),
            ("# port=0", ""),
            ("", ""),
            ("   \t", ""),
            ("server=1.1.1.1#53", "server|1.1.1.1#53"),
            ("pxe-service=x86PC, \"PXE, to # iPXE\", undionly.kpxe", "pxe-service|x86PC|PXE, to # iPXE|undionly.kpxe"),
            (r#"pxe-prompt="say \"F8\"",3"#, "pxe-prompt|say \"F8\"|3"),
            ("dhcp-option=3,", "dhcp-option|3|"),
            ("tftp-root=\"/srv/a=b\"", "tftp-root|/srv/a=b"),
            ("=x", "|x"),
        ] {
            let shown: Vec<String> = lines(text, "f")
                .into_iter()
                .map(|line| std::iter::once(line.option).chain(line.fields).collect::<Vec<_>>().join("|"))
                .collect();
            assert_eq!(shown.join("\n"), want, "{text}");
        }
        let read = lines("a\n\n--b=1 # c\n", "f");
        assert_eq!(
            read.iter().map(|line| (line.number, line.text.as_str())).collect::<Vec<_>>(),
            [(1, "a"), (3, "--b=1")]
        );
    }

    #[test]
    fn tags_are_parted_from_what_they_choose() {
        let line = &lines("dhcp-boot=tag:!ipxe,net:#efi,tag:x,a.efi,,10.0.0.1", "f")[0];
        let (fields, tags) = line.without_tags();
        assert_eq!((fields, tags), (vec!["a.efi", "", "10.0.0.1"], vec!["!ipxe".into(), "efi".into(), "x".into()]));
    }
}
