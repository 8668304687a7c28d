//! Nodes fail, the address moves, nothing acknowledged is lost, and never do two nodes answer.
//!
//! Each test founds a cluster of its own and lets writers and the observer run through everything. Tests run one after the
//! other: two clusters on two processors would measure each other.

use anyhow::{Context, Result, ensure};
use raftboot_ha_tests::cluster::{Cluster, Shape, VIP, WHOLE_MAX};
use raftboot_ha_tests::fault::{self, Machine as _, locked};
use raftboot_ha_tests::mishap::{Mishap, Moment, Who};
use raftboot_ha_tests::process::run;
use raftboot_ha_tests::trial::{Outcome, Trial};
use raftboot_ha_tests::wait::{pace, until};
use raftboot_ha_tests::writers::Plan;
use std::collections::BTreeSet;
use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What an observer may see of a failover whose product promises 1.0 s at the 99th percentile: this computer is busy.
const FAILOVER_MAX: Duration = Duration::from_millis(1_500);
/// The same with a witness and 64 writers, or with a survivor that waits for the other one.
const TWO_NODES_MAX: Duration = Duration::from_millis(3_500);
/// A planned move: 100 ms promised, and a probe on either side.
const TRANSFER_MAX: Duration = Duration::from_millis(150);
/// A disk that can be filled, in MiB.
const SMALL_DISK: u32 = 256;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    // A test that failed before has nothing to do with this one.
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn trial(test: &str, shape: Shape, small_disks: Option<u32>, plan: Plan) -> Result<Trial> {
    let repeat = format!("ha-tests/verify --test cluster -- --exact {test}");
    Trial::start(test, shape, small_disks, plan, &repeat)
}

/// Three nodes must come through each of these, one after the other.
#[track_caller]
fn survives(test: &str, mishaps: &[Mishap]) -> Result<()> {
    let _alone = alone();
    let mut trial = trial(test, Shape::Three, None, Plan::BESIDE)?;
    for mishap in mishaps {
        let outcome = trial.suffer(*mishap)?;
        bounded(*mishap, &outcome, FAILOVER_MAX)?;
    }
    trial.conclude().map(drop)
}

/// What moves the address at once may silence it only so long; what does not touch the holder, not at all.
fn bounded(mishap: Mishap, outcome: &Outcome, limit: Duration) -> Result<()> {
    let verdict = &outcome.verdict;
    if let Mishap::Kill(who) | Mishap::LinkDown(who) | Mishap::PowerOff(who) = mishap {
        let limit = if who == Who::Holder { limit } else { Duration::from_millis(100) };
        ensure!(verdict.outage() <= limit, "{mishap}: {verdict}");
    }
    if matches!(mishap, Mishap::DeafThenFreeze(_)) {
        // A kernel that answers on for a frozen holder keeps the next one waiting.
        ensure!(verdict.outage() <= limit, "{mishap}: {verdict}");
    }
    if mishap.moves_the_address() {
        // It may come back afterwards only if the cluster says so; what counts is that another one held it.
        ensure!(verdict.tenures.len() > 1, "{mishap}: the address did not move: {verdict}");
    }
    Ok(())
}

#[test]
fn writes_through_any_node_are_on_every_node() -> Result<()> {
    let _alone = alone();
    let repeat = "ha-tests/verify --test cluster -- --exact writes_through_any_node_are_on_every_node";
    let mut cluster = Cluster::found("writes_through_any_node_are_on_every_node", Shape::Three, None, repeat)?;
    let writers = cluster.write(Plan::BESIDE)?;
    pace(Instant::now() + Duration::from_secs(2));
    let history = writers.stop()?;
    let tally = history.count_back(&cluster.addresses(), Duration::from_secs(10))?;
    ensure!(tally.acknowledged > 50 && tally.refused == 0 && tally.unknown == 0, "{tally}");
    let through: BTreeSet<_> = history.fates.iter().map(|fate| fate.node).collect();
    ensure!(through.len() == 3, "written through {through:?} only");
    cluster.evidence.passed();
    Ok(())
}

#[test]
fn three_nodes_survive_kill_9() -> Result<()> {
    survives("three_nodes_survive_kill_9", &[Mishap::Kill(Who::Holder), Mishap::Kill(Who::Other(0))])
}

