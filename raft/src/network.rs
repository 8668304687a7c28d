//! How this node reaches its peers. A node that is alone reaches none; the TLS transport takes this place.

use std::future::Future;

use openraft::error::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::{OptionalSend, RaftNetworkV2};
use serde::{Deserialize, Serialize};

use crate::codec::Identity;
use crate::snapshot::SnapshotFile;
use crate::type_config::{Peer, Snapshot, TypeConfig, Vote};

/// Who a message is from and for. Every message between nodes begins with one, and the receiver refuses any that does
/// not name its own cluster, generation and id: an address may belong to somebody else by now.
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

/// Makes a connection per peer.
#[derive(Debug, Clone)]
pub struct Peers {
    identity: Identity,
}

impl Peers {
    /// As seen by the node of that identity.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self { identity }
    }
}

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, node: &Peer) -> Connection {
        let Identity { cluster, generation, node: from } = self.identity;
        Connection { addressing: Addressing { cluster, generation, from, target }, peer: node.clone() }
    }
}

/// A connection to one peer.
#[derive(Debug)]
pub struct Connection {
    addressing: Addressing,
    peer: Peer,
}

impl Connection {
    fn unreachable(&self) -> Unreachable<TypeConfig> {
        let Self { addressing, peer } = self;
        Unreachable::from_string(format!(
            "node {} at `{}` cannot be reached: this version runs on one node",
            addressing.target, peer.address
        ))
    }
}

impl RaftNetworkV2<TypeConfig> for Connection {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        _rpc: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(self.unreachable().into())
    }

    async fn vote(
        &mut self,
        _rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(self.unreachable().into())
    }

    // The default grants unseen, which would make pre-vote worthless.
    async fn pre_vote(
        &mut self,
        _rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(self.unreachable().into())
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: Snapshot,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        Err(self.unreachable().into())
    }
}
