//! openraft's own storage suite, on both engines.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use raft::cluster::EngineKind;
use raft::codec::Identity;
use raft::engine::{Engine, Expect, MemoryEngine, RocksEngine, RocksOptions};
use raft::failure::Health;
use raft::log_store::{self, LogStore, Tail};
use raft::mark::MarkFile;
use raft::snapshot::Snapshots;
use raft::state_machine::{self, Parts, ReadModel, StateMachine};
use raft::type_config::TypeConfig;
use raft::writer::Writer;
use tempfile::TempDir;

struct Stores(EngineKind);

/// Ends the writer's thread: one that is inside RocksDB while the process exits aborts it.
struct Rig {
    writer: Writer,
    _dir: TempDir,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.writer.stop(Duration::from_secs(10));
    }
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine, Rig> for Stores {
    async fn build(&self) -> Result<(Rig, LogStore, StateMachine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let (log, machine, writer) = written_by(dir.path(), self.0);
        Ok((Rig { writer, _dir: dir }, log, machine))
    }
}

/// Log and state machine without a Raft above them.
pub(crate) fn stores(dir: &Path, kind: EngineKind) -> (LogStore, StateMachine) {
    let (log, machine, _) = written_by(dir, kind);
    (log, machine)
}

fn written_by(dir: &Path, kind: EngineKind) -> (LogStore, StateMachine, Writer) {
    let place = dir.join("db");
    let engine: Arc<dyn Engine> = match kind {
        EngineKind::Memory => Arc::new(MemoryEngine::new()),
        EngineKind::RocksDb => Arc::new(rocks(place.clone())),
    };
    let path = dir.join("mark");
    let mark = if path.exists() { MarkFile::open(&path, true) } else { MarkFile::create(&path, true) }.unwrap();
    let snapshots = snapshots(dir);
    let loaded = state_machine::load(&*engine, &snapshots).unwrap();
    let tail = Arc::new(Tail::new(log_store::load(&*engine).unwrap()));
    let health = Health::default();
    let writer = Writer::start(engine.clone(), tail.clone(), Some(mark), health.clone(), place.clone()).unwrap();
    let model = Arc::new(ReadModel::new(loaded.state.clone()));
    let parts = Parts {
        engine: engine.clone(),
        writer: writer.clone(),
        health: health.clone(),
        place: place.clone(),
        snapshots,
    };
    (LogStore::new(engine, tail, writer.clone(), health, place), StateMachine::new(parts, loaded, model), writer)
}

/// The snapshots in the directory of such stores.
pub(crate) fn snapshots(dir: &Path) -> Snapshots {
    let identity = Identity { cluster: [7; 16], generation: 1, node: 1 };
    Snapshots::open(dir.join("snapshots"), identity).unwrap()
}

fn rocks(path: PathBuf) -> RocksEngine {
    RocksEngine::open(RocksOptions { path, expect: Expect::New, sync: true }).unwrap()
}

#[tokio::test]
async fn openraft_accepts_the_store_on_disk() {
    Suite::test_all(Stores(EngineKind::RocksDb)).await.unwrap();
}

#[tokio::test]
async fn openraft_accepts_the_store_in_memory() {
    Suite::test_all(Stores(EngineKind::Memory)).await.unwrap();
}
