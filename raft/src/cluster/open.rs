//! Brings a node up: lock, identity, store, log, state, Raft, recovery; every refusal is one clear message.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use openraft::ServerState;
use openraft::error::InitializeError;
use openraft::error::RaftError;
use openraft::rt::watch::WatchReceiver as _;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

use super::desk::Desk;
use super::{
    Cluster, EngineKind, Heard, INFLIGHT_UNITS_MAX, Inner, Metrics, Options, Raft, STOP_DISK_TIMEOUT, STOP_TIMEOUT,
    Syncing, Tuning, lead, witness,
};
use crate::codec::Identity;
use crate::engine::{CORRUPTION, Engine, EngineError, Expect, MemoryEngine, RocksEngine, RocksOptions, wal};
use crate::failure::{DAMAGE_HINT, Fatal, Health, write_hint};
use crate::home::{Home, HomeError, cluster_name};
use crate::log_store::{self, LogStore, Tail};
use crate::mark::MarkFile;
use crate::numbers::Counters;
use crate::peer::{Answering, CallHandler, Calls, Dialer, PeerOptions, Peers, Server};
use crate::snapshot::{SnapshotError, Snapshots};
use crate::state_machine::{self, Parts, ReadModel, StateMachine};
use crate::type_config::Peer;
use crate::writer::Writer;

/// Threads of our own runtime.
const WORKER_THREADS: usize = 2;
/// Threads for reading the log and copying snapshots.
const BLOCKING_THREADS_MAX: usize = 4;
/// How long applying what the log holds beyond the state may take at start without any progress.
const RECOVERY_STALL_MAX: Duration = Duration::from_secs(60);
/// Priority of our threads over others of this computer.
const NICE: i32 = -10;
/// How often the size of the log is looked at.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(1);

/// Why opening failed; the message says what, where and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub String);

impl From<HomeError> for OpenError {
    fn from(error: HomeError) -> Self {
        Self(error.0)
    }
}

impl From<Fatal> for OpenError {
    fn from(fatal: Fatal) -> Self {
        Self(fatal.0)
    }
}

pub(crate) fn fail(what: &str, path: &Path, detail: &dyn std::fmt::Display, hint: &str) -> OpenError {
    Fatal::at(what, path, detail, hint).into()
}

/// Makes the directory of a node that was given its id by others: everything but the log.
pub(super) fn adopt(dir: &Path, identity: &Identity) -> Result<(), OpenError> {
    let mut home = Home::open(dir)?;
    if !home.is_new() {
        return Err(OpenError(format!("{} belongs to a node already; name an empty directory", dir.display())));
    }
    let engine = open_engine(&home, EngineKind::RocksDb, true, None)?;
    home.take_on(&*engine, identity)?;
    drop(engine);
    new_mark(&home, true)?;
    Ok(home.seal(identity)?)
}

/// The node that a cluster begins with.
const FOUNDER: u64 = 1;
/// Slack for the time between what a peer sent and when this node noticed.
const GUARD_MARGIN: Duration = Duration::from_millis(50);

