//! The observer must see what is there: two holders, a silence and its length, and what only IP shows.

use anyhow::{Result, ensure};
use raftboot_ha_tests::evidence::Evidence;
use raftboot_ha_tests::fault::{self, Machine as _, locked};
use raftboot_ha_tests::lab::{Host, Lab};
use raftboot_ha_tests::node::Node;
use raftboot_ha_tests::observer::{Observer, Path, Question, Verdict};
use raftboot_ha_tests::peers::{Services, keepalived};
use raftboot_ha_tests::wait::until;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 100);
const STEADY_MAX: Duration = Duration::from_secs(20);

/// Two hosts with services for the address, and an observer of both.
struct Bench {
    observer: Observer,
    _services: Vec<Services>,
    hosts: Vec<Host>,
}

fn bench() -> Result<Bench> {
    let lab = Lab::new()?;
    let hosts = vec![lab.host("a", 2)?, lab.host("b", 3)?];
    let services = hosts.iter().map(|host| Services::start(host, VIP, 69, 8080)).collect::<Result<_>>()?;
    let question = Question::boot_services(VIP, hosts.iter().map(Host::mac).collect());
    Ok(Bench { observer: Observer::start(&lab, question)?, _services: services, hosts })
}

impl Bench {
    fn hold(&self, host: usize) -> Result<()> {
        self.hosts[host].ip(&["address", "add", &format!("{VIP}/32"), "dev", "eth0"]).map(drop)
    }

    fn release(&self, host: usize) -> Result<()> {
        self.hosts[host].ip(&["address", "delete", &format!("{VIP}/32"), "dev", "eth0"]).map(drop)
    }

    /// Repeats `round` until the observer did not pause in it, and answers its verdict.
    fn judged(&self, mut round: impl FnMut(&Self) -> Result<()>) -> Result<Verdict> {
        until("a round in which the observer did not pause", Duration::from_secs(120), || {
            self.observer.until_steady(None, STEADY_MAX)?;
            let begun = self.observer.now();
            round(self)?;
            self.observer.until_steady(None, STEADY_MAX)?;
            let verdict = self.observer.judge(&(begun..self.observer.now()))?;
            Ok((!verdict.is_void()).then_some(verdict))
        })
    }

    /// Waits until the observer's clock has moved on by `by`: the length of a fault is what is tested.
    fn pass(&self, by: Duration) -> Result<()> {
        let begun = self.observer.now();
        until("the fault has lasted", by * 2 + Duration::from_secs(1), || {
            Ok((self.observer.now() - begun >= by).then_some(()))
        })
    }
}

#[test]
fn one_holder_is_one_holder_and_no_silence() -> Result<()> {
    let bench = bench()?;
    bench.hold(0)?;
    let verdict = bench.judged(|bench| bench.pass(Duration::from_secs(1)))?;
    ensure!(verdict.holders_max() == 1 && verdict.two_responders() == 0, "{verdict}");
    ensure!(verdict.outage() <= Duration::from_millis(40), "{verdict}");
    ensure!(bench.observer.steady()? == Some(bench.hosts[0].mac()));
    Ok(())
}

#[test]
fn two_holders_are_found_on_every_path() -> Result<()> {
    let bench = bench()?;
    bench.hold(0)?;
    let verdict = bench.judged(|bench| {
        bench.hold(1)?;
        bench.pass(Duration::from_millis(200))?;
        bench.release(1)
    })?;
    ensure!(verdict.holders_max() == 2, "{verdict}");
    ensure!((15..60).contains(&verdict.two_responders()), "{verdict}");
    Ok(())
}

#[test]
fn a_holder_that_hides_from_arp_is_still_found() -> Result<()> {
    let bench = bench()?;
    bench.hold(0)?;
    let mut sysctl = bench.hosts[1].command("sysctl");
    // Answers no ARP at all: what a bare ARP prober takes for absence.
    sysctl.args(["-q", "-w", "net.ipv4.conf.all.arp_ignore=8"]);
    raftboot_ha_tests::process::run(sysctl)?;
    // The clients' own addresses are known already, as those of machines in mid-boot are.
    let verdict = bench.judged(|bench| {
        bench.hold(1)?;
        bench.pass(Duration::from_millis(200))?;
        bench.release(1)
    })?;
    let silent_in_arp = verdict.silence(Path::Arp) <= Duration::from_millis(40);
    ensure!(silent_in_arp && verdict.holders_max() == 2, "{verdict}");
    Ok(())
}