#[test]
fn three_nodes_survive_power_off() -> Result<()> {
    survives("three_nodes_survive_power_off", &[Mishap::PowerOff(Who::Holder), Mishap::PowerOff(Who::Other(1))])
}

#[test]
fn three_nodes_survive_a_pulled_cable() -> Result<()> {
    survives("three_nodes_survive_a_pulled_cable", &[Mishap::LinkDown(Who::Holder), Mishap::LinkDown(Who::Other(1))])
}

#[test]
fn three_nodes_survive_cuts() -> Result<()> {
    use Who::{Holder, Other};
    let cuts = [
        Mishap::CutPeers(Holder, Other(0)),
        Mishap::CutOneWay(Holder, Other(0)),
        Mishap::CutOneWay(Other(1), Holder),
        Mishap::Isolate(Holder),
    ];
    survives("three_nodes_survive_cuts", &cuts)
}

#[test]
fn a_holder_frozen_for_any_time_is_never_one_of_two() -> Result<()> {
    let freezes: Vec<Mishap> = [50, 150, 250, 300, 350, 400, 450, 500, 600, 700]
        .map(|ms| Mishap::Freeze(Who::Holder, Moment::Any, Duration::from_millis(ms)))
        .to_vec();
    survives("a_holder_frozen_for_any_time_is_never_one_of_two", &freezes)
}

#[test]
fn a_holder_frozen_at_the_worst_moment_is_never_one_of_two() -> Result<()> {
    let at = |moment| Mishap::Freeze(Who::Holder, moment, Duration::from_millis(650));
    let freezes = [at(Moment::Renewal), at(Moment::Announcement), at(Moment::Renewal)];
    survives("a_holder_frozen_at_the_worst_moment_is_never_one_of_two", &freezes)
}

#[test]
fn a_deaf_node_does_not_win_before_the_frozen_leader_is_mute() -> Result<()> {
    let decisive = Mishap::DeafThenFreeze(Duration::from_secs(2));
    survives("a_deaf_node_does_not_win_before_the_frozen_leader_is_mute", &[decisive, decisive])
}

#[test]
fn a_voter_restarted_inside_the_lease_does_not_break_it() -> Result<()> {
    let restarts = [Mishap::ForgetfulVoter; 3];
    survives("a_voter_restarted_inside_the_lease_does_not_break_it", &restarts)
}

#[test]
fn flushed_rules_and_a_deleted_address_come_back() -> Result<()> {
    survives("flushed_rules_and_a_deleted_address_come_back", &[Mishap::FlushRules, Mishap::DeleteAddress])
}

#[test]
fn full_disks_lose_nothing() -> Result<()> {
    let _alone = alone();
    let mut trial = trial("full_disks_lose_nothing", Shape::Three, Some(SMALL_DISK), Plan::BESIDE)?;
    trial.suffer(Mishap::FullDisk(Who::Other(0)))?;
    trial.suffer(Mishap::FullDisk(Who::Holder))?;
    trial.conclude().map(drop)
}

#[test]
fn a_wiped_disk_returns_as_a_new_node() -> Result<()> {
    let _alone = alone();
    let trial = trial("a_wiped_disk_returns_as_a_new_node", Shape::Three, None, Plan::BESIDE)?;
    let wiped = (trial.holder()? + 1) % 3;
    let old = trial.cluster.status(wiped)?.node_id();
    let member = trial.cluster.members()[wiped].clone();
    {
        let mut node = locked(&member.node);
        node.kill()?;
        node.wipe()?;
    }
    let holder = trial.holder()?;
    // Its name is its own again only once the node it was is out.
    trial.cluster.cli(holder, &["remove", member.host.name(), "--force"])?;
    let token = trial.cluster.join_token()?;
    trial.cluster.join(wiped, &token)?;
    trial.cluster.until_whole(WHOLE_MAX)?;
    let new = trial.cluster.status(wiped)?.node_id();
    ensure!(new != old, "the wiped node came back with its old id {old}");
    trial.conclude().map(drop)
}

