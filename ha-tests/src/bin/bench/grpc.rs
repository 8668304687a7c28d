//! Puts and gets of groups through mutual TLS, as matchbox's clients make them.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use raftboot_ha_tests::cluster::{Cluster, Shape};
use raftboot_ha_tests::evidence::Evidence;
use raftboot_ha_tests::fault::locked;
use raftboot_ha_tests::grpc::Caller;
use raftboot_ha_tests::lab::Lab;
use raftboot_ha_tests::netns;
use raftboot_ha_tests::node::Node;
use raftboot_ha_tests::writers::percentile;

use crate::{say, section};

/// Clients at once, and the puts a second that one node must reach.
const CASES: [(usize, Option<f64>); 2] = [(1, None), (32, Some(1_000.0))];
const LASTS: Duration = Duration::from_secs(10);
const PORT: u16 = 8081;

/// What was measured of one case.
struct Figures {
    per_second: f64,
    puts: Vec<Duration>,
    gets: Vec<Duration>,
}

/// Measures one node and three, and answers whether the promise was kept.
pub(crate) fn measure() -> Result<bool> {
    let mut text = String::from(
        "Each client puts a group and gets it again, over a connection of its own; every put is synced, on three nodes on a quorum, before it is \
         answered. Clients and nodes share the cores.\n\n\
         | nodes | clients | puts/s, each with a get | put p50 | p99 | get p50 | p99 | promised | kept |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    let mut kept = true;
    for (clients, least) in CASES {
        let figures = alone(clients).with_context(|| format!("{clients} clients of one node"))?;
        kept &= row(&mut text, "1", clients, &figures, least);
    }
    for (clients, _) in CASES {
        let figures = of_three(clients).with_context(|| format!("{clients} clients of a follower"))?;
        row(&mut text, "3, a follower asked", clients, &figures, None);
    }
    say(&text);
    section::write("grpc", "gRPC: groups put and got", &text)?;
    Ok(kept)
}

fn row(text: &mut String, nodes: &str, clients: usize, figures: &Figures, least: Option<f64>) -> bool {
    let ms = |list: &[Duration], percent| percentile(list, percent).as_secs_f64() * 1e3;
    let (puts, gets, rate) = (&figures.puts, &figures.gets, figures.per_second);
    let reached = least.is_none_or(|least| rate >= least);
    let promised = least.map_or("reported".to_owned(), |least| format!("≥ {least}/s"));
    let _ = writeln!(
        text,
        "| {nodes} | {clients} | {rate:.0} | {:.2} ms | {:.2} ms | {:.2} ms | {:.2} ms | {promised} | {} |",
        ms(puts, 50),
        ms(puts, 99),
        ms(gets, 50),
        ms(gets, 99),
        if reached { "yes" } else { "**no**" }
    );
    reached
}

fn alone(clients: usize) -> Result<Figures> {
    let mut evidence = Evidence::new(&format!("bench-grpc-{clients}"), "ha-tests/bench grpc")?;
    let lab = Lab::new()?;
    let host = lab.host("node", 2)?;
    let mut node = Node::new(&host, &evidence)?;
    node.start()?;
    let figures = load(&node, host.netns(), (Ipv4Addr::LOCALHOST, PORT).into(), clients)?;
    node.stop()?;
    evidence.passed();
    Ok(figures)
}

fn of_three(clients: usize) -> Result<Figures> {
    let mut cluster =
        Cluster::found(&format!("bench-grpc-three-{clients}"), Shape::Three, None, "ha-tests/bench grpc")?;
    let leader = cluster.leader()?.context("a leader is known")?;
    let asked = (0..3).find(|at| *at != leader).context("there is a follower")?;
    let member = &cluster.members()[asked];
    let figures = load(&locked(&member.node), member.host.netns(), (Ipv4Addr::LOCALHOST, PORT).into(), clients)?;
    cluster.evidence.passed();
    Ok(figures)
}

fn load(node: &Node, netns: String, address: SocketAddr, clients: usize) -> Result<Figures> {
    let certificates = node.data().with_file_name("grpc-client");
    node.offline(&["cert", "client", "bench", "--out", &certificates.to_string_lossy()])?;
    let begun = Instant::now();
    let threads: Vec<_> = (0..clients)
        .map(|number| {
            let certificates = certificates.clone();
            netns::spawn(&format!("grpc-{number}"), &netns, move || client(number, address, &certificates))
        })
        .collect::<Result<_>>()?;
    let mut figures = Figures { per_second: 0.0, puts: Vec::new(), gets: Vec::new() };
    for thread in threads {
        let (puts, gets) = netns::join(thread)?;
        figures.puts.extend(puts);
        figures.gets.extend(gets);
    }
    figures.per_second = figures.puts.len() as f64 / begun.elapsed().as_secs_f64();
    figures.puts.sort_unstable();
    figures.gets.sort_unstable();
    Ok(figures)
}

fn client(number: usize, address: SocketAddr, certificates: &PathBuf) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let mut caller = Caller::connect(address, Path::new(certificates))?;
    let (mut puts, mut gets) = (Vec::new(), Vec::new());
    let end = Instant::now() + LASTS;
    while Instant::now() < end {
        // A new group each time, up to a thousand of them; then they are replaced.
        let at = puts.len() % 1_000;
        let (id, profile) = (format!("load-{number}-{at}"), format!("profile-{}", puts.len()));
        let mac = format!("02:00:00:{number:02x}:{:02x}:{:02x}", at >> 8, at & 255);
        let begun = Instant::now();
        caller.put_group(&id, &profile, &mac)?;
        puts.push(begun.elapsed());
        let begun = Instant::now();
        let group = caller.group(&id)?;
        gets.push(begun.elapsed());
        let there = group.windows(profile.len()).any(|window| window == profile.as_bytes());
        ensure!(there, "what was put is not what is got: {id}");
    }
    Ok((puts, gets))
}
