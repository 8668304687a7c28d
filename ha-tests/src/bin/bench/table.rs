//! A case of many rounds as one row: percentiles of silence, two responders, and what was promised.

use raftboot_ha_tests::writers::percentile;
use std::fmt::Write as _;
use std::time::Duration;

/// What is promised of a case.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Promise {
    pub(crate) p50: Option<Duration>,
    pub(crate) p99: Option<Duration>,
    /// Whether two responders break it.
    pub(crate) one_holder: bool,
}

/// All rounds of one case.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) promise: Promise,
    pub(crate) silences: Vec<Duration>,
    pub(crate) takeovers: Vec<Duration>,
    pub(crate) two_responders: usize,
    pub(crate) void: usize,
}

impl Row {
    pub(crate) fn new(name: impl Into<String>, promise: Promise) -> Self {
        Self { name: name.into(), promise, silences: vec![], takeovers: vec![], two_responders: 0, void: 0 }
    }

    /// Whether the promise was kept; nothing measured keeps nothing.
    pub(crate) fn kept(&self) -> bool {
        let silences = sorted(&self.silences);
        let within =
            |percent, limit: Option<Duration>| limit.is_none_or(|limit| percentile(&silences, percent) <= limit);
        !silences.is_empty()
            && within(50, self.promise.p50)
            && within(99, self.promise.p99)
            && !(self.promise.one_holder && self.two_responders > 0)
    }

    fn promised(&self) -> String {
        let mut parts = Vec::new();
        for (name, limit) in [("p50", self.promise.p50), ("p99", self.promise.p99)] {
            parts.extend(limit.map(|limit| format!("{name} ≤ {} ms", limit.as_millis())));
        }
        if self.promise.one_holder {
            parts.push("one holder".into());
        }
        if parts.is_empty() { "nothing".into() } else { parts.join(", ") }
    }

    fn verdict(&self) -> &'static str {
        match (self.promised().as_str(), self.kept()) {
            ("nothing", _) => "",
            (_, true) => "yes",
            (_, false) => "**no**",
        }
    }
}

/// Rows as a Markdown table.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| case | rounds | silent p50 | p99 | longest | another answered p50 | p99 | instants with two responders | void rounds repeated | promised | kept |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let (silences, takeovers) = (sorted(&row.silences), sorted(&row.takeovers));
        let ms = |of: &[Duration], percent| match of {
            [] => "never".to_owned(),
            _ => format!("{} ms", percentile(of, percent).as_millis()),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            row.name,
            silences.len(),
            ms(&silences, 50),
            ms(&silences, 99),
            ms(&silences, 100),
            ms(&takeovers, 50),
            ms(&takeovers, 99),
            row.two_responders,
            row.void,
            row.promised(),
            row.verdict()
        );
    }
    text
}

fn sorted(durations: &[Duration]) -> Vec<Duration> {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_keeps_its_promise_or_not() {
        let ms = Duration::from_millis;
        let promise = Promise { p50: Some(ms(850)), p99: Some(ms(1_000)), one_holder: true };
        let mut row = Row::new("kill -9", promise);
        assert!(!row.kept(), "nothing was measured");
        row.silences = vec![ms(700), ms(800), ms(990)];
        assert!(row.kept());
        row.two_responders = 1;
        assert!(!row.kept());
        row.two_responders = 0;
        row.silences.push(ms(1_001));
        assert!(!row.kept());
        assert!(markdown(&[row]).contains("| kill -9 | 4 | 800 ms | 1001 ms | 1001 ms | never |"));
    }
}