#[test]
fn two_nodes_with_a_witness_fail_over_under_writers() -> Result<()> {
    let _alone = alone();
    let plan = Plan { writers: 64, per_second: Some(400), repeat_unknown: true, new_objects: false };
    let mut trial = trial("two_nodes_with_a_witness_fail_over_under_writers", Shape::Witness, None, plan)?;
    for mishap in [Mishap::Kill(Who::Holder), Mishap::PowerOff(Who::Holder), Mishap::Kill(Who::Holder)] {
        let outcome = trial.suffer(mishap)?;
        bounded(mishap, &outcome, TWO_NODES_MAX)?;
        ensure!(!trial.cluster.members()[outcome.after].witness, "the witness answered: {}", outcome.verdict);
    }
    trial.conclude().map(drop)
}

#[test]
fn a_survivor_serves_alone_and_refuses_writes() -> Result<()> {
    let _alone = alone();
    let mut trial = trial("a_survivor_serves_alone_and_refuses_writes", Shape::Survivor, None, Plan::BESIDE)?;
    let mishap = Mishap::Kill(Who::Holder);
    let outcome = trial.suffer(mishap)?;
    bounded(mishap, &outcome, TWO_NODES_MAX)?;
    let report = trial.conclude()?;
    ensure!(report.tally.refused > 0, "nothing was refused while quorum was lost: {report}");
    Ok(())
}

#[test]
fn a_planned_move_is_hardly_seen() -> Result<()> {
    let _alone = alone();
    let trial = trial("a_planned_move_is_hardly_seen", Shape::Three, None, Plan::BESIDE)?;
    // All the way round: from every node to the next, up and down in their order.
    for _ in 0..3 {
        let holder = trial.holder()?;
        let next = (holder + 1) % 3;
        let name = trial.cluster.members()[next].host.name().to_owned();
        let verdict = until("a move during which the observer did not pause", Duration::from_secs(60), || {
            let holder = trial.holder()?;
            if holder == next {
                let back = trial.cluster.members()[(next + 2) % 3].host.name();
                trial.cluster.cli(holder, &["transfer", back])?;
                trial.until_held_by((next + 2) % 3)?;
            }
            let begun = trial.observer.now();
            trial.cluster.cli(trial.holder()?, &["transfer", &name])?;
            trial.until_held_by(next)?;
            let verdict = trial.observer.judge(&(begun..trial.observer.now()))?;
            Ok((!verdict.is_void()).then_some(verdict))
        })?;
        ensure!(verdict.outage() <= TRANSFER_MAX, "{verdict}");
    }
    trial.conclude().map(drop)
}

#[test]
fn an_ordered_stop_hands_over_first() -> Result<()> {
    let _alone = alone();
    let trial = trial("an_ordered_stop_hands_over_first", Shape::Three, None, Plan::BESIDE)?;
    let holder = trial.holder()?;
    let begun = trial.observer.now();
    let member = trial.cluster.members()[holder].clone();
    let status = locked(&member.node).stop()?;
    ensure!(status.success(), "the node stopped with {status}");
    trial.observer.until_steady(Some(member.host.mac()), Duration::from_secs(10))?;
    let verdict = trial.observer.judge(&(begun..trial.observer.now()))?;
    ensure!(verdict.outage() <= TRANSFER_MAX || verdict.is_void(), "{verdict}");
    locked(&member.node).launch()?;
    trial.conclude().map(drop)
}

#[test]
fn a_cluster_grows_to_three_and_shrinks_to_one_online() -> Result<()> {
    let _alone = alone();
    let mut trial = trial("a_cluster_grows_to_three_and_shrinks_to_one_online", Shape::One, None, Plan::BESIDE)?;
    trial.cluster.grow(false)?;
    trial.cluster.grow(false)?;
    trial.count_back()?;
    for _ in 0..2 {
        let holder = trial.holder()?;
        let last = trial.cluster.members().len() - 1;
        // The one that leaves holds nothing; that a holder leaves is a planned move, tried elsewhere.
        let leaving = if holder == last { last - 1 } else { last };
        let name = trial.cluster.members()[leaving].host.name().to_owned();
        if trial.cluster.members().len() == 3 {
            // Two nodes do not survive what three do: this is danger, and needs to be meant.
            let refused = trial.cluster.cli(holder, &["remove", &name]);
            let why = format!("{:#}", refused.err().context("shrinking into danger was not refused")?);
            ensure!(why.contains("--force"), "the refusal does not say how to insist: {why}");
            trial.cluster.cli(holder, &["remove", &name, "--force"])?;
        } else {
            trial.cluster.cli(holder, &["remove", &name])?;
        }
        trial.cluster.forget(leaving)?;
        trial.cluster.until_whole(WHOLE_MAX)?;
    }
    ensure!(trial.cluster.members().len() == 1);
    trial.conclude().map(drop)
}

