//! The demonstration: one node and a foreign DHCP server boot a machine per kind of firmware; then three nodes boot one while the
//! node that answers is killed.

use anyhow::{Context, Result, bail, ensure};
use raftboot_ha_tests::boots::Booted;
use raftboot_ha_tests::cluster::{Shape, VIP};
use raftboot_ha_tests::dnsmasq::Site;
use raftboot_ha_tests::firmware::{Firmware, accelerator};
use raftboot_ha_tests::mid_boot::{BootSite, Stage};
use raftboot_ha_tests::scenario::{DhcpMode, Scenario};
use raftboot_ha_tests::trial::Trial;
use raftboot_ha_tests::writers::Plan;
use std::io::{Write, stdin, stdout};
use std::process::ExitCode;

const USAGE: &str = "usage: ha-tests/demo [--keep]\n  \
    --keep  leave the site standing after the boots, until Enter is pressed";

/// Boots tried until the observer did not pause in one.
const TRIES_MAX: usize = 5;

fn main() -> ExitCode {
    let keep = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--keep" => true,
        _ => {
            say(USAGE);
            return ExitCode::from(2);
        }
    };
    match demonstrate(keep) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("DEMO FAILED: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn demonstrate(keep: bool) -> Result<()> {
    say(&format!("machines run in QEMU with -accel {}", accelerator()?));
    let mut site = Scenario::start("demo", Site::AddressesOnly, DhcpMode::Proxy, "ha-tests/demo")?;
    say(&format!("a node answers at {} beside a dnsmasq that only hands out addresses", site.node.host().address()));
    let mut failed = 0;
    for firmware in Firmware::ALL {
        match site.boot(firmware) {
            Ok(booted) => say(&line(&booted)),
            Err(error) => {
                failed += 1;
                say(&format!("NOT BOOTED firmware={firmware}: {error:#}"));
            }
        }
    }
    if keep {
        stand(&site)?;
    }
    if failed > 0 {
        bail!("{failed} of {} machines did not boot", Firmware::ALL.len());
    }
    site.evidence.passed();
    drop(site);
    fail_over()
}

/// Three nodes; the holder of the floating address is killed while a machine downloads its kernel.
fn fail_over() -> Result<()> {
    say(&format!(
        "three nodes answer at {VIP}; the one that holds it will be killed while a machine downloads its kernel"
    ));
    let trial = Trial::start("demo-failover", Shape::Three, None, Plan::BESIDE, "ha-tests/demo")?;
    let mut site = BootSite::start(trial)?;
    for _ in 0..TRIES_MAX {
        let survived = site.boot_through(Firmware::BiosIpxe, Stage::Kernel)?;
        if survived.verdict.is_void() {
            say(&format!(
                "the observer paused for {:?}, so this boot proves nothing; once more",
                survived.verdict.paused
            ));
            continue;
        }
        let (first, rest) =
            line(&survived.booted).split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap_or_default();
        let holders = survived.verdict.holders_max();
        say(&format!("{first} failover_ms={} holders_max={holders}\n{rest}", survived.outage.as_millis()));
        ensure!(holders == 1, "two nodes answered: {}", survived.verdict);
        let report = site.trial.conclude()?;
        say(&format!("every acknowledged write is on every node: {}", report.tally));
        return Ok(());
    }
    bail!("the observer paused in {TRIES_MAX} boots in a row: this computer is too busy")
}

fn line(booted: &Booted) -> String {
    let milestones: Vec<String> =
        booted.milestones.iter().map(|(name, at)| format!("{name} {:.1} s", at.as_secs_f64())).collect();
    format!(
        "BOOTED firmware={} mac={} profile={} hostname={} seconds={:.1}\n       ({})",
        booted.firmware,
        booted.report.mac,
        booted.report.profile,
        booted.hostname,
        booted.took.as_secs_f64(),
        milestones.join(", ")
    )
}

fn stand(site: &Scenario) -> Result<()> {
    say(&format!(
        "the site stands; look around, then press Enter:\n  \
         ip netns exec {} bash   # the node's host; its files are in {}\n  \
         ip netns exec {} bash   # the switch, with every frame on br0",
        site.node.host().netns(),
        site.evidence.directory().display(),
        site.lab().switch(),
    ));
    stdin().read_line(&mut String::new()).context("wait for Enter")?;
    Ok(())
}

fn say(text: &str) {
    // Stdout closed: nobody is left to be told, and the exit code still speaks.
    let _ = writeln!(stdout(), "{text}");
}
