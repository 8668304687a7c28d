//! How long the floating address is silent when its holder is gone, on every shape, beside keepalived.

use crate::table::{Promise, Row, markdown};
use crate::{say, section};
use anyhow::{Context, Result};
use raftboot_ha_tests::cluster::{Cluster, Shape, VIP, WHOLE_MAX};
use raftboot_ha_tests::evidence::Evidence;
use raftboot_ha_tests::fault::{Machine, Shared, locked};
use raftboot_ha_tests::lab::Lab;
use raftboot_ha_tests::observer::{Observer, Question};
use raftboot_ha_tests::peers::keepalived;
use raftboot_ha_tests::round::{Blow, STEADY_MAX, round};
use raftboot_ha_tests::wait::until;
use raftboot_ha_tests::writers::Plan;
use std::time::Duration;

/// From the promises of the design, section 2 and 5.
const P50: Duration = Duration::from_millis(850);
const P99: Duration = Duration::from_millis(1_000);
const WITNESS_P99: Duration = Duration::from_millis(1_500);
const SURVIVOR_P99: Duration = Duration::from_secs(3);
/// 64 clients whose writes do not make the state grow, at a rate two processors bear beside everything else.
const WRITERS: Plan = Plan { writers: 64, per_second: Some(400), repeat_unknown: false, new_objects: false };
const COUNT_BACK_MAX: Duration = Duration::from_secs(30);

const CASES: [&str; 5] = ["three", "writers", "witness", "survivor", "keepalived"];

/// Whether all of these are cases.
pub(crate) fn know(cases: &[&str]) -> bool {
    cases.iter().all(|case| CASES.contains(case))
}

/// Measures the named cases, or all, and answers whether every promise was kept.
pub(crate) fn measure(cases: &[&str], rounds: usize) -> Result<bool> {
    let cases = if cases.is_empty() { &CASES[..] } else { cases };
    let mut kept = true;
    for case in cases {
        let fast = Promise { p50: Some(P50), p99: Some(P99), one_holder: true };
        let (title, rows) = match *case {
            "three" => ("Failover of three nodes, idle", ours(Shape::Three, None, fast, rounds)?),
            "writers" => ("Failover of three nodes under 64 writers", ours(Shape::Three, Some(WRITERS), fast, rounds)?),
            "witness" => {
                let promise = Promise { p99: Some(WITNESS_P99), p50: None, one_holder: true };
                let rows = ours(Shape::Witness, Some(WRITERS), promise, rounds)?;
                ("Failover of two nodes and a witness under 64 writers", rows)
            }
            "survivor" => {
                let promise = Promise { p99: Some(SURVIVOR_P99), p50: None, one_holder: true };
                ("Failover of two nodes with --survivor", ours(Shape::Survivor, None, promise, rounds)?)
            }
            _ => ("Failover of keepalived with its defaults, in the same lab", theirs(rounds)?),
        };
        kept &= rows.iter().all(|row| row.promise.p99.is_none() || row.kept());
        let text = format!(
            "Probed every 10 ms over ARP, UDP and TCP; silent is the worst of the three, and includes up to one interval on either side.\n\n{}",
            markdown(&rows)
        );
        say(&text);
        section::write(&format!("failover-{case}"), title, &text)?;
    }
    Ok(kept)
}

fn ours(shape: Shape, plan: Option<Plan>, promise: Promise, rounds: usize) -> Result<Vec<Row>> {
    let mut cluster = Cluster::found("bench-failover", shape, None, "ha-tests/bench failover")?;
    let observer = cluster.observe()?;
    observer.until_steady(None, STEADY_MAX)?;
    let machines: Vec<_> = cluster.members().iter().map(|member| member.node.clone()).collect();
    let mut rows = Vec::new();
    // Two nodes that each serve alone when they are cut apart promise one holder only when the other one is dead.
    let blows: &[Blow] = if shape == Shape::Survivor { &[Blow::Kill, Blow::PowerOff] } else { &Blow::DEADLY };
    for blow in blows {
        let writers = plan.map(|plan| cluster.write(plan)).transpose()?;
        let mut row = Row::new(blow.to_string(), promise);
        for number in 1..=rounds {
            one(&mut row, &observer, &machines, *blow, || cluster.until_whole(WHOLE_MAX))
                .with_context(|| format!("{shape:?}, {blow}, round {number}"))?;
        }
        rows.push(row);
        if let Some(writers) = writers {
            let tally = writers.stop()?.count_back(&cluster.addresses(), COUNT_BACK_MAX)?;
            say(&format!("counted back: {tally}"));
        }
    }
    cluster.evidence.passed();
    Ok(rows)
}

fn theirs(rounds: usize) -> Result<Vec<Row>> {
    let lab = Lab::new()?;
    let mut evidence = Evidence::new("bench-keepalived", "ha-tests/bench failover keepalived")?;
    let pair = keepalived::pair(&lab, VIP, &evidence)?;
    let macs = pair.iter().map(|router| locked(router).host_mac()).collect();
    let observer = Observer::start(&lab, Question::boot_services(VIP, macs))?;
    let master = locked(&pair[0]).host_mac();
    let back =
        || until("the first is master again", STEADY_MAX, || Ok((observer.steady()? == Some(master)).then_some(())));
    let mut rows = Vec::new();
    for blow in Blow::DEADLY {
        let mut row = Row::new(format!("keepalived, {blow}"), Promise::default());
        for _ in 0..rounds {
            back()?;
            one(&mut row, &observer, &pair, blow, back)?;
        }
        rows.push(row);
    }
    evidence.passed();
    Ok(rows)
}

fn one<M: Machine + 'static>(
    row: &mut Row,
    observer: &Observer,
    machines: &[Shared<M>],
    blow: Blow,
    whole: impl FnMut() -> Result<()>,
) -> Result<()> {
    let (seen, void) = round(observer, machines, blow, whole)?;
    say(&format!("{} {}: silent {} ms, {}", row.name, row.silences.len() + 1, seen.outage.as_millis(), seen.verdict));
    row.void += void;
    row.silences.push(seen.outage);
    row.takeovers.extend(seen.takeover);
    row.two_responders += seen.verdict.two_responders();
    Ok(())
}
