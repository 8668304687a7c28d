//! The programs that are compared with must do what they are known for, or the comparison is of nothing.

use anyhow::{Result, ensure};
use raftboot_ha_tests::evidence::Evidence;
use raftboot_ha_tests::fault::{Machine as _, locked};
use raftboot_ha_tests::lab::Lab;
use raftboot_ha_tests::observer::{Observer, Question};
use raftboot_ha_tests::peers::{keepalived, lsyncd};
use raftboot_ha_tests::round::{Blow, STEADY_MAX, round};
use raftboot_ha_tests::wait::until;
use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

const VIP: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 100);

#[test]
fn keepalived_takes_three_seconds_when_its_master_is_gone() -> Result<()> {
    let lab = Lab::new()?;
    let mut evidence = Evidence::new("keepalived-gone", "ha-tests/verify --test peers")?;
    let pair = keepalived::pair(&lab, VIP, &evidence)?;
    let observer =
        Observer::start(&lab, Question::boot_services(VIP, pair.iter().map(|r| locked(r).host_mac()).collect()))?;
    let master = locked(&pair[0]).host_mac();
    let back = || until("the first is master", STEADY_MAX, || Ok((observer.steady()? == Some(master)).then_some(())));
    for blow in [Blow::LinkDown, Blow::PowerOff] {
        back()?;
        let (round, _) = round(&observer, &pair, blow, back)?;
        ensure!((2_500..=4_200).contains(&round.outage.as_millis()), "{blow}: {:?}: {}", round.outage, round.verdict);
    }
    evidence.passed();
    Ok(())
}

#[test]
fn lsyncd_without_its_delay_copies_at_once() -> Result<()> {
    let lab = Lab::new()?;
    let mut evidence = Evidence::new("lsyncd", "ha-tests/verify --test peers")?;
    let mut pair = lsyncd::Pair::start(&lab, &evidence, "at-once", 20, Some(0))?;
    let file = evidence.file("asset");
    fs::write(&file, vec![7; 1 << 20])?;
    let took = pair.copy(&file)?;
    ensure!(took < Duration::from_secs(3), "took {took:?}");
    evidence.passed();
    Ok(())
}
