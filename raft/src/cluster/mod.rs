//! The handle the rest of the program holds: propose changes, read state, see health.

mod desk;
mod heard;
mod lead;
mod lease;
mod membership;
mod open;
mod tuning;
mod whisper;
mod witness;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::ServerState;
use openraft::rt::watch::{Watch, WatchReceiver as _};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;
use tracing::Instrument as _;

pub use crate::failure::Fatal;
pub use desk::{HandOver, LEADER_WAIT};
pub use lease::Lease;
pub use membership::ALIVE_WITHIN;
pub use open::OpenError;
pub use tuning::{Syncing, Timing, Tuning};
pub use whisper::{Listener, WHISPER_BYTES_MAX};

pub(crate) use heard::Heard;
pub(crate) use open::{Opened, fail, new_mark, open_engine, open_mark, open_store};

use crate::codec::{self, Applied, Identity, LogPosition, SnapshotHeader};
use crate::command::{Command, Outcome};
use crate::failure::Health;
use crate::home::{Home, cluster_name};
use crate::log_store::Tail;
use crate::numbers::{Counters, Numbers};
use crate::peer::{Ask, CallAnswer, CallProblem, Dialer, JoinAsk, PeerOptions, PeerView, ProblemKind, RemoveAsk};
use crate::snapshot::Snapshots;
use crate::state::{Member, NewMember, State};
use crate::state_machine::{ReadModel, StateMachine};
use crate::type_config::{Leadership, Proposal, TypeConfig};
use crate::types::LogIndex;
use crate::writer::Writer;

/// The largest command, bytes as stored; enough for 100,000 groups at once.
pub const COMMAND_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long a proposal may take before its outcome is unknown.
pub const PROPOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of commands on their way at once, in units of `INFLIGHT_UNIT`; further proposals wait.
const INFLIGHT_UNITS_MAX: u32 = 1024;
const INFLIGHT_UNIT: usize = 64 * 1024;

/// A leader from which nothing came for so many leases is not named any more.
const LEADER_HEARD_LEASES: u32 = 2;
/// How long the leader may take to say how the others are.
const OVERVIEW_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a change of membership or leadership may take.
const MEMBERSHIP_TIMEOUT: Duration = Duration::from_secs(8);

/// How long each step of stopping may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the disk may take for what is queued when stopping.
pub(crate) const STOP_DISK_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) type Raft = openraft::Raft<TypeConfig, StateMachine>;
pub(crate) type Metrics = <TokioWatch as Watch>::Receiver<openraft::RaftMetrics<TypeConfig>>;
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
#[derive(Debug)]
pub struct Options {
    /// A directory for this crate alone.
    pub dir: PathBuf,
    /// What to keep the data in.
    pub engine: EngineKind,
    /// How to talk to other nodes; `None`: this one is alone.
    pub peers: Option<PeerOptions>,
}

impl Options {
    /// A node that is alone.
    #[must_use]
    pub fn alone(dir: PathBuf, engine: EngineKind) -> Self {
        Self { dir, engine, peers: None }
    }
}

