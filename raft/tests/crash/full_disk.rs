//! A full disk: one clear error, nothing acknowledged is lost, and with space again it goes on.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use raft::cluster::{Cluster, ProposeError, Tuning};
use raft::command::{Command, Edit, GuardedEdit};
use raft::state::Group;
use raft::types::{Digest, Timestamp};

use crate::child::options;
use crate::disk::Disk;

fn group(number: u32) -> Command {
    let id = format!("g{number}");
    let edit = Edit::PutGroup(Group {
        selector: BTreeMap::from([("serial".into(), id.clone())]),
        id,
        name: String::new(),
        profile: "p".into(),
        metadata: format!("{{\"x\":\"{}\"}}", "y".repeat(20_000)),
        rules: Vec::new(),
    });
    Command {
        actor: "full".into(),
        at: Timestamp(1),
        idempotency_key: String::new(),
        fingerprint: Digest::of(b""),
        edits: vec![GuardedEdit::from(edit)],
        replace: Vec::new(),
        allow_ties: false,
    }
}

#[tokio::test]
async fn a_full_disk_is_one_clear_error_and_nothing_is_lost() {
    let disk = Disk::new(64);
    let home = disk.root().join("raft");
    let ballast = disk.root().join("ballast");
    let cluster = Cluster::open_tuned(options(&home), Tuning::default()).unwrap();
    cluster.propose(group(0)).await.unwrap();
    let mut file = File::create(&ballast).unwrap();
    while file.write_all(&[0x55; 64 * 1024]).and_then(|()| file.sync_all()).is_ok() {}
    let mut acknowledged = 1;
    let error = loop {
        match cluster.propose(group(acknowledged)).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 10_000, "the disk never was full");
    };
    let ProposeError::Fatal(fatal) = &error else { panic!("{error:?}") };
    assert!(fatal.0.contains("disk is full") && fatal.0.contains(home.to_str().unwrap()), "{fatal}");
    let told = tokio::time::timeout(Duration::from_secs(5), cluster.failed()).await.unwrap();
    assert_eq!(&told, fatal, "one error, not several");
    assert_eq!(cluster.status().role, "stopped");
    assert!(matches!(cluster.propose(group(acknowledged)).await, Err(ProposeError::Fatal(_))));
    cluster.shutdown().await;

    drop(file);
    std::fs::remove_file(&ballast).unwrap();
    let again = Cluster::open(options(&home)).unwrap();
    for number in 0..acknowledged {
        assert!(again.read().group(&format!("g{number}")).is_some(), "g{number} of {acknowledged}");
    }
    again.propose(group(acknowledged)).await.unwrap();
    again.shutdown().await;
}
