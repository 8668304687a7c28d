//! Drives HTTP/1.1 on connections between nodes, everything bounded.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use raft::peer::HttpPeer;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::Service;
use tracing::{debug, warn};

use super::Caller;
use crate::idle::Idle;
use crate::request_id::RequestId;

/// Connections of members at once; each fetches a few files at a time.
const MEMBER_CONNECTIONS_MAX: usize = 256;
/// Connections at once of nodes that have no certificate: they ask one short question.
const STRANGER_CONNECTIONS_MAX: usize = 16;
/// Of those, from one address.
const STRANGERS_PER_ADDRESS_MAX: usize = 4;
/// How long the head of a request may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long nothing may move on a connection; a join waits for the leader meanwhile.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Header lines of a request.
const HEADERS_MAX: usize = 32;
/// How long answers under way may take to end when the node stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves the connections that arrive until told to stop. One beyond a bound is closed; the other node tries again.
pub async fn serve(mut arriving: mpsc::Receiver<HttpPeer>, router: Router, stop: CancellationToken) {
    let members = Arc::new(Semaphore::new(MEMBER_CONNECTIONS_MAX));
    let strangers = Arc::new(Semaphore::new(STRANGER_CONNECTIONS_MAX));
    let counted = Counted::default();
    let mut connections = JoinSet::new();
    while let Some(Some(peer)) = stop.run_until_cancelled(arriving.recv()).await {
        while connections.try_join_next().is_some() {}
        let places = if peer.node.is_some() { &members } else { &strangers };
        let place = places.clone().try_acquire_owned();
        let turn = peer.node.is_some().then_some(None).or_else(|| counted.enter(peer.address.ip()).map(Some));
        let (Ok(place), Some(turn)) = (place, turn) else {
            debug!(address = %peer.address, node = peer.node, "a connection of a peer was closed: there are too many");
            continue;
        };
        let (router, stop) = (router.clone(), stop.clone());
        connections.spawn(async move {
            connection(peer, router, stop).await;
            drop((place, turn));
        });
    }
    stop.cancelled().await;
    let ended = timeout(STOP_TIMEOUT, async { while connections.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        warn!(connections = connections.len(), "answers to other nodes did not end in time and were dropped");
    }
}

async fn connection(peer: HttpPeer, router: Router, stop: CancellationToken) {
    let HttpPeer { stream, node, address } = peer;
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Caller { node, address });
        RequestId::of(request.headers()).scope(router.clone().call(request))
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_headers(HEADERS_MAX);
    let io = TokioIo::new(Idle::new(stream, IDLE_TIMEOUT));
    let mut connection = pin!(builder.serve_connection(io, service));
    let ended = match stop.run_until_cancelled(connection.as_mut()).await {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%address, node, %error, "a connection of a peer ended with an error");
    }
}

/// How many connections without a certificate each address has.
#[derive(Clone, Default)]
struct Counted(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One of them, until it is dropped.
struct Turn {
    of: Counted,
    address: IpAddr,
}

impl Counted {
    fn enter(&self, address: IpAddr) -> Option<Turn> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(address).or_default();
        (*count < STRANGERS_PER_ADDRESS_MAX).then(|| {
            *count += 1;
            Turn { of: self.clone(), address }
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut all = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.address);
            }
        }
    }
}
