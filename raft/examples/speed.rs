//! Rough figures of the replicated state on this machine's disk: writes, large changes, start, memory.
//!
//! `cargo run --release -p raftboot-raft --example speed [DIR]`

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use raft::command::{Command, Edit, GuardedEdit};
use raft::state::Group;
use raft::types::{Digest, Timestamp};
use raft::{Cluster, EngineKind, Options};

fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

fn groups(from: usize, to: usize) -> Command {
    let put = |number: usize| {
        let mac = format!(
            "52:54:{:02x}:{:02x}:{:02x}:{:02x}",
            number >> 24 & 255,
            number >> 16 & 255,
            number >> 8 & 255,
            number & 255
        );
        GuardedEdit::from(Edit::PutGroup(Group {
            id: format!("group-{number:06}"),
            name: format!("Machine {number}"),
            profile: "talos-worker".into(),
            selector: BTreeMap::from([("mac".into(), mac)]),
            metadata: format!(r#"{{"hostname":"worker-{number:06}","rack":"r{}"}}"#, number / 40),
            rules: Vec::new(),
        }))
    };
    Command {
        actor: "speed".into(),
        at: Timestamp(1),
        idempotency_key: String::new(),
        fingerprint: Digest::of(b""),
        edits: (from..to).map(put).collect(),
        replace: Vec::new(),
        allow_ties: false,
    }
}

fn open(dir: &Path) -> (Cluster, Duration) {
    let start = Instant::now();
    let cluster = Cluster::open(Options::alone(dir.to_owned(), EngineKind::RocksDb)).expect("the directory opens");
    (cluster, start.elapsed())
}

/// Memory of our own, and files mapped (the program itself), in MiB.
fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
    };
    format!("resident {} + {} MiB", of("RssAnon"), of("RssFile"))
}

async fn writes(cluster: &Cluster, writers: usize, time: Duration) -> f64 {
    let start = Instant::now();
    let tasks = (0..writers).map(|writer| {
        let cluster = cluster.clone();
        tokio::spawn(async move {
            let mut done = 0_u32;
            while start.elapsed() < time {
                let number = 1_000_000 + writer * 100 + done as usize % 100;
                cluster.propose(groups(number, number + 1)).await.expect("a write succeeds");
                done += 1;
            }
            done
        })
    });
    let mut total = 0;
    for task in tasks.collect::<Vec<_>>() {
        total += task.await.expect("a writer ends");
    }
    f64::from(total) / start.elapsed().as_secs_f64()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if std::env::args().nth(1).is_some_and(|arg| arg == "--start") {
        let home = PathBuf::from(std::env::args_os().nth(2).expect("a directory"));
        let (cluster, took) = open(&home);
        let found = cluster.read().groups().len();
        say(&format!("start with {found} groups: {took:?}, {}", resident()));
        let change = Instant::now();
        cluster.propose(groups(0, 1)).await.expect("the change is taken");
        say(&format!("  first change: {:?}, {}", change.elapsed(), resident()));
        return cluster.shutdown().await;
    }
    let dir = std::env::args_os().nth(1).map_or_else(|| std::env::temp_dir().join("raft-speed"), PathBuf::from);
    for count in [10_000, 100_000] {
        let home = dir.join(format!("{}-{count}", std::process::id()));
        let (cluster, took) = open(&home);
        say(&format!("first start: {took:?}"));
        if count == 10_000 {
            for writers in [1, 32] {
                let rate = writes(&cluster, writers, Duration::from_secs(3)).await;
                say(&format!("writes/s with {writers} writers: {rate:.0}"));
            }
        }
        let command = groups(0, count);
        let start = Instant::now();
        cluster.propose(command).await.expect("the change is taken");
        say(&format!("one change of {count} groups: {:?}, {}", start.elapsed(), resident()));
        cluster.shutdown().await;
        drop(cluster);
        for _ in 0..2 {
            // A process of its own, so that memory is that of a start.
            let me = std::env::current_exe().expect("a path");
            let _ = std::process::Command::new(me).arg("--start").arg(&home).status();
        }
        let _ = std::fs::remove_dir_all(&home);
    }
}
