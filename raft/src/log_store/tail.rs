//! What is known of the log without reading it: its bounds, the vote, and the youngest entries.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::type_config::{Entry, LogId, Vote};

/// Written entries kept in memory, and their bytes; unwritten ones are kept always.
const KEPT_ENTRIES_MAX: usize = 256;
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// Shared by the log store, its readers and the writer.
#[derive(Debug)]
pub struct Tail {
    inner: Mutex<Inner>,
    appended_bytes: AtomicU64,
}

/// What a log was found to hold at start.
#[derive(Debug, Default)]
pub struct Bounds {
    /// Last entry removed from the front.
    pub purged: Option<LogId>,
    /// Index of the first entry; equal to `next` if there is none.
    pub first: u64,
    /// Index after the last entry.
    pub next: u64,
    /// The last entry, or the last purged one.
    pub last: Option<LogId>,
    /// The vote.
    pub vote: Option<Vote>,
}

#[derive(Debug)]
struct Inner {
    bounds: Bounds,
    kept: VecDeque<Kept>,
    kept_bytes: usize,
}

#[derive(Debug)]
struct Kept {
    entry: Entry,
    /// Bytes on disk; `None` until written.
    bytes: Option<usize>,
}

/// Where to find the entries of a range.
#[derive(Debug)]
pub struct Plan {
    /// These must be read from the store, and are there.
    pub stored: Range<u64>,
    /// These follow.
    pub kept: Vec<Entry>,
}

impl Tail {
    /// Of a log as found at start.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let inner = Inner { bounds, kept: VecDeque::new(), kept_bytes: 0 };
        Self { inner: Mutex::new(inner), appended_bytes: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Last purged and last entry.
    #[must_use]
    pub fn ends(&self) -> (Option<LogId>, Option<LogId>) {
        let inner = self.lock();
        (inner.bounds.purged, inner.bounds.last)
    }

    /// Index of the first entry there is.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.lock().bounds.first
    }

    /// The vote as last saved.
    #[must_use]
    pub fn vote(&self) -> Option<Vote> {
        self.lock().bounds.vote
    }

    /// Remembers a vote that is durable.
    pub fn set_vote(&self, vote: Vote) {
        self.lock().bounds.vote = Some(vote);
    }

    /// Bytes of entries written since start.
    #[must_use]
    pub fn appended_bytes(&self) -> u64 {
        self.appended_bytes.load(Ordering::Relaxed)
    }

    /// Makes entries readable before they are written; `Err` says which index was expected instead.
    ///
    /// # Errors
    /// When they do not follow the last entry: a log never has a hole.
    pub fn append(&self, entries: &[Entry]) -> Result<(), u64> {
        let mut inner = self.lock();
        for entry in entries {
            let index = entry.log_id.index;
            if inner.bounds.first == inner.bounds.next {
                inner.bounds.first = index;
            } else if index != inner.bounds.next {
                return Err(inner.bounds.next);
            }
            inner.bounds.next = index + 1;
            inner.bounds.last = Some(entry.log_id);
            inner.kept.push_back(Kept { entry: entry.clone(), bytes: None });
        }
        Ok(())
    }

    /// Notes which entries are in the store now, and forgets what need not be kept.
    pub fn note_written(&self, sizes: &[(u64, usize)]) {
        let mut inner = self.lock();
        let Some(front) = inner.kept.front().map(|kept| kept.entry.log_id.index) else { return };
        for (index, bytes) in sizes {
            self.appended_bytes.fetch_add(*bytes as u64, Ordering::Relaxed);
            let slot = index.checked_sub(front).and_then(|slot| usize::try_from(slot).ok());
            if let Some(kept) = slot.and_then(|slot| inner.kept.get_mut(slot)) {
                kept.bytes = Some(*bytes);
                inner.kept_bytes += bytes;
            }
        }
        inner.trim();
    }

    /// Where to find the entries of `wanted` that there are.
    #[must_use]
    pub fn plan(&self, wanted: Range<u64>) -> Plan {
        let inner = self.lock();
        let start = wanted.start.max(inner.bounds.first);
        let end = wanted.end.min(inner.bounds.next);
        if start >= end {
            return Plan { stored: 0..0, kept: Vec::new() };
        }
        let front = inner.kept.front().map_or(inner.bounds.next, |kept| kept.entry.log_id.index);
        let from = start.max(front);
        let skip = usize::try_from(from - front).unwrap_or(usize::MAX);
        let take = usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX);
        let kept = inner.kept.iter().skip(skip).take(take).map(|kept| kept.entry.clone()).collect();
        Plan { stored: start..end.min(front), kept }
    }

    /// Forgets the entries after `last`; `None` if there are none.
    pub fn truncate_after(&self, last: Option<LogId>) -> Option<Range<u64>> {
        let mut inner = self.lock();
        let keep_next = last.map_or(inner.bounds.first, |id| id.index + 1).max(inner.bounds.first);
        if keep_next >= inner.bounds.next {
            return None;
        }
        let gone = keep_next..inner.bounds.next;
        inner.bounds.next = keep_next;
        inner.bounds.last = if keep_next == inner.bounds.first { inner.bounds.purged } else { last };
        while inner.kept.back().is_some_and(|kept| kept.entry.log_id.index >= keep_next) {
            let kept = inner.kept.pop_back();
            inner.kept_bytes -= kept.and_then(|kept| kept.bytes).unwrap_or(0);
        }
        Some(gone)
    }

    /// Forgets the entries up to `upto`; answers which indexes are gone.
    pub fn purge(&self, upto: LogId) -> Range<u64> {
        let mut inner = self.lock();
        let gone = inner.bounds.first..upto.index + 1;
        inner.bounds.purged = Some(upto);
        inner.bounds.first = inner.bounds.first.max(upto.index + 1);
        if inner.bounds.next <= inner.bounds.first {
            inner.bounds.next = inner.bounds.first;
            inner.bounds.last = Some(upto);
        }
        while inner.kept.front().is_some_and(|kept| kept.entry.log_id.index <= upto.index) {
            let kept = inner.kept.pop_front();
            inner.kept_bytes -= kept.and_then(|kept| kept.bytes).unwrap_or(0);
        }
        gone
    }
}

impl Inner {
    fn trim(&mut self) {
        while self.kept.len() > KEPT_ENTRIES_MAX || self.kept_bytes > KEPT_BYTES_MAX {
            let Some(bytes) = self.kept.front().and_then(|kept| kept.bytes) else { break };
            self.kept.pop_front();
            self.kept_bytes -= bytes;
        }
        self.kept.shrink_to(KEPT_ENTRIES_MAX);
    }
}
