//! Stopping ends, whatever the disk does.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use raft::engine::{Batch, Durability, Engine, EngineError, MemoryEngine, Pair, Read, Table, Visit};
use raft::failure::Health;
use raft::log_store::{Bounds, Tail};
use raft::writer::Writer;

/// A disk whose writes hang until somebody lets go.
struct Stuck {
    inner: MemoryEngine,
    reached: Sender<()>,
    released: Mutex<Receiver<()>>,
}

impl Read for Stuck {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.inner.get(table, key)
    }

    fn scan(&self, table: Table, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), EngineError> {
        self.inner.scan(table, from, to, visit)
    }

    fn last(&self, table: Table) -> Result<Option<Pair>, EngineError> {
        self.inner.last(table)
    }
}

impl Engine for Stuck {
    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), EngineError> {
        let _ = self.reached.send(());
        let _ = self.released.lock().unwrap().recv();
        self.inner.write(batch, durability)
    }

    fn view(&self, with: &mut dyn FnMut(&dyn Read)) {
        self.inner.view(with);
    }

    fn reclaim(&self, table: Table, last: &[u8]) {
        self.inner.reclaim(table, last);
    }

    fn background_error(&self) -> Option<EngineError> {
        None
    }

    fn close(&self) -> Result<(), EngineError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_disk_that_does_not_answer_holds_up_stopping_only_so_long() {
    let (reached, at_disk) = channel();
    let (release, released) = channel();
    let engine = Arc::new(Stuck { inner: MemoryEngine::new(), reached, released: Mutex::new(released) });
    let health = Health::default();
    let tail = Arc::new(Tail::new(Bounds::default()));
    let writer = Writer::start(engine.clone(), tail, None, health.clone(), "/stuck".into()).unwrap();
    let writing = tokio::spawn({
        let writer = writer.clone();
        async move { writer.write(Batch::default(), Durability::Synced).await }
    });
    tokio::task::spawn_blocking(move || at_disk.recv().unwrap()).await.unwrap();
    assert!(!writer.stop(Duration::from_millis(50)));
    assert!(health.fatal().unwrap().0.contains("has not answered"), "{:?}", health.fatal());
    drop(release);
    writing.await.unwrap().unwrap();
    assert!(writer.stop(Duration::from_millis(50)), "a second stop has nothing to wait for");
}
