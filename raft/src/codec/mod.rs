//! The one place where values become bytes: a versioned, checksummed envelope around bincode.
//!
//! ```text
//! magic u16 | codec u8 | kind u8 | schema u16 | flags u16 | length u32 | crc32c u32 | payload
//! ```
//!
//! All numbers are little endian; the checksum covers the twelve bytes before it and the payload. The envelope never
//! changes, so the codec can be replaced record by record. Everything on disk and between nodes is wrapped in it.

mod keys;
mod published;

use bincode::Options as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use keys::{RECORDS_END, log_index, log_key, record_key};
pub use published::{
    Applied, DurableMark, Identity, LogEntry, LogPosition, Members, Payload, Purged, ReplayRecord, SnapshotHeader,
    SnapshotTrailer, StoredVote, decode_record, encode_record,
};

/// Marks every envelope: the bytes `RB`.
const MAGIC: u16 = u16::from_le_bytes(*b"RB");
/// bincode 1.3, fixed width, little endian.
const CODEC_BINCODE_1: u8 = 1;
/// Bytes before the payload.
pub const HEADER_BYTES: usize = 16;
/// The largest payload any envelope may have, bytes; a length beyond it is damage, not data.
pub const PAYLOAD_BYTES_MAX: usize = 40 * 1024 * 1024;

/// What an envelope holds. Numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// An entry of the Raft log.
    LogEntry = 1,
    /// The vote of this node.
    Vote = 2,
    /// How far the log has been purged.
    Purged = 3,
    /// How far the state goes, with the membership then.
    Applied = 4,
    /// Which cluster and node a directory belongs to.
    Identity = 5,
    /// The number of a synced write.
    DurableMark = 6,
    /// The first frame of a snapshot.
    SnapshotHeader = 7,
    /// The last frame of a snapshot.
    SnapshotTrailer = 8,
    /// A stored profile.
    Profile = 16,
    /// A stored group.
    Group = 17,
    /// A stored template.
    Template = 18,
    /// A stored asset.
    Asset = 19,
    /// A stored token.
    Token = 20,
    /// The stored settings.
    Settings = 21,
    /// A machine.
    Machine = 22,
    /// A remembered answer.
    Replay = 23,
    /// A node.
    Member = 24,
    /// The ids that have been given to nodes.
    Roster = 25,
    /// What the nodes share about the cluster.
    Cluster = 26,
    /// Who holds the floating address.
    Vip = 27,
    /// Bytes and who holds them.
    Blob = 28,
    /// A join token.
    JoinToken = 29,
    /// A client's certificate.
    Certificate = 30,
    /// How far a change of the CA has come.
    Ca = 31,
    /// The secret a token had before.
    FormerSecret = 32,
    /// The first word on a connection between nodes.
    PeerHello = 40,
    /// The answer to it.
    PeerWelcome = 41,
    /// A request between nodes.
    PeerAsk = 42,
    /// The answer to it.
    PeerAnswer = 43,
}

/// Why bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Fewer bytes than an envelope or its payload needs.
    #[error("cut short: {have} of {need} bytes")]
    Short {
        /// Bytes there are.
        have: usize,
        /// Bytes there should be.
        need: usize,
    },
    /// Not one of our envelopes.
    #[error("not a raftboot record (it begins with {0:#06x})")]
    Magic(u16),
    /// The length field is beyond what is ever written.
    #[error("damaged: a length of {0} bytes")]
    Length(usize),
    /// The checksum does not match.
    #[error("damaged: checksum {found:#010x}, {stored:#010x} was stored")]
    Checksum {
        /// Computed over the bytes.
        found: u32,
        /// Read from the envelope.
        stored: u32,
    },
    /// Another kind of record than the place it was found in holds.
    #[error("a record of kind {found} where kind {wanted} belongs")]
    Kind {
        /// Read from the envelope.
        found: u8,
        /// Expected.
        wanted: u8,
    },
    /// Written by a later version of this program.
    #[error("written by a newer version of raftboot ({0}); run that version or a later one")]
    Newer(String),
    /// The payload does not decode.
    #[error("damaged: {0}")]
    Payload(String),
}

/// A struct whose bytes are on somebody's disk. Once released it never changes: a new shape is a new struct with a
/// higher `SCHEMA` whose `upcast` accepts the older ones.
pub trait Published: Serialize + DeserializeOwned {
    /// What it is.
    const KIND: Kind;
    /// The version written.
    const SCHEMA: u16;

    /// Reads a payload of any version up to `SCHEMA`.
    ///
    /// # Errors
    /// When the payload does not decode, or is of a version this program does not know.
    fn upcast(schema: u16, payload: &[u8]) -> Result<Self, CodecError> {
        if schema == Self::SCHEMA { from_payload(payload) } else { Err(newer(Self::KIND, schema)) }
    }
}

/// The explicit options: never bincode's own defaults.
fn options() -> impl bincode::Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_little_endian()
        .with_limit(PAYLOAD_BYTES_MAX as u64)
        .reject_trailing_bytes()
}

