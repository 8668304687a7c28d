//! Asks all nodes what they say of themselves, at once, and does not wait long for those that do not answer.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::future::join_all;
use http::{Method, StatusCode};
use raft::state::Member;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use tracing::debug;

use super::serve::{ABOUT_PATH, SUPPORT_PATH};
use super::{About, Source, Support, millis};
use crate::peer_http::{PeerError, Peers};

/// How long another node may take to say how it is: `status` must answer while nodes are down.
const ABOUT_TIMEOUT: Duration = Duration::from_millis(700);
/// How long it may take to collect what helps to find a fault.
const SUPPORT_TIMEOUT: Duration = Duration::from_secs(15);
/// Size of what a node says of itself, in bytes.
const ABOUT_BYTES_MAX: usize = 64 * 1024;
/// Size of what it collects, in bytes: its log and its timelines are most of it.
const SUPPORT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One node, and what it told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its id.
    pub id: u64,
    /// What the cluster calls it.
    pub name: String,
    /// What it says of itself; nothing if it did not answer.
    pub about: Option<About>,
    /// How much its clock is ahead of this node's, and how uncertain that is, in milliseconds.
    pub skew: Option<(i64, u64)>,
}

/// Asks; cheap to clone.
#[derive(Clone)]
pub struct Reader {
    source: Source,
    peers: Option<Arc<Peers>>,
}

impl Reader {
    /// Of this node alone.
    #[must_use]
    pub fn alone(source: Source) -> Self {
        Self { source, peers: None }
    }

    /// Of the other nodes too.
    #[must_use]
    pub fn new(source: Source, peers: Arc<Peers>) -> Self {
        Self { source, peers: Some(peers) }
    }

    /// Where this node's facts come from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What this node says of itself.
    pub async fn here(&self) -> About {
        let source = self.source.clone();
        tokio::task::spawn_blocking(move || source.about()).await.unwrap_or_default()
    }

    /// This node's numbers, as Prometheus reads them.
    pub async fn numbers(&self) -> String {
        let source = self.source.clone();
        // Only a leader is asked how the others are: it knows without asking anybody.
        let leads = source.cluster.lease().leading.is_some();
        let overview = if leads { source.cluster.overview().await } else { raft::Overview::default() };
        tokio::task::spawn_blocking(move || source.page(&overview.peers).text()).await.unwrap_or_default()
    }

    /// What this node has that helps to find a fault.
    pub async fn support_here(&self) -> Support {
        let numbers = self.numbers().await;
        self.source.support(numbers).await
    }

    /// What all nodes say of themselves, this one first.
    pub async fn everywhere(&self) -> Vec<Told> {
        let (others, this) = self.members();
        let asked = join_all(others.iter().map(|member| self.ask_about(member)));
        let (here, told) = tokio::join!(self.here(), asked);
        let own = Told { id: this, name: here.name.clone(), about: Some(here), skew: Some((0, 0)) };
        [own].into_iter().chain(told).collect()
    }

    /// A node that answers and is of another version than this one, with that version.
    pub async fn of_another_version(&self) -> Option<(String, String)> {
        let told = self.everywhere().await;
        let own = told.first()?.about.as_ref()?.version.clone();
        let other = |one: Told| Some((one.name, one.about?.version));
        told.into_iter().filter_map(other).find(|(_, version)| *version != own)
    }

    /// What all nodes have that helps to find a fault, this one first; and who did not answer, and why.
    pub(super) async fn support_everywhere(&self) -> (Vec<Support>, Vec<(String, String)>) {
        let (others, _) = self.members();
        let asked = others.iter().map(|member| self.ask(member, SUPPORT_PATH, SUPPORT_TIMEOUT, SUPPORT_BYTES_MAX));
        let (here, told) = tokio::join!(self.support_here(), join_all(asked));
        let (mut all, mut missing) = (vec![here], Vec::new());
        for (member, told) in others.iter().zip(told) {
            match told {
                Ok(support) => all.push(Support { node: member.name.clone(), ..support }),
                Err(why) => missing.push((member.name.clone(), why)),
            }
        }
        (all, missing)
    }

    fn members(&self) -> (Vec<Arc<Member>>, u64) {
        let this = self.source.cluster.identity().node;
        let state = self.source.cluster.read();
        (state.members().filter(|member| member.id != this).cloned().collect(), this)
    }

    async fn ask_about(&self, member: &Member) -> Told {
        let (sent, begun) = (millis(SystemTime::now()), Instant::now());
        let told: Result<About, String> = self.ask(member, ABOUT_PATH, ABOUT_TIMEOUT, ABOUT_BYTES_MAX).await;
        let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let about = told.inspect_err(|why| debug!(node = member.name, why, "another node does not say how it is")).ok();
        let skew = about.as_ref().map(|about| {
            let here = sent.saturating_add(took / 2);
            let ahead = i64::try_from(about.now).unwrap_or(i64::MAX) - i64::try_from(here).unwrap_or(i64::MAX);
            (ahead, took / 2)
        });
        Told { id: member.id, name: member.name.clone(), about, skew }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        member: &Member,
        path: &str,
        limit: Duration,
        bytes_max: usize,
    ) -> Result<T, String> {
        let Some(peers) = &self.peers else { return Err("this node reaches no others".into()) };
        let answer = timeout(limit, whole(peers, member, path, bytes_max)).await;
        let bytes = answer.map_err(|_| format!("no answer within {limit:?}"))?.map_err(|error| error.to_string())?;
        serde_json::from_slice(&bytes).map_err(|error| format!("its answer cannot be read: {error}"))
    }
}

async fn whole(peers: &Arc<Peers>, member: &Member, path: &str, bytes_max: usize) -> Result<Vec<u8>, PeerError> {
    let mut reply = peers.ask(member, Method::GET, path, None).await?;
    let status = reply.status();
    if status != StatusCode::OK {
        reply.dismiss().await;
        return Err(PeerError::Refused(status));
    }
    let mut bytes = Vec::new();
    while let Some(piece) = reply.next().await? {
        if bytes.len() + piece.len() > bytes_max {
            return Err(PeerError::Unreachable(format!("it sends more than {bytes_max} bytes")));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}