pub(super) fn open(options: Options, tuning: Tuning) -> Result<Cluster, OpenError> {
    let opened = open_store(&options.dir, options.engine, &tuning)?;
    let Opened { home, identity, snapshots, engine, tail, health, writer, model, storage } = opened;
    // Those who use it hold it; it closes with the last of them.
    drop(engine);
    let runtime = runtime()?;
    let not_before = Instant::now() + tuning.timing.election_max + GUARD_MARGIN;
    let credentials = options.peers.as_ref().map(|peers| peers.credentials.clone());
    let dialer = Dialer::new(identity.clone(), credentials, tuning.timing.election_max + tuning.vip_wait);
    let started = runtime.block_on(start(storage, &identity, tuning, &health, dialer.clone()));
    let (raft, caught_up) = match started {
        Ok(started) => started,
        Err(error) => return Err(give_up(error, runtime, &snapshots, &writer)),
    };
    let caught_up = Arc::new(AtomicBool::new(caught_up));
    let heard = Arc::new(Heard::default());
    let desk = Desk {
        node: identity.node,
        metrics: raft.metrics(),
        raft: raft.clone(),
        model: model.clone(),
        health: health.clone(),
        calls: Calls::new(dialer.clone()),
        inflight: Arc::new(Semaphore::new(INFLIGHT_UNITS_MAX as usize)),
        hand_over: Arc::default(),
        whispers: super::whisper::Whispers::default(),
        membership: Arc::default(),
    };
    runtime.spawn(catch_up(raft.clone(), caught_up.clone(), health.clone()));
    runtime.spawn(watch_over(raft.clone(), health.clone()));
    let counters = counting(&runtime, &raft);
    runtime.spawn(keep_log_short(raft, tail.clone(), tuning.snapshot_every_bytes));
    if let Some(peers) = options.peers {
        let answering = Answering {
            identity: identity.clone(),
            lease: tuning.timing.election_max + tuning.vip_wait,
            raft: desk.raft.clone(),
            model: model.clone(),
            snapshots: snapshots.clone(),
            no_votes_before: not_before,
            heard: heard.clone(),
            calls: handler(desk.clone()),
        };
        runtime.block_on(async { listen(peers, answering) })?;
    }
    runtime.spawn(lead::run(desk.clone()));
    runtime.spawn(witness::stand_from(desk.clone(), not_before));
    runtime.spawn(witness::witness(desk.clone(), heard.clone(), not_before));
    Ok(Cluster {
        inner: Arc::new(Inner {
            metrics: desk.metrics.clone(),
            desk: Mutex::new(Some(desk)),
            dialer,
            heard,
            timing: tuning.timing,
            handle: runtime.handle().clone(),
            runtime: Mutex::new(Some(runtime)),
            model,
            health,
            writer,
            identity,
            caught_up,
            snapshots,
            tail,
            counters,
            home: Mutex::new(Some(home)),
        }),
    })
}

/// Ends what was begun before the consensus could not be started.
fn give_up(error: OpenError, runtime: Runtime, snapshots: &Snapshots, writer: &Writer) -> OpenError {
    runtime.shutdown_timeout(Duration::from_secs(5));
    snapshots.stop(STOP_TIMEOUT);
    writer.stop(STOP_DISK_TIMEOUT);
    error
}

/// Everything on disk, read and checked.
pub(crate) struct Opened {
    pub(crate) home: Home,
    pub(crate) identity: Identity,
    pub(crate) snapshots: Snapshots,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) tail: Arc<Tail>,
    pub(crate) health: Health,
    pub(crate) writer: Writer,
    pub(crate) model: Arc<ReadModel>,
    pub(crate) storage: Storage,
}

pub(crate) fn open_store(dir: &Path, kind: EngineKind, tuning: &Tuning) -> Result<Opened, OpenError> {
    let mut home = Home::open(dir)?;
    let sync = tuning.syncing == Syncing::On;
    let on_disk = kind == EngineKind::RocksDb;
    let mark = if on_disk { open_mark(&home, sync)? } else { None };
    let engine = open_engine(&home, kind, sync, mark.as_ref())?;
    let identity = home.settle(&*engine, tuning.expect_cluster)?;
    let snapshots = open_snapshots(&home, &*engine, &identity, on_disk)?;
    let mark = match mark {
        None if on_disk => Some(new_mark(&home, sync)?),
        known => known,
    };
    if on_disk {
        home.seal(&identity)?;
    }
    let place = home.database();
    let bounds = log_store::check_round(&*engine, mark.as_ref().map_or(0, MarkFile::round))
        .and_then(|_| log_store::load(&*engine))
        .map_err(|error| fail("reading the log in", &place, &error, DAMAGE_HINT))?;
    let loaded = state_machine::load(&*engine, &snapshots)
        .map_err(|error| fail("reading the state in", &place, &error, DAMAGE_HINT))?;
    snapshots.tidy().map_err(|error| fail("clearing", snapshots.dir(), &error, write_hint(&error.to_string())))?;
    let tail = Arc::new(Tail::new(bounds));
    let health = Health::default();
    let writer = Writer::start(engine.clone(), tail.clone(), mark, health.clone(), place.clone())
        .map_err(|error| OpenError(format!("no thread for the storage: {error}")))?;
    let model = Arc::new(ReadModel::new(loaded.state.clone()));
    let parts = Parts {
        engine: engine.clone(),
        writer: writer.clone(),
        health: health.clone(),
        place: place.clone(),
        snapshots: snapshots.clone(),
    };
    let storage = Storage {
        log: LogStore::new(engine.clone(), tail.clone(), writer.clone(), health.clone(), place),
        machine: StateMachine::new(parts, loaded, model.clone()),
    };
    Ok(Opened { home, identity, snapshots, engine, tail, health, writer, model, storage })
}

