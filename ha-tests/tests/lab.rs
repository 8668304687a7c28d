//! The lab itself: hosts reach each other, labs do not, and nothing stays behind.

use anyhow::{Context, Result, ensure};
use raftboot_ha_tests::evidence::Evidence;
use raftboot_ha_tests::lab::{Lab, sweep};
use raftboot_ha_tests::process::{Process, run};
use raftboot_ha_tests::wait::until;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

fn namespaces_of(lab: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains(&format!("{lab}-"))).collect()
}

fn reaches(from: &raftboot_ha_tests::lab::Host, to: &str) -> bool {
    let mut ping = from.command("/usr/bin/busybox");
    ping.args(["ping", "-c", "1", "-W", "1", to]);
    run(ping).is_ok()
}

#[test]
fn hosts_of_one_lab_meet_and_labs_with_the_same_addresses_do_not() -> Result<()> {
    let (one, two) = (Lab::new()?, Lab::new()?);
    let a = one.host("a", 1)?;
    let b = one.host("b", 2)?;
    let other = two.host("a", 1)?;
    let reached =
        until("a reaches b", Duration::from_secs(10), || Ok(reaches(&a, &b.address().to_string()).then_some(())));
    reached?;
    ensure!(!reaches(&other, "10.88.0.2"), "labs must be apart");
    Ok(())
}

#[test]
fn a_lab_is_gone_on_drop_even_after_a_panic() -> Result<()> {
    let lab = Lab::new()?;
    let name = lab.name().to_owned();
    let host = lab.host("a", 1)?;
    ensure!(namespaces_of(&name).len() == 2);
    let panicked = std::thread::spawn(move || {
        let _inside = (lab, host);
        panic!("a scenario that fails (expected in this test)");
    })
    .join();
    ensure!(panicked.is_err());
    ensure!(namespaces_of(&name).is_empty(), "namespaces stayed");
    Ok(())
}

#[test]
fn what_a_killed_process_left_is_swept_and_the_living_are_spared() -> Result<()> {
    let lab = Lab::new()?;
    lab.host("living", 1)?;
    // A process id with a start time that was never: as after a kill -9, and a reuse of the id.
    let dead = format!("rblab-{}-1-0-dead", std::process::id());
    let mut add = Command::new("ip");
    add.args(["netns", "add", &dead]);
    run(add)?;
    let mut sleeper = Command::new("ip");
    sleeper.args(["netns", "exec", &dead, "sleep", "600"]);
    let log = std::env::temp_dir().join(format!("{dead}.log"));
    let mut process = Process::spawn("sleeper", sleeper, &log)?;
    until("the sleeper is inside", Duration::from_secs(10), || {
        let mut pids = Command::new("ip");
        pids.args(["netns", "pids", &dead]);
        Ok((!run(pids)?.trim().is_empty()).then_some(()))
    })?;
    // Another test's lab may sweep first; either way it must be gone now.
    sweep()?;
    ensure!(!Path::new("/run/netns").join(&dead).exists());
    until("the sleeper ended", Duration::from_secs(10), || process.ended())?;
    ensure!(namespaces_of(lab.name()).len() == 2, "a living lab was swept");
    fs::remove_file(log).context("remove the sleeper's log")
}

#[test]
fn evidence_stays_after_a_failure_and_goes_after_success() -> Result<()> {
    let mut good = Evidence::new("removed-on-purpose", "nothing")?;
    let bad = Evidence::new("kept-on-purpose", "nothing: a passing test prints this")?;
    let (gone, kept) = (good.directory().to_owned(), bad.directory().to_owned());
    good.passed();
    drop((good, bad));
    ensure!(!gone.exists());
    ensure!(fs::read_to_string(kept.join("repeat"))? == "nothing: a passing test prints this\n");
    fs::remove_dir_all(kept).context("remove the evidence of this test")
}

#[test]
fn the_capture_holds_what_crossed_the_bridge() -> Result<()> {
    let lab = Lab::new()?;
    let a = lab.host("a", 1)?;
    let b = lab.host("b", 2)?;
    let mut evidence = Evidence::new("capture", "ha-tests/verify --test lab")?;
    evidence.capture(&lab)?;
    until("a ping is captured", Duration::from_secs(20), || {
        reaches(&a, &b.address().to_string());
        let seen = evidence.captured("icmp and src 10.88.0.1")?;
        Ok(seen.contains("echo request").then_some(()))
    })?;
    evidence.passed();
    Ok(())
}
