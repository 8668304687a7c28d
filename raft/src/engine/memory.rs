//! A store in memory: for simulation and tests, gone with the process.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{PoisonError, RwLock};

use imbl::OrdMap;

use super::{Batch, Change, Durability, Engine, EngineError, Pair, Read, Table, Visit};

type Keys = OrdMap<Vec<u8>, Vec<u8>>;

/// Persistent maps, so that a view is a clone.
#[derive(Debug, Default)]
pub struct MemoryEngine {
    tables: RwLock<Tables>,
}

#[derive(Debug, Clone, Default)]
struct Tables(BTreeMap<Table, Keys>);

impl MemoryEngine {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn now(&self) -> Tables {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Read for Tables {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.0.get(&table).and_then(|keys| keys.get(key)).cloned())
    }

    fn scan(&self, table: Table, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), EngineError> {
        let Some(keys) = self.0.get(&table) else { return Ok(()) };
        if to.is_some_and(|to| to <= from) {
            return Ok(());
        }
        let end = to.map_or(Bound::Unbounded, Bound::Excluded);
        for (key, value) in keys.range::<_, [u8]>((Bound::Included(from), end)) {
            if let ControlFlow::Break(()) = visit(key, value) {
                break;
            }
        }
        Ok(())
    }

    fn last(&self, table: Table) -> Result<Option<Pair>, EngineError> {
        Ok(self.0.get(&table).and_then(OrdMap::get_max).cloned())
    }
}

impl Read for MemoryEngine {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.now().get(table, key)
    }

    fn scan(&self, table: Table, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), EngineError> {
        self.now().scan(table, from, to, visit)
    }

    fn last(&self, table: Table) -> Result<Option<Pair>, EngineError> {
        self.now().last(table)
    }
}

impl Engine for MemoryEngine {
    fn write(&self, batch: &Batch, _durability: Durability) -> Result<(), EngineError> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        for change in batch.changes() {
            match change {
                Change::Put(table, key, value) => {
                    tables.0.entry(*table).or_default().insert(key.clone(), value.clone());
                }
                Change::Delete(table, key) => {
                    tables.0.entry(*table).or_default().remove(key);
                }
                Change::DeleteRange(table, from, to) => {
                    let keys = tables.0.entry(*table).or_default();
                    let doomed: Vec<Vec<u8>> =
                        keys.range(from.clone()..to.clone()).map(|(key, _)| key.clone()).collect();
                    for key in doomed {
                        keys.remove(&key);
                    }
                }
            }
        }
        Ok(())
    }

    fn view(&self, with: &mut dyn FnMut(&dyn Read)) {
        with(&self.now());
    }

    fn reclaim(&self, _table: Table, _last: &[u8]) {}

    fn background_error(&self) -> Option<EngineError> {
        None
    }

    fn close(&self) -> Result<(), EngineError> {
        Ok(())
    }
}
