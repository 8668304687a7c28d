//! kill -9 at any moment: nothing acknowledged is lost, nothing is half applied.

use std::time::Duration;

use raft::cluster::{Cluster, Syncing};

use crate::child::{Running, describe, options, tuning};
use crate::ledger::{Dice, Ledger};

const ROUNDS: u32 = 200;

#[tokio::test]
async fn two_hundred_kills_under_load_lose_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("raft");
    let mut dice = Dice::new();
    let mut ledger = Ledger::default();
    let mut ready = 0;
    for round in 0..ROUNDS {
        let child = Running::start(&home, Syncing::On);
        // One in four while it starts, the others under load.
        let mut heard = if round % 4 == 0 { Vec::new() } else { child.listen_for("READY") };
        ready += usize::from(!heard.is_empty());
        let delay = Duration::from_micros(dice.below(if round % 4 == 0 { 60_000 } else { 150_000 }));
        heard.extend(child.listen(delay));
        heard.extend(child.kill());
        ledger.new_child();
        ledger.hear(&heard).unwrap_or_else(|wrong| panic!("round {round}, seed {}: {wrong}", dice.seed));
    }
    let cluster = Cluster::open_tuned(options(&home), tuning(Syncing::On)).unwrap();
    let mut last = describe(&cluster.read());
    last.push("READY".into());
    ledger.new_child();
    ledger.hear(&last).unwrap_or_else(|wrong| panic!("after all, seed {}: {wrong}", dice.seed));
    cluster.shutdown().await;
    assert!(
        ready >= 100 && ledger.acks >= 2_000,
        "too little load to show anything: {ready} starts, {} acks",
        ledger.acks
    );
}

#[tokio::test]
async fn a_kill_during_the_very_first_start_leaves_a_directory_that_opens() {
    let mut dice = Dice::new();
    for round in 0..25 {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("raft");
        let child = Running::start(&home, Syncing::On);
        let mut heard = child.listen(Duration::from_micros(dice.below(50_000)));
        heard.extend(child.kill());
        let mut ledger = Ledger::default();
        ledger.hear(&heard).unwrap();
        let cluster = Cluster::open_tuned(options(&home), tuning(Syncing::On));
        let cluster = cluster.unwrap_or_else(|error| panic!("round {round}, seed {}: {error}", dice.seed));
        let mut last = describe(&cluster.read());
        last.push("READY".into());
        ledger.new_child();
        ledger.hear(&last).unwrap_or_else(|wrong| panic!("round {round}, seed {}: {wrong}", dice.seed));
        cluster.shutdown().await;
    }
}
