//! Reads a log at start: every entry must be whole and follow the one before it.

use std::ops::ControlFlow;

use super::{Bounds, PURGED_KEY, ROUND_KEY, VOTE_KEY};
use crate::codec::{self, CodecError, DurableMark, Envelope, Kind, LogEntry, LogPosition, Purged, StoredVote};
use crate::engine::{Engine, EngineError, Read, Table};
use crate::type_config::{LogId, Vote};

/// Why a log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store cannot be read.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Something in it is not what it should be.
    #[error("{0}: {1}")]
    Damaged(String, CodecError),
    /// An entry is missing.
    #[error("log entry {wanted} is missing, {found} follows instead")]
    Hole {
        /// The index that should be there.
        wanted: u64,
        /// The one that is.
        found: u64,
    },
    /// The store has lost writes that were synced.
    #[error("it ends with write {found}, but write {synced} had been synced to this disk")]
    Forgotten {
        /// The last write that is there.
        found: u64,
        /// The last that was noted as synced.
        synced: u64,
    },
}

/// Checks that the store still has the last write that was noted as synced; answers the last it has.
///
/// # Errors
/// When it has not: the disk has lost acknowledged data.
pub fn check_round(engine: &dyn Read, synced: u64) -> Result<u64, LoadError> {
    let stored: Option<DurableMark> = read_meta(engine, ROUND_KEY, "the number of the last write")?;
    let found = stored.map_or(0, |mark| mark.round);
    if found < synced { Err(LoadError::Forgotten { found, synced }) } else { Ok(found) }
}

/// Finds the bounds of the log.
///
/// # Errors
/// When an entry is damaged or missing.
pub fn load(engine: &dyn Engine) -> Result<Bounds, LoadError> {
    let purged: Option<Purged> = read_meta(engine, PURGED_KEY, "the purge mark")?;
    let vote: Option<StoredVote> = read_meta(engine, VOTE_KEY, "the vote")?;
    let purged = purged.map(|Purged(position)| LogId::from(position));
    let start = purged.map_or(0, |id| id.index + 1);
    let (first, next) = walk(engine, start)?;
    let last = if first == next { purged } else { Some(position_at(engine, next - 1)?.into()) };
    Ok(Bounds { purged, first, next, last, vote: vote.map(Vote::from) })
}

fn read_meta<T: codec::Published>(
    engine: &(impl Read + ?Sized),
    key: &[u8],
    what: &str,
) -> Result<Option<T>, LoadError> {
    let Some(bytes) = engine.get(Table::Meta, key)? else { return Ok(None) };
    codec::decode(&bytes).map(Some).map_err(|error| LoadError::Damaged(what.into(), error))
}

/// Checks every entry's place and checksum; answers the first index and the one after the last.
fn walk(engine: &dyn Engine, start: u64) -> Result<(u64, u64), LoadError> {
    let mut first = None;
    let mut next = start;
    let mut failure = None;
    engine.scan(Table::Log, &codec::log_key(start), None, &mut |key, value| {
        let index = codec::log_index(key).unwrap_or(u64::MAX);
        let intact = Envelope::open(value).and_then(|envelope| {
            let wanted = Kind::LogEntry as u8;
            if envelope.kind == wanted { Ok(()) } else { Err(CodecError::Kind { found: envelope.kind, wanted }) }
        });
        if let Err(error) = intact {
            failure = Some(LoadError::Damaged(format!("log entry {index}"), error));
        } else if first.is_some() && index != next {
            failure = Some(LoadError::Hole { wanted: next, found: index });
        }
        first.get_or_insert(index);
        next = index.saturating_add(1);
        if failure.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    match (failure, first) {
        (Some(error), _) => Err(error),
        // Entries are missing between the purge mark and the first one.
        (None, Some(found)) if start > 0 && found != start => Err(LoadError::Hole { wanted: start, found }),
        (None, first) => Ok((first.unwrap_or(start), next)),
    }
}

fn position_at(engine: &dyn Engine, index: u64) -> Result<LogPosition, LoadError> {
    let bytes =
        engine.get(Table::Log, &codec::log_key(index))?.ok_or(LoadError::Hole { wanted: index, found: index + 1 })?;
    let entry: LogEntry =
        codec::decode(&bytes).map_err(|error| LoadError::Damaged(format!("log entry {index}"), error))?;
    Ok(entry.position)
}
