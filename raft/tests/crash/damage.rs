//! Damage on disk: every case is one clear error that names the place, never a start with less than there was.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use raft::cluster::{Cluster, Tuning};
use raft::codec::{Identity, encode};
use raft::command::{Command, Edit, GuardedEdit};
use raft::state::Group;
use raft::types::{Digest, Timestamp};

use crate::child::options;

fn groups(from: u32, to: u32) -> Command {
    let put = |number: u32| {
        let id = format!("group-{number:05}");
        GuardedEdit::from(Edit::PutGroup(Group {
            selector: [("serial".to_owned(), id.clone())].into(),
            id,
            name: String::new(),
            profile: "p".into(),
            metadata: "{\"rack\":\"a1\"}".into(),
            rules: Vec::new(),
        }))
    };
    Command {
        actor: "damage".into(),
        at: Timestamp(1),
        idempotency_key: String::new(),
        fingerprint: Digest::of(b""),
        edits: (from..to).map(put).collect(),
        replace: Vec::new(),
        allow_ties: false,
    }
}

/// A directory with tables, a write-ahead log, and a snapshot behind which the log has been purged.
async fn filled() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("raft");
    let tuning = Tuning { snapshot_every: 20, keep_behind_snapshot: 2, ..Tuning::default() };
    // Twice: a second start turns what the first left in the write-ahead log into tables.
    for start in 0..2 {
        let cluster = Cluster::open_tuned(options(&home), tuning).unwrap();
        for at in 0..30 {
            let from = start * 3_000 + at * 100;
            cluster.propose(groups(from, from + 100)).await.unwrap();
        }
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while cluster.status().snapshot.is_none() {
            assert!(std::time::Instant::now() < until, "no snapshot");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cluster.shutdown().await;
    }
    (dir, home)
}

fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let found = fs::read_dir(dir).unwrap().map(|item| item.unwrap().path());
    let mut found: Vec<PathBuf> = found.filter(|path| path.extension().is_some_and(|end| end == ending)).collect();
    found.sort();
    assert!(!found.is_empty(), "no .{ending} in {}", dir.display());
    found
}

pub(crate) fn flip(path: &Path, at: impl Fn(usize) -> usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

fn cut(path: &Path, keep: impl Fn(usize) -> usize) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..keep(bytes.len())]).unwrap();
}

