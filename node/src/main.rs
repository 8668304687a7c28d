//! Flags to configuration to a run to an exit code; nothing else.

use std::process::ExitCode;
use raftboot::config::Config;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let config = Config::load(args.get(3).map(std::path::Path::new)).expect("config");
    raftboot::log::install(&config.log);
    raftboot::run::run(&config).expect("run");
    ExitCode::SUCCESS
}
