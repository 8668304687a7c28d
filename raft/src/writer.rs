//! The one thread that writes: takes what is waiting, makes it durable with one sync, then answers in order.
//!
//! Votes, appends, truncations and purges go through its queue in the order Raft asked for them. What the state
//! machine writes needs no sync of its own (the log can always be applied again) and is written first in each round, so
//! it never waits for somebody else's disk flush. After the first failure nothing is written any more.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use openraft::storage::IOFlushed;
use tokio::sync::oneshot;

use crate::codec::{self, DurableMark, LogEntry};
use crate::engine::{Batch, Durability, Engine, Table};
use crate::failure::{Fatal, Health, write_hint};
use crate::log_store::{self, ROUND_KEY, Tail};
use crate::mark::{MarkFile, Marker};
use crate::numbers::Timings;
use crate::type_config::{Entry, TypeConfig};

/// Jobs that wait at most; whoever brings one more waits too.
const QUEUE_MAX: usize = 4096;
/// Jobs, and bytes, that share one sync.
const ROUND_JOBS_MAX: usize = 1024;
const ROUND_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How often the store is asked for failures behind our back.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// How often a thread that is to end is looked at.
const STOP_POLL: Duration = Duration::from_millis(2);

type Done = oneshot::Sender<io::Result<()>>;

enum Job {
    Append(Vec<Entry>, IOFlushed<TypeConfig>),
    Write(Batch, Durability, Done),
    Stop,
}

/// The queue of the writer thread; cloning shares it.
#[derive(Clone)]
pub struct Writer {
    queue: SyncSender<Job>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
    health: Health,
    syncs: Arc<Timings>,
}

impl Writer {
    /// Starts the thread. `mark` is absent for a store that forgets anyway.
    ///
    /// # Errors
    /// When the store has lost writes that `mark` says were synced, or the system gives us no thread.
    pub fn start(
        engine: Arc<dyn Engine>,
        tail: Arc<Tail>,
        mark: Option<MarkFile>,
        health: Health,
        place: PathBuf,
    ) -> io::Result<Self> {
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let number =
            log_store::check_round(&*engine, mark.as_ref().map_or(0, MarkFile::round)).map_err(io::Error::other)?;
        let marker = mark.map(|mark| Marker::start(mark, health.clone())).transpose()?;
        let syncs = Arc::new(Timings::default());
        let (watched_at, timings) = (Instant::now(), syncs.clone());
        let worker = Worker { engine, tail, marker, health: health.clone(), place, number, watched_at, syncs: timings };
        let thread = Builder::new().name("raft-writer".into()).spawn(move || worker.run(&jobs))?;
        Ok(Self { queue, thread: Arc::new(Mutex::new(Some(thread))), health, syncs })
    }

    /// How long the disk took for what had to be durable.
    #[must_use]
    pub fn syncs(&self) -> &Timings {
        &self.syncs
    }

    /// Appends entries; `done` is called once they are durable.
    ///
    /// # Errors
    /// When the storage has failed before.
    pub fn append(&self, entries: Vec<Entry>, done: IOFlushed<TypeConfig>) -> io::Result<()> {
        self.health.check()?;
        self.send(Job::Append(entries, done))
    }

    /// Writes a batch; returns once it is as durable as asked.
    ///
    /// # Errors
    /// When the storage has failed, now or before.
    pub async fn write(&self, batch: Batch, durability: Durability) -> io::Result<()> {
        self.ask(|done| Job::Write(batch, durability, done)).await
    }

    /// Writes what is queued, notes what is synced, closes the store and ends the thread; says whether it has ended.
    /// After `time` a disk that does not answer is reported and left behind: nobody has been promised what it holds up.
    pub fn stop(&self, time: Duration) -> bool {
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return true };
        let until = Instant::now() + time;
        while let Err(TrySendError::Full(_)) = self.queue.try_send(Job::Stop)
            && Instant::now() < until
        {
            std::thread::park_timeout(STOP_POLL);
        }
        match join_until(thread, until) {
            Some(Ok(())) => true,
            Some(Err(_)) => {
                let text = "the storage thread panicked; this is a bug: report it, then start again";
                self.health.fail(Fatal(text.into()));
                true
            }
            None => {
                let text = format!("the disk has not answered for {time:?}; check it and the kernel log");
                self.health.fail(Fatal(text));
                false
            }
        }
    }

    async fn ask(&self, job: impl FnOnce(Done) -> Job) -> io::Result<()> {
        self.health.check()?;
        let (done, answer) = oneshot::channel();
        self.send(job(done))?;
        answer.await.unwrap_or_else(|_| Err(self.gone()))
    }

    fn send(&self, job: Job) -> io::Result<()> {
        self.queue.send(job).map_err(|_| self.gone())
    }

    fn gone(&self) -> io::Error {
        self.health.check().err().unwrap_or_else(|| io::Error::other("the storage has been closed"))
    }
}

