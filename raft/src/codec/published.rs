//! The structs whose bytes are on somebody's disk, apart from those in `command` and `state`.
//!
//! They are ours and not openraft's, so that an update of openraft cannot change what is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{CodecError, Envelope, Kind, Published, encode_as};
use crate::state::{
    Asset, Blob, CaRecord, Certificate, ClusterSettings, FormerSecret, Group, JoinToken, Machine, Member, Profile,
    Record, Replay, Roster, Ruled, Settings, Stored, Template, Token, VipRecord,
};
use crate::type_config::Proposal;

/// A place in the log and the leadership that wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogPosition {
    /// Term of that leadership.
    pub term: u64,
    /// Its leader.
    pub node: u64,
    /// Index in the log.
    pub index: u64,
}

/// The voters (two sets while a change is under way) and every member's address.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Members {
    /// Sets of voters, each of which must agree.
    pub voters: Vec<BTreeSet<u64>>,
    /// Where each member answers its peers; learners are those in no set of voters.
    pub addresses: BTreeMap<u64, String>,
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Where it belongs.
    pub position: LogPosition,
    /// What it says.
    pub payload: Payload,
}

/// What an entry says. Variants are only ever added at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// Nothing: a new leader's first entry.
    Blank,
    /// A command.
    Command(Proposal),
    /// A change of membership.
    Members(Members),
}

/// What this node has voted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredVote {
    /// Term voted in.
    pub term: u64,
    /// Candidate voted for.
    pub node: u64,
    /// Whether that candidate is known to have won.
    pub committed: bool,
}

/// The last entry that has been removed from the front of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged(pub LogPosition);

/// How far the stored records go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Applied {
    /// The last entry they include; `None` before the first.
    pub last: Option<LogPosition>,
    /// Which entry set the membership.
    pub members_at: Option<LogPosition>,
    /// The membership as of `last`.
    pub members: Members,
}

/// Which cluster and node a directory belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// 128 random bits, chosen when the cluster was made.
    pub cluster: [u8; 16],
    /// Raised by a forced recovery, which leaves older members behind.
    pub generation: u64,
    /// This node; never reused within a cluster.
    pub node: u64,
}

/// The number of a synced write: in the database as part of that write, outside it once it is known to be synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DurableMark {
    /// Rises by one with every synced write.
    pub round: u64,
}

/// The first frame of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHeader {
    /// Cluster it is of.
    pub cluster: [u8; 16],
    /// Generation it is of.
    pub generation: u64,
    /// How far it goes.
    pub applied: Applied,
}

/// The last frame of a snapshot; without it the file is cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotTrailer {
    /// Frames between header and trailer.
    pub records: u64,
    /// crc32c over every byte before this frame.
    pub checksum: u32,
}

/// A remembered answer with the key it is filed under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayRecord {
    /// The idempotency key.
    pub key: String,
    /// The answer.
    pub replay: Replay,
}

macro_rules! published {
    ($($kind:ident $schema:literal $type:ty,)*) => {
        $(impl Published for $type {
            const KIND: Kind = Kind::$kind;
            const SCHEMA: u16 = $schema;
        })*
    };
}

published! {
    LogEntry 1 LogEntry,
    Vote 1 StoredVote,
    Purged 1 Purged,
    Applied 1 Applied,
    Identity 1 Identity,
    DurableMark 1 DurableMark,
    SnapshotHeader 1 SnapshotHeader,
    SnapshotTrailer 1 SnapshotTrailer,
    Profile 1 Stored<Profile>,
    Group 1 Stored<Group>,
    Group 2 Stored<Ruled>,
    Template 1 Stored<Template>,
    Asset 1 Stored<Asset>,
    Token 1 Stored<Token>,
    Settings 1 Stored<Settings>,
    Machine 1 Machine,
    Replay 1 ReplayRecord,
    Member 1 Member,
    Roster 1 Roster,
    Cluster 1 Stored<ClusterSettings>,
    Vip 1 VipRecord,
    Blob 1 Blob,
    JoinToken 1 Stored<JoinToken>,
    Certificate 1 Stored<Certificate>,
    Ca 1 CaRecord,
    FormerSecret 1 FormerSecret,
}