fn handler(desk: Desk) -> CallHandler {
    Arc::new(move |ask| {
        let desk = desk.clone();
        Box::pin(desk.answer(ask))
    })
}

/// Begins to answer peers.
fn listen(peers: PeerOptions, answering: Answering) -> Result<(), OpenError> {
    let PeerOptions { listener, credentials, http } = peers;
    let failed = |error: std::io::Error| OpenError(format!("the port for peers cannot be served: {error}"));
    listener.set_nonblocking(true).map_err(failed)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
    tokio::spawn(Server { listener, credentials, http, answering }.run());
    Ok(())
}

fn runtime() -> Result<Runtime, OpenError> {
    Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("raft")
        // Heartbeats must not wait behind downloads and hashing. Without the right to it they just compete.
        .on_thread_start(|| {
            let _priority = rustix::process::nice(NICE);
        })
        .enable_all()
        .build()
        .map_err(|error| OpenError(format!("no threads for the consensus: {error}")))
}

pub(crate) fn open_engine(
    home: &Home,
    kind: EngineKind,
    sync: bool,
    mark: Option<&MarkFile>,
) -> Result<Arc<dyn Engine>, OpenError> {
    let EngineKind::RocksDb = kind else { return Ok(Arc::new(MemoryEngine::new())) };
    let path = home.database();
    let open = |expect| RocksEngine::open(RocksOptions { path: path.clone(), expect, sync });
    let refuse = |error: EngineError| fail("opening", &path, &error, open_hint(&error.0));
    let cutting = |error: std::io::Error| fail("cutting", &path, &error, write_hint(&error.to_string()));
    wal::undo(home.dir(), &path).map_err(cutting)?;
    let damage = match open(if home.is_new() { Expect::New } else { Expect::Whole }) {
        Ok(engine) => return Ok(Arc::new(engine)),
        Err(error) if !error.0.starts_with(CORRUPTION) => return Err(refuse(error)),
        Err(error) => error,
    };
    // The last write may have been torn by a loss of power. Then everything that was synced is there without it.
    let synced = mark.map_or(0, MarkFile::round);
    let cut = wal::Cut::make(home.dir(), &path).map_err(|error| {
        let damage =
            EngineError(format!("{damage}; and a copy of that file cannot be made to go on without its end: {error}"));
        fail("opening", &path, &damage, write_hint(&error.to_string()))
    })?;
    let whole_without_it = open(Expect::TornLook).is_ok_and(|engine| log_store::check_round(&engine, synced).is_ok());
    if !whole_without_it {
        cut.map_or(Ok(()), |cut| cut.undo()).map_err(cutting)?;
        return Err(refuse(damage));
    }
    tracing::warn!(path = %path.display(), %damage, synced, "the last write was torn by a crash and is dropped; nothing synced is missing");
    let engine = open(Expect::Torn).map_err(refuse)?;
    cut.map_or(Ok(()), |cut| cut.keep()).map_err(cutting)?;
    Ok(Arc::new(engine))
}

fn open_hint(detail: &str) -> &'static str {
    if detail.contains("No space left") {
        write_hint(detail)
    } else if detail.contains("ermission denied") {
        "give this user the right to read and write there"
    } else {
        DAMAGE_HINT
    }
}

