//! What nodes say to each other, as frames of the codec's envelope. These structs are ours and not openraft's, so that an
//! update of openraft does not change what a node of another version hears.

use std::io;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::cluster::Committed;
use crate::codec::{
    self, Applied, HEADER_BYTES, Header, Kind, LogEntry, LogPosition, PAYLOAD_BYTES_MAX, Published, StoredVote,
};
use crate::state::{Member, NewMember};
use crate::type_config::Proposal;

/// Who a message is from and for. Every connection begins with one, and the receiver refuses any that does not name its
/// own cluster, generation and id: an address may belong to somebody else by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addressing {
    /// The cluster both belong to.
    pub cluster: [u8; 16],
    /// Its generation, as the sender knows it.
    pub generation: u64,
    /// The sender.
    pub from: u64,
    /// The node it is meant for.
    pub target: u64,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Channel {
    /// Raft's own messages, one after the other.
    Raft,
    /// Requests that are answered as each is done.
    Calls,
    /// One snapshot.
    Snapshot,
}

/// The first frame on a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) addressing: Addressing,
    pub(crate) channel: Channel,
    /// The sender's lease, in milliseconds. All nodes must count with the same one, or two could hold the VIP.
    pub(crate) lease_millis: u64,
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Welcome {
    /// Go on.
    Come,
    /// You have been removed from the cluster.
    Removed,
    /// Not for us, or not from one of us; in words for the log.
    Refused(String),
}

/// A request and its number on the connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Numbered<T> {
    pub(crate) number: u64,
    pub(crate) body: T,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AppendAsk {
    pub(crate) vote: StoredVote,
    pub(crate) previous: Option<LogPosition>,
    pub(crate) committed: Option<LogPosition>,
    pub(crate) entries: Vec<LogEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VoteAsk {
    pub(crate) vote: StoredVote,
    pub(crate) last: Option<LogPosition>,
    /// Authorised by the leader itself, whose lease therefore does not stand in the way.
    pub(crate) transfer: bool,
    /// Only a question.
    pub(crate) pre: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TransferAsk {
    pub(crate) from: StoredVote,
    pub(crate) to: u64,
    pub(crate) last: Option<LogPosition>,
}

/// The frame before the bytes of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotAsk {
    pub(crate) vote: StoredVote,
    pub(crate) applied: Applied,
    pub(crate) bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JoinAsk {
    pub(crate) new: NewMember,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RemoveAsk {
    pub(crate) id: u64,
    pub(crate) force: bool,
}

/// Everything one node asks of another. Variants are only ever added at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ask {
    Append(AppendAsk),
    Vote(VoteAsk),
    Transfer(TransferAsk),
    Snapshot(SnapshotAsk),
    Propose(Proposal),
    HandOver(Option<u64>),
    Join(JoinAsk),
    Remove(RemoveAsk),
    Overview,
    Whisper(Vec<u8>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AppendAnswer {
    Success,
    Partial(Option<LogPosition>),
    Conflict,
    HigherVote(StoredVote),
}

/// What a follower looks like from the leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// The node.
    pub id: u64,
    /// Whether it votes.
    pub voter: bool,
    /// Milliseconds since something was sent that it answered; `None`: never.
    pub silent_for_millis: Option<u64>,
    /// How many log entries it is behind; `None`: not known.
    pub lag: Option<u64>,
}

/// What kind of failure a call ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ProblemKind {
    /// The node asked does not lead; nothing was done.
    NotLeader,
    /// Nothing was done.
    Unavailable,
    /// It may or may not have been done.
    Unknown,
    /// It was understood and refused.
    Refused,
}

/// A call that failed, in words for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub(crate) struct CallProblem {
    pub(crate) kind: ProblemKind,
    pub(crate) message: String,
}

/// What a call is answered with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum CallAnswer {
    Committed(Committed),
    HandedOver(u64),
    Joined(Member),
    Removed,
    Overview(Vec<PeerView>),
    Heard,
}

/// Every answer. Variants are only ever added at the end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Answer {
    Append(AppendAnswer),
    Vote {
        vote: StoredVote,
        last: Option<LogPosition>,
        granted: bool,
    },
    Transfer(Result<(), String>),
    Snapshot(StoredVote),
    Call(Result<CallAnswer, CallProblem>),
    /// The node cannot answer that now; in words for the log.
    Failed(String),
}

impl Published for Hello {
    const KIND: Kind = Kind::PeerHello;
    const SCHEMA: u16 = 1;
}

impl Published for Welcome {
    const KIND: Kind = Kind::PeerWelcome;
    const SCHEMA: u16 = 1;
}

impl Published for Numbered<Ask> {
    const KIND: Kind = Kind::PeerAsk;
    const SCHEMA: u16 = 1;
}

impl Published for Numbered<Answer> {
    const KIND: Kind = Kind::PeerAnswer;
    const SCHEMA: u16 = 1;
}

/// Encodes one frame.
pub(crate) fn frame<T: Published>(value: &T) -> io::Result<Vec<u8>> {
    codec::encode(value).map_err(io::Error::other)
}

/// Sends one frame.
pub(crate) async fn send<T: Published>(to: &mut (impl AsyncWrite + Unpin), value: &T) -> io::Result<()> {
    to.write_all(&frame(value)?).await?;
    to.flush().await
}

/// Receives one frame; `None` at the end of the stream between two frames.
pub(crate) async fn receive<T: Published>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<T>> {
    let mut bytes = vec![0; HEADER_BYTES];
    match from.read_exact(&mut bytes).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let header = Header::parse(&bytes).map_err(io::Error::other)?;
    debug_assert!(header.length <= PAYLOAD_BYTES_MAX);
    bytes.resize(HEADER_BYTES + header.length, 0);
    from.read_exact(&mut bytes[HEADER_BYTES..]).await?;
    codec::decode(&bytes).map(Some).map_err(io::Error::other)
}
