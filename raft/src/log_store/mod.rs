//! Raft's log and vote on a storage engine.

mod load;
mod tail;

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, ControlFlow, Range, RangeBounds};
use std::path::PathBuf;
use std::sync::Arc;

use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};

pub use load::{LoadError, check_round, load};
pub use tail::{Bounds, Tail};

use crate::codec::{self, CodecError, LogEntry, LogPosition, Purged, StoredVote};
use crate::engine::{Batch, Durability, Engine, EngineError, Table};
use crate::failure::{DAMAGE_HINT, Fatal, Health};
use crate::type_config::{Entry, LogId, TypeConfig, Vote};
use crate::writer::Writer;

/// Key of the vote in `Table::Meta`.
pub(crate) const VOTE_KEY: &[u8] = b"vote";
/// Key of the purge mark in `Table::Meta`.
pub(crate) const PURGED_KEY: &[u8] = b"purged";

/// Key, in `Table::Meta`, of the number of the last synced write.
pub(crate) const ROUND_KEY: &[u8] = b"round";

/// Entries handed out at once where fewer than asked for are allowed.
const READ_ENTRIES_MAX: u64 = 64;

/// The log; clones read the same one.
#[derive(Clone)]
pub struct LogStore {
    engine: Arc<dyn Engine>,
    tail: Arc<Tail>,
    writer: Writer,
    health: Health,
    place: PathBuf,
}

impl LogStore {
    /// Of a log whose bounds have been loaded into `tail`; `place` names it in messages.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>, tail: Arc<Tail>, writer: Writer, health: Health, place: PathBuf) -> Self {
        Self { engine, tail, writer, health, place }
    }

    async fn read(&self, wanted: Range<u64>) -> io::Result<Vec<Entry>> {
        let plan = self.tail.plan(wanted);
        if plan.stored.is_empty() {
            return Ok(plan.kept);
        }
        let (engine, stored) = (self.engine.clone(), plan.stored.clone());
        let mut entries = tokio::task::spawn_blocking(move || read_stored(&*engine, stored))
            .await
            .map_err(io::Error::other)?
            .map_err(|error| self.damaged(&error))?;
        // A purge meanwhile may have taken the first ones; nothing else may be missing.
        let first = self.tail.first().max(plan.stored.start);
        entries.retain(|entry| entry.log_id.index >= first);
        let expected = plan.stored.end.saturating_sub(first);
        if entries.len() as u64 != expected {
            return Err(self.damaged(&ReadError::Missing(first..plan.stored.end)));
        }
        entries.extend(plan.kept);
        Ok(entries)
    }

    fn damaged(&self, error: &dyn std::fmt::Display) -> io::Error {
        self.health.fail(Fatal::at("reading the log in", &self.place, error, DAMAGE_HINT))
    }
}

/// Why entries that must be there could not be read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("log entry {0}: {1}")]
    Entry(u64, CodecError),
    #[error("log entry {found} stands where {wanted} belongs")]
    Order { found: u64, wanted: u64 },
    #[error("log entries {} to {} are not complete", .0.start, .0.end - 1)]
    Missing(Range<u64>),
}

fn read_stored(engine: &dyn Engine, range: Range<u64>) -> Result<Vec<Entry>, ReadError> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut failure = None;
    let (from, to) = (codec::log_key(range.start), codec::log_key(range.end));
    engine.scan(Table::Log, &from, Some(&to), &mut |key, value| {
        let wanted = entries.last().map_or_else(|| codec::log_index(key).unwrap_or(0), |last| last.log_id.index + 1);
        match read_entry(key, value, wanted) {
            Ok(entry) => entries.push(entry),
            Err(error) => failure = Some(error),
        }
        if failure.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    failure.map_or(Ok(entries), Err)
}

fn read_entry(key: &[u8], value: &[u8], wanted: u64) -> Result<Entry, ReadError> {
    let index = codec::log_index(key).unwrap_or(u64::MAX);
    let stored: LogEntry = codec::decode(value).map_err(|error| ReadError::Entry(index, error))?;
    let entry = stored.into_raft().map_err(|error| ReadError::Entry(index, error))?;
    if index != wanted || entry.log_id.index != wanted {
        return Err(ReadError::Order { found: entry.log_id.index, wanted });
    }
    Ok(entry)
}

fn bounds_of(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read(bounds_of(&range)).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.read(start..end.min(start.saturating_add(READ_ENTRIES_MAX))).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.tail.vote())
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let (last_purged_log_id, last_log_id) = self.tail.ends();
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let mut batch = Batch::default();
        batch.put(Table::Meta, VOTE_KEY, codec::encode(&StoredVote::from(vote)).map_err(io::Error::other)?);
        self.writer.write(batch, Durability::Synced).await?;
        self.tail.set_vote(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        self.tail.append(&entries).map_err(|wanted| {
            let found = entries.first().map_or(0, |entry| entry.log_id.index);
            self.damaged(&ReadError::Order { found, wanted })
        })?;
        self.writer.append(entries, callback)
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let Some(gone) = self.tail.truncate_after(last_log_id) else { return Ok(()) };
        let mut batch = Batch::default();
        batch.delete_range(Table::Log, codec::log_key(gone.start), codec::log_key(gone.end));
        self.writer.write(batch, Durability::Synced).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let gone = self.tail.purge(log_id);
        let mut batch = Batch::default();
        let mark = codec::encode(&Purged(LogPosition::from(&log_id))).map_err(io::Error::other)?;
        batch.put(Table::Meta, PURGED_KEY, mark);
        if !gone.is_empty() {
            batch.delete_range(Table::Log, codec::log_key(gone.start), codec::log_key(gone.end));
        }
        self.writer.write(batch, Durability::Synced).await?;
        if gone.is_empty() {
            return Ok(());
        }
        // The last key that is gone: the one after it is the first that must stay.
        let (engine, last) = (self.engine.clone(), codec::log_key(gone.end - 1));
        tokio::task::spawn_blocking(move || engine.reclaim(Table::Log, &last)).await.map_err(io::Error::other)
    }
}
