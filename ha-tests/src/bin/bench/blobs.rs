//! 500 MB from an upload's first byte until all three nodes hold it, beside lsyncd and rsync.

use crate::{say, section};
use anyhow::{Context, Result, ensure};
use raftboot_ha_tests::cluster::{Cluster, Shape};
use raftboot_ha_tests::evidence::Evidence;
use raftboot_ha_tests::lab::Lab;
use raftboot_ha_tests::peers::lsyncd::Pair;
use raftboot_ha_tests::process::run;
use raftboot_ha_tests::wait::until;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const MIB: u32 = 500;
/// How much longer three copies may take than one.
const FACTOR_MAX: f64 = 2.2;
/// How often each is measured; the median counts.
const RUNS: usize = 3;
const SPREAD_MAX: Duration = Duration::from_secs(120);

/// Measures and answers whether the factor was kept.
pub(crate) fn measure() -> Result<bool> {
    let one = uploads(Shape::One)?;
    let three = uploads(Shape::Three)?;
    let (at_once, default) = (lsyncd("at-once", Some(0))?, lsyncd("default", None)?);
    let factor = three.as_secs_f64() / one.as_secs_f64();
    let text = format!(
        "A file of {MIB} MiB of random bytes; medians of {RUNS}.\n\n\
         | what | until | seconds |\n|---|---|---|\n\
         | upload to a single node | answered: one copy, hashed and synced | {:.2} |\n\
         | upload to one of three nodes | all three hold it, hashed and synced | {:.2} (× {factor:.2}, promised ≤ × {FACTOR_MAX}: {}) |\n\
         | lsyncd with `delay = 0` and rsync, file put in place | the second host has it, neither hashed nor synced | {:.2} |\n\
         | lsyncd with its default delay | the same | {:.2} |\n",
        one.as_secs_f64(),
        three.as_secs_f64(),
        if factor <= FACTOR_MAX { "kept" } else { "**not kept**" },
        at_once.as_secs_f64(),
        default.as_secs_f64()
    );
    say(&text);
    section::write("blobs", "A large asset on every node", &text)?;
    Ok(factor <= FACTOR_MAX)
}

fn random_file(path: &Path) -> Result<()> {
    let mut dd = Command::new("dd");
    dd.args(["if=/dev/urandom", "bs=1M", &format!("count={MIB}"), "conv=fsync", "status=none"]);
    dd.arg(format!("of={}", path.display()));
    run(dd).map(drop)
}

fn uploads(shape: Shape) -> Result<Duration> {
    let mut cluster = Cluster::found("bench-blobs", shape, None, "ha-tests/bench blobs")?;
    let mut times = Vec::with_capacity(RUNS);
    for number in 0..RUNS {
        let file = cluster.evidence.file("large");
        random_file(&file)?;
        let begun = Instant::now();
        cluster.cli(0, &["asset", "put", &format!("large-{number}"), &file.to_string_lossy()])?;
        until("every node holds it", SPREAD_MAX, || {
            let status = cluster.status(0)?;
            let missing: u64 = status.members().iter().map(|member| member.replicas_missing).sum();
            Ok((missing == 0).then_some(()))
        })?;
        times.push(begun.elapsed());
        holds(&cluster, number + 1)?;
        fs::remove_file(&file).context("remove the large file")?;
    }
    cluster.evidence.passed();
    Ok(median(times))
}

/// What the status says must be on the disks.
fn holds(cluster: &Cluster, files: usize) -> Result<()> {
    for member in cluster.members() {
        let data = raftboot_ha_tests::fault::locked(&member.node).data().join("blobs/sha256");
        let mut find = Command::new("find");
        find.arg(&data).args(["-type", "f", "-size", &format!("{}c", u64::from(MIB) << 20)]);
        let found = run(find)?.lines().count();
        ensure!(found == files, "{} holds {found} of {files} files although nothing is missing", member.host.name());
    }
    Ok(())
}

fn lsyncd(name: &str, delay: Option<u32>) -> Result<Duration> {
    let lab = Lab::new()?;
    let mut evidence = Evidence::new("bench-lsyncd", "ha-tests/bench blobs")?;
    let mut pair = Pair::start(&lab, &evidence, name, 20, delay)?;
    let mut times = Vec::with_capacity(RUNS);
    for number in 0..RUNS {
        let file = evidence.file(&format!("large-{number}"));
        random_file(&file)?;
        times.push(pair.copy(&file)?);
        fs::remove_file(&file).context("remove the large file")?;
    }
    evidence.passed();
    Ok(median(times))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
