//! Puts together what all nodes have noted of one machine: each answers for itself, all are asked at once.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use http::{Method, StatusCode};
use raft::Cluster;
use raft::state::{Machine, Member, State};
use raft::types::Mac;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tracing::debug;

use super::book::Event;
use super::{Record, serve};
use crate::peer_http::{PeerError, Peers};

/// How long another node may take; an operator waits for the slowest one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Size of another node's answer, in bytes: 64 events, each with the longest text, come to less.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// What all nodes tell of one machine.
#[derive(Debug, Serialize)]
pub struct Everywhere {
    /// The card that was asked about.
    pub machine: Mac,
    /// Those that answered, this node first.
    pub nodes: Vec<OfNode>,
    /// The names of those that did not.
    pub missing: Vec<String>,
}

/// What one node tells.
#[derive(Debug, Serialize)]
pub struct OfNode {
    /// Its name.
    pub node: String,
    /// What it noted, in order.
    pub events: Vec<Event>,
}

/// What one node answers another.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Here {
    pub(super) events: Vec<Event>,
}

/// Reads what was noted, here and elsewhere; cheap to clone.
#[derive(Clone)]
pub struct Reader {
    cluster: Cluster,
    record: Record,
    peers: Option<Arc<Peers>>,
}

impl Reader {
    /// Of this node alone.
    #[must_use]
    pub fn alone(cluster: Cluster, record: Record) -> Self {
        Self { cluster, record, peers: None }
    }

    /// Of the other nodes too.
    #[must_use]
    pub fn new(cluster: Cluster, record: Record, peers: Arc<Peers>) -> Self {
        Self { cluster, record, peers: Some(peers) }
    }

    /// What this node has noted of the machine that has this card, under any of its cards.
    pub(super) fn here(&self, mac: &Mac) -> Here {
        let state = self.cluster.read();
        let known = state.machine(mac);
        let macs = known.map_or_else(|| vec![mac.clone()], |machine| machine.macs.clone());
        let address = known.and_then(|machine| address_of(&state, machine));
        Here { events: self.record.book().of(&macs, address) }
    }

    /// What all nodes have noted of it. Witnesses serve no machines and are not asked.
    pub async fn everywhere(&self, mac: &Mac) -> Everywhere {
        let state = self.cluster.read();
        let this = self.cluster.identity().node;
        let name = state.member(this).map_or_else(|| format!("node-{this}"), |member| member.name.clone());
        let others: Vec<&Arc<Member>> = state.data_nodes().filter(|member| member.id != this).collect();
        let told = join_all(others.iter().map(|member| self.ask(member, mac))).await;
        let mut nodes = vec![OfNode { node: name, events: self.here(mac).events }];
        let mut missing = Vec::new();
        for (member, told) in others.into_iter().zip(told) {
            let node = member.name.clone();
            match told {
                Ok(Here { events }) => nodes.push(OfNode { node, events }),
                Err(why) => {
                    debug!(node, why, "another node did not tell what it has noted of a machine");
                    missing.push(node);
                }
            }
        }
        Everywhere { machine: mac.clone(), nodes, missing }
    }

    async fn ask(&self, member: &Member, mac: &Mac) -> Result<Here, String> {
        let Some(peers) = &self.peers else { return Err("this node reaches no others".into()) };
        let answer = timeout(ANSWER_TIMEOUT, whole(peers, member, mac)).await;
        let bytes = answer.map_err(|_| format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()))?;
        let bytes = bytes.map_err(|error| error.to_string())?;
        serde_json::from_slice(&bytes).map_err(|error| format!("its answer cannot be read: {error}"))
    }
}

async fn whole(peers: &Arc<Peers>, member: &Member, mac: &Mac) -> Result<Vec<u8>, PeerError> {
    let mut reply = peers.ask(member, Method::GET, &serve::path(mac), None).await?;
    let status = reply.status();
    if status != StatusCode::OK {
        reply.dismiss().await;
        return Err(PeerError::Refused(status));
    }
    let mut bytes = Vec::new();
    while let Some(piece) = reply.next().await? {
        if bytes.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(PeerError::Unreachable(format!("it sends more than {ANSWER_BYTES_MAX} bytes")));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// Where a machine is, unless another one was seen there later.
fn address_of(state: &State, machine: &Machine) -> Option<IpAddr> {
    let address = machine.address.parse().ok()?;
    let newer = |other: &Machine| other.address == machine.address && other.last_seen > machine.last_seen;
    (!state.machines().any(|other| newer(other))).then_some(address)
}
