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
    ReadIndex,
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
    ReadIndex(u64),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::codec::{Members, Payload, decode};
    use crate::command::{Command, Edit, Outcome};
    use crate::state::NodeKind;
    use crate::types::{Digest, LogIndex, Timestamp};

    fn position() -> LogPosition {
        LogPosition { term: 3, node: 1, index: 42 }
    }

    fn vote() -> StoredVote {
        StoredVote { term: 3, node: 1, committed: true }
    }

    fn new_member() -> NewMember {
        let (peer, boot) = ("192.0.2.3:7443".to_owned(), "http://192.0.2.3:8080".to_owned());
        NewMember { name: "n3".into(), kind: NodeKind::Data, peer, boot, instance: [3; 16] }
    }

    /// Everything one node asks of another.
    fn asks() -> Vec<Ask> {
        let entry = LogEntry { position: position(), payload: Payload::Members(Members::default()) };
        let command = Command {
            actor: "ci".into(),
            at: Timestamp(1),
            idempotency_key: "k".into(),
            fingerprint: Digest([7; 32]),
            edits: vec![Edit::DeleteGroup("g".into()).into()],
            replace: Vec::new(),
            allow_ties: false,
        };
        vec![
            Ask::Append(AppendAsk { vote: vote(), previous: Some(position()), committed: None, entries: vec![entry] }),
            Ask::Vote(VoteAsk { vote: vote(), last: Some(position()), transfer: true, pre: false }),
            Ask::Transfer(TransferAsk { from: vote(), to: 2, last: None }),
            Ask::Snapshot(SnapshotAsk { vote: vote(), applied: Applied::default(), bytes: 9 }),
            Ask::Propose(Proposal(Arc::new(command))),
            Ask::HandOver(Some(2)),
            Ask::Join(JoinAsk { new: new_member() }),
            Ask::Remove(RemoveAsk { id: 2, force: true }),
            Ask::Overview,
            Ask::Whisper(b"psst".to_vec()),
        ]
    }

    /// Everything it is answered.
    fn answers() -> Vec<Answer> {
        let NewMember { name, kind, peer, boot, instance } = new_member();
        let member = Member { id: 3, name, kind, peer, boot, instance, replaces: Some(2) };
        let committed = Committed { index: LogIndex(42), outcome: Outcome::Refused(Vec::new()) };
        let view = PeerView { id: 2, voter: true, silent_for_millis: Some(7), lag: None };
        let kinds = [ProblemKind::NotLeader, ProblemKind::Unavailable, ProblemKind::Unknown, ProblemKind::Refused];
        let problems = kinds.map(|kind| Answer::Call(Err(CallProblem { kind, message: "no".into() })));
        let mut all = vec![
            Answer::Append(AppendAnswer::Success),
            Answer::Append(AppendAnswer::Partial(Some(position()))),
            Answer::Append(AppendAnswer::Conflict),
            Answer::Append(AppendAnswer::HigherVote(vote())),
            Answer::Vote { vote: vote(), last: Some(position()), granted: true },
            Answer::Transfer(Ok(())),
            Answer::Transfer(Err("no".into())),
            Answer::Snapshot(vote()),
            Answer::Call(Ok(CallAnswer::Committed(committed))),
            Answer::Call(Ok(CallAnswer::HandedOver(2))),
            Answer::Call(Ok(CallAnswer::Joined(member))),
            Answer::Call(Ok(CallAnswer::Removed)),
            Answer::Call(Ok(CallAnswer::Overview(vec![view]))),
            Answer::Call(Ok(CallAnswer::Heard)),
            Answer::Failed("no".into()),
        ];
        all.extend(problems);
        all
    }

    fn digest_of(frames: &[Vec<u8>]) -> String {
        Digest::of(&frames.concat()).to_string()
    }

    /// Nodes of two versions talk to each other while a cluster is upgraded: what was once sent is never changed, only
    /// added to, and then the new words stand behind those known here.
    #[test]
    fn what_nodes_say_does_not_change() {
        let addressing = Addressing { cluster: [7; 16], generation: 2, from: 1, target: 3 };
        let channels = [Channel::Raft, Channel::Calls, Channel::Snapshot];
        let hellos = channels.map(|channel| frame(&Hello { addressing, channel, lease_millis: 350 }).unwrap());
        let welcomes =
            [Welcome::Come, Welcome::Removed, Welcome::Refused("no".into())].map(|said| frame(&said).unwrap());
        let asked: Vec<_> = asks().into_iter().map(|body| frame(&Numbered { number: 5, body }).unwrap()).collect();
        let answered: Vec<_> =
            answers().into_iter().map(|body| frame(&Numbered { number: 5, body }).unwrap()).collect();
        let digests = [digest_of(&hellos), digest_of(&welcomes), digest_of(&asked), digest_of(&answered)];
        assert_eq!(digests, GOLDEN);
        for (sent, ask) in asked.iter().zip(asks()) {
            assert_eq!(decode::<Numbered<Ask>>(sent).unwrap().body, ask);
        }
        for sent in &answered {
            assert_eq!(&frame(&decode::<Numbered<Answer>>(sent).unwrap()).unwrap(), sent);
        }
    }

    /// Words that came later, each with its digest of its own.
    #[test]
    fn what_nodes_learned_to_say_later_does_not_change_either() {
        let ask = frame(&Numbered { number: 5, body: Ask::ReadIndex }).unwrap();
        let answer = frame(&Numbered { number: 5, body: Answer::Call(Ok(CallAnswer::ReadIndex(42))) }).unwrap();
        assert_eq!([digest_of(&[ask]), digest_of(&[answer])], LATER);
    }

    const LATER: [&str; 2] = [
        "fb505a3967d1b1d75cf65afa3764199526202fa0fd0a3cd848e434b3556e5dd9",
        "32dc7e66bf59327a40c2691e5bd756a4cd6d0aee6383ec1aa3d4e71d792fbff8",
    ];

    /// sha256 over the frames: hellos, welcomes, asks, answers.
    const GOLDEN: [&str; 4] = [
        "9979cc52f82928cc0959f1f7e3f6ef983fe133d3a5b06511e9939cc79024d765",
        "6090cfda4374a6269fed514df0a05536713f884a98bf6f3bfe762ca2193a0caf",
        "82ea3076fb710b8d749c8c47b07c0a44b283beb005009fc4975284c9261c621d",
        "bae2be38d9f6247b5b4b2c9b0d63a99191710ef8e5901ea73ab5f3dcb285b968",
    ];
}
