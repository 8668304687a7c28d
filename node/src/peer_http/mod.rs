//! HTTP to other nodes: connections that are kept for the next request, and bodies that are read without surprises.

mod dial;

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use raft::Cluster;
use raft::peer::Credentials;
use raft::state::Member;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::request_id::{REQUEST_ID, RequestId};

/// How long reaching a node may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a node may take to begin its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a node may be silent within an answer.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How many idle connections are kept to one node.
const IDLE_MAX: usize = 4;

/// A stream to a node.
pub trait Link: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Link for T {}

/// Opens streams to nodes, each proven to be the one that was meant.
pub trait Dial: Send + Sync + 'static {
    /// A stream to that node.
    fn dial<'a>(&'a self, member: &'a Member) -> BoxFuture<'a, io::Result<Pin<Box<dyn Link>>>>;
}

type Sender = http1::SendRequest<Empty<Bytes>>;

/// Why a node did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// It cannot be reached, or fell silent.
    #[error("{0}")]
    Unreachable(String),
    /// It is there and says no.
    #[error("it answered {0}")]
    Refused(StatusCode),
}

impl PeerError {
    fn unreachable(error: impl std::fmt::Display) -> Self {
        Self::Unreachable(error.to_string())
    }
}

/// The ways to all other nodes.
pub struct Peers {
    dial: Arc<dyn Dial>,
    idle: Mutex<HashMap<u64, Vec<Sender>>>,
    connections: TaskTracker,
    stop: CancellationToken,
}

impl Peers {
    /// Over TLS with certificates on both sides, as a member of that cluster.
    #[must_use]
    pub fn of(cluster: &Cluster, credentials: Credentials) -> Arc<Self> {
        Self::new(Arc::new(dial::Tls { credentials, cluster: cluster.identity().cluster }))
    }

    /// By other means.
    #[must_use]
    pub fn new(dial: Arc<dyn Dial>) -> Arc<Self> {
        let (idle, connections, stop) = (Mutex::default(), TaskTracker::new(), CancellationToken::new());
        Arc::new(Self { dial, idle, connections, stop })
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.stop.cancel();
        self.idle().clear();
        self.connections.close();
        self.connections.wait().await;
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Vec<Sender>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One request without a body. `range` is first and last byte.
    ///
    /// # Errors
    /// Why there is no answer; an answer of any status is one.
    pub async fn ask(
        self: &Arc<Self>,
        member: &Member,
        method: Method,
        path: &str,
        range: Option<(u64, u64)>,
    ) -> Result<Reply, PeerError> {
        let mut request = Request::builder().method(method).uri(path).header("host", &member.peer);
        if let Some(RequestId(id)) = RequestId::current() {
            request = request.header(REQUEST_ID, &*id);
        }
        if let Some((first, last)) = range {
            request = request.header("range", format!("bytes={first}-{last}"));
        }
        let request = request.body(Empty::new()).map_err(PeerError::unreachable)?;
        // A connection that was kept may have been closed meanwhile; a new one decides.
        let kept = self.idle().get_mut(&member.id).and_then(Vec::pop);
        if let Some(sender) = kept
            && let Ok(reply) = self.send(sender, member, request.clone()).await
        {
            return Ok(reply);
        }
        let sender = self.connect(member).await?;
        self.send(sender, member, request).await
    }

    async fn send(
        self: &Arc<Self>,
        mut sender: Sender,
        member: &Member,
        request: Request<Empty<Bytes>>,
    ) -> Result<Reply, PeerError> {
        let answer = timeout(ANSWER_TIMEOUT, async {
            sender.ready().await?;
            sender.send_request(request).await
        });
        let late = |_| PeerError::Unreachable(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()));
        let answer = answer.await.map_err(late)?.map_err(PeerError::unreachable)?;
        Ok(Reply { answer, sender: Some(sender), peers: self.clone(), node: member.id })
    }

    async fn connect(self: &Arc<Self>, member: &Member) -> Result<Sender, PeerError> {
        let late = |_| PeerError::Unreachable(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()));
        let link = timeout(CONNECT_TIMEOUT, self.dial.dial(member)).await.map_err(late)?;
        let link = link.map_err(PeerError::unreachable)?;
        let (sender, connection) = http1::handshake(TokioIo::new(link)).await.map_err(PeerError::unreachable)?;
        let (stop, node) = (self.stop.clone(), member.id);
        self.connections.spawn(async move {
            if let Some(Err(error)) = stop.run_until_cancelled(connection).await {
                debug!(node, %error, "a connection to another node ended early");
            }
        });
        Ok(sender)
    }

    fn keep(&self, node: u64, sender: Sender) {
        let mut idle = self.idle();
        let kept = idle.entry(node).or_default();
        if kept.len() < IDLE_MAX {
            kept.push(sender);
        }
    }
}

/// An answer whose body is still to be read.
pub struct Reply {
    answer: Response<Incoming>,
    sender: Option<Sender>,
    peers: Arc<Peers>,
    node: u64,
}

impl Reply {
    /// What it says in one number.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.answer.status()
    }

    /// One of its headers, if it is there and text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.answer.headers().get(name)?.to_str().ok()
    }

    /// Reads an answer that is of no interest to its end, so that the connection serves again.
    pub async fn dismiss(mut self) {
        // An answer without interest is a sentence or two.
        for _ in 0..8 {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// The next bytes of the body; `None` at its end.
    ///
    /// # Errors
    /// If it broke off or fell silent.
    pub async fn next(&mut self) -> Result<Option<Bytes>, PeerError> {
        loop {
            let silent = |_| PeerError::Unreachable(format!("it was silent for {} s", SILENCE_MAX.as_secs()));
            match timeout(SILENCE_MAX, self.answer.body_mut().frame()).await.map_err(silent)? {
                None => {
                    if let Some(sender) = self.sender.take() {
                        self.peers.keep(self.node, sender);
                    }
                    return Ok(None);
                }
                Some(Err(error)) => return Err(PeerError::unreachable(error)),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }
}
