//! Manual pages and completions, made from the command line itself, for packages.

use std::fs;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;
use super::failure::Failure;
use super::output::Terminal;

/// Where to write manual pages.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Write a page for every command into this directory [default: the page of `raftboot` to standard output]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let Some(dir) = &arguments.out else {
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
        rendered.map_err(|error| Failure::new(format!("the manual page could not be written: {error}"), ""))?;
        return terminal.print(&String::from_utf8_lossy(&page));
    };
    let failed = |error: std::io::Error| Failure::new(format!("{}: {error}", dir.display()), "");
    fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir)).map_err(failed)
}

/// Prints the script that completes commands in a shell.
pub(super) fn completions(shell: Shell, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "raftboot", &mut script);
    terminal.print(&String::from_utf8_lossy(&script))
}