/// The note of an earlier run. A directory without an identity may have one only from a first start that was cut short,
/// when nothing had been synced; any other is the only witness of what is missing, and is left alone.
pub(crate) fn open_mark(home: &Home, sync: bool) -> Result<Option<MarkFile>, OpenError> {
    let path = home.mark();
    let refuse = |detail: &dyn std::fmt::Display| fail("reading", &path, detail, DAMAGE_HINT);
    if home.is_new() && !path.try_exists().map_err(|error| refuse(&error))? {
        return Ok(None);
    }
    let mark = MarkFile::open(&path, sync).map_err(|error| refuse(&error))?;
    if home.is_new() && mark.round() > 0 {
        let detail = format!("{} writes have been synced here but the file `identity` is missing", mark.round());
        return Err(fail("opening", &path, &detail, "put that file back; it was written on the first start"));
    }
    Ok(Some(mark))
}

/// Makes the note of a new directory, once its database is known to be empty.
pub(crate) fn new_mark(home: &Home, sync: bool) -> Result<MarkFile, OpenError> {
    let path = home.mark();
    MarkFile::create(&path, sync).map_err(|error| fail("writing", &path, &error, write_hint(&error.to_string())))
}

/// Opens the directory of snapshots and reads the last one to its end.
fn open_snapshots(
    home: &Home,
    engine: &dyn Engine,
    identity: &Identity,
    on_disk: bool,
) -> Result<Snapshots, OpenError> {
    let dir = home.snapshots();
    if !on_disk {
        // A store that forgets has no use for a snapshot that remembers.
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(fail("clearing", &dir, &error, "give this user the right to write there"));
            }
            _ => {}
        }
    }
    let snapshots = Snapshots::open(dir.clone(), identity.clone())
        .map_err(|error| fail("opening", &dir, &error, write_hint(&error.to_string())))?;
    let newest = snapshots.newest().map_err(|error| fail("reading", &dir, &error, DAMAGE_HINT))?;
    let installing = state_machine::installing(engine, &snapshots)
        .map_err(|error| fail("reading the state in", &home.database(), &error, DAMAGE_HINT))?;
    if let Some(path) = newest {
        snapshots.read(&path, |_, _| Ok(())).map_err(|error| {
            let hint = match error {
                _ if installing.as_ref() == Some(&path) => DAMAGE_HINT,
                SnapshotError::Foreign => "put back the files that belong together",
                _ => state_machine::SNAPSHOT_HINT,
            };
            fail("reading the snapshot", &path, &error, hint)
        })?;
    }
    Ok(snapshots)
}

/// What openraft drives.
pub(crate) struct Storage {
    log: LogStore,
    machine: StateMachine,
}

async fn start(
    storage: Storage,
    identity: &Identity,
    tuning: Tuning,
    health: &Health,
    dialer: Dialer,
) -> Result<(Raft, bool), OpenError> {
    let config = tuning.config(cluster_name(&identity.cluster))?;
    let stopped = |error: &dyn std::fmt::Display| {
        health.fatal().map_or_else(|| OpenError(format!("starting the consensus: {error}")), OpenError::from)
    };
    let network = Peers::new(dialer);
    let raft = Raft::new(identity.node, Arc::new(config), network, storage.log, storage.machine)
        .await
        .map_err(|error| stopped(&error))?;
    let started = async {
        if raft.is_initialized().await.map_err(|error| stopped(&error))? {
            if !raft.voter_ids().eq([identity.node]) {
                // Catching up takes a leader, and that takes others who may come later.
                return Ok(false);
            }
            // The only voter need not wait for an election timeout: there is nobody whose lease it could break.
            raft.trigger().elect(false).await.map_err(|error| stopped(&error))?;
        } else if identity.node != FOUNDER {
            // The log, and with it who belongs to the cluster, comes from the leader.
            return Ok(false);
        } else {
            match raft.initialize(BTreeMap::from([(FOUNDER, Peer::default())])).await {
                Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
                Err(error) => return Err(stopped(&error)),
            }
        }
        recover(&raft, health).await.map(|()| true)
    };
    match started.await {
        Ok(caught_up) => Ok((raft, caught_up)),
        Err(error) => {
            let _ = raft.shutdown().await;
            Err(error)
        }
    }
}

