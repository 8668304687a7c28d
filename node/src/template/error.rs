//! What is wrong with a template: where, in which construct, and what to do about it.

use std::fmt;

/// Constructs longer than this many characters are cut in messages.
const CONSTRUCT_CHARS_MAX: usize = 60;

/// A template that cannot be understood; found when it is parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(Box<Place>);

/// A template that cannot be rendered with the data it was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RenderError(Box<Place>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    template: String,
    line: u32,
    construct: String,
    problem: String,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}", self.line)?;
        if !self.template.is_empty() {
            write!(formatter, " (template {:?})", self.template)?;
        }
        write!(formatter, ", {}: {}", self.construct, self.problem)
    }
}

impl Place {
    fn new(template: &[u8], line: u32, construct: &[u8], problem: String) -> Self {
        Self { template: String::from_utf8_lossy(template).into_owned(), line, construct: shorten(construct), problem }
    }
}

/// One line, cut in the middle of nothing but characters.
fn shorten(construct: &[u8]) -> String {
    let text = String::from_utf8_lossy(&construct[..construct.len().min(4 * CONSTRUCT_CHARS_MAX)]);
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(CONSTRUCT_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

impl ParseError {
    pub(super) fn new(line: u32, construct: &[u8], problem: String) -> Self {
        Self(Box::new(Place::new(b"", line, construct, problem)))
    }

    /// The line of the source, from 1.
    pub fn line(&self) -> u32 {
        self.0.line
    }

    /// The piece of source that is wrong, shortened.
    pub fn construct(&self) -> &str {
        &self.0.construct
    }

    /// What is wrong with it and what to do.
    pub fn problem(&self) -> &str {
        &self.0.problem
    }
}

impl RenderError {
    pub(super) fn new(template: &[u8], line: u32, construct: &[u8], problem: String) -> Self {
        Self(Box::new(Place::new(template, line, construct, problem)))
    }

    /// The line of the source, from 1.
    pub fn line(&self) -> u32 {
        self.0.line
    }

    /// The piece of source that failed, shortened.
    pub fn construct(&self) -> &str {
        &self.0.construct
    }

    /// What is wrong with it and what to do.
    pub fn problem(&self) -> &str {
        &self.0.problem
    }
}
