//! The configuration file as written: reads its keys one by one and collects every mistake instead of stopping at one.

use std::collections::BTreeSet;
use std::str::FromStr;

use toml::de::{DeTable, DeValue};

use super::{Listen, Mistake};

/// Keys that may be written; anything else is a typing error worth reporting.
const KEYS: [&str; 27] = [
    "data_dir",
    "name",
    "timing",
    "fence",
    "peer_address",
    "interface",
    "advertise",
    "loader_dirs",
    "listen.boot_http",
    "listen.admin",
    "listen.tftp",
    "listen.dhcp",
    "listen.peer",
    "listen.grpc",
    "boot.signing_key_ring",
    "boot.signing_passphrase_file",
    "tls.cert",
    "tls.key",
    "tls.names",
    "tls.client_ca",
    "tls.client_role",
    "grpc.cert",
    "grpc.key",
    "grpc.client_ca",
    "grpc.client_role",
    "log.format",
    "log.level",
];

/// A parsed file and what has been found wrong with it so far.
pub(super) struct Written<'a> {
    entries: Vec<Entry<'a>>,
    mistakes: BTreeSet<(usize, String, String)>,
}

struct Entry<'a> {
    key: String,
    line: usize,
    value: DeValue<'a>,
}

impl<'a> Written<'a> {
    /// Parses the text and notes every unknown key.
    pub(super) fn read(text: &'a str) -> Result<Self, Vec<Mistake>> {
        let table = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(0, |span| line_of(text, span.start));
            vec![Mistake { line, key: String::new(), message: error.message().to_owned() }]
        })?;
        let mut written = Self { entries: Vec::new(), mistakes: BTreeSet::new() };
        written.flatten(text, "", table.into_inner());
        let unknown: Vec<(usize, String)> = written
            .entries
            .iter()
            .filter(|entry| !KEYS.contains(&entry.key.as_str()))
            .map(|entry| (entry.line, entry.key.clone()))
            .collect();
        for (line, key) in unknown {
            let nearest = KEYS.iter().min_by_key(|known| distance(known, &key)).expect("there are keys");
            written.mistakes.insert((line, key, format!("no such key; did you mean `{nearest}`?")));
        }
        Ok(written)
    }

    fn flatten(&mut self, text: &str, prefix: &str, table: DeTable<'a>) {
        for (name, value) in table {
            let line = line_of(text, name.span().start);
            let key = format!("{prefix}{}", name.into_inner());
            match value.into_inner() {
                DeValue::Table(inner) => self.flatten(text, &format!("{key}."), inner),
                value => self.entries.push(Entry { key, line, value }),
            }
        }
    }

    fn find(&self, key: &str) -> Option<&Entry<'a>> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Notes a mistake at a key and answers `None`, for use where a value is wanted.
    pub(super) fn wrong<T>(&mut self, key: &str, message: &str) -> Option<T> {
        let line = self.find(key).map_or(0, |entry| entry.line);
        self.mistakes.insert((line, key.to_owned(), message.to_owned()));
        None
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        match &self.find(key)?.value {
            DeValue::String(text) if !text.is_empty() => Some(text.to_string()),
            _ => self.wrong(key, "must be text in quotes, and not empty"),
        }
    }

    pub(super) fn parsed<T: FromStr>(&mut self, key: &str, example: &str) -> Option<T> {
        let DeValue::String(text) = &self.find(key)?.value else {
            return self.wrong(key, &format!("must be {example}, in quotes"));
        };
        match text.parse() {
            Ok(value) => Some(value),
            Err(_) => self.wrong(key, &format!("must be {example}")),
        }
    }

    pub(super) fn list(&mut self, key: &str) -> Option<Vec<String>> {
        let DeValue::Array(items) = &self.find(key)?.value else {
            return self.wrong(key, "must be a list of texts: [\"…\", \"…\"]");
        };
        let texts: Option<Vec<String>> = items
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::String(text) if !text.is_empty() => Some(text.to_string()),
                _ => None,
            })
            .collect();
        match texts {
            Some(texts) => Some(texts),
            None => self.wrong(key, "must hold only texts in quotes, none of them empty"),
        }
    }

    pub(super) fn choice(&mut self, key: &str, choices: &[&str]) -> Option<String> {
        let text = self.text(key)?;
        if choices.contains(&text.as_str()) {
            return Some(text);
        }
        self.wrong(key, &format!("must be one of \"{}\"", choices.join("\", \"")))
    }

    /// `"auto"`, `"off"`, or what `read` understands.
    pub(super) fn listen<T>(
        &mut self,
        key: &str,
        default: T,
        read: impl Fn(&str) -> Option<T>,
        example: &str,
    ) -> Listen<T> {
        let Some(text) = self.text(key) else { return Listen::Auto(default) };
        match text.as_str() {
            "auto" => Listen::Auto(default),
            "off" => Listen::Off,
            text => match read(text) {
                Some(value) => Listen::On(value),
                None => {
                    self.wrong::<()>(key, &format!("must be \"auto\", \"off\" or {example}"));
                    Listen::Off
                }
            },
        }
    }

    /// All mistakes, or nothing.
    pub(super) fn finish(self) -> Result<(), Vec<Mistake>> {
        if self.mistakes.is_empty() {
            return Ok(());
        }
        Err(self.mistakes.into_iter().map(|(line, key, message)| Mistake { line, key, message }).collect())
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

/// Edit distance between two short keys (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::KEYS;

    #[test]
    fn the_reference_page_has_a_row_for_every_key_and_no_other() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/config.md");
        let page = std::fs::read_to_string(page).unwrap();
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('|').next());
        let mut named: Vec<&str> = rows.flat_map(|cell| cell.split('`')).filter(|text| text.len() > 2).collect();
        let mut keys = KEYS.to_vec();
        named.sort_unstable();
        keys.sort_unstable();
        assert_eq!(named, keys);
    }
}
