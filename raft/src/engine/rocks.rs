//! The store on disk: RocksDB, set up so that damage is an error and never silence.

use std::ops::ControlFlow;
use std::path::PathBuf;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, Direction,
    IteratorMode, LogLevel, Options, ReadOptions, Snapshot, WriteBatch, WriteOptions,
};

use super::{Batch, Change, Durability, Engine, EngineError, Pair, Read, Table, Visit, wal};

/// Bytes of a table in memory before it is written out. Small: the state is in our own memory anyway.
const WRITE_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of all write-ahead logs together; beyond it the tables that pin the oldest are written out.
const WAL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes of blocks kept in memory. Reads are rare: start, snapshots, followers far behind.
const BLOCK_CACHE_BYTES: usize = 4 * 1024 * 1024;
/// Files held open.
const OPEN_FILES_MAX: i32 = 256;
/// RocksDB's own log files kept, and bytes of each.
const INFO_LOGS_MAX: usize = 4;
const INFO_LOG_BYTES_MAX: usize = 1024 * 1024;

/// How the text of an error begins that is about damage.
pub(crate) const CORRUPTION: &str = "Corruption";

/// How to open the store.
#[derive(Debug, Clone)]
pub struct RocksOptions {
    /// Its directory.
    pub path: PathBuf,
    /// What is expected there.
    pub expect: Expect,
    /// Whether `Durability::Synced` syncs. Always true but in the test that shows what is lost otherwise.
    pub sync: bool,
}

/// What is expected of a store, and what is done when its write-ahead log ends in damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// It may be made.
    New,
    /// It is there and whole: a write that just stops is accepted, damage is not.
    Whole,
    /// Its last writes are torn: everything before the first damage is taken. Silent by nature, so only for a caller
    /// that knows how far the store must go.
    Torn,
    /// As `Torn`, but nothing on disk is changed, and nothing can be written.
    TornLook,
}

/// RocksDB with one column family per table.
pub struct RocksEngine {
    db: DB,
    path: PathBuf,
    sync: bool,
}

impl RocksEngine {
    /// Opens or makes the store.
    ///
    /// # Errors
    /// When it is damaged, locked, missing, or the disk does not take it.
    pub fn open(options: RocksOptions) -> Result<Self, EngineError> {
        let trap = wal::trap(&options.path).map_err(|error| EngineError(format!("reading its log files: {error}")))?;
        if let Some((path, at)) = trap {
            return Err(EngineError(format!("{CORRUPTION}: no record at byte {at} of {}", path.display())));
        }
        let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
        let families = Table::ALL.map(|table| ColumnFamilyDescriptor::new(table.name(), table_options(&cache)));
        // RocksDB insists on this family; it stays empty.
        let default = ColumnFamilyDescriptor::new("default", table_options(&cache));
        let families = std::iter::once(default).chain(families);
        let settings = store_options(options.expect);
        let db = match options.expect {
            Expect::TornLook => DB::open_cf_descriptors_read_only(&settings, &options.path, families, false),
            _ => DB::open_cf_descriptors(&settings, &options.path, families),
        };
        let db = db.map_err(own_words)?;
        Ok(Self { db, path: options.path, sync: options.sync })
    }

    fn family(&self, table: Table) -> &ColumnFamily {
        self.db.cf_handle(table.name()).expect("every table has been opened")
    }

    fn collect(&self, batch: &Batch) -> WriteBatch {
        let mut out = WriteBatch::with_capacity_bytes(batch.bytes() + batch.changes().len() * 16);
        for change in batch.changes() {
            match change {
                Change::Put(table, key, value) => out.put_cf(self.family(*table), key, value),
                Change::Delete(table, key) => out.delete_cf(self.family(*table), key),
                Change::DeleteRange(table, from, to) => out.delete_range_cf(self.family(*table), from, to),
            }
        }
        out
    }
}

