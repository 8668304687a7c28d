//! The handle the rest of the program holds: propose changes, read state, see health.

mod open;
mod tuning;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::ServerState;
use openraft::error::{ClientWriteError, RaftError};
use openraft::raft::ClientWriteResponse;
use openraft::rt::watch::{Watch, WatchReceiver as _};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::time::error::Elapsed;

pub use crate::failure::Fatal;
pub use open::OpenError;
pub use tuning::{Syncing, Timing, Tuning};

use crate::codec::{self, Identity};
use crate::command::{Command, Outcome};
use crate::failure::Health;
use crate::home::{Home, cluster_name};
use crate::snapshot::Snapshots;
use crate::state::State;
use crate::state_machine::{ReadModel, StateMachine};
use crate::type_config::{Proposal, TypeConfig};
use crate::types::LogIndex;
use crate::writer::Writer;

/// The largest command, bytes as stored; enough for 100,000 groups at once.
pub const COMMAND_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long a proposal may take before its outcome is unknown.
pub const PROPOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of commands on their way at once, in units of `INFLIGHT_UNIT`; further proposals wait.
const INFLIGHT_UNITS_MAX: u32 = 1024;
const INFLIGHT_UNIT: usize = 64 * 1024;

/// How long each step of stopping may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the disk may take for what is queued when stopping.
const STOP_DISK_TIMEOUT: Duration = Duration::from_secs(10);

type Raft = openraft::Raft<TypeConfig, StateMachine>;
type Metrics = <TokioWatch as Watch>::Receiver<openraft::RaftMetrics<TypeConfig>>;
type TokioWatch = <openraft::TokioRuntime as openraft::AsyncRuntime>::Watch;

/// Which storage engine holds the log and the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// On disk.
    RocksDb,
    /// In memory: gone when the process ends.
    Memory,
}

/// How to open.
#[derive(Debug, Clone)]
pub struct Options {
    /// A directory for this crate alone.
    pub dir: PathBuf,
    /// What to keep the data in.
    pub engine: EngineKind,
}

/// Why a proposal was not committed (an outcome of `Refused` is a committed answer, not an error).
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProposeError {
    /// No leader that can commit right now; nothing was written.
    #[error("no leader can take changes right now")]
    Unavailable,
    /// The answer did not come in time, or this node stopped meanwhile: it may or may not have been applied; repeat with
    /// the same idempotency key.
    #[error("no answer (within {0:?}); the change may or may not have been applied")]
    Unknown(Duration),
    /// The command is larger than the log takes.
    #[error("the change is {bytes} bytes, at most {max} fit in one")]
    TooLarge {
        /// Bytes it would take.
        bytes: usize,
        /// Bytes it may take.
        max: usize,
    },
    /// The node has stopped for good. A change that was on its way may or may not have been applied.
    #[error("{0}")]
    Fatal(Fatal),
}

impl ProposeError {
    /// Whether the change may have been applied nevertheless; the others promise that nothing was written.
    #[must_use]
    pub fn may_be_applied(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::Fatal(_))
    }
}

/// A change that is durable.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The log entry it is.
    pub index: LogIndex,
    /// What it did.
    pub outcome: Outcome,
}

/// What an operator wants to know; serialisable.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Status {
    /// The cluster, as an RFC 9562 text.
    pub cluster_id: String,
    /// Raised by a forced recovery.
    pub generation: u64,
    /// This node.
    pub node_id: u64,
    /// `leader`, `follower`, `candidate`, `learner`, `stopped`.
    pub role: String,
    /// The term of the last leader known.
    pub term: u64,
    /// The leader, if there is one.
    pub leader: Option<u64>,
    /// Who votes.
    pub voters: Vec<u64>,
    /// The end of the log here.
    pub last_log: LogIndex,
    /// How far the state goes here.
    pub applied: LogIndex,
    /// How far the last snapshot goes.
    pub snapshot: Option<LogIndex>,
    /// Whether everything that was answered before this start is applied again; `false` while no leader is known.
    pub caught_up: bool,
}

/// Handle; cheap to clone. Its methods may be called from any runtime.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    raft: Mutex<Option<Raft>>,
    runtime: Mutex<Option<Runtime>>,
    handle: Handle,
    metrics: Metrics,
    model: Arc<ReadModel>,
    health: Health,
    writer: Writer,
    identity: Identity,
    caught_up: Arc<AtomicBool>,
    snapshots: Snapshots,
    inflight: Arc<Semaphore>,
    home: Mutex<Option<Home>>,
}

