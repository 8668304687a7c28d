//! Purging the log: what is gone is gone, and nothing else.

use openraft::RaftLogReader as _;
use openraft::storage::RaftLogStorage as _;
use raft::cluster::EngineKind;
use raft::codec::{LogEntry, LogPosition, Payload, encode, log_key};
use raft::engine::{Batch, Durability, Engine as _, Expect, RocksEngine, RocksOptions, Table};

use crate::suite::stores;

/// One table on disk that holds exactly the log entries 0 to `last`.
fn one_table(path: &std::path::Path, last: u64) {
    let engine = RocksEngine::open(RocksOptions { path: path.to_owned(), expect: Expect::New, sync: true }).unwrap();
    let mut batch = Batch::default();
    for index in 0..=last {
        let entry = LogEntry { position: LogPosition { term: 1, node: 1, index }, payload: Payload::Blank };
        batch.put(Table::Log, log_key(index), encode(&entry).unwrap());
    }
    engine.write(&batch, Durability::Synced).unwrap();
    drop(engine);
    let families = ["default", "meta", "log", "records"];
    let db = rocksdb::DB::open_cf(&rocksdb::Options::default(), path, families).unwrap();
    db.compact_range_cf(db.cf_handle("log").unwrap(), None::<&[u8]>, None::<&[u8]>);
    let tables = db.live_files().unwrap();
    let log: Vec<_> = tables.iter().filter(|table| table.column_family_name == "log").collect();
    assert_eq!(log.len(), 1);
    assert!(log[0].level > 0, "only tables below the first level are given back whole");
    assert_eq!(log[0].end_key.as_deref(), Some(&log_key(last)[..]));
}

#[tokio::test]
async fn the_first_entry_behind_a_purge_stays_though_its_table_ends_with_it() {
    let dir = tempfile::tempdir().unwrap();
    one_table(&dir.path().join("db"), 49);
    let (mut log, _machine) = stores(dir.path(), EngineKind::RocksDb);
    let upto = log.try_get_log_entries(48..49).await.unwrap()[0].log_id;
    log.purge(upto).await.unwrap();
    let left = log.try_get_log_entries(0..100).await.unwrap();
    assert_eq!(left.iter().map(|entry| entry.log_id.index).collect::<Vec<_>>(), [49]);
    // Purging the same again has nothing to give back.
    log.purge(upto).await.unwrap();
    assert_eq!(log.try_get_log_entries(0..100).await.unwrap().len(), 1);
}
