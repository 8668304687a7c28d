//! What the package brings beside the binary: the unit as hardened as the reference says, a configuration that is one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use raftboot::config::Config;

fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What `systemd-analyze security` says of a unit, as `2.1`.
fn exposure(unit: &str) -> Option<String> {
    let mut command = Command::new("systemd-analyze");
    let output = command.args(["security", "--offline=yes", "--no-pager"]).arg(packaging(unit)).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = said.lines().find(|line| line.contains("Overall exposure level"))?;
    Some(line.split_once(": ")?.1.split(' ').next()?.to_owned())
}

#[test]
fn the_default_configuration_says_nothing_that_the_defaults_do_not() {
    let written = Config::parse(&text(&packaging("raftboot.toml"))).unwrap();
    let nothing = Config::parse("data_dir = \"/var/lib/raftboot\"").unwrap();
    assert_eq!(written, nothing);
}

#[test]
fn every_line_that_the_default_configuration_offers_can_be_used() {
    let offered = text(&packaging("raftboot.toml"));
    let used: Vec<&str> = offered
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.split(" = ").next().is_some_and(|key| !key.contains(' ')) && rest.contains(" = ") => {
                rest
            }
            _ => line,
        })
        .collect();
    let config = Config::parse(&used.join("\n")).unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(config.interface.as_deref(), Some("eth0"));
    assert!(config.log.json);
}

#[test]
fn the_unit_keeps_what_protects_the_others_from_it() {
    let unit = text(&packaging("raftboot.service"));
    let capabilities = "CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE";
    for line in [
        "Type=notify",
        "User=raftboot",
        "WatchdogSec=10s",
        "ExecStopPost=/usr/bin/raftboot vip clear",
        "RestartPreventExitStatus=64",
        &format!("AmbientCapabilities={capabilities}"),
        &format!("CapabilityBoundingSet={capabilities}"),
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "MemoryDenyWriteExecute=yes",
        "SystemCallFilter=@system-service",
    ] {
        assert!(unit.lines().any(|found| found == line), "the unit does not say {line}");
    }
}

#[test]
fn the_exposure_that_the_reference_states_is_what_systemd_says() {
    let page = text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/systemd.md"));
    for unit in ["raftboot.service", "raftboot-backup.service"] {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{unit}` |")));
        let row = row.unwrap_or_else(|| panic!("the page has no row for {unit}"));
        // Where there is no systemd nothing can be asked; `verify` installs it.
        let Some(found) = exposure(unit) else { continue };
        assert!(row.contains(&format!("| {found} |")), "systemd says {found} of {unit}, the page: {row}");
    }
}
