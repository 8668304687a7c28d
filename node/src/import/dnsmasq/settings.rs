//! What all lines together set: one command or line of configuration for each key, or that they contradict each other.

use std::collections::BTreeMap;

use super::{Finding, Report, Verdict};

/// The key that lists what every line adds to it.
const NAMES: &str = "raftboot cluster set dns_names";
/// How many values of one key are named.
const NAMED_MAX: usize = 5;

/// Keys, and of each the values that are wanted and the last finding that wants them.
type Wanted = BTreeMap<String, BTreeMap<String, usize>>;

/// Fills in the commands and the configuration of the report by those of its findings.
pub(super) fn gather(report: &mut Report) {
    let (mut commands, mut config) = (Wanted::new(), Wanted::new());
    for (at, finding) in report.findings.iter().enumerate() {
        for line in &finding.commands {
            want(&mut commands, at, line, "=");
        }
        for line in &finding.config {
            want(&mut config, at, line, " = ");
        }
    }
    for finding in &mut report.findings {
        finding.commands.retain(|line| !is_one_of_many(&commands, line, "="));
        finding.config.retain(|line| !is_one_of_many(&config, line, " = "));
    }
    if let Some(names) = commands.remove(NAMES) {
        let names: Vec<String> = names.into_keys().collect();
        report.commands.insert(format!("{NAMES}={}", names.join(",")));
    }
    for (key, value) in certain(commands, report) {
        report.commands.insert(format!("{key}={value}"));
    }
    report.config = sections(&certain(config, report));
}

fn want(wanted: &mut Wanted, at: usize, line: &str, mark: &str) {
    let Some((key, value)) = line.split_once(mark) else { return };
    let values = wanted.entry(key.to_owned()).or_default();
    if key == NAMES {
        values.extend(value.split(',').map(|name| (name.to_owned(), at)));
    } else {
        values.insert(value.to_owned(), at);
    }
}

fn is_one_of_many(wanted: &Wanted, line: &str, mark: &str) -> bool {
    let values = line.split_once(mark).and_then(|(key, _)| wanted.get(key));
    values.is_some_and(|values| values.len() > 1)
}

/// The keys with one value; of the others it is reported which lines contradict each other.
fn certain(wanted: Wanted, report: &mut Report) -> BTreeMap<String, String> {
    let mut certain = BTreeMap::new();
    for (key, values) in wanted {
        if values.len() > 1 {
            let finding = contradiction(&key, &values, &report.findings);
            report.findings.push(finding);
        } else if let Some(value) = values.into_keys().next() {
            certain.insert(key, value);
        }
    }
    certain
}

fn contradiction(key: &str, values: &BTreeMap<String, usize>, findings: &[Finding]) -> Finding {
    let named: Vec<String> = values
        .iter()
        .take(NAMED_MAX)
        .map(|(value, at)| format!("{}:{} wants `{value}`", findings[*at].file, findings[*at].line))
        .collect();
    let more = values.len() - named.len();
    let rest = if more > 0 { format!(" and {more} more lines want others") } else { String::new() };
    let last = &findings[values.values().copied().max().unwrap_or_default()];
    Finding {
        file: last.file.clone(),
        line: last.line,
        text: last.text.clone(),
        verdict: Verdict::Set,
        message: format!("`{key}` has one value: {}{rest}; set the one that is meant", named.join(", ")),
        commands: Vec::new(),
        config: Vec::new(),
    }
}

/// Keys without a section first, then each section with its keys.
fn sections(config: &BTreeMap<String, String>) -> Vec<String> {
    let plain = config.iter().filter(|(key, _)| !key.contains('.'));
    let mut lines: Vec<String> = plain.map(|(key, value)| format!("{key} = {value}")).collect();
    let mut open = "";
    for (key, value) in config {
        let Some((section, name)) = key.split_once('.') else { continue };
        if section != open {
            lines.push(format!("[{section}]"));
            open = section;
        }
        lines.push(format!("{name} = {value}"));
    }
    lines
}
