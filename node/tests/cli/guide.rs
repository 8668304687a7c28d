//! The migration guide's commands: each must be one that the command line understands.

use std::fs;
use std::path::Path;

use clap::Parser;
use raftboot::cli::Cli;

/// A token of the right shape where the guide shortens one.
const TOKEN: &str = "rbj_…";

fn guide() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/migrate-from-matchbox.md");
    fs::read_to_string(page).expect("the test's own set-up")
}

/// Commands in blocks of shell, and those that stand alone in backticks.
fn commands(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_shell = false;
    for line in page.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            in_shell = !in_shell && matches!(language, "sh" | "bash");
            continue;
        }
        if in_shell {
            // Lines may begin with variables that are set for one command.
            let line = line.split(" #").next().unwrap_or_default().trim();
            found.extend(line.find("raftboot ").filter(|at| *at == 0).map(|_| line.to_owned()));
        } else {
            found.extend(
                line.split('`').skip(1).step_by(2).filter(|code| code.starts_with("raftboot ")).map(str::to_owned),
            );
        }
    }
    found
}

/// Words as a shell divides them, double quotes only.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut in_quotes = false;
    for letter in command.chars() {
        match letter {
            '"' => in_quotes = !in_quotes,
            ' ' if !in_quotes => words.push(String::new()),
            other => words.last_mut().expect("there is a word").push(other),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_command_of_the_guide_can_be_said() {
    let found = commands(&guide());
    assert!(found.len() >= 20, "{found:#?}");
    let mut problems = Vec::new();
    for command in &found {
        if command.contains(TOKEN) {
            continue;
        }
        if let Err(error) = Cli::try_parse_from(words(command)) {
            problems.push(format!("{command}\n  {}", error.to_string().lines().next().unwrap_or_default()));
        }
    }
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
    for needed in ["--check", "--compare", "--dry-run", "import dnsmasq", "export matchbox", "vip=", "dhcp_mode=off"] {
        assert!(found.iter().any(|command| command.contains(needed)), "the guide does not say {needed}");
    }
}

#[test]
fn a_command_that_nobody_understands_would_be_found() {
    assert_eq!(
        commands("```sh\nraftboot stauts # x\ncd /\n```\nsay `raftboot status` or `other`\n"),
        ["raftboot stauts", "raftboot status"]
    );
    assert!(Cli::try_parse_from(words("raftboot stauts")).is_err());
    assert_eq!(words("raftboot settings set \"a b=c\"  d"), ["raftboot", "settings", "set", "a b=c", "d"]);
}