impl Cluster {
    /// Opens the data directory (creating a single-node cluster in an empty one). A sole voter has recovered then; with
    /// others the state is served as far as it was applied here, and `Status::caught_up` says when it is all there.
    ///
    /// # Errors
    /// When the directory cannot be used; nothing has been changed then that a later try would miss.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        Self::open_tuned(options, Tuning::default())
    }

    /// `open` with other timings than those of a LAN.
    ///
    /// # Errors
    /// As `open`, and for timings that cannot work.
    pub fn open_tuned(options: Options, tuning: Tuning) -> Result<Self, OpenError> {
        // A thread of its own: the caller may be inside a runtime, where one must not wait.
        let opening = std::thread::Builder::new().name("raft-open".into()).spawn(move || open::open(&options, tuning));
        let opening = opening.map_err(|error| OpenError(format!("no thread for opening the data: {error}")))?;
        opening.join().unwrap_or_else(|_| Err(OpenError("opening the data panicked; this is a bug: report it".into())))
    }

    /// The state as last applied here; never waits.
    #[must_use]
    pub fn read(&self) -> Arc<State> {
        self.inner.model.state()
    }

    /// Replicates a command; returns once it is durable on a quorum and applied here.
    ///
    /// # Errors
    /// See `ProposeError`; `Unknown` and `Fatal` leave open whether it was applied.
    pub async fn propose(&self, command: Command) -> Result<Committed, ProposeError> {
        let bytes = codec::payload_bytes(&command).unwrap_or(usize::MAX);
        if bytes > COMMAND_BYTES_MAX {
            return Err(ProposeError::TooLarge { bytes, max: COMMAND_BYTES_MAX });
        }
        let inner = &self.inner;
        if let Some(fatal) = inner.health.fatal() {
            return Err(ProposeError::Fatal(fatal));
        }
        let raft = lock(&inner.raft).clone().ok_or(ProposeError::Unavailable)?;
        let units = u32::try_from(bytes / INFLIGHT_UNIT + 1).unwrap_or(INFLIGHT_UNITS_MAX).min(INFLIGHT_UNITS_MAX);
        let inflight = inner.inflight.clone();
        let health = inner.health.clone();
        let written = inner.handle.spawn(async move {
            let room = tokio::time::timeout(PROPOSE_TIMEOUT, inflight.acquire_many(units)).await;
            let _room = room.map_err(|_| ProposeError::Unavailable)?.map_err(|_| ProposeError::Unavailable)?;
            let write = raft.client_write(Proposal(Arc::new(command)));
            tokio::select! {
                result = tokio::time::timeout(PROPOSE_TIMEOUT, write) => answer(result, &health),
                fatal = health.failed() => Err(ProposeError::Fatal(fatal)),
            }
        });
        written.await.unwrap_or_else(|_| Err(inner.gone()))
    }

    /// The applied index as it moves.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<LogIndex> {
        self.inner.model.applied()
    }

    /// For `status`.
    #[must_use]
    pub fn status(&self) -> Status {
        let inner = &self.inner;
        let metrics = inner.metrics.borrow_watched();
        let stopped = metrics.running_state.is_err() || inner.health.fatal().is_some();
        let role = match metrics.state {
            _ if stopped => "stopped",
            ServerState::Leader => "leader",
            ServerState::Follower => "follower",
            ServerState::Candidate => "candidate",
            ServerState::Learner => "learner",
            ServerState::Shutdown => "stopped",
        };
        Status {
            cluster_id: cluster_name(&inner.identity.cluster),
            generation: inner.identity.generation,
            node_id: inner.identity.node,
            role: role.into(),
            term: metrics.current_term,
            leader: metrics.current_leader.filter(|_| !stopped),
            voters: metrics.membership_config.voter_ids().collect(),
            last_log: LogIndex(metrics.last_log_index.unwrap_or(0)),
            applied: inner.model.state().applied(),
            snapshot: metrics.snapshot.map(|id| LogIndex(id.index)),
            caught_up: inner.caught_up.load(Ordering::Acquire),
        }
    }

    /// Resolves when the replicated state has stopped for good.
    pub async fn failed(&self) -> Fatal {
        self.inner.health.failed().await
    }

    /// Stops; returns when everything is on disk and the directory may be opened again.
    pub async fn shutdown(&self) {
        let inner = self.inner.clone();
        let (done, stopped) = tokio::sync::oneshot::channel::<()>();
        let work = move || {
            inner.stop();
            drop(done);
        };
        if std::thread::Builder::new().name("raft-stop".into()).spawn(work).is_ok() {
            let _ = stopped.await;
        }
    }
}

type Written = Result<ClientWriteResponse<TypeConfig>, RaftError<TypeConfig, ClientWriteError<TypeConfig>>>;

fn answer(result: Result<Written, Elapsed>, health: &Health) -> Result<Committed, ProposeError> {
    match result {
        Ok(Ok(response)) => {
            let index = LogIndex(response.log_id.index);
            let outcome = response.data.0.expect("a command is answered with an outcome");
            Ok(Committed { index, outcome })
        }
        Ok(Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)))) | Err(_) => {
            Err(ProposeError::Unknown(PROPOSE_TIMEOUT))
        }
        Ok(Err(RaftError::APIError(_))) => Err(ProposeError::Unavailable),
        Ok(Err(RaftError::Fatal(error))) => {
            let reason = health.fatal().unwrap_or_else(|| Fatal(format!("the replicated state has stopped: {error}")));
            Err(ProposeError::Fatal(reason))
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    /// The task of a proposal ended early: its command may have been written by then.
    fn gone(&self) -> ProposeError {
        self.health.fatal().map_or(ProposeError::Unknown(PROPOSE_TIMEOUT), ProposeError::Fatal)
    }

    /// First Raft, then its runtime with whatever still holds the store, then the writer, then the lock.
    fn stop(&self) {
        let Some(raft) = lock(&self.raft).take() else { return };
        if let Some(runtime) = lock(&self.runtime).take() {
            let _ = runtime.block_on(async { tokio::time::timeout(STOP_TIMEOUT, raft.shutdown()).await });
            drop(raft);
            runtime.shutdown_timeout(STOP_TIMEOUT);
        }
        let ended = self.snapshots.stop(STOP_TIMEOUT);
        let ended = self.writer.stop(STOP_DISK_TIMEOUT) && ended;
        let home = lock(&self.home).take();
        if !ended {
            // A thread still has the directory: it stays locked until the process ends.
            tracing::error!("the disk does not answer; the data directory stays locked until this process has ended");
            let _kept = std::mem::ManuallyDrop::new(home);
        }
    }
}

impl Drop for Inner {
    /// Without `shutdown`: what is acknowledged is on disk anyway; the rest ends by itself.
    fn drop(&mut self) {
        if let Some(runtime) = lock(&self.runtime).take() {
            runtime.shutdown_background();
        }
    }
}
