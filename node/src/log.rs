//! Sets up logging: text for people or one JSON object a line, to standard error; the last lines are kept for a support bundle.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use tracing::Metadata;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::Log;
use crate::metrics::counted;

/// Libraries whose every step is an `info` to them; name them in the filter to hear more. What ends the consensus is
/// said once, by us, with what to do about it.
const QUIET: &str = "openraft=off,hyper=info,rustls=info,h2=info";
/// Lines kept in memory.
const KEPT_LINES_MAX: usize = 2000;
/// Bytes of each that are kept; with the lines it makes 2 MB.
const KEPT_LINE_BYTES_MAX: usize = 1024;

static KEPT: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// Installs the process-wide logger. A filter that cannot be read falls back to `info`; `check-config` refuses it.
pub fn install(log: &Log) {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", log.filter)).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Lines).with_span_events(FmtSpan::NONE);
    // A second call (tests) keeps the first logger.
    let _already_installed = if log.json {
        builder.json().flatten_event(true).with_span_list(false).try_init()
    } else {
        builder.with_ansi(false).try_init()
    };
}

/// The last lines that were logged, oldest first.
#[must_use]
pub fn recent() -> Vec<String> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
}

/// Where lines go: standard error, and the memory of the last ones.
struct Lines;

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> Line {
        counted::LOG_LINES.one(match *about.level() {
            tracing::Level::ERROR => "error",
            tracing::Level::WARN => "warn",
            tracing::Level::INFO => "info",
            tracing::Level::DEBUG => "debug",
            tracing::Level::TRACE => "trace",
        });
        Line
    }
}

/// One line; the formatter hands it over whole.
struct Line;

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        keep(line);
        io::stderr().write(line)
    }

    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        keep(line);
        io::stderr().write_all(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn keep(line: &[u8]) {
    let cut = &line[..line.len().min(KEPT_LINE_BYTES_MAX)];
    let text = String::from_utf8_lossy(cut).trim_end().to_owned();
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() >= KEPT_LINES_MAX {
        kept.pop_front();
    }
    kept.push_back(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_long_ones_cut() {
        for number in 0..KEPT_LINES_MAX + 5 {
            keep(format!("kept line {number} {}\n", "x".repeat(2 * KEPT_LINE_BYTES_MAX)).as_bytes());
        }
        let kept = recent();
        assert_eq!(kept.len(), KEPT_LINES_MAX);
        assert!(kept[0].starts_with("kept line 5 "), "{}", &kept[0][..20]);
        assert!(kept.iter().all(|line| line.len() <= KEPT_LINE_BYTES_MAX));
    }
}
