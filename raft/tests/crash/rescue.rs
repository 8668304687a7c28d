//! A killed node is recovered: what its log ends with is treated as at any start.

use std::fs;
use std::time::Duration;

use raft::cluster::{Cluster, Syncing};
use raft::rescue::{Survivor, generation_after};
use raft::types::Timestamp;

use crate::child::{Running, describe, options, tuning};
use crate::damage::{TRAP, flip, write_ahead_log};
use crate::ledger::{Dice, Ledger};

const ROUNDS: u32 = 12;

#[test]
fn a_node_killed_under_load_is_recovered_with_all_it_had_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("raft");
    let (mut dice, mut ledger, mut generation) = (Dice::new(), Ledger::default(), 1);
    for round in 0..ROUNDS {
        let child = Running::start(&home, Syncing::On);
        ledger.new_child();
        ledger.hear(&child.listen_for("READY")).unwrap_or_else(|wrong| panic!("seed {}: {wrong}", dice.seed));
        let mut heard = child.listen(Duration::from_micros(dice.below(150_000)));
        heard.extend(child.kill());
        ledger.hear(&heard).unwrap_or_else(|wrong| panic!("seed {}: {wrong}", dice.seed));
        if round % 3 < 2 {
            tear(&home, round % 3 == 1);
        }
        let survivor = Survivor::open(&home).unwrap_or_else(|error| panic!("seed {}: {error}", dice.seed));
        assert_eq!(survivor.found().identity.generation, generation);
        generation = generation_after(generation).unwrap();
        survivor.recover(generation, Timestamp(1)).unwrap();
    }
    let cluster = Cluster::open_tuned(options(&home), tuning(Syncing::On)).unwrap();
    assert_eq!(cluster.status().generation, generation);
    let mut last = describe(&cluster.read());
    last.push("READY".into());
    ledger.new_child();
    ledger.hear(&last).unwrap_or_else(|wrong| panic!("seed {}: {wrong}", dice.seed));
    tokio::runtime::Runtime::new().unwrap().block_on(cluster.shutdown());
    assert!(ledger.acks > 100, "too little load to show anything: {}", ledger.acks);
}

/// What a loss of power may leave behind the last whole write; with a trap RocksDB's own reader would stay in it for ever.
fn tear(home: &std::path::Path, trap: bool) {
    let log = write_ahead_log(home);
    let whole = fs::read(&log).unwrap();
    if whole.len() < 2_000 {
        return;
    }
    let mut torn = whole[..700].to_vec();
    torn[40] ^= 0xff;
    if trap {
        torn[..TRAP.len()].copy_from_slice(&TRAP);
    }
    fs::write(&log, [whole, torn].concat()).unwrap();
}

#[test]
fn a_log_that_lost_what_was_synced_is_not_recovered_from() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("raft");
    let child = Running::start(&home, Syncing::On);
    child.listen_for("READY");
    child.listen(Duration::from_millis(300));
    child.kill();
    flip(&write_ahead_log(&home), |length| length / 2);
    let refused = Survivor::open(&home).err().unwrap().to_string();
    assert!(refused.contains("do not repair it in place"), "{refused}");
}
