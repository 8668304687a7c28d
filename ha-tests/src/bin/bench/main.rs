//! Measures what the product promises, prints it, and writes each part's own section of `docs/benchmarks.md`.

mod blobs;
mod boots;
mod failover;
mod freeze;
mod grpc;
mod load;
mod memory;
mod section;
mod serve;
mod serve_report;
mod start;
mod table;
mod transfer;
mod writes;

use std::io::{Write, stdout};
use std::process::ExitCode;

use anyhow::{Context, Result};

const USAGE: &str = "usage: ha-tests/bench [PART] [--rounds N]
  serve      one node: scripts a second, memory, start (the default)
  failover   silence after kill -9, link down, power off: three nodes idle and under writers, witness, survivor, keepalived;
             or only one: failover three | writers | witness | survivor | keepalived
  freeze     SIGSTOP of the holder for 50 to 700 ms in steps of 10
  transfer   silence of a planned move
  boots      machines that boot while the holder is killed (50 rounds)
  blobs      500 MB on all three nodes, beside lsyncd
  grpc       groups put and got through mutual TLS, one node and three
  writes     acknowledged writes a second
  --rounds N rounds of each case (default: 300; boots 50)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Ok((words, rounds)) = read(&arguments) else {
        say(USAGE);
        return ExitCode::from(2);
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let measured = match words.as_slice() {
        [] | ["serve"] => serve::measure(),
        ["failover", cases @ ..] if failover::know(cases) => failover::measure(cases, rounds.unwrap_or(300)),
        ["freeze"] => freeze::measure(rounds.unwrap_or(1)),
        ["transfer"] => transfer::measure(rounds.unwrap_or(300)),
        ["boots"] => boots::measure(rounds.unwrap_or(50)),
        ["blobs"] => blobs::measure(),
        ["grpc"] => grpc::measure(),
        ["writes"] => writes::measure(),
        _ => {
            say(USAGE);
            return ExitCode::from(2);
        }
    };
    match measured {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("BENCH FAILED: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The words before `--rounds`, and its number.
fn read(arguments: &[String]) -> Result<(Vec<String>, Option<usize>)> {
    let Some(at) = arguments.iter().position(|word| word == "--rounds") else {
        return Ok((arguments.to_vec(), None));
    };
    let number = arguments.get(at + 1).context("--rounds needs a number")?;
    let number: usize = number.parse().context("--rounds needs a number")?;
    let mut words = arguments.to_vec();
    words.drain(at..at + 2);
    Ok((words, Some(number)))
}

/// A line on standard output.
pub(crate) fn say(text: &str) {
    // Stdout closed: nobody is left to be told, and the exit code still speaks.
    let _ = writeln!(stdout(), "{text}");
}