/// Bytes `value` takes as a payload, without encoding it.
///
/// # Errors
/// When it is beyond `PAYLOAD_BYTES_MAX`.
pub fn payload_bytes<T: Serialize>(value: &T) -> Result<usize, CodecError> {
    let bytes = options().serialized_size(value).map_err(|error| CodecError::Payload(error.to_string()))?;
    usize::try_from(bytes).map_err(|_| CodecError::Length(usize::MAX))
}

/// Wraps `value` in an envelope.
///
/// # Errors
/// When it is beyond `PAYLOAD_BYTES_MAX`.
pub fn encode<T: Published>(value: &T) -> Result<Vec<u8>, CodecError> {
    encode_as(T::KIND, T::SCHEMA, value)
}

fn encode_as<T: Serialize>(kind: Kind, schema: u16, value: &T) -> Result<Vec<u8>, CodecError> {
    let length = payload_bytes(value)?;
    let mut out = Vec::with_capacity(HEADER_BYTES + length);
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend_from_slice(&[CODEC_BINCODE_1, kind as u8]);
    out.extend_from_slice(&schema.to_le_bytes());
    out.extend_from_slice(&0_u16.to_le_bytes());
    let declared = u32::try_from(length).map_err(|_| CodecError::Length(length))?;
    out.extend_from_slice(&declared.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    options().serialize_into(&mut out, value).map_err(|error| CodecError::Payload(error.to_string()))?;
    let crc = checksum(&out[..12], &out[HEADER_BYTES..]);
    out[12..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    Ok(out)
}

/// Reads what `encode` wrote, of this or an earlier version.
///
/// # Errors
/// For anything but one whole, undamaged envelope of that kind.
pub fn decode<T: Published>(bytes: &[u8]) -> Result<T, CodecError> {
    let envelope = Envelope::open(bytes)?;
    envelope.expect(T::KIND)?;
    T::upcast(envelope.schema, envelope.payload)
}

/// An envelope whose checksum has been verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The kind as stored; it may be one this version does not know.
    pub kind: u8,
    /// The version of the payload.
    pub schema: u16,
    /// What was wrapped.
    pub payload: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Takes exactly one envelope.
    ///
    /// # Errors
    /// When the bytes are short, long, damaged or no envelope at all.
    pub fn open(bytes: &'a [u8]) -> Result<Self, CodecError> {
        let header = Header::parse(bytes)?;
        let need = HEADER_BYTES + header.length;
        if bytes.len() != need {
            return Err(CodecError::Short { have: bytes.len(), need });
        }
        let payload = &bytes[HEADER_BYTES..];
        let found = checksum(&bytes[..12], payload);
        if found != header.checksum {
            return Err(CodecError::Checksum { found, stored: header.checksum });
        }
        if header.codec != CODEC_BINCODE_1 || header.flags != 0 {
            return Err(CodecError::Newer(format!("codec {}, flags {:#x}", header.codec, header.flags)));
        }
        Ok(Self { kind: header.kind, schema: header.schema, payload })
    }

    fn expect(&self, kind: Kind) -> Result<(), CodecError> {
        if self.kind == kind as u8 { Ok(()) } else { Err(CodecError::Kind { found: self.kind, wanted: kind as u8 }) }
    }
}

/// The fixed part of an envelope, as read; nothing but the magic and the length has been checked.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    codec: u8,
    kind: u8,
    schema: u16,
    flags: u16,
    /// Bytes of payload that follow.
    pub length: usize,
    checksum: u32,
}

impl Header {
    /// Reads the first `HEADER_BYTES` of `bytes`.
    ///
    /// # Errors
    /// When there are fewer, the magic is another, or the length is beyond `PAYLOAD_BYTES_MAX`.
    pub fn parse(bytes: &[u8]) -> Result<Self, CodecError> {
        let Some(head) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(CodecError::Short { have: bytes.len(), need: HEADER_BYTES });
        };
        let [m0, m1, codec, kind, s0, s1, f0, f1, l0, l1, l2, l3, c0, c1, c2, c3] = *head;
        let magic = u16::from_le_bytes([m0, m1]);
        if magic != MAGIC {
            return Err(CodecError::Magic(magic));
        }
        let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        if length > PAYLOAD_BYTES_MAX {
            return Err(CodecError::Length(length));
        }
        Ok(Self {
            codec,
            kind,
            schema: u16::from_le_bytes([s0, s1]),
            flags: u16::from_le_bytes([f0, f1]),
            length,
            checksum: u32::from_le_bytes([c0, c1, c2, c3]),
        })
    }
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), payload)
}

fn from_payload<T: DeserializeOwned>(payload: &[u8]) -> Result<T, CodecError> {
    options().deserialize(payload).map_err(|error| CodecError::Payload(error.to_string()))
}

fn newer(kind: Kind, schema: u16) -> CodecError {
    CodecError::Newer(format!("{kind:?} version {schema}"))
}
