//! Flags to configuration to a run to an exit code; nothing else.

use std::process::ExitCode;

use clap::Parser as _;
use raftboot::cli::{Cli, Command};
use raftboot::config::{Config, Log};
use raftboot::{cli, log, run};

/// What failed; said once, on standard error.
const FAILED: u8 = 1;
/// A configuration that cannot be used.
const BAD_CONFIGURATION: u8 = 64;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(arguments) => serve(arguments.config.as_deref(), arguments.data_dir),
        Command::CheckConfig(arguments) => check_config(arguments.config.as_deref()),
        Command::Host(command) => {
            log::install(&Log { json: false, filter: "warn,raft=off".into() });
            cli::run_here(command)
        }
        Command::Client(command) => cli::run(command),
    }
}

fn serve(file: Option<&std::path::Path>, data_dir: Option<std::path::PathBuf>) -> ExitCode {
    let mut config = match Config::load(file) {
        Ok(config) => config,
        Err(error) => return fail(&error.to_string(), BAD_CONFIGURATION),
    };
    if let Some(dir) = data_dir {
        config.data_dir = dir;
    }
    log::install(&config.log);
    match run::run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<run::NoPlace>() => fail(&format!("{error:#}"), BAD_CONFIGURATION),
        Err(error) => fail(&format!("{error:#}"), FAILED),
    }
}

fn check_config(file: Option<&std::path::Path>) -> ExitCode {
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(error) => return fail(&error.to_string(), BAD_CONFIGURATION),
    };
    let source = config.file.as_ref().map_or("the built-in defaults".into(), |file| file.display().to_string());
    match run::place(&config) {
        Ok(place) => {
            say(&mut std::io::stdout(), &format!("{source}: nothing is wrong; {place}"));
            ExitCode::SUCCESS
        }
        Err(error) => fail(&format!("{source} does not fit this host: {error:#}"), BAD_CONFIGURATION),
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    say(&mut std::io::stderr(), &format!("raftboot: {message}"));
    ExitCode::from(code)
}

/// Writes a line; whoever closed the other end does not want to read it.
fn say(to: &mut dyn std::io::Write, line: &str) {
    let _unread = writeln!(to, "{line}");
}