fn store_options(expect: Expect) -> Options {
    let mut options = Options::default();
    options.create_if_missing(expect == Expect::New);
    options.create_missing_column_families(expect == Expect::New);
    // RocksDB's default stops silently at the first damaged record, and acknowledged entries would be gone without a
    // word. But a write torn by a loss of power looks damaged too: then the caller looks how far the rest goes.
    options.set_wal_recovery_mode(match expect {
        Expect::New | Expect::Whole => DBRecoveryMode::TolerateCorruptedTailRecords,
        Expect::Torn | Expect::TornLook => DBRecoveryMode::PointInTime,
    });
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_paranoid_checks(true);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(INFO_LOGS_MAX);
    options.set_max_log_file_size(INFO_LOG_BYTES_MAX);
    options.set_log_level(LogLevel::Warn);
    options.set_stats_dump_period_sec(0);
    options.set_skip_stats_update_on_db_open(true);
    options
}

fn table_options(cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_cache_index_and_filter_blocks(true);
    let mut options = Options::default();
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_write_buffer_number(2);
    options.set_paranoid_checks(true);
    options.set_block_based_table_factory(&blocks);
    options
}

fn own_words(error: rocksdb::Error) -> EngineError {
    EngineError(error.into_string())
}

fn scan_options(to: Option<&[u8]>) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_verify_checksums(true);
    options.fill_cache(false);
    if let Some(to) = to {
        options.set_iterate_upper_bound(to);
    }
    options
}

impl Read for RocksEngine {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.db.get_cf(self.family(table), key).map_err(own_words)
    }

    fn scan(&self, table: Table, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), EngineError> {
        View { engine: self, snapshot: self.db.snapshot() }.scan(table, from, to, visit)
    }

    fn last(&self, table: Table) -> Result<Option<Pair>, EngineError> {
        View { engine: self, snapshot: self.db.snapshot() }.last(table)
    }
}

/// The store as it was at one moment.
struct View<'a> {
    engine: &'a RocksEngine,
    snapshot: Snapshot<'a>,
}

impl Read for View<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.snapshot.get_cf(self.engine.family(table), key).map_err(own_words)
    }

    fn scan(&self, table: Table, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), EngineError> {
        if to.is_some_and(|to| to <= from) {
            return Ok(());
        }
        let mode = IteratorMode::From(from, Direction::Forward);
        for item in self.snapshot.iterator_cf_opt(self.engine.family(table), scan_options(to), mode) {
            let (key, value) = item.map_err(own_words)?;
            if let ControlFlow::Break(()) = visit(&key, &value) {
                break;
            }
        }
        Ok(())
    }

    fn last(&self, table: Table) -> Result<Option<Pair>, EngineError> {
        let mut items = self.snapshot.iterator_cf_opt(self.engine.family(table), scan_options(None), IteratorMode::End);
        items.next().transpose().map(|found| found.map(|(key, value)| (key.into(), value.into()))).map_err(own_words)
    }
}

impl Engine for RocksEngine {
    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), EngineError> {
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced && self.sync);
        self.db.write_opt(self.collect(batch), &options).map_err(own_words)
    }

    fn view(&self, with: &mut dyn FnMut(&dyn Read)) {
        with(&View { engine: self, snapshot: self.db.snapshot() });
    }

    fn reclaim(&self, table: Table, last: &[u8]) {
        // Files that lie within the range, its end included; the rest goes with the next compaction. Failing costs
        // space, not data.
        if let Err(error) = self.db.delete_file_in_range_cf(self.family(table), &[][..], last) {
            tracing::warn!(path = %self.path.display(), %error, "could not give back the space of old log entries");
        }
    }

    fn background_error(&self) -> Option<EngineError> {
        let count = self.db.property_int_value(rocksdb::properties::BACKGROUND_ERRORS).ok().flatten()?;
        (count > 0).then(|| {
            EngineError("the store could not write its tables in the background; its LOG file says why".into())
        })
    }

    fn close(&self) -> Result<(), EngineError> {
        if self.sync { self.db.flush_wal(true).map_err(own_words) } else { Ok(()) }
    }
}