#[test]
fn a_silence_is_measured_to_20_ms() -> Result<()> {
    let bench = bench()?;
    bench.hold(0)?;
    bench.observer.until_steady(None, STEADY_MAX)?;
    let (mut least, mut most) = (Duration::ZERO, Duration::ZERO);
    let verdict = bench.judged(|bench| {
        let fault = fault::link_down(&bench.hosts[0])?;
        bench.pass(Duration::from_millis(100))?;
        let (begun, done, healing) = (fault.begun, fault.done, Instant::now());
        fault.heal()?;
        // The link went at some moment of the first command and came back at some moment of the second.
        (least, most) = (healing - done, begun.elapsed());
        Ok(())
    })?;
    let error = Duration::from_millis(20);
    for path in Path::ALL {
        let silence = verdict.silence(path);
        let right = least.saturating_sub(error) <= silence && silence <= most + error;
        ensure!(right, "{path:?}: link down for {least:?} to {most:?}, seen {silence:?}: {verdict}");
    }
    Ok(())
}

#[test]
fn a_node_answers_every_probe_and_none_when_its_process_is_dead() -> Result<()> {
    let lab = Lab::new()?;
    let mut evidence = Evidence::new("every-probe", "ha-tests/verify --test observer")?;
    let host = lab.host("node", 2)?;
    let mut node = Node::new(&host, &evidence)?;
    node.start()?;
    // Its own address stands for the floating one: what is asked and answered is the same.
    let observer = Observer::start(&lab, Question::boot_services(host.address(), vec![host.mac()]))?;
    let watch = |span: Duration| {
        let begun = observer.now();
        until("some probes", span * 10, || Ok((observer.now() - begun >= span).then_some(())))?;
        observer.judge(&(begun..observer.now()))
    };
    let verdict = until("a time without a pause of the observer", Duration::from_secs(60), || {
        observer.until_steady(None, STEADY_MAX)?;
        let verdict = watch(Duration::from_secs(2))?;
        Ok((!verdict.is_void()).then_some(verdict))
    })?;
    ensure!(verdict.outage() <= Duration::from_millis(50), "{verdict}");
    node.kill()?;
    let verdict = watch(Duration::from_secs(1))?;
    for dead in [Path::Udp, Path::Tcp] {
        ensure!(verdict.silence(dead) > Duration::from_millis(900), "{dead:?} is answered by nobody: {verdict}");
    }
    ensure!(verdict.silence(Path::Arp) < Duration::from_millis(100), "the kernel lives: {verdict}");
    evidence.passed();
    Ok(())
}

#[test]
fn keepalived_leaves_two_holders_after_kill_9() -> Result<()> {
    let lab = Lab::new()?;
    let mut evidence = Evidence::new("keepalived", "ha-tests/verify --test observer")?;
    let pair = keepalived::pair(&lab, VIP, &evidence)?;
    let macs = pair.iter().map(|router| locked(router).host_mac()).collect();
    let observer = Observer::start(&lab, Question::boot_services(VIP, macs))?;
    let master = locked(&pair[0]).host_mac();
    until("the first is master", STEADY_MAX, || Ok((observer.steady()? == Some(master)).then_some(())))?;
    let begun = observer.now();
    let fault = fault::kill(&pair[0])?;
    let takeover = until("the second answers as well", STEADY_MAX, || {
        Ok(observer.judge(&(begun..observer.now()))?.takeover(master, observer.at(fault.begun)))
    })?;
    ensure!((2_500..=4_000).contains(&takeover.as_millis()), "took over after {takeover:?}");
    let begun = observer.now();
    until("they go on", STEADY_MAX, || Ok((observer.now() - begun > Duration::from_secs(1)).then_some(())))?;
    let verdict = observer.judge(&(begun..observer.now()))?;
    ensure!(verdict.holders_max() == 2 && verdict.two_responders() > 90, "{verdict}");
    evidence.passed();
    Ok(())
}
