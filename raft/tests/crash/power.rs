//! Power is cut at any moment: what was acknowledged is there when it is back. With syncing off it is not, or this test
//! would show nothing.

use std::time::Duration;

use raft::cluster::Syncing;

use crate::child::Running;
use crate::disk::Disk;
use crate::ledger::{Dice, Ledger};

/// One start, some load, and the power goes; answers what is wrong afterwards.
fn cut(disk: &Disk, ledger: &mut Ledger, dice: &mut Dice, syncing: Syncing) -> Result<(), String> {
    let child = Running::start(&disk.root().join("raft"), syncing);
    ledger.new_child();
    ledger.hear(&child.listen_for("READY"))?;
    let mut heard = child.listen(Duration::from_micros(50_000 + dice.below(400_000)));
    disk.cut_power();
    heard.extend(child.kill());
    // That the storage fails now is right; what it had acknowledged counts.
    heard.retain(|line| line.starts_with("ACK"));
    let result = ledger.hear(&heard);
    disk.restart();
    result
}

/// What is there after the last cut.
fn account(disk: &Disk, ledger: &mut Ledger, syncing: Syncing) -> Result<(), String> {
    let child = Running::start(&disk.root().join("raft"), syncing);
    let mut heard = Vec::new();
    while !heard.iter().any(|line: &String| line == "READY" || line.starts_with("FATAL")) {
        heard.extend(child.listen(Duration::from_millis(20)));
    }
    heard.extend(child.kill());
    ledger.new_child();
    ledger.hear(&heard)
}

#[test]
fn a_loss_of_power_loses_nothing_that_was_acknowledged() {
    let disk = Disk::new(192);
    let (mut ledger, mut dice) = (Ledger::default(), Dice::new());
    for round in 0..20 {
        let seed = dice.seed;
        let result = cut(&disk, &mut ledger, &mut dice, Syncing::On);
        result.unwrap_or_else(|wrong| panic!("round {round}, seed {seed}: {wrong}"));
    }
    account(&disk, &mut ledger, Syncing::On).unwrap_or_else(|wrong| panic!("after all, seed {}: {wrong}", dice.seed));
    assert!(ledger.acks >= 500, "too little load to show anything: {} acks", ledger.acks);
}

#[test]
fn without_syncing_a_loss_of_power_is_seen_by_this_test() {
    let disk = Disk::new(192);
    let (mut ledger, mut dice) = (Ledger::default(), Dice::new());
    // The first start makes the files, and they are on the disk.
    let first = Running::start(&disk.root().join("raft"), Syncing::On);
    ledger.hear(&first.listen_for("READY")).unwrap();
    ledger.hear(&first.kill()).unwrap();
    let cut = cut(&disk, &mut ledger, &mut dice, Syncing::Off);
    let after = account(&disk, &mut ledger, Syncing::Off);
    assert!(ledger.acks >= 50, "too little load to show anything: {} acks", ledger.acks);
    let lost = cut.and(after).expect_err("without syncing, acknowledged changes must be lost");
    // Gone, or missed by the node itself.
    let seen = ["was acknowledged", "went back", "had been synced", "do not repair"];
    assert!(seen.iter().any(|words| lost.contains(words)), "{lost}");
}
