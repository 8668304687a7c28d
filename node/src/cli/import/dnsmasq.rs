//! `import dnsmasq`: says what becomes of every line of a dnsmasq configuration; changes nothing.

use std::path::PathBuf;

use clap::Args;

use super::super::failure::Failure;
use super::super::output::{Format, Terminal};
use super::check::shown;
use super::whole;
use crate::import::dnsmasq::{Finding, Report, Verdict, judge, read};

/// What to read.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Configuration files, or folders of them, such as /etc/dnsmasq.d; what they include is read too
    #[arg(required = true, value_name = "FILE_OR_DIR")]
    files: Vec<PathBuf>,
}

pub(super) fn run(format: Format, arguments: &Arguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let mut lines = Vec::new();
    for file in &arguments.files {
        let hint = "name the files that dnsmasq is started with (-C), and its folders (-7)";
        lines.extend(read(file).map_err(|error| Failure::new(whole(&error), hint))?);
    }
    if lines.is_empty() {
        return Err(Failure::new("there is no option in these files", "is this the configuration that dnsmasq reads?"));
    }
    let report = judge(&lines);
    let value = serde_json::to_value(&report).expect("a report is JSON");
    terminal.show(format, &value, || said(&report))
}

fn said(report: &Report) -> String {
    let mut text = String::new();
    for Finding { file, line, text: written, verdict, message, .. } in &report.findings {
        let verdict = match verdict {
            Verdict::Default => "already so",
            Verdict::Set => "set this",
            Verdict::Remove => "remove it there",
            Verdict::Dhcp => "stays with DHCP",
            Verdict::Dns => "stays with DNS",
            Verdict::None => "no equivalent",
            Verdict::Unknown => "not understood",
        };
        text.push_str(&format!("{}:{line}: {}\n  {verdict}: {}\n", shown(file), shown(written), shown(message)));
    }
    text.push('\n');
    for sentence in &report.summary {
        text.push_str(&format!("{}\n", shown(sentence)));
    }
    if !report.commands.is_empty() {
        text.push_str("\nonce, on any node:\n");
    }
    for command in &report.commands {
        text.push_str(&format!("  {}\n", shown(command)));
    }
    if !report.config.is_empty() {
        text.push_str(
            "\nin /etc/raftboot/raftboot.toml of every node (keys before the first [section]; one that is there already takes these in):\n",
        );
    }
    for line in &report.config {
        text.push_str(&format!("  {}\n", shown(line)));
    }
    text
}