/// Why a proposal was not committed (an outcome of `Refused` is a committed answer, not an error).
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProposeError {
    /// No leader that can commit right now; nothing was written.
    #[error("no leader can take changes right now")]
    Unavailable,
    /// What was asked for is not possible now; in words for people.
    #[error("{0}")]
    Refused(String),
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
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
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
    /// The leader, if there is one that was heard of lately.
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

/// The nodes as their leader sees them.
#[derive(Debug, Clone, Default)]
pub struct Overview {
    /// Who leads; `None` if that is not known, and then there are no peers either.
    pub leader: Option<u64>,
    /// All members of the Raft group, this node and the leader included.
    pub peers: Vec<PeerView>,
}

/// Handle; cheap to clone. Its methods may be called from any runtime.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    desk: Mutex<Option<desk::Desk>>,
    dialer: Dialer,
    heard: Arc<Heard>,
    timing: Timing,
    runtime: Mutex<Option<Runtime>>,
    handle: Handle,
    metrics: Metrics,
    model: Arc<ReadModel>,
    health: Health,
    writer: Writer,
    identity: Identity,
    caught_up: Arc<AtomicBool>,
    snapshots: Snapshots,
    tail: Arc<Tail>,
    counters: Arc<Counters>,
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
        let opening = std::thread::Builder::new().name("raft-open".into()).spawn(move || open::open(options, tuning));
        let opening = opening.map_err(|error| OpenError(format!("no thread for opening the data: {error}")))?;
        opening.join().unwrap_or_else(|_| Err(OpenError("opening the data panicked; this is a bug: report it".into())))
    }

    /// The state as last applied here; never waits.
    #[must_use]
    pub fn read(&self) -> Arc<State> {
        self.inner.model.state()
    }

    /// What is said before the records of `state` when it leaves this node: whose it is and how far it goes.
    #[must_use]
    pub fn header_of(&self, state: &State) -> SnapshotHeader {
        let Identity { cluster, generation, node } = self.inner.identity;
        let term = self.inner.metrics.borrow_watched().current_term;
        let last = Some(LogPosition { term, node, index: state.applied().0 });
        SnapshotHeader { cluster, generation, applied: Applied { last, ..Applied::default() } }
    }

    /// Makes the directory of a node that was given its id by a cluster; `open` then waits to be sent the log.
    ///
    /// # Errors
    /// When it is in use already or cannot be written.
    pub fn adopt(dir: &Path, identity: &Identity) -> Result<(), OpenError> {
        open::adopt(dir, identity)
    }

    /// Which cluster and node this is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// The timing this node was opened with.
    #[must_use]
    pub fn timing(&self) -> Timing {
        self.inner.timing
    }

    /// The state with everything in it that was acknowledged, by any node, before the call. `read` answers at once instead, with
    /// what this node has applied so far.
    ///
    /// # Errors
    /// `Unavailable` when nobody leads, or this node does not catch up in time.
    pub async fn read_latest(&self) -> Result<Arc<State>, ProposeError> {
        self.at_desk(|desk| async move { desk.latest().await }).await?;
        Ok(self.read())
    }

    /// Replicates a command, through the leader wherever that is; returns once it is durable on a quorum and applied here.
    ///
    /// # Errors
    /// See `ProposeError`; `Unknown` and `Fatal` leave open whether it was applied.
    pub async fn propose(&self, command: Command) -> Result<Committed, ProposeError> {
        let bytes = check_size(&command)?;
        let counted = self.inner.counters.proposal();
        let done = self.at_desk(move |desk| async move { desk.propose(command, bytes).await }).await?;
        counted.done();
        Ok(done)
    }

    /// Replicates a command as the leader, and only while that leadership lasts.
    ///
    /// # Errors
    /// As `propose`; `Unavailable` once another leadership has begun.
    pub async fn propose_as(&self, leadership: Leadership, command: Command) -> Result<Committed, ProposeError> {
        check_size(&command)?;
        let proposal = Proposal(Arc::new(command));
        let counted = self.inner.counters.proposal();
        let done = self.at_desk(move |desk| async move { desk.write(proposal, Some(leadership)).await }).await?;
        counted.done();
        Ok(done)
    }

    /// Hands leadership to a node (`None`: to the best there is) and returns which. Whatever was set by `on_hand_over` is
    /// done on the leader first.
    ///
    /// # Errors
    /// `Refused` says why that node cannot lead.
    pub async fn transfer(&self, to: Option<u64>) -> Result<u64, ProposeError> {
        let here = move |desk: desk::Desk| async move { desk.hand_over(to).await.map(CallAnswer::HandedOver) };
        match self.routed(Ask::HandOver(to), here).await? {
            CallAnswer::HandedOver(next) => Ok(next),
            _ => Err(ProposeError::Unknown(MEMBERSHIP_TIMEOUT)),
        }
    }

    /// Lets a node in. It is sent the log, and votes as soon as it holds what it must serve. A node of the same name is
    /// replaced by it, if that one is gone.
    ///
    /// # Errors
    /// `Refused` says why not.
    pub async fn join(&self, new: NewMember) -> Result<Member, ProposeError> {
        let ask = Ask::Join(JoinAsk { new: new.clone() });
        let here = move |desk: desk::Desk| {
            let new = new.clone();
            async move { desk.admit(new).await.map(CallAnswer::Joined) }
        };
        match self.routed(ask, here).await? {
            CallAnswer::Joined(member) => Ok(member),
            _ => Err(ProposeError::Unknown(MEMBERSHIP_TIMEOUT)),
        }
    }

    /// Lets a node go for good.
    ///
    /// # Errors
    /// `Refused` says what would be in danger; `force` accepts less safety, but never a cluster that cannot go on.
    pub async fn remove(&self, id: u64, force: bool) -> Result<(), ProposeError> {
        let here = move |desk: desk::Desk| async move { desk.dismiss(id, force).await.map(|()| CallAnswer::Removed) };
        self.routed(Ask::Remove(RemoveAsk { id, force }), here).await.map(drop)
    }

    /// The nodes as their leader sees them, asked for within half a second.
    pub async fn overview(&self) -> Overview {
        let leader = self.status().leader;
        let here = |desk: desk::Desk| async move { Ok(CallAnswer::Overview(desk.view())) };
        let asked = async { self.routed(Ask::Overview, here).await };
        match tokio::time::timeout(OVERVIEW_TIMEOUT, asked).await {
            Ok(Ok(CallAnswer::Overview(peers))) => Overview { leader, peers },
            _ => Overview { leader: None, peers: Vec::new() },
        }
    }

    /// Sets what is done on this node before it hands leadership over.
    pub fn on_hand_over(&self, hand_over: HandOver) {
        if let Some(desk) = &*lock(&self.inner.desk) {
            *lock(&desk.hand_over) = Some(hand_over);
        }
    }

    /// Resolves once this node is known to have been removed from the cluster.
    pub async fn removed(&self) {
        let mut applied = self.applied();
        let own = self.inner.identity.node;
        let recorded = async {
            while !self.read().was_removed(own) {
                if applied.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
        };
        tokio::select! {
            () = recorded => {}
            () = self.inner.dialer.removed() => {}
        }
    }

    async fn routed<Here, Done>(&self, ask: Ask, here: Here) -> Result<CallAnswer, ProposeError>
    where
        Here: Fn(desk::Desk) -> Done + Send + Sync + 'static,
        Done: Future<Output = Result<CallAnswer, CallProblem>> + Send + 'static,
    {
        self.at_desk(move |desk| async move { desk.routed(ask, MEMBERSHIP_TIMEOUT, false, here).await }).await
    }

    /// Works on our own runtime: a caller that goes away does not stop it half-way.
    async fn at_desk<T, Work, Done>(&self, work: Work) -> Result<T, ProposeError>
    where
        T: Send + 'static,
        Work: FnOnce(desk::Desk) -> Done + Send + 'static,
        Done: Future<Output = Result<T, CallProblem>> + Send + 'static,
    {
        let inner = &self.inner;
        if let Some(fatal) = inner.health.fatal() {
            return Err(ProposeError::Fatal(fatal));
        }
        let desk = lock(&inner.desk).clone().ok_or(ProposeError::Unavailable)?;
        let health = inner.health.clone();
        let done = inner.handle.spawn(work(desk).in_current_span()).await.map_err(|_| inner.gone())?;
        done.map_err(|problem| match problem.kind {
            ProblemKind::NotLeader | ProblemKind::Unavailable => ProposeError::Unavailable,
            ProblemKind::Refused => ProposeError::Refused(problem.message),
            ProblemKind::Unknown => health.fatal().map_or(ProposeError::Unknown(PROPOSE_TIMEOUT), ProposeError::Fatal),
        })
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
        let lease = self.lease();
        let heard = lease.silent_for.is_some_and(|silent| silent < inner.timing.election_max * LEADER_HEARD_LEASES);
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
            leader: lease.leader.filter(|_| !stopped && heard),
            voters: metrics.membership_config.voter_ids().collect(),
            last_log: LogIndex(metrics.last_log_index.unwrap_or(0)),
            applied: inner.model.state().applied(),
            snapshot: metrics.snapshot.map(|id| LogIndex(id.index)),
            caught_up: inner.caught_up.load(Ordering::Acquire),
        }
    }

    /// How the consensus does here, for monitoring. Looks at one file name and waits for nobody.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        let inner = &self.inner;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let committed = inner.metrics.borrow_watched().local_committed.map_or(0, |id| id.index);
        let (first, (_, last)) = (inner.tail.first(), inner.tail.ends());
        Numbers {
            committed,
            log_entries: last.map_or(0, |last| (last.index + 1).saturating_sub(first)),
            log_bytes_written: inner.tail.appended_bytes(),
            syncs: inner.writer.syncs().look(),
            proposals: count(&inner.counters.proposals),
            proposals_failed: count(&inner.counters.proposals_failed),
            proposals_under_way: count(&inner.counters.proposals_under_way),
            leader_changes: count(&inner.counters.leader_changes),
            campaigns: count(&inner.counters.campaigns),
            snapshot: snapshot_file(&inner.snapshots),
        }
    }

    /// Whether everything that was answered before this start is applied again here; once true, it stays so.
    #[must_use]
    pub fn caught_up(&self) -> bool {
        self.inner.caught_up.load(Ordering::Acquire)
    }

    /// Whether the consensus on this node still moves: it answers within that time. For watchdogs.
    pub async fn answers(&self, within: Duration) -> bool {
        let asked = self.at_desk(|desk| async move {
            let _ended = desk.raft.with_raft_state(|_| ()).await;
            Ok(())
        });
        tokio::time::timeout(within, asked).await.is_ok()
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

/// Size and age of the last snapshot.
fn snapshot_file(snapshots: &Snapshots) -> Option<(u64, Duration)> {
    let meta = snapshots.newest().ok()??.metadata().ok()?;
    Some((meta.len(), meta.modified().ok()?.elapsed().unwrap_or_default()))
}

fn check_size(command: &Command) -> Result<usize, ProposeError> {
    let bytes = codec::payload_bytes(command).unwrap_or(usize::MAX);
    if bytes > COMMAND_BYTES_MAX { Err(ProposeError::TooLarge { bytes, max: COMMAND_BYTES_MAX }) } else { Ok(bytes) }
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
        let Some(desk) = lock(&self.desk).take() else { return };
        if let Some(runtime) = lock(&self.runtime).take() {
            let _ = runtime.block_on(async { tokio::time::timeout(STOP_TIMEOUT, desk.raft.shutdown()).await });
            drop(desk);
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
