//! Everything the command line prints: results on standard output, the rest on standard error.

use std::io::{ErrorKind, Write};

use clap::ValueEnum;
use serde_json::Value;

use super::failure::Failure;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
    /// For files that are applied again
    Yaml,
}

/// Where to print.
pub struct Terminal<'a> {
    /// Results.
    pub out: &'a mut dyn Write,
    /// Errors, warnings and progress.
    pub error: &'a mut dyn Write,
}

impl Terminal<'_> {
    /// Prints a result. Whoever closes the pipe early has seen enough.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn print(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Prints bytes as they are.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self.out.write_all(bytes).and_then(|()| self.out.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Failure::new(format!("the result cannot be printed: {error}"), ""))
            }
            _ => Ok(()),
        }
    }

    /// Prints one line that is not the result.
    pub fn complain(&mut self, line: &str) {
        // There is nobody left to tell if that fails.
        let _ = writeln!(self.error, "{line}");
    }

    /// Prints a value for programs, or `table` for people.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn show(&mut self, format: Format, value: &Value, table: impl FnOnce() -> String) -> Result<(), Failure> {
        let text = match format {
            Format::Table => table(),
            Format::Json => format!("{value:#}\n"),
            Format::Yaml => yaml(value)?,
        };
        self.print(&text)
    }

    /// Prints what a write did, and the server's warnings.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn written(&mut self, format: Format, object: &str, answer: &str) -> Result<(), Failure> {
        let value = parse(answer)?;
        self.warn(&value);
        self.show(format, &value, || {
            let (effect, index) = (text(&value["effect"]), &value["index"]);
            format!("{object} {effect} (log index {index})\n")
        })
    }

    /// Prints the warnings of an answer.
    pub fn warn(&mut self, answer: &Value) {
        for warning in answer["warnings"].as_array().into_iter().flatten() {
            let [object, field, message, hint] =
                ["object", "field", "message", "hint"].map(|name| text(&warning[name]));
            self.complain(&format!("warning: {object}: {field}: {message}; {hint}"));
        }
    }
}

/// Reads an answer of the server.
///
/// # Errors
/// When it is no JSON.
pub(super) fn parse(answer: &str) -> Result<Value, Failure> {
    serde_json::from_str(answer).map_err(|error| {
        Failure::new(format!("the server's answer cannot be read: {error}"), "is the server of another version?")
    })
}

/// A value as YAML.
///
/// # Errors
/// Never for JSON values, as far as is known.
pub(super) fn yaml(value: &Value) -> Result<String, Failure> {
    serde_saphyr::to_string(value)
        .map_err(|error| Failure::new(format!("this cannot be written as YAML: {error}"), "use -o json"))
}

/// A value as people read it.
#[must_use]
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" "),
        Value::Object(members) => {
            members.iter().map(|(key, value)| format!("{key}={}", text(value))).collect::<Vec<_>>().join(" ")
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// Bytes as people count them.
#[must_use]
pub(super) fn bytes(count: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (count.max(1).ilog2() / 10).min(4);
    if unit == 0 {
        return format!("{count} B");
    }
    let tenths = (u128::from(count) * 10) >> (10 * unit);
    format!("{}.{} {}", tenths / 10, tenths % 10, units[unit as usize])
}

/// Columns as wide as what is in them. Control characters are shown as escapes, so that a name cannot move the cursor.
#[must_use]
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let clean = |cell: &str| -> String {
        cell.chars()
            .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
            .collect()
    };
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rows: Vec<Vec<String>> =
        std::iter::once(head).chain(rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect())).collect();
    let columns = rows[0].len();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up_and_hold_no_escape_sequences() {
        let rows = vec![vec!["a\u{1b}[2J".into(), "x".into()], vec!["bb".into(), String::new()]];
        assert_eq!(table(&["NAME", "V"], &rows), "NAME        V\na\\u{1b}[2J  x\nbb\n");
    }

    #[test]
    fn sizes_are_short() {
        for (count, want) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2 << 30, "2.0 GiB"), (u64::MAX, "16777215.9 TiB")]
        {
            assert_eq!(bytes(count), want);
        }
    }
}
