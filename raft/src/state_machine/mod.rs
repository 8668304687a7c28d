//! Applies committed entries: to the state in memory, to the records on disk, and to whoever waits for the answer.

mod load;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::{Stream, StreamExt as _};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use tokio::sync::{oneshot, watch};

pub use load::{LoadError, load};
pub(crate) use load::{SNAPSHOT_HINT, installing};

use crate::codec::{self, Applied, CodecError};
use crate::command::Outcome;
use crate::engine::{Batch, Durability, Engine, Table};
use crate::failure::{DAMAGE_HINT, Fatal, Health, write_hint};
use crate::snapshot::{SnapshotError, SnapshotFile, Snapshots};
use crate::state::{RecordKey, State};
use crate::type_config::{Entry, LogId, Reply, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};
use crate::types::LogIndex;
use crate::writer::Writer;

/// Key of how far the records go, in `Table::Meta`.
pub(crate) const APPLIED_KEY: &[u8] = b"applied";
/// Key, in `Table::Meta`, of the snapshot that is replacing the records; present only meanwhile.
pub(crate) const INSTALLING_KEY: &[u8] = b"installing";

/// Entries written and answered together, and records touched by them: large commands touch thousands, and together
/// they must not fill the memory.
const APPLY_ENTRIES_MAX: usize = 512;
const APPLY_RECORDS_MAX: usize = 16_384;

/// What readers see; swapped after each batch of entries.
#[derive(Debug)]
pub struct ReadModel {
    state: ArcSwap<State>,
    applied: watch::Sender<LogIndex>,
}

impl ReadModel {
    /// Starting with `state`.
    #[must_use]
    pub fn new(state: State) -> Self {
        let applied = watch::channel(state.applied()).0;
        Self { state: ArcSwap::from_pointee(state), applied }
    }

    /// The state as last applied.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// The applied index as it moves.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<LogIndex> {
        self.applied.subscribe()
    }

    fn publish(&self, state: &State) {
        self.state.store(Arc::new(state.clone()));
        self.applied.send_replace(state.applied());
    }
}

/// What a state machine is made of, loaded and ready.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The records.
    pub state: State,
    /// The last entry they include.
    pub last: Option<LogId>,
    /// The membership as of then.
    pub membership: StoredMembership,
}

/// Our state machine.
pub struct StateMachine {
    engine: Arc<dyn Engine>,
    writer: Writer,
    health: Health,
    place: PathBuf,
    snapshots: Snapshots,
    model: Arc<ReadModel>,
    now: Loaded,
}

/// What a state machine works with.
#[derive(Clone)]
pub struct Parts {
    /// Where records are kept.
    pub engine: Arc<dyn Engine>,
    /// Who writes them.
    pub writer: Writer,
    /// Who is told of failures.
    pub health: Health,
    /// The name of the store in messages.
    pub place: PathBuf,
    /// Where snapshots are kept.
    pub snapshots: Snapshots,
}

impl StateMachine {
    /// Of records that have been loaded; `model` is kept up to date.
    #[must_use]
    pub fn new(parts: Parts, now: Loaded, model: Arc<ReadModel>) -> Self {
        let Parts { engine, writer, health, place, snapshots } = parts;
        Self { engine, writer, health, place, snapshots, model, now }
    }

    fn fail(&self, what: &str, error: &dyn std::fmt::Display, hint: &str) -> io::Error {
        self.health.fail(Fatal::at(what, &self.place, error, hint))
    }

    /// Applies one entry in memory and notes which records it touched.
    fn apply_one(&mut self, entry: Entry, touched: &mut BTreeSet<RecordKey>) -> Option<Outcome> {
        let index = LogIndex(entry.log_id.index);
        self.now.last = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Normal(proposal) => {
                let (outcome, keys) = self.now.state.apply(index, &proposal.0);
                touched.extend(keys);
                return Some(outcome);
            }
            EntryPayload::Membership(membership) => {
                self.now.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
            EntryPayload::Blank => {}
        }
        self.now.state.set_applied(index);
        None
    }

    fn batch_of(&self, touched: &BTreeSet<RecordKey>) -> Result<Batch, CodecError> {
        let mut batch = Batch::default();
        for key in touched {
            match self.now.state.record(key) {
                Some(record) => batch.put(Table::Records, codec::record_key(key), codec::encode_record(&record)?),
                None => batch.delete(Table::Records, codec::record_key(key)),
            }
        }
        let applied = Applied::of(self.now.last.as_ref(), &self.now.membership);
        batch.put(Table::Meta, APPLIED_KEY, codec::encode(&applied)?);
        Ok(batch)
    }

