//! A directory made from the records of a backup: the only node of a new generation, with an id that was never given.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::cluster::{EngineKind, OpenError, fail, new_mark, open_engine};
use crate::codec::{self, Applied, Identity, LogPosition, Members, Purged, StoredVote};
use crate::engine::{Batch, Durability, Table};
use crate::failure::write_hint;
use crate::home::Home;
use crate::log_store::{PURGED_KEY, VOTE_KEY};
use crate::snapshot::{SnapshotError, Snapshots};
use crate::state::{Blob, Member, Record, Roster, VipRecord};
use crate::state_machine::{self, INSTALLING_KEY};
use crate::types::Digest;

/// What a restored node begins as.
#[derive(Debug, Clone)]
pub struct Start {
    /// The cluster, the new generation, and an id that was never given.
    pub identity: Identity,
    /// How far the backup goes; the log goes on from there.
    pub at: LogPosition,
    /// What this node is to the others.
    pub own: Member,
    /// The bytes that are on this node's disk, verified.
    pub held: BTreeSet<Digest>,
}

/// A directory in which everything is there but the name of its owner.
pub struct Restored {
    home: Home,
    identity: Identity,
}

impl Restored {
    /// Makes it the directory of the node.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn seal(mut self) -> Result<(), OpenError> {
        Ok(self.home.seal(&self.identity)?)
    }
}

/// Fills an empty directory. `records` hands over every record of the backup, in the order of their keys.
///
/// # Errors
/// When the directory is not empty, the disk does not take it, or `records` fails; then the directory must be removed
/// before this is tried again.
pub fn restore(
    dir: &Path,
    start: Start,
    records: impl FnOnce(&mut dyn FnMut(Record) -> Result<(), SnapshotError>) -> Result<(), SnapshotError>,
) -> Result<Restored, OpenError> {
    let home = Home::open(dir)?;
    if !home.is_new() || home.database().exists() {
        return Err(OpenError(format!("{}: there is a node's data already; nothing was changed", dir.display())));
    }
    let engine = open_engine(&home, EngineKind::RocksDb, true, None)?;
    home.take_on(&*engine, &start.identity)?;
    new_mark(&home, true)?;
    let place = home.snapshots();
    let unwritten = |error: &dyn std::fmt::Display| fail("writing", &place, error, write_hint(&error.to_string()));
    let snapshots = Snapshots::open(place.clone(), start.identity.clone()).map_err(|error| unwritten(&error))?;
    let identity = start.identity.clone();
    let applied = applied(&start);
    let mut change = Change::new(start);
    let written = snapshots.write(&applied, |sink| {
        let mut keep = |record: Record| {
            let frame = codec::encode_record(&record).map_err(|error| SnapshotError::Source(error.to_string()))?;
            sink(&frame)
        };
        records(&mut |record| change.take(record, &mut keep))?;
        change.finish(&mut keep)
    });
    let file = written.map_err(|error| unwritten(&error))?;
    let db = home.database();
    let failed = |error: &dyn std::fmt::Display| fail("writing", &db, error, write_hint(&error.to_string()));
    let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let batch = log_of(&identity, &applied, name).map_err(|error| failed(&error))?;
    engine.write(&batch, Durability::Synced).map_err(|error| failed(&error))?;
    // As if the snapshot had come from a leader.
    state_machine::load(&*engine, &snapshots).map_err(|error| failed(&error))?;
    engine.close().map_err(|error| failed(&error))?;
    Ok(Restored { home, identity })
}

fn applied(start: &Start) -> Applied {
    let own = start.identity.node;
    let members = Members { voters: vec![BTreeSet::from([own])], addresses: [(own, start.own.peer.clone())].into() };
    Applied { last: Some(start.at), members_at: Some(start.at), members }
}

/// A log that is empty behind the records, of a node that has begun to stand for election.
fn log_of(identity: &Identity, applied: &Applied, installing: String) -> Result<Batch, codec::CodecError> {
    let mut batch = Batch::default();
    let at = applied.last.unwrap_or(LogPosition { term: 0, node: identity.node, index: 0 });
    let vote = StoredVote { term: at.term + 1, node: identity.node, committed: false };
    batch.put(Table::Meta, PURGED_KEY, codec::encode(&Purged(at))?);
    batch.put(Table::Meta, VOTE_KEY, codec::encode(&vote)?);
    batch.put(Table::Meta, INSTALLING_KEY, installing.into_bytes());
    Ok(batch)
}

type Keep<'a> = &'a mut dyn FnMut(Record) -> Result<(), SnapshotError>;

/// What becomes of the records: all stay but those that say which nodes there are and what they hold.
struct Change {
    start: Start,
    /// Whether this node's own record has been written.
    written: bool,
    /// Bytes that some asset leads to; assets come before blobs.
    named: BTreeSet<Digest>,
}

impl Change {
    fn new(start: Start) -> Self {
        Self { start, written: false, named: BTreeSet::new() }
    }

    fn take(&mut self, record: Record, keep: Keep<'_>) -> Result<(), SnapshotError> {
        let own = Record::Member(Arc::new(self.start.own.clone())).key();
        if !self.written && codec::record_key(&record.key()) >= codec::record_key(&own) {
            self.write_own(keep)?;
        }
        let own = self.start.identity.node;
        match record {
            Record::Member(_) | Record::Roster(_) => Ok(()),
            Record::Cluster(stored) => {
                let mut settings = stored.value.clone();
                settings.preferred = settings.preferred.map(|_| own);
                keep(Record::Cluster(Arc::new(stored.holding(settings))))
            }
            Record::Vip(record) => keep(Record::Vip(doubtful(record, own))),
            Record::Blob(blob) => self.take_blob(&blob, keep),
            Record::Asset(stored) => {
                self.named.insert(stored.value.digest);
                keep(Record::Asset(stored))
            }
            other => keep(other),
        }
    }

    /// Bytes that are not here are remembered while a name leads to them, so that it is seen that they are missing.
    fn take_blob(&self, blob: &Blob, keep: Keep<'_>) -> Result<(), SnapshotError> {
        let (digest, size) = (blob.digest, blob.size);
        let held = self.start.held.contains(&digest);
        if !held && !self.named.contains(&digest) {
            return Ok(());
        }
        let replicas = held.then_some(self.start.identity.node).into_iter().collect();
        keep(Record::Blob(Arc::new(Blob { digest, size, replicas, condemned: None })))
    }

    fn write_own(&mut self, keep: Keep<'_>) -> Result<(), SnapshotError> {
        self.written = true;
        keep(Record::Member(Arc::new(self.start.own.clone())))?;
        keep(Record::Roster(Roster { last_node: self.start.identity.node }))
    }

    fn finish(&mut self, keep: Keep<'_>) -> Result<(), SnapshotError> {
        if self.written { Ok(()) } else { self.write_own(keep) }
    }
}

/// A node of the old generation may still hold the VIP: whoever takes it now waits and probes first.
fn doubtful(record: VipRecord, own: u64) -> VipRecord {
    let holder = if record.holder == own { own.saturating_sub(1) } else { record.holder };
    VipRecord { holder, released: false, orderly: false, ..record }
}
