//! Moves the state as a whole: from the engine at start, into a snapshot, and out of one.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::{APPLIED_KEY, INSTALLING_KEY, Loaded};
use crate::codec::{self, Applied, CodecError};
use crate::engine::{Batch, Durability, Engine, EngineError, Read, Table};
use crate::snapshot::{SnapshotError, SnapshotFile, Snapshots};
use crate::state::State;
use crate::types::LogIndex;
use crate::writer::Writer;

/// Bytes of records put into the engine at once while a snapshot is installed.
const INSTALL_BATCH_BYTES_MAX: usize = 1024 * 1024;

/// What to do about a snapshot that cannot be read. Not for one that is being installed: the records are gone then, and
/// it alone has the state.
pub(crate) const SNAPSHOT_HINT: &str = "the disk has changed it: move that file away and start again, \
    and a new one is written from the database, which is checked on its own";

/// Why the state cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store cannot be read or written.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Something in it is not what it should be.
    #[error("{0}: {1}")]
    Damaged(String, CodecError),
    /// The snapshot cannot be read.
    #[error("snapshot {}: {source}", path.display())]
    Snapshot {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        source: SnapshotError,
    },
    /// The storage has failed.
    #[error(transparent)]
    Write(#[from] std::io::Error),
}

/// The snapshot that was replacing the records when the node stopped.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn installing(engine: &dyn Engine, snapshots: &Snapshots) -> Result<Option<PathBuf>, EngineError> {
    let name = engine.get(Table::Meta, INSTALLING_KEY)?;
    Ok(name.map(|name| snapshots.dir().join(String::from_utf8_lossy(&name).as_ref())))
}

/// Loads the records; finishes the installation of a snapshot that a crash has cut short.
///
/// # Errors
/// When the store or that snapshot cannot be read.
pub fn load(engine: &dyn Engine, snapshots: &Snapshots) -> Result<Loaded, LoadError> {
    if let Some(path) = installing(engine, snapshots)? {
        snapshots.keep(&path);
        tracing::info!(path = %path.display(), "a snapshot was being installed when this node stopped: once more");
        let loaded = read_snapshot(snapshots, &path, |batch, durability| {
            engine.write(&batch, durability).map_err(|error| SnapshotError::Source(error.0))
        })?;
        snapshots.installed();
        return Ok(loaded);
    }
    let applied = read_applied(engine)?;
    let mut state = State::default();
    let mut failure = None;
    engine.scan(
        Table::Records,
        &[],
        Some(codec::RECORDS_END),
        &mut |key, value| match codec::decode_record(value) {
            Ok(record) if codec::record_key(&record.key()) == key => {
                state.restore(record);
                ControlFlow::Continue(())
            }
            Ok(record) => {
                let text = format!("{} is stored under another name", record.key());
                failure = Some(LoadError::Damaged("a record".into(), CodecError::Payload(text)));
                ControlFlow::Break(())
            }
            Err(error) => {
                failure = Some(LoadError::Damaged(format!("record {}", key.escape_ascii()), error));
                ControlFlow::Break(())
            }
        },
    )?;
    failure.map_or_else(|| loaded(state, applied), Err)
}

fn loaded(mut state: State, applied: Applied) -> Result<Loaded, LoadError> {
    state.set_applied(LogIndex(applied.last.map_or(0, |last| last.index)));
    let (last, membership) = applied.into_raft().map_err(|error| LoadError::Damaged("the membership".into(), error))?;
    Ok(Loaded { state, last, membership })
}

fn read_applied(from: &(impl Read + ?Sized)) -> Result<Applied, LoadError> {
    let Some(bytes) = from.get(Table::Meta, APPLIED_KEY)? else { return Ok(Applied::default()) };
    codec::decode(&bytes).map_err(|error| LoadError::Damaged("the applied mark".into(), error))
}

/// Streams a view of the records into a new snapshot; how far it goes is read from the same view.
pub(super) fn write_snapshot(view: &dyn Read, snapshots: &Snapshots) -> Result<(Applied, SnapshotFile), SnapshotError> {
    let applied = read_applied(view).map_err(|error| SnapshotError::Source(error.to_string()))?;
    let file = snapshots.write(&applied, |sink| {
        let mut failure = None;
        view.scan(Table::Records, &[], Some(codec::RECORDS_END), &mut |_, value| match sink(value) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        })
        .map_err(|error| SnapshotError::Source(error.0))?;
        failure.map_or(Ok(()), Err)
    })?;
    Ok((applied, file))
}

/// Replaces all records by those of a snapshot that is one of our own files. A crash on the way is made good by `load`.
pub(super) async fn install(snapshots: &Snapshots, path: &Path, writer: &Writer) -> Result<Loaded, LoadError> {
    let (batches, mut ready) = tokio::sync::mpsc::channel(2);
    let (snapshots, path) = (snapshots.clone(), path.to_owned());
    let reading = tokio::task::spawn_blocking(move || {
        read_snapshot(&snapshots, &path, |batch, durability| {
            batches
                .blocking_send((batch, durability))
                .map_err(|_| SnapshotError::Source("the writer has stopped".into()))
        })
    });
    while let Some((batch, durability)) = ready.recv().await {
        writer.write(batch, durability).await?;
    }
    reading.await.map_err(std::io::Error::other)?
}

/// Reads a snapshot into a state and hands over the batches that put it into the engine.
fn read_snapshot(
    snapshots: &Snapshots,
    path: &Path,
    mut write: impl FnMut(Batch, Durability) -> Result<(), SnapshotError>,
) -> Result<Loaded, LoadError> {
    let fail = |error| LoadError::Snapshot { path: path.to_owned(), source: error };
    // Verified to its end before the first record is replaced.
    snapshots.read(path, |_, _| Ok(())).map_err(fail)?;
    let mut batch = Batch::default();
    let name = path.file_name().unwrap_or_default();
    batch.put(Table::Meta, INSTALLING_KEY, name.to_string_lossy().into_owned().into_bytes());
    batch.delete_range(Table::Records, [], codec::RECORDS_END);
    write(batch, Durability::Synced).map_err(fail)?;
    let mut state = State::default();
    let mut batch = Batch::default();
    let read = snapshots.read(path, |at, frame| {
        let record = codec::decode_record(frame).map_err(|error| SnapshotError::Frame(at, error))?;
        batch.put(Table::Records, codec::record_key(&record.key()), frame.to_vec());
        state.restore(record);
        if batch.bytes() >= INSTALL_BATCH_BYTES_MAX {
            write(std::mem::take(&mut batch), Durability::Buffered)?;
        }
        Ok(())
    });
    let applied = read.map_err(fail)?;
    let mark = codec::encode(&applied).map_err(|error| LoadError::Damaged("the applied mark".into(), error))?;
    batch.put(Table::Meta, APPLIED_KEY, mark);
    batch.delete(Table::Meta, INSTALLING_KEY);
    write(batch, Durability::Synced).map_err(fail)?;
    loaded(state, applied)
}
