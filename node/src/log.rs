//! Sets up logging: text for people or one JSON object a line, to standard error.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::Log;

/// Libraries whose every step is an `info` to them; name them in the filter to hear more. What ends the consensus is
/// said once, by us, with what to do about it.
const QUIET: &str = "openraft=off,hyper=info,rustls=info,h2=info";

/// Installs the process-wide logger. A filter that cannot be read falls back to `info`; `check-config` refuses it.
pub fn install(log: &Log) {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", log.filter)).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_span_events(FmtSpan::NONE);
    // A second call (tests) keeps the first logger.
    let _already_installed =
        if log.json { builder.json().flatten_event(true).try_init() } else { builder.with_ansi(false).try_init() };
}
