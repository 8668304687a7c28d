//! The demonstration: one node and a foreign DHCP server boot a machine per kind of firmware.

use anyhow::{Context, Result, bail};
use raftboot_ha_tests::dnsmasq::Site;
use raftboot_ha_tests::firmware::{Firmware, accelerator};
use raftboot_ha_tests::scenario::{Booted, DhcpMode, Scenario};
use std::io::{Write, stdin, stdout};
use std::process::ExitCode;

const USAGE: &str = "usage: ha-tests/demo [--keep]\n  \
    --keep  leave the site standing after the boots, until Enter is pressed";

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
    Ok(())
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