/// The digest of what one address serves for an asset, and of a file.
fn served(trial: &Trial, address: &str, asset: &str) -> Result<String> {
    let mut shell = trial.cluster.admin_host().command("bash");
    let url = format!("http://{address}:8080/assets/{asset}");
    shell.args(["-c", &format!("set -o pipefail; curl -sSf {url} | sha256sum")]);
    run(shell)
}

fn upload(trial: &Trial, at: usize, name: &str, mebibytes: usize) -> Result<String> {
    let file = trial.cluster.evidence.file(name);
    let mut dd = std::process::Command::new("dd");
    dd.args(["if=/dev/urandom", "bs=1M", "status=none", &format!("count={mebibytes}")]);
    dd.arg(format!("of={}", file.display()));
    run(dd)?;
    trial.cluster.cli(at, &["asset", "put", name, &file.to_string_lossy()])?;
    let mut sum = std::process::Command::new("sh");
    sum.args(["-c", &format!("sha256sum < {}", file.display())]);
    run(sum)
}

#[test]
fn an_upload_to_any_node_is_served_by_all() -> Result<()> {
    let _alone = alone();
    let trial = trial("an_upload_to_any_node_is_served_by_all", Shape::Three, None, Plan::BESIDE)?;
    for at in 0..3 {
        let name = format!("asset-{at}");
        let digest = upload(&trial, at, &name, 16)?;
        for address in trial.cluster.addresses().into_iter().chain([VIP]) {
            // At once: a node that has not copied it yet fetches it while serving.
            let found = served(&trial, &address.to_string(), &name)?;
            ensure!(found == digest, "{address} serves {found} for {name}, uploaded {digest}");
        }
    }
    trial.cluster.until_whole(WHOLE_MAX)?;
    trial.conclude().map(drop)
}

#[test]
fn a_node_that_lacks_the_bytes_serves_them_all_the_same() -> Result<()> {
    let _alone = alone();
    let trial = trial("a_node_that_lacks_the_bytes_serves_them_all_the_same", Shape::Three, None, Plan::BESIDE)?;
    let absent = (trial.holder()? + 1) % 3;
    let member = trial.cluster.members()[absent].clone();
    let fault = fault::kill(&member.node)?;
    let digest = upload(&trial, trial.holder()?, "asset", 64)?;
    fault.heal()?;
    let address = member.host.address().to_string();
    let found = until("it serves the asset", Duration::from_secs(30), || Ok(served(&trial, &address, "asset").ok()))?;
    ensure!(found == digest, "it serves {found}, uploaded {digest}");
    trial.cluster.until_whole(WHOLE_MAX)?;
    // And once it had them and lost them again.
    let hex = digest.split_whitespace().next().context("a digest")?;
    let file = locked(&member.node).data().join("blobs/sha256").join(&hex[..2]).join(hex);
    fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
    let found =
        until("it serves what it lost", Duration::from_secs(30), || Ok(served(&trial, &address, "asset").ok()))?;
    ensure!(found == digest, "it serves {found}, uploaded {digest}");
    trial.conclude().map(drop)
}

#[test]
fn transfers_cause_no_election() -> Result<()> {
    let _alone = alone();
    let trial = trial("transfers_cause_no_election", Shape::Three, None, Plan::BESIDE)?;
    let terms = |trial: &Trial| (0..3).map(|at| Ok(trial.cluster.status(at)?.term())).collect::<Result<Vec<_>>>();
    upload(&trial, 0, "large", 128)?;
    let before = terms(&trial)?;
    let mut downloads = Vec::with_capacity(64);
    for _ in 0..64 {
        let mut curl = trial.cluster.admin_host().command("curl");
        curl.args(["-sSf", "-o", "/dev/null", &format!("http://{VIP}:8080/assets/large")]);
        downloads.push(curl.spawn().context("start a download")?);
    }
    upload(&trial, 1, "upload", 512)?;
    for mut download in downloads {
        let status = download.wait().context("wait for a download")?;
        ensure!(status.success(), "a download ended with {status}");
    }
    ensure!(terms(&trial)? == before, "there was an election");
    trial.conclude().map(drop)
}