/// With other voters the state is served as it is, and this notes when all that was ever answered is applied again.
async fn catch_up(raft: Raft, caught_up: Arc<AtomicBool>, health: Health) {
    while !caught_up.load(Ordering::Acquire) {
        tokio::select! {
            result = raft.wait_for_recovery(Some(RECOVERY_STALL_MAX)) => match result {
                Ok(_) => caught_up.store(true, Ordering::Release),
                // Waiting for a leader that is not there; the pause is for an end of Raft, told by others.
                Err(error) => {
                    tracing::debug!(%error, "not caught up yet");
                    tokio::time::sleep(HOUSEKEEPING_EVERY).await;
                }
            },
            _ = health.failed() => return,
        }
    }
}

/// Waits until everything that was ever answered is applied again. Without this a read could go back in time.
async fn recover(raft: &Raft, health: &Health) -> Result<(), OpenError> {
    let mut metrics = raft.metrics();
    let mut seen = None;
    loop {
        tokio::select! {
            result = raft.wait_for_recovery(Some(RECOVERY_STALL_MAX)) => {
                if result.is_ok() {
                    return Ok(());
                }
                let now = metrics.borrow_and_update().last_applied;
                if seen == Some(now) {
                    return Err(OpenError(
                        "the log could not be applied: there has been no progress for a minute; \
                         see the messages before this one, then start again".into(),
                    ));
                }
                seen = Some(now);
            }
            fatal = health.failed() => return Err(fatal.into()),
        }
    }
}

/// Turns an end of Raft that nobody asked for into a failure with a message.
async fn watch_over(raft: Raft, health: Health) {
    let mut metrics = raft.metrics();
    drop(raft);
    loop {
        let ended = metrics.borrow_and_update().running_state.clone().err();
        match ended {
            Some(openraft::error::Fatal::Stopped) => return,
            Some(error) => {
                let text = format!("the consensus has stopped: {error}; start again, and report this if it comes back");
                health.fail(Fatal(text));
                return;
            }
            None => {}
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

fn counting(runtime: &Runtime, raft: &Raft) -> Arc<Counters> {
    let counters = Arc::new(Counters::default());
    runtime.spawn(count_changes(raft.metrics(), counters.clone()));
    counters
}

/// Counts leaders and candidacies as they come. What comes and goes between two looks is not seen.
async fn count_changes(mut metrics: Metrics, counters: Arc<Counters>) {
    let (mut led_by, mut stood) = (None, false);
    loop {
        let (leader, stands) = {
            let now = metrics.borrow_and_update();
            (now.current_leader, now.state == ServerState::Candidate)
        };
        if let Some(leader) = leader {
            counters
                .leader_changes
                .fetch_add(u64::from(led_by.is_some_and(|before| before != leader)), Ordering::Relaxed);
            led_by = Some(leader);
        }
        counters.campaigns.fetch_add(u64::from(stands && !stood), Ordering::Relaxed);
        stood = stands;
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

/// Snapshots are asked for by entries; this asks for them by bytes.
async fn keep_log_short(raft: Raft, tail: Arc<Tail>, every_bytes: u64) {
    let mut counted = 0;
    let mut since = None;
    loop {
        tokio::time::sleep(HOUSEKEEPING_EVERY).await;
        let snapshot = raft.metrics().borrow_watched().snapshot;
        if let Some(before) = since.take_if(|before| *before != snapshot) {
            tracing::debug!(?before, ?snapshot, "purging the log behind a snapshot asked for by size");
            if let Some(id) = snapshot
                && raft.trigger().purge_log(id.index).await.is_err()
            {
                return;
            }
        }
        let written = tail.appended_bytes();
        if written - counted >= every_bytes {
            counted = written;
            since = Some(snapshot);
            if raft.trigger().snapshot().await.is_err() {
                return;
            }
        }
    }
}