/// The one that holds what was written since the last start.
pub(crate) fn write_ahead_log(home: &Path) -> PathBuf {
    let logs = files(&home.join("db"), "log");
    logs.into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

/// Opening must fail with a message that names the place and holds `words`.
fn refused(home: &Path, words: &str) {
    let error = match Cluster::open(options(home)) {
        Ok(cluster) => panic!("it opened with {} groups", cluster.read().groups().len()),
        Err(error) => error.to_string(),
    };
    assert!(error.contains(home.to_str().unwrap()), "{error}");
    assert!(error.contains(words), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[tokio::test]
async fn a_changed_byte_in_the_write_ahead_log_is_refused() {
    for part in [3, 2] {
        let (_dir, home) = filled().await;
        flip(&write_ahead_log(&home), |len| len / part);
        refused(&home, "do not repair it in place");
    }
}

#[tokio::test]
async fn a_damaged_end_of_what_was_acknowledged_is_refused() {
    let (_dir, home) = filled().await;
    // The very last bytes are what was applied, which is made again from the log; a little before are log entries.
    flip(&write_ahead_log(&home), |len| len - len / 20);
    refused(&home, "do not repair it in place");
}

/// Opening finds all that was written, and what is written then is there at the next start.
async fn goes_on_with_everything(home: &Path) {
    let cluster = Cluster::open(options(home)).unwrap();
    assert_eq!(cluster.read().groups().len(), 6_000);
    cluster.propose(groups(6_000, 6_001)).await.unwrap();
    cluster.shutdown().await;
    let again = Cluster::open(options(home)).unwrap();
    assert_eq!(again.read().groups().len(), 6_001);
    again.shutdown().await;
}

#[tokio::test]
async fn a_write_torn_by_a_crash_is_dropped() {
    let (_dir, home) = filled().await;
    let log = write_ahead_log(&home);
    let whole = fs::read(&log).unwrap();
    // A record that was on its way: the header is there, some of its bytes are not what they should be.
    let mut torn = whole[..700].to_vec();
    torn[40] ^= 0xff;
    fs::write(&log, [whole, torn].concat()).unwrap();
    goes_on_with_everything(&home).await;
}

/// A header "of a recycled file": RocksDB's own reader would read it for ever.
pub(crate) const TRAP: [u8; 12] = [1, 2, 3, 4, 5, 0, 6, 0, 0, 0, 0, 0];
/// Bytes of a block of a log file.
const BLOCK: usize = 32 * 1024;

#[tokio::test]
async fn a_torn_write_that_rocksdb_would_read_for_ever_is_dropped() {
    let (_dir, home) = filled().await;
    let log = write_ahead_log(&home);
    let whole = fs::read(&log).unwrap();
    fs::write(&log, [&whole[..], &TRAP, &whole[..700]].concat()).unwrap();
    // A crash while it was tried without its end: the whole file is put back first.
    fs::rename(&log, home.join(format!("torn-{}", log.file_name().unwrap().to_str().unwrap()))).unwrap();
    fs::write(&log, &whole[..whole.len() / 2]).unwrap();
    goes_on_with_everything(&home).await;
    let left: Vec<_> = fs::read_dir(&home).unwrap().map(|item| item.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("torn")), "{left:?}");
}

#[tokio::test]
async fn damage_that_rocksdb_would_read_for_ever_is_refused() {
    let (_dir, home) = filled().await;
    let log = write_ahead_log(&home);
    let mut bytes = fs::read(&log).unwrap();
    // In the middle of what was synced: a damaged block, and the trap at the beginning of the next.
    let next = bytes.len() / 2 / BLOCK * BLOCK;
    assert!(next > BLOCK, "too short to show anything: {}", bytes.len());
    bytes[next - BLOCK..next].fill(9);
    bytes[next..next + TRAP.len()].copy_from_slice(&TRAP);
    fs::write(&log, &bytes).unwrap();
    refused(&home, "do not repair it in place");
    assert_eq!(fs::read(&log).unwrap(), bytes, "nothing was changed");

    let (_dir, home) = filled().await;
    let db = home.join("db");
    let manifest = db.join(fs::read_to_string(db.join("CURRENT")).unwrap().trim());
    fs::write(&manifest, [&fs::read(&manifest).unwrap()[..], &TRAP].concat()).unwrap();
    refused(&home, "do not repair it in place");
}

#[tokio::test]
async fn a_write_ahead_log_that_lost_its_end_is_refused() {
    let keeps: [fn(usize) -> usize; 3] = [|len| len / 2, |len| len - len / 20, |_| 0];
    for keep in keeps {
        let (_dir, home) = filled().await;
        cut(&write_ahead_log(&home), keep);
        refused(&home, "had been synced to this disk");
    }
}

#[tokio::test]
async fn a_missing_write_ahead_log_is_refused() {
    let (_dir, home) = filled().await;
    for path in files(&home.join("db"), "log") {
        fs::remove_file(path).unwrap();
    }
    refused(&home, "do not repair it in place");
}

#[tokio::test]
async fn a_changed_byte_in_a_table_is_refused() {
    let (_dir, home) = filled().await;
    for table in files(&home.join("db"), "sst") {
        flip(&table, |len| len / 3);
    }
    refused(&home, "do not repair it in place");
}

#[tokio::test]
async fn a_damaged_snapshot_is_refused_and_can_be_moved_away() {
    let damages: [fn(&Path); 4] = [
        |path| flip(path, |len| len / 2),
        |path| flip(path, |len| len - 3),
        |path| cut(path, |len| len / 2),
        |path| fs::write(path, [fs::read(path).unwrap(), vec![0; 7]].concat()).unwrap(),
    ];
    for damage in damages {
        let (_dir, home) = filled().await;
        let snapshot = files(&home.join("snapshots"), "snapshot").remove(0);
        damage(&snapshot);
        refused(&home, "move that file away");
        fs::remove_file(&snapshot).unwrap();
        let cluster = Cluster::open(options(&home)).unwrap();
        assert_eq!(cluster.read().groups().len(), 6_000);
        assert!(cluster.status().snapshot.is_some(), "a new one has been written");
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn a_directory_that_is_not_what_it_was_is_refused() {
    let (_dir, home) = filled().await;
    let identity = fs::read(home.join("identity")).unwrap();
    let restore = || fs::write(home.join("identity"), &identity).unwrap();

    let other = Identity { cluster: [9; 16], generation: 1, node: 1 };
    fs::write(home.join("identity"), encode(&other).unwrap()).unwrap();
    refused(&home, "its identity file of cluster 09090909-0909-0909-0909-090909090909");

    let mut newer = identity.clone();
    newer[4] = 2;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&newer[..12]), &newer[16..]);
    newer[12..16].copy_from_slice(&crc.to_le_bytes());
    fs::write(home.join("identity"), newer).unwrap();
    refused(&home, "written by a newer version of raftboot");

    let mark = fs::read(home.join("mark")).unwrap();
    fs::remove_file(home.join("identity")).unwrap();
    refused(&home, "the file `identity` is missing");
    assert_eq!(fs::read(home.join("mark")).unwrap(), mark, "a refused start leaves the mark alone");
    fs::rename(home.join("mark"), home.join("away")).unwrap();
    refused(&home, "the file `identity` is missing");
    assert!(!home.join("mark").exists(), "no mark is made for a database with data");
    fs::rename(home.join("away"), home.join("mark")).unwrap();
    fs::rename(home.join("db"), home.join("away")).unwrap();
    refused(&home, "the file `identity` is missing");
    assert!(!home.join("db").exists(), "no database is made beside a mark");
    fs::rename(home.join("away"), home.join("db")).unwrap();
    restore();

    let expected = Tuning { expect_cluster: Some([9; 16]), ..Tuning::default() };
    let error = Cluster::open_tuned(options(&home), expected).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("not to cluster 09090909-"), "{error}");

    fs::write(home.join("mark"), vec![0xff; mark.len()]).unwrap();
    refused(&home, "neither of its two slots");
    fs::write(home.join("mark"), mark).unwrap();

    fs::rename(home.join("db"), home.join("away")).unwrap();
    refused(&home, "do not repair it in place");
    fs::remove_dir_all(home.join("db")).ok();
    fs::rename(home.join("away"), home.join("db")).unwrap();

    let cluster = Cluster::open(options(&home)).unwrap();
    assert_eq!(cluster.read().groups().len(), 6_000);
    refused(&home, &format!("process {} is using it", std::process::id()));
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_first_start_that_was_cut_short_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("raft");
    Cluster::open(options(&home)).unwrap().shutdown().await;
    // As if power had gone before the identity was written: nothing had been promised yet.
    let empty = tempfile::tempdir().unwrap();
    let half = empty.path().join("raft");
    fs::create_dir_all(half.join("db")).unwrap();
    fs::create_dir_all(half.join("snapshots")).unwrap();
    fs::write(half.join("identity.tmp"), b"RB").unwrap();
    fs::write(half.join("mark.new"), b"RB").unwrap();
    drop(raft::mark::MarkFile::create(&half.join("mark"), true).unwrap());
    fs::write(half.join("mark.new"), b"RB").unwrap();
    let cluster = Cluster::open(options(&half)).unwrap();
    cluster.propose(groups(0, 3)).await.unwrap();
    cluster.shutdown().await;
}