/// Wraps a record of the state.
///
/// # Errors
/// When it is beyond `PAYLOAD_BYTES_MAX`.
pub fn encode_record(record: &Record) -> Result<Vec<u8>, CodecError> {
    fn wrap<T: Published>(value: &T) -> Result<Vec<u8>, CodecError> {
        encode_as(T::KIND, T::SCHEMA, value)
    }
    match record {
        Record::Profile(value) => wrap(&**value),
        // The first version can be read by programs that know no rules, so it is written where there are none.
        Record::Group(value) if value.value.rules.is_empty() => wrap(&**value),
        Record::Group(value) => wrap(&value.holding(Ruled(value.value.clone()))),
        Record::Template(value) => wrap(&**value),
        Record::Asset(value) => wrap(&**value),
        Record::Token(value) => wrap(&**value),
        Record::Settings(value) => wrap(&**value),
        Record::Machine(value) => wrap(&**value),
        Record::Replay(key, replay) => wrap(&ReplayRecord { key: key.clone(), replay: (**replay).clone() }),
        Record::Member(value) => wrap(&**value),
        Record::Roster(value) => wrap(value),
        Record::Cluster(value) => wrap(&**value),
        Record::Vip(value) => wrap(value),
        Record::Blob(value) => wrap(&**value),
        Record::JoinToken(value) => wrap(&**value),
        Record::Certificate(value) => wrap(&**value),
        Record::Ca(value) => wrap(&**value),
        Record::FormerSecret(value) => wrap(&**value),
    }
}

/// Reads what `encode_record` wrote.
///
/// # Errors
/// For anything but one whole, undamaged record of a known kind.
pub fn decode_record(bytes: &[u8]) -> Result<Record, CodecError> {
    let envelope = Envelope::open(bytes)?;
    let (schema, payload) = (envelope.schema, envelope.payload);
    fn read<T: Published>(schema: u16, payload: &[u8]) -> Result<Arc<T>, CodecError> {
        T::upcast(schema, payload).map(Arc::new)
    }
    let record = match envelope.kind {
        kind if kind == Kind::Profile as u8 => Record::Profile(read(schema, payload)?),
        kind if kind == Kind::Group as u8 && schema == <Stored<Group> as Published>::SCHEMA => {
            Record::Group(read(schema, payload)?)
        }
        kind if kind == Kind::Group as u8 => {
            let stored = Stored::<Ruled>::upcast(schema, payload)?;
            Record::Group(Arc::new(stored.holding(stored.value.0.clone())))
        }
        kind if kind == Kind::Template as u8 => Record::Template(read(schema, payload)?),
        kind if kind == Kind::Asset as u8 => Record::Asset(read(schema, payload)?),
        kind if kind == Kind::Token as u8 => Record::Token(read(schema, payload)?),
        kind if kind == Kind::Settings as u8 => Record::Settings(read(schema, payload)?),
        kind if kind == Kind::Machine as u8 => {
            let machine: Arc<Machine> = read(schema, payload)?;
            if machine.macs.is_empty() {
                return Err(CodecError::Payload("a machine without a MAC address".into()));
            }
            Record::Machine(machine)
        }
        kind if kind == Kind::Replay as u8 => {
            let stored = ReplayRecord::upcast(schema, payload)?;
            Record::Replay(stored.key, Arc::new(stored.replay))
        }
        kind if kind == Kind::Member as u8 => Record::Member(read(schema, payload)?),
        kind if kind == Kind::Roster as u8 => Record::Roster(Roster::upcast(schema, payload)?),
        kind if kind == Kind::Cluster as u8 => Record::Cluster(read(schema, payload)?),
        kind if kind == Kind::Vip as u8 => Record::Vip(VipRecord::upcast(schema, payload)?),
        kind if kind == Kind::Blob as u8 => Record::Blob(read(schema, payload)?),
        kind if kind == Kind::JoinToken as u8 => Record::JoinToken(read(schema, payload)?),
        kind if kind == Kind::Certificate as u8 => Record::Certificate(read(schema, payload)?),
        kind if kind == Kind::Ca as u8 => Record::Ca(read(schema, payload)?),
        kind if kind == Kind::FormerSecret as u8 => Record::FormerSecret(read(schema, payload)?),
        kind => return Err(CodecError::Newer(format!("record kind {kind}"))),
    };
    Ok(record)
}