/// Joins a thread, unless it runs on beyond `until`.
pub(crate) fn join_until(thread: JoinHandle<()>, until: Instant) -> Option<std::thread::Result<()>> {
    while !thread.is_finished() {
        if Instant::now() >= until {
            return None;
        }
        std::thread::park_timeout(STOP_POLL);
    }
    Some(thread.join())
}

struct Worker {
    engine: Arc<dyn Engine>,
    tail: Arc<Tail>,
    marker: Option<Marker>,
    health: Health,
    place: PathBuf,
    /// The number of the last synced write.
    number: u64,
    watched_at: Instant,
    syncs: Arc<Timings>,
}

impl Worker {
    fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            let wait = WATCH_EVERY.saturating_sub(self.watched_at.elapsed());
            let more = match jobs.recv_timeout(wait) {
                Ok(job) => self.round(job, jobs),
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => false,
            };
            if !more || self.watched_at.elapsed() >= WATCH_EVERY {
                self.keep_watch();
            }
            if !more {
                break;
            }
        }
        if self.health.fatal().is_none()
            && let Err(error) = self.engine.close()
        {
            self.fail("closing the database", &error.0);
        }
    }

    /// Once a second: whether the store is well.
    fn keep_watch(&mut self) {
        self.watched_at = Instant::now();
        if self.health.fatal().is_some() {
            return;
        }
        if let Some(error) = self.engine.background_error() {
            self.fail("writing the database", &error.0);
        }
    }

    /// Takes what is waiting and writes it; says whether to go on.
    fn round(&mut self, first: Job, jobs: &Receiver<Job>) -> bool {
        let mut round = Round::default();
        let mut next = Some(first);
        while let Some(job) = next {
            if matches!(job, Job::Stop) {
                self.finish(round);
                return false;
            }
            self.take(job, &mut round);
            if round.jobs >= ROUND_JOBS_MAX || round.bytes() >= ROUND_BYTES_MAX {
                break;
            }
            next = jobs.try_recv().ok();
        }
        self.finish(round);
        true
    }

    fn take(&mut self, job: Job, round: &mut Round) {
        round.jobs += 1;
        match job {
            Job::Append(entries, done) => self.take_append(&entries, done, round),
            Job::Write(batch, Durability::Buffered, done) => {
                round.buffered.append(batch);
                round.after_buffered.push(done);
            }
            Job::Write(batch, Durability::Synced, done) => {
                round.synced.append(batch);
                round.after_synced.push(After::Done(done));
            }
            Job::Stop => {}
        }
    }

    fn take_append(&mut self, entries: &[Entry], done: IOFlushed<TypeConfig>, round: &mut Round) {
        for entry in entries {
            match codec::encode(&LogEntry::from(entry)) {
                Ok(bytes) => {
                    round.sizes.push((entry.log_id.index, bytes.len()));
                    round.synced.put(Table::Log, codec::log_key(entry.log_id.index), bytes);
                }
                Err(error) => {
                    self.fail("encoding a log entry for", &error.to_string());
                }
            }
        }
        round.after_synced.push(After::Flushed(done));
    }

    fn finish(&mut self, round: Round) {
        if !round.after_buffered.is_empty() {
            let result = self.write(&round.buffered, Durability::Buffered);
            for done in round.after_buffered {
                let _ = done.send(copy(&result));
            }
        }
        if round.after_synced.is_empty() {
            return;
        }
        let result = self.write_numbered(round.synced);
        if result.is_ok() {
            self.tail.note_written(&round.sizes);
            if let Some(marker) = &self.marker {
                marker.note(self.number);
            }
        }
        for after in round.after_synced {
            match after {
                After::Flushed(done) => done.io_completed(copy(&result)),
                After::Done(done) => {
                    let _ = done.send(copy(&result));
                }
            }
        }
    }

    /// Everything that is synced carries a number, so that its loss can be noticed.
    fn write_numbered(&mut self, mut batch: Batch) -> io::Result<()> {
        self.number += 1;
        let mark = codec::encode(&DurableMark { round: self.number }).map_err(io::Error::other)?;
        batch.put(Table::Meta, ROUND_KEY, mark);
        let begun = Instant::now();
        let written = self.write(&batch, Durability::Synced);
        self.syncs.note(begun.elapsed());
        written
    }

    fn write(&self, batch: &Batch, durability: Durability) -> io::Result<()> {
        self.health.check()?;
        self.engine.write(batch, durability).map_err(|error| self.fail("writing the database", &error.0))
    }

    fn fail(&self, what: &str, detail: &str) -> io::Error {
        self.health.fail(Fatal::at(what, &self.place, &detail, write_hint(detail)))
    }
}

/// What is written together.
#[derive(Default)]
struct Round {
    jobs: usize,
    buffered: Batch,
    after_buffered: Vec<Done>,
    synced: Batch,
    after_synced: Vec<After>,
    sizes: Vec<(u64, usize)>,
}

impl Round {
    fn bytes(&self) -> usize {
        self.buffered.bytes() + self.synced.bytes()
    }
}

enum After {
    Flushed(IOFlushed<TypeConfig>),
    Done(Done),
}

fn copy(result: &io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(error) => Err(io::Error::other(error.to_string())),
    }
}
