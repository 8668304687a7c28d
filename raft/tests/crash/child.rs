//! A process of its own that opens a cluster, says what it finds, and writes until somebody kills it.
//!
//! It is this test binary once more, told by the environment what to do. Lines on its standard output:
//! `HAVE writer slot number` for each pair found, `BROKEN …` for a half-applied command, `READY`, then
//! `ACK writer number` after each acknowledged command, `FATAL …` when the storage fails.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use raft::cluster::{Cluster, EngineKind, Options, Syncing, Tuning};
use raft::command::{Command, Edit, GuardedEdit};
use raft::state::{Group, State};
use raft::types::{Digest, Timestamp};

/// Writers at once in the child.
pub(crate) const WRITERS: u64 = 4;
/// Pairs of groups each writer rewrites in turn.
pub(crate) const SLOTS: u64 = 16;

/// Often, so that kills fall into snapshots and purges as well.
pub(crate) fn tuning(syncing: Syncing) -> Tuning {
    Tuning { snapshot_every: 64, keep_behind_snapshot: 8, syncing, ..Tuning::default() }
}

pub(crate) fn options(dir: &Path) -> Options {
    Options::alone(dir.to_owned(), EngineKind::RocksDb)
}

/// Two groups that always carry the same number, written by one command.
fn pair(writer: u64, number: u64) -> Command {
    let put = |half: &str| {
        let id = format!("w{writer}-s{}-{half}", number % SLOTS);
        GuardedEdit::from(Edit::PutGroup(Group {
            selector: BTreeMap::from([("serial".into(), id.clone())]),
            id,
            name: String::new(),
            profile: "p".into(),
            metadata: format!("{{\"n\":{number}}}"),
            rules: Vec::new(),
        }))
    };
    Command {
        actor: "crash".into(),
        at: Timestamp(number),
        idempotency_key: format!("w{writer}-{number}"),
        fingerprint: Digest::of(&number.to_be_bytes()),
        edits: vec![put("a"), put("b")],
        replace: Vec::new(),
        allow_ties: false,
    }
}

fn number_of(state: &State, writer: u64, slot: u64, half: &str) -> Option<u64> {
    let group = state.group(&format!("w{writer}-s{slot}-{half}"))?;
    group.value.metadata.trim_start_matches("{\"n\":").trim_end_matches('}').parse().ok()
}

/// What a state holds, line by line.
pub(crate) fn describe(state: &State) -> Vec<String> {
    let mut lines = Vec::new();
    for writer in 0..WRITERS {
        for slot in 0..SLOTS {
            let (a, b) = (number_of(state, writer, slot, "a"), number_of(state, writer, slot, "b"));
            match (a, b) {
                (Some(a), Some(b)) if a == b => lines.push(format!("HAVE {writer} {slot} {a}")),
                (None, None) => {}
                _ => lines.push(format!("BROKEN writer {writer} slot {slot}: {a:?} and {b:?}")),
            }
        }
    }
    lines
}

fn say(line: &str) {
    // Whole lines, at once; if nobody listens any more there is nothing to do.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Not a test: what the child does.
#[test]
#[ignore = "started by the other tests as a process of its own"]
fn child() {
    let Some(dir) = std::env::var_os("RAFT_TEST_CHILD") else { return };
    let syncing = if std::env::var_os("RAFT_TEST_NO_SYNC").is_some() { Syncing::Off } else { Syncing::On };
    let cluster = match Cluster::open_tuned(options(Path::new(&dir)), tuning(syncing)) {
        Ok(cluster) => cluster,
        Err(error) => return say(&format!("FATAL {error}")),
    };
    let state = cluster.read();
    describe(&state).iter().for_each(|line| say(line));
    say("READY");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let writers = (0..WRITERS).map(|writer| tokio::spawn(write(cluster.clone(), state.clone(), writer)));
        for writer in writers.collect::<Vec<_>>() {
            let _ = writer.await;
        }
    });
}

async fn write(cluster: Cluster, found: std::sync::Arc<State>, writer: u64) {
    let last = (0..SLOTS).filter_map(|slot| number_of(&found, writer, slot, "a")).max();
    for number in last.map_or(0, |last| last + 1).. {
        match cluster.propose(pair(writer, number)).await {
            Ok(_) => say(&format!("ACK {writer} {number}")),
            Err(error) => return say(&format!("FATAL {error}")),
        }
    }
}

/// A running child.
pub(crate) struct Running {
    process: Child,
    lines: Receiver<String>,
}

impl Running {
    /// Starts one on `dir`.
    pub(crate) fn start(dir: &Path, syncing: Syncing) -> Self {
        let me: PathBuf = std::env::current_exe().unwrap();
        let mut command = Process::new(me);
        command.args(["--exact", "child::child", "--ignored", "--nocapture"]).env("RAFT_TEST_CHILD", dir);
        if syncing == Syncing::Off {
            command.env("RAFT_TEST_NO_SYNC", "1");
        }
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (sender, lines) = channel();
        let out = BufReader::new(process.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { process, lines }
    }

    /// What it says until it has been quiet for good or `time` is over, whichever is first.
    pub(crate) fn listen(&self, time: Duration) -> Vec<String> {
        let until = Instant::now() + time;
        let mut heard = Vec::new();
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            match self.lines.recv_timeout(left) {
                Ok(line) => heard.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        heard
    }

    /// Listens until it has said `word`; panics after ten seconds.
    pub(crate) fn listen_for(&self, word: &str) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(10));
            let line = line.unwrap_or_else(|_| panic!("the child never said {word}, only: {heard:?}"));
            let last = line.starts_with(word);
            assert!(last || !line.starts_with("FATAL"), "{line}");
            heard.push(line);
            if last {
                return heard;
            }
        }
    }

    /// kill -9; answers what it had still said.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.end();
        self.lines.iter().collect()
    }

    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}
