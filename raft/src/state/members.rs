//! The cluster itself as replicated state: its nodes, the shared facts about it, who holds the VIP, and which node holds
//! which bytes.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{State, Stored};
use crate::types::{Digest, LogIndex, Timestamp};

/// How many nodes a cluster has at most; beyond a handful of voters every write only gets slower.
pub const MEMBERS_MAX: usize = 9;
/// How many blobs one command reports, withdraws or condemns.
pub const BLOBS_PER_COMMAND_MAX: usize = 4096;
/// How many join tokens may be open at once.
pub const JOIN_TOKENS_MAX: usize = 64;

/// What a node does for the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// Votes, holds blobs, serves machines, may hold the VIP.
    #[default]
    Data,
    /// Votes and holds the log and the records; never serves machines and never holds the VIP.
    Witness,
}

/// One node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id; given once and never again.
    pub id: u64,
    /// Its name for people, unique among members.
    pub name: String,
    /// What it does.
    pub kind: NodeKind,
    /// `host:port` where its peers reach it.
    pub peer: String,
    /// `http://ADDRESS:PORT` where machines reach its boot HTTP; empty for a witness.
    pub boot: String,
    /// Random; made by the node when it asks to join, so that a repeated request is recognised.
    pub instance: [u8; 16],
    /// The node whose place it takes: that one leaves as this one begins to vote.
    pub replaces: Option<u64>,
}

/// What a node says of itself when it starts, or when that has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// See [`Member::id`].
    pub id: u64,
    /// See [`Member::name`].
    pub name: String,
    /// See [`Member::kind`].
    pub kind: NodeKind,
    /// See [`Member::peer`].
    pub peer: String,
    /// See [`Member::boot`].
    pub boot: String,
}

/// A node that asks to become a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewMember {
    /// See [`Member::name`].
    pub name: String,
    /// See [`Member::kind`].
    pub kind: NodeKind,
    /// See [`Member::peer`].
    pub peer: String,
    /// See [`Member::boot`].
    pub boot: String,
    /// See [`Member::instance`].
    pub instance: [u8; 16],
}

/// Which ids have been given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Roster {
    /// The highest id ever given; ids are never reused.
    pub last_node: u64,
}

/// What two data nodes do when one of them is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TwoNode {
    /// The VIP goes when quorum goes.
    #[default]
    None,
    /// A witness gives the third vote, so quorum stays.
    Witness,
    /// The node that is left takes the VIP without quorum and serves what was committed; it takes no changes.
    Survivor,
}

/// What the nodes share about the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClusterSettings {
    /// The floating address; `None`: there is none.
    pub vip: Option<Ipv4Addr>,
    /// Names under which people and programs reach the cluster; they are in every node's certificate.
    pub dns_names: Vec<String>,
    /// What two data nodes do when one is gone.
    pub two_node: TwoNode,
    /// With `Survivor`: the node that takes the VIP first.
    pub preferred: Option<u64>,
}

/// Who holds the floating address, as last committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipRecord {
    /// The node.
    pub holder: u64,
    /// The log entry of the claim.
    pub epoch: LogIndex,
    /// Whether the holder has let go of it in order.
    pub released: bool,
    /// Whether nobody else could still have held it when it was claimed: there was no holder before, or it had let go, or
    /// this very node had claimed it in order. A claim that is made again inherits the doubt of the first.
    pub orderly: bool,
    /// When it was claimed, by the holder's clock.
    pub since: Timestamp,
}

/// Some bytes and who holds them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// Their sha256.
    pub digest: Digest,
    /// How many.
    pub size: u64,
    /// The nodes that have verified and synced copies.
    pub replicas: BTreeSet<u64>,
    /// Since when nothing names them and they are to be removed; copies are not counted on any more.
    pub condemned: Option<Timestamp>,
}

/// A secret that lets nodes join until it expires; the secret itself is never stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// Its public part.
    pub id: String,
    /// sha256 of the secret.
    pub secret_sha256: Digest,
    /// After this it is refused.
    pub expires: Timestamp,
}

impl State {
    /// A node by id.
    #[must_use]
    pub fn member(&self, id: u64) -> Option<&Arc<Member>> {
        self.members.get(&id)
    }

    /// All nodes by id; empty until the first one has announced itself.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &Arc<Member>> {
        self.members.values()
    }

    /// A node by name, or by id written as a number.
    #[must_use]
    pub fn member_named(&self, name: &str) -> Option<&Arc<Member>> {
        let by_name = self.members.values().find(|member| member.name == name);
        by_name.or_else(|| self.members.get(&name.parse::<u64>().ok()?))
    }

    /// Whether that id was given once and its node has been removed since.
    #[must_use]
    pub fn was_removed(&self, id: u64) -> bool {
        id <= self.roster.last_node && !self.members.contains_key(&id)
    }

    /// What the nodes share about the cluster; defaults until someone changes them.
    #[must_use]
    pub fn cluster(&self) -> Option<&Arc<Stored<ClusterSettings>>> {
        self.cluster.as_ref()
    }

    /// The floating address, if there is one.
    #[must_use]
    pub fn vip(&self) -> Option<Ipv4Addr> {
        self.cluster.as_ref().and_then(|stored| stored.value.vip)
    }

    /// Who holds the floating address, as last committed.
    #[must_use]
    pub fn vip_record(&self) -> Option<&VipRecord> {
        self.vip.as_ref()
    }

    /// What is known of some bytes.
    #[must_use]
    pub fn blob(&self, digest: &Digest) -> Option<&Arc<Blob>> {
        self.blobs.get(digest)
    }

    /// All bytes that some node has reported.
    pub fn blobs(&self) -> impl ExactSizeIterator<Item = &Arc<Blob>> {
        self.blobs.values()
    }

    /// The nodes that hold these bytes and may be counted on.
    pub fn holders<'a>(&'a self, digest: &Digest) -> impl Iterator<Item = u64> + 'a {
        let blob = self.blobs.get(digest).filter(|blob| blob.condemned.is_none());
        blob.into_iter().flat_map(|blob| blob.replicas.iter().copied())
    }

    /// Whether an asset leads to these bytes.
    #[must_use]
    pub fn is_named(&self, digest: &Digest) -> bool {
        self.names_of_digest.contains_key(digest)
    }

    /// How many copies bytes need before a name may lead to them: two, or one where only one node holds bytes.
    #[must_use]
    pub fn copies_needed(&self) -> usize {
        self.data_nodes().count().clamp(1, 2)
    }

    /// The nodes that hold bytes.
    pub fn data_nodes(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.members.values().filter(|member| member.kind == NodeKind::Data)
    }

    /// A join token by id.
    #[must_use]
    pub fn join_token(&self, id: &str) -> Option<&Arc<Stored<JoinToken>>> {
        self.join_tokens.get(id)
    }

    /// All join tokens by id.
    pub fn join_tokens(&self) -> impl ExactSizeIterator<Item = &Arc<Stored<JoinToken>>> {
        self.join_tokens.values()
    }
}
