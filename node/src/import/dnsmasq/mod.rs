//! Reads a dnsmasq configuration and says, line by line, what becomes of it here.
//!
//! `line` knows the syntax, `files` follows includes, `tags` what tags stand for; `judge` and what it calls decide, and are
//! pure: lines in, findings out. Nothing is changed, and nothing is run: not even `conf-script`.

mod boot;
mod files;
mod judge;
mod line;
mod options;
mod settings;
mod tags;

use std::collections::BTreeSet;

use serde::Serialize;

pub use files::read;
pub use judge::judge;
pub use line::{Line, lines};

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is so here without being said.
    Default,
    /// Something has to be set here.
    Set,
    /// It must go from the server that hands out addresses, or machines are led elsewhere.
    Remove,
    /// It stays with whoever hands out addresses.
    Dhcp,
    /// It stays with whoever answers DNS.
    Dns,
    /// There is nothing like it here.
    None,
    /// The line is not understood.
    Unknown,
}

/// What becomes of one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file it stands in.
    pub file: String,
    /// Its number there, counted from 1.
    pub line: usize,
    /// The line.
    pub text: String,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why, and what to do.
    pub message: String,
    /// Commands that set it here.
    pub commands: Vec<String>,
    /// Lines of a node's configuration that set it here.
    pub config: Vec<String>,
}

/// What becomes of all of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Line by line.
    pub findings: Vec<Finding>,
    /// What it comes to, a sentence each.
    pub summary: Vec<String>,
    /// All commands, one for each key that all lines agree on.
    pub commands: BTreeSet<String>,
    /// The configuration of every node, as TOML: keys, then sections.
    pub config: Vec<String>,
}

/// What a line is told.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    verdict: Verdict,
    message: String,
    commands: Vec<String>,
    config: Vec<String>,
}

/// A text as TOML writes it; JSON writes it the same way but for one letter.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

impl Told {
    fn new(verdict: Verdict, message: impl Into<String>) -> Self {
        Self { verdict, message: message.into(), commands: Vec::new(), config: Vec::new() }
    }

    fn command(mut self, command: impl Into<String>) -> Self {
        self.commands.push(command.into());
        self
    }

    fn config(mut self, line: impl Into<String>) -> Self {
        self.config.push(line.into());
        self
    }
}

#[cfg(test)]
mod tests;
