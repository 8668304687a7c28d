//! Fetches the support bundle and writes it where only its owner reads it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use super::connect::Connection;
use super::failure::Failure;
use super::output::{Terminal, bytes};

/// Where to put it.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The file to write [default: raftboot-support-SECONDS.tar.gz here]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(connection: &Connection, arguments: &Arguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let bundle = connection.open()?.get_bytes("/support", &[])?;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let path = arguments.out.clone().unwrap_or_else(|| format!("raftboot-support-{seconds}.tar.gz").into());
    write(&path, &bundle).map_err(|error| {
        let message = format!("{}: the file cannot be written: {error}", path.display());
        Failure::new(message, "name one that does not exist yet with --out, in a folder that may be written to")
    })?;
    let size = bytes(u64::try_from(bundle.len()).unwrap_or(u64::MAX));
    terminal.print(&format!("{} ({size}): look through it before you give it away\n", path.display()))
}

/// Nothing that is there is written over.
fn write(path: &std::path::Path, bundle: &[u8]) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bundle).and_then(|()| file.sync_all()).inspect_err(|_| {
        let _half = fs::remove_file(path);
    })
}
