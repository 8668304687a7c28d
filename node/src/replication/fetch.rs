//! The bytes of a blob from whichever node gives them: a transfer that breaks off goes on where it was, from another one.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use http::{Method, StatusCode};
use raft::Cluster;
use raft::state::Member;
use raft::types::Digest;
use tokio::time::Instant;
use tracing::debug;

use crate::peer_http::{PeerError, Peers, Reply};

/// How long a transfer may make no progress before it is given up.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long to wait after every node that has the bytes has said no, at first and at most.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Why bytes could not be had from any other node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No other node is known to hold them.
    #[error("no other node holds a copy of it")]
    NoHolder,
    /// None of those that hold them gives them.
    #[error("no node that holds it gives it: {0}")]
    Failed(String),
}

/// A part of a blob on its way from other nodes.
pub(super) struct Fetch {
    peers: Arc<Peers>,
    cluster: Cluster,
    node: u64,
    digest: Digest,
    at: u64,
    end: u64,
    reply: Option<(u64, Reply)>,
    ahead: Option<Bytes>,
    /// The nodes that gave bytes of it.
    sources: Arc<Mutex<BTreeSet<u64>>>,
    /// How many nodes were asked, so that each is in turn the first.
    asked: usize,
    progress: Instant,
    patience: Duration,
}

impl Fetch {
    pub(super) fn new(
        peers: Arc<Peers>,
        cluster: Cluster,
        node: u64,
        digest: Digest,
        part: std::ops::Range<u64>,
    ) -> Self {
        Self {
            peers,
            cluster,
            node,
            digest,
            at: part.start,
            end: part.end,
            reply: None,
            ahead: None,
            sources: Arc::default(),
            // Different nodes begin with different ones.
            asked: usize::try_from(node).unwrap_or(0),
            progress: Instant::now(),
            patience: PATIENCE,
        }
    }

    /// Gives up sooner.
    pub(super) fn within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The nodes that have given bytes of it, as they come.
    pub(super) fn sources(&self) -> Arc<Mutex<BTreeSet<u64>>> {
        self.sources.clone()
    }

    /// Waits for the first bytes, so that whoever promises all of them knows that they come.
    pub(super) async fn begin(&mut self) -> Result<(), FetchError> {
        if self.ahead.is_none() && self.at < self.end {
            self.ahead = self.next().await?;
        }
        Ok(())
    }

    /// All bytes, in order, exactly as many as were asked for; an error says that the rest does not come.
    pub(super) fn into_stream(self) -> BoxStream<'static, Result<Bytes, FetchError>> {
        stream::try_unfold(self, |mut fetch| async move { Ok(fetch.next().await?.map(|bytes| (bytes, fetch))) }).boxed()
    }

    /// The next bytes; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        if let Some(bytes) = self.ahead.take() {
            return Ok(Some(bytes));
        }
        while self.at < self.end {
            let (node, mut reply) = match self.reply.take() {
                Some(open) => open,
                None => self.open().await?,
            };
            match reply.next().await {
                Ok(Some(mut bytes)) if !bytes.is_empty() => {
                    let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
                    bytes.truncate(left);
                    self.at += bytes.len() as u64;
                    self.sources.lock().unwrap_or_else(PoisonError::into_inner).insert(node);
                    self.progress = Instant::now();
                    self.reply = Some((node, reply));
                    return Ok(Some(bytes));
                }
                Ok(Some(_)) => self.reply = Some((node, reply)),
                Ok(None) => self.broke_off(node, "it sent less than it should").await?,
                Err(error) => self.broke_off(node, &error.to_string()).await?,
            }
        }
        // The end of the body is read too, so that the connection serves the next transfer.
        if let Some((_, mut reply)) = self.reply.take() {
            let _ = reply.next().await;
        }
        Ok(None)
    }

    /// Goes on with another node, unless nothing has come for long.
    async fn broke_off(&self, node: u64, why: &str) -> Result<(), FetchError> {
        debug!(node, digest = %self.digest, at = self.at, why, "a transfer between nodes broke off");
        if self.progress.elapsed() > self.patience {
            return Err(FetchError::Failed(format!("node {node}: {why}")));
        }
        // A node that breaks off before its first byte must not be asked as fast as it can say no.
        if self.progress.elapsed() > PAUSE_MIN {
            tokio::time::sleep(PAUSE_MIN).await;
        }
        Ok(())
    }

    fn holders(&self) -> Vec<Arc<Member>> {
        let state = self.cluster.read();
        let others = state.holders(&self.digest).filter(|id| *id != self.node);
        others.filter_map(|id| state.member(id).cloned()).collect()
    }

    /// Asks one holder after the other until one gives bytes from where this is.
    async fn open(&mut self) -> Result<(u64, Reply), FetchError> {
        let mut pause = PAUSE_MIN;
        loop {
            let holders = self.holders();
            if holders.is_empty() {
                return Err(FetchError::NoHolder);
            }
            let mut problem = String::new();
            for _ in 0..holders.len() {
                let member = &holders[self.asked % holders.len()];
                self.asked += 1;
                match self.ask(member).await {
                    Ok(reply) => return Ok((member.id, reply)),
                    Err(error) => {
                        debug!(node = member.id, digest = %self.digest, %error, "a node does not give a blob");
                        problem = format!("{} ({}): {error}", member.name, member.peer);
                    }
                }
            }
            if self.progress.elapsed() + pause > self.patience {
                return Err(FetchError::Failed(problem));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn ask(&self, member: &Member) -> Result<Reply, PeerError> {
        let path = format!("/v1/blobs/{}", self.digest);
        let reply = self.peers.ask(member, Method::GET, &path, Some((self.at, self.end - 1))).await?;
        let from = format!("bytes {}-", self.at);
        let fits = reply.header("content-range").is_some_and(|range| range.starts_with(&from));
        match reply.status() {
            StatusCode::PARTIAL_CONTENT if fits => Ok(reply),
            status => {
                reply.dismiss().await;
                Err(PeerError::Refused(status))
            }
        }
    }
}
