//! Writes numbers as Prometheus reads them (text exposition format 0.0.4), and only those that are in the table.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use raft::numbers::Spread;

use super::families::{FAMILIES, Family};

/// What is to be read in one go.
#[derive(Debug, Default)]
pub struct Page {
    lines: BTreeMap<&'static str, String>,
}

impl Page {
    /// What the answer's `Content-Type` says.
    pub const MEDIA_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// A number without labels.
    pub fn number(&mut self, name: &str, value: f64) {
        self.labelled(name, &[], value);
    }

    /// Yes or no, as 1 or 0.
    pub fn flag(&mut self, name: &str, value: bool) {
        self.number(name, f64::from(u8::from(value)));
    }

    /// A count without labels. Beyond 2^53 the last digits are lost, as in Prometheus itself.
    pub fn count(&mut self, name: &str, value: u64) {
        self.number(name, value as f64);
    }

    /// A number with a value for each label of its family, in the order of the table.
    ///
    /// # Panics
    /// When the table has no such family, or one with other labels: then the reference would lie.
    pub fn labelled(&mut self, name: &str, values: &[&str], value: f64) {
        let family = family(name);
        let labels = labels(family, values, None);
        let lines = self.lines.entry(family.name).or_default();
        let _infallible = writeln!(lines, "{}{labels} {value}", family.name);
    }

    /// How long things took, in seconds.
    pub fn spread(&mut self, name: &str, values: &[&str], spread: &Spread) {
        let family = family(name);
        let lines = self.lines.entry(family.name).or_default();
        let counted = spread.classes.iter().map(|(bound, count)| (bound.as_secs_f64().to_string(), *count));
        for (bound, count) in counted.chain([("+Inf".to_owned(), spread.count)]) {
            let labels = labels(family, values, Some(&bound));
            let _infallible = writeln!(lines, "{}_bucket{labels} {count}", family.name);
        }
        let labels = labels(family, values, None);
        let _infallible = writeln!(lines, "{}_sum{labels} {}", family.name, spread.sum.as_secs_f64());
        let _infallible = writeln!(lines, "{}_count{labels} {}", family.name, spread.count);
    }

    /// All of it. A family without any number just now is named all the same.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Family { name, kind, help, .. } in FAMILIES {
            let lines = self.lines.get(name).map_or("", String::as_str);
            let _infallible = write!(text, "# HELP {name} {help}\n# TYPE {name} {}\n{lines}", kind.word());
        }
        text
    }
}

fn family(name: &str) -> &'static Family {
    FAMILIES.iter().find(|family| family.name == name).unwrap_or_else(|| panic!("the table of metrics lacks {name}"))
}

fn labels(family: &Family, values: &[&str], bound: Option<&str>) -> String {
    assert_eq!(family.labels.len(), values.len(), "{} has the labels {:?}", family.name, family.labels);
    let named = family.labels.iter().copied().zip(values.iter().copied());
    let all: Vec<String> = named
        .chain(bound.map(|bound| ("le", bound)))
        .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
        .collect();
    if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn numbers_labels_and_times_are_written_as_prometheus_reads_them() {
        let mut page = Page::default();
        page.flag("raftboot_vip_held", true);
        page.labelled("raftboot_build_info", &["0.1.0 \"x\"\n"], 1.0);
        let classes = vec![(Duration::from_millis(1), 2), (Duration::from_secs(1), 3)];
        let spread = Spread { classes, count: 4, sum: Duration::from_millis(2500) };
        page.spread("raftboot_raft_fsync_duration_seconds", &[], &spread);
        let text = page.text();
        for want in [
            "# TYPE raftboot_vip_held gauge\nraftboot_vip_held 1\n",
            "raftboot_build_info{version=\"0.1.0 \\\"x\\\"\\n\"} 1\n",
            "# TYPE raftboot_raft_fsync_duration_seconds histogram\n\
             raftboot_raft_fsync_duration_seconds_bucket{le=\"0.001\"} 2\n\
             raftboot_raft_fsync_duration_seconds_bucket{le=\"1\"} 3\n\
             raftboot_raft_fsync_duration_seconds_bucket{le=\"+Inf\"} 4\n\
             raftboot_raft_fsync_duration_seconds_sum 2.5\n\
             raftboot_raft_fsync_duration_seconds_count 4\n",
            "# TYPE raftboot_certificate_expiry_timestamp_seconds gauge\n",
        ] {
            assert!(text.contains(want), "{want}\n{text}");
        }
    }

    #[test]
    #[should_panic(expected = "lacks raftboot_surprise")]
    fn what_is_not_in_the_table_is_not_written() {
        Page::default().number("raftboot_surprise", 1.0);
    }
}
