//! The types openraft is told to work with, and their translation to the structs we store.

use std::fmt;
use std::sync::Arc;

use openraft::entry::RaftEntry as _;
use openraft::impls::leader_id_adv::LeaderId;
use openraft::{EntryPayload, Membership, RaftTypeConfig};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::{Applied, CodecError, LogEntry, LogPosition, Members, Payload, StoredVote};
use crate::command::{Command, Outcome};
use crate::snapshot::SnapshotFile;

openraft::declare_raft_types!(
    /// The types of our Raft.
    pub TypeConfig:
        D = Proposal,
        R = Reply,
        NodeId = u64,
        Node = Peer,
);

/// One leadership: ordered by term, then node, so that there are no split votes. A bare term is no fencing token.
pub type Leadership = LeaderId<u64, u64>;
/// A position in the log.
pub type LogId = openraft::LogId<Leadership>;
/// An entry of the log in memory.
pub type Entry = <TypeConfig as RaftTypeConfig>::Entry;
/// What a node has voted.
pub type Vote = <TypeConfig as RaftTypeConfig>::Vote;
/// A membership and the entry that set it.
pub type StoredMembership = openraft::StoredMembership<Leadership, u64, Peer>;
/// What a snapshot includes.
pub type SnapshotMeta = openraft::SnapshotMeta<Leadership, u64, Peer>;
/// A snapshot as openraft passes it around.
pub type Snapshot = openraft::Snapshot<Leadership, u64, Peer, SnapshotFile>;

/// A command on its way through the log; cloning shares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal(pub Arc<Command>);

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} edits by {}", self.0.edits.len(), self.0.actor)
    }
}

impl Serialize for Proposal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Proposal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Command::deserialize(deserializer).map(|command| Self(Arc::new(command)))
    }
}

/// What applying an entry answers; nothing for entries that are not commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply(pub Option<Outcome>);

/// Where a member answers its peers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Peer {
    /// `host:port` of its peer listener; empty while it has none.
    pub address: String,
}

impl From<&LogId> for LogPosition {
    fn from(id: &LogId) -> Self {
        Self { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
    }
}

impl From<LogPosition> for LogId {
    fn from(position: LogPosition) -> Self {
        Self { leader_id: LeaderId { term: position.term, node_id: position.node }, index: position.index }
    }
}

impl From<&Vote> for StoredVote {
    fn from(vote: &Vote) -> Self {
        Self { term: vote.leader_id.term, node: vote.leader_id.node_id, committed: vote.committed }
    }
}

impl From<StoredVote> for Vote {
    fn from(stored: StoredVote) -> Self {
        Self { leader_id: LeaderId { term: stored.term, node_id: stored.node }, committed: stored.committed }
    }
}

impl From<&Membership<u64, Peer>> for Members {
    fn from(membership: &Membership<u64, Peer>) -> Self {
        Self {
            voters: membership.get_joint_config().clone(),
            addresses: membership.nodes().map(|(id, peer)| (*id, peer.address.clone())).collect(),
        }
    }
}

impl TryFrom<Members> for Membership<u64, Peer> {
    type Error = CodecError;

    fn try_from(members: Members) -> Result<Self, CodecError> {
        if members.voters.is_empty() && members.addresses.is_empty() {
            return Ok(Self::default());
        }
        let nodes: std::collections::BTreeMap<u64, Peer> =
            members.addresses.into_iter().map(|(id, address)| (id, Peer { address })).collect();
        Self::new(members.voters, nodes).map_err(|error| CodecError::Payload(error.to_string()))
    }
}

impl From<&Entry> for LogEntry {
    fn from(entry: &Entry) -> Self {
        Self {
            position: LogPosition::from(&entry.log_id),
            payload: match &entry.payload {
                EntryPayload::Blank => Payload::Blank,
                EntryPayload::Normal(proposal) => Payload::Command(proposal.clone()),
                EntryPayload::Membership(membership) => Payload::Members(Members::from(membership)),
            },
        }
    }
}

impl LogEntry {
    /// The entry as openraft wants it.
    ///
    /// # Errors
    /// When it is a membership that contradicts itself.
    pub fn into_raft(self) -> Result<Entry, CodecError> {
        let id = LogId::from(self.position);
        Ok(match self.payload {
            Payload::Blank => Entry::new_blank(id),
            Payload::Command(proposal) => Entry::new_normal(id, proposal),
            Payload::Members(members) => Entry::new_membership(id, members.try_into()?),
        })
    }
}

impl Applied {
    /// The stored form of what the state machine has applied.
    #[must_use]
    pub fn of(last: Option<&LogId>, membership: &StoredMembership) -> Self {
        Self {
            last: last.map(LogPosition::from),
            members_at: membership.log_id().as_ref().map(LogPosition::from),
            members: membership.membership().into(),
        }
    }

    /// What openraft wants to know of it.
    ///
    /// # Errors
    /// When the membership contradicts itself.
    pub fn into_raft(self) -> Result<(Option<LogId>, StoredMembership), CodecError> {
        let membership = StoredMembership::new(self.members_at.map(LogId::from), self.members.try_into()?);
        Ok((self.last.map(LogId::from), membership))
    }
}