    /// Records and applied mark move in one batch; then readers see it; then whoever waits is answered.
    async fn commit(&mut self, step: &mut Step) -> io::Result<()> {
        if step.entries == 0 {
            return Ok(());
        }
        let step = std::mem::take(step);
        let batch = self.batch_of(&step.touched).map_err(|error| {
            self.fail("encoding records for", &error, "this is a bug: report it with the log of this node")
        })?;
        self.writer.write(batch, Durability::Buffered).await?;
        self.model.publish(&self.now.state);
        for (responder, outcome) in step.answers {
            responder.send(Reply(outcome));
        }
        Ok(())
    }

    fn snapshot_failed(&self, what: &str, error: &SnapshotError) -> io::Error {
        snapshot_failed(&self.health, what, &self.snapshots, error)
    }
}

type Responder = openraft::storage::ApplyResponder<TypeConfig>;

#[derive(Default)]
struct Step {
    entries: usize,
    touched: BTreeSet<RecordKey>,
    answers: Vec<(Responder, Option<Outcome>)>,
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.now.last, self.now.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut step = Step::default();
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            let outcome = self.apply_one(entry, &mut step.touched);
            step.entries += 1;
            step.answers.extend(responder.map(|responder| (responder, outcome)));
            if step.entries >= APPLY_ENTRIES_MAX || step.touched.len() >= APPLY_RECORDS_MAX {
                self.commit(&mut step).await?;
            }
        }
        self.commit(&mut step).await
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder::start(self.engine.clone(), self.snapshots.clone(), self.health.clone()).await
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotFile) -> Result<(), io::Error> {
        let snapshots = self.snapshots.clone();
        let own = tokio::task::spawn_blocking(move || snapshots.import(&snapshot)).await.map_err(io::Error::other)?;
        let own = own.map_err(|error| self.snapshot_failed("taking over a snapshot into", &error))?;
        let installed = load::install(&self.snapshots, &own.path, &self.writer).await;
        self.now = installed
            .map_err(|error| self.fail("installing a snapshot into", &error, write_hint(&error.to_string())))?;
        if self.now.last != meta.last_log_id {
            return Err(self.fail(
                "installing a snapshot into",
                &"it goes to another log entry than it was announced for",
                DAMAGE_HINT,
            ));
        }
        self.snapshots.installed();
        self.model.publish(&self.now.state);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let found = self.snapshots.current().map_err(|error| self.snapshot_failed("reading a snapshot in", &error))?;
        found.map(|(applied, file)| snapshot_of(applied, file)).transpose()
    }
}

fn snapshot_of(applied: Applied, file: SnapshotFile) -> io::Result<Snapshot> {
    let (last_log_id, last_membership) = applied.into_raft().map_err(io::Error::other)?;
    Ok(Snapshot { meta: SnapshotMeta { last_log_id, last_membership }, snapshot: file })
}

fn snapshot_failed(health: &Health, what: &str, snapshots: &Snapshots, error: &SnapshotError) -> io::Error {
    let detail = error.to_string();
    let hint = if matches!(error, SnapshotError::Io(_)) { write_hint(&detail) } else { SNAPSHOT_HINT };
    health.fail(Fatal::at(what, snapshots.dir(), &detail, hint))
}

/// A snapshot in the making, of the state at the moment it was asked for.
pub struct Builder {
    written: Option<oneshot::Receiver<io::Result<(Applied, SnapshotFile)>>>,
}

impl Builder {
    /// Starts a thread that takes the view and writes; returns once the view is taken, so that whatever is applied
    /// afterwards is not in it.
    async fn start(engine: Arc<dyn Engine>, snapshots: Snapshots, health: Health) -> Self {
        let (viewed, view_taken) = oneshot::channel();
        let (done, written) = oneshot::channel();
        let minder = snapshots.clone();
        let work = move || {
            let mut done = Some(done);
            let mut viewed = Some(viewed);
            engine.view(&mut |view| {
                if let Some(viewed) = viewed.take() {
                    let _ = viewed.send(());
                }
                let result = load::write_snapshot(view, &snapshots).map_err(|error| {
                    if snapshots.is_stopping() {
                        return io::Error::other(error.to_string());
                    }
                    snapshot_failed(&health, "writing a snapshot in", &snapshots, &error)
                });
                if let Some(done) = done.take() {
                    let _ = done.send(result);
                }
            });
        };
        match std::thread::Builder::new().name("raft-snapshot".into()).spawn(work) {
            Ok(thread) => {
                minder.mind(thread);
                let _ = view_taken.await;
            }
            Err(error) => tracing::error!(%error, "no thread for a snapshot"),
        }
        Self { written: Some(written) }
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let written = self.written.take().ok_or_else(|| io::Error::other("a builder builds once"))?;
        let (applied, file) = written.await.map_err(|_| io::Error::other("the snapshot thread ended early"))??;
        tracing::info!(path = %file.path.display(), "snapshot written");
        snapshot_of(applied, file)
    }
}
