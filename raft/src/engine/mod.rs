//! The narrow waist between us and a key-value store: get, ordered scan, atomic write, consistent view.
//!
//! There is one store per node, so that log, vote and state share one write-ahead log and are durable in the order in
//! which they were written. Simulation uses the engine in memory.

mod memory;
mod rocks;
pub(crate) mod wal;

use std::ops::ControlFlow;

pub use memory::MemoryEngine;
pub(crate) use rocks::CORRUPTION;
pub use rocks::{Expect, RocksEngine, RocksOptions};

/// The key spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Vote, purge mark, applied mark, identity.
    Meta,
    /// The Raft log by index.
    Log,
    /// The records of the state by kind and name.
    Records,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Meta, Self::Log, Self::Records];

    /// The name in the store and in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Log => "log",
            Self::Records => "records",
        }
    }
}

/// What must be true when a write returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It survives the loss of power.
    Synced,
    /// It survives the loss of the process.
    Buffered,
}

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Set a key.
    Put(Table, Vec<u8>, Vec<u8>),
    /// Remove a key.
    Delete(Table, Vec<u8>),
    /// Remove the keys from the first to before the second.
    DeleteRange(Table, Vec<u8>, Vec<u8>),
}

/// Changes that happen together or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    changes: Vec<Change>,
    bytes: usize,
}

impl Batch {
    /// Sets a key.
    pub fn put(&mut self, table: Table, key: impl Into<Vec<u8>>, value: Vec<u8>) {
        let key = key.into();
        self.bytes += key.len() + value.len();
        self.changes.push(Change::Put(table, key, value));
    }

    /// Removes a key.
    pub fn delete(&mut self, table: Table, key: impl Into<Vec<u8>>) {
        let key = key.into();
        self.bytes += key.len();
        self.changes.push(Change::Delete(table, key));
    }

    /// Removes the keys from `from` to before `to`.
    pub fn delete_range(&mut self, table: Table, from: impl Into<Vec<u8>>, to: impl Into<Vec<u8>>) {
        self.changes.push(Change::DeleteRange(table, from.into(), to.into()));
    }

    /// Takes over the changes of another, after these.
    pub fn append(&mut self, mut other: Self) {
        self.bytes += other.bytes;
        self.changes.append(&mut other.changes);
    }

    /// The changes, in order.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes of keys and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The store could not do what it was asked; its own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EngineError(pub String);

/// A key with its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Called with each key and value of a scan, in order, until it breaks.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Reading, of the store as it is or of a view.
pub trait Read {
    /// The value of a key.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;

    /// Visits the keys from `from` to before `to` (to the end without `to`).
    ///
    /// # Errors
    /// When the store cannot be read.
    fn scan(&self, table: Table, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), EngineError>;

    /// The last key of a table with its value.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn last(&self, table: Table) -> Result<Option<Pair>, EngineError>;
}

/// A key-value store.
pub trait Engine: Read + Send + Sync + 'static {
    /// Makes all changes of the batch, or none.
    ///
    /// # Errors
    /// When they could not be made, or (for `Synced`) not be made durable. Then nothing may be written any more.
    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), EngineError>;

    /// Calls `with` with the store as it is at this moment, whatever is written meanwhile.
    fn view(&self, with: &mut dyn FnMut(&dyn Read));

    /// Gives back the space of keys up to and including `last`, all of which have been removed; whole files go at once,
    /// without a look at what is in them.
    fn reclaim(&self, table: Table, last: &[u8]);

    /// What went wrong behind our back (a failed flush or compaction), if anything.
    fn background_error(&self) -> Option<EngineError>;

    /// Makes everything written durable; called once before closing.
    ///
    /// # Errors
    /// When that failed.
    fn close(&self) -> Result<(), EngineError>;
}
