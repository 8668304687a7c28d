//! Holds the admin API's sockets: TLS, HTTP/1.1 and HTTP/2, everything bounded.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service;
use tracing::{debug, warn};

use super::auth::Peer;
use crate::idle::Idle;

/// Connections open at once.
const CONNECTIONS_MAX: usize = 512;
/// TLS handshakes under way at once; they are the costly part of a connection. More than one address may have
/// connections, so that nobody alone can keep all of them waiting.
const HANDSHAKES_MAX: usize = 128;
/// Connections from one address at once.
const PEER_CONNECTIONS_MAX: usize = 64;
/// How long a client may take to begin, and how long its handshake may take then.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the head of a request may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long nothing may move on a connection; longer than any answer takes to begin.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Header lines of a request.
const HEADERS_MAX: usize = 64;
/// Bytes of a request's header over HTTP/2.
const HEADER_BYTES_MAX: u32 = 32 * 1024;
/// Requests under way at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 64;
/// How much one request may send ahead of being read over HTTP/2, in bytes.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// How much all requests of one HTTP/2 connection may send ahead, in bytes.
const CONNECTION_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// How long requests under way may take to end when the node stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait when the system cannot give us a socket.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Why the API cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("the admin API cannot listen on {address}: {error}; {hint}")]
pub struct BindError {
    address: SocketAddr,
    error: io::Error,
    hint: &'static str,
}

/// A port that is taken and not served yet.
#[derive(Debug)]
pub struct Listener(std::net::TcpListener);

impl Listener {
    /// Where it listens.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Takes the port, so that everything is bound before anything runs.
///
/// # Errors
/// If it cannot be had; the message says what to do.
pub fn bind(address: SocketAddr) -> Result<Listener, BindError> {
    let listener = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(Listener(listener))
    });
    listener.map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "another process has that port (`ss -ltnp` shows which): stop it, or set `listen.admin`"
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need CAP_NET_BIND_SERVICE: set `listen.admin` to a higher one"
            }
            io::ErrorKind::AddrNotAvailable => "this host has no such address: set `listen.admin`",
            _ => "set `listen.admin`",
        };
        BindError { address, error, hint }
    })
}

/// Serves until `shutdown` resolves; requests under way are then given a few seconds to end.
///
/// # Errors
/// If the runtime cannot watch the socket.
pub async fn serve(
    listener: Listener,
    tls: Arc<ServerConfig>,
    router: Router,
    shutdown: impl Future<Output = ()> + Send,
) -> anyhow::Result<()> {
    let listener = TcpListener::from_std(listener.0)?;
    let stop = CancellationToken::new();
    let told = async {
        shutdown.await;
        stop.cancel();
        std::future::pending().await
    };
    tokio::select! {
        () = accept(listener, tls, router, stop.clone()) => Ok(()),
        never = told => never,
    }
}

async fn accept(listener: TcpListener, tls: Arc<ServerConfig>, router: Router, stop: CancellationToken) {
    let acceptor = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let peers = Peers::default();
    let mut connections = JoinSet::new();
    while let Some(Ok(place)) = stop.run_until_cancelled(places.clone().acquire_owned()).await {
        let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else { break };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((socket, peer)) => {
                let Some(counted) = peers.enter(peer.ip()) else {
                    debug!(%peer, "an admin connection was closed: its address has too many");
                    continue;
                };
                let (acceptor, handshakes) = (acceptor.clone(), handshakes.clone());
                let (router, stop) = (router.clone(), stop.clone());
                connections.spawn(async move {
                    if let Some(stream) = handshake(socket, peer, &acceptor, &handshakes).await {
                        connection(stream, peer, router, stop).await;
                    }
                    drop((place, counted));
                });
            }
            Err(error) => {
                warn!(%error, "the admin API could not accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let ended = timeout(STOP_TIMEOUT, async { while connections.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        warn!(connections = connections.len(), "admin requests did not end in time and were dropped");
    }
}

/// How many connections each address has.
#[derive(Clone, Default)]
struct Peers(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl Peers {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more, until the answer is dropped; nothing if the address has as many as it may.
    fn enter(&self, peer: IpAddr) -> Option<Counted> {
        let peer = peer.to_canonical();
        let mut all = self.lock();
        let count = all.entry(peer).or_default();
        (*count < PEER_CONNECTIONS_MAX).then(|| {
            *count += 1;
            Counted { peers: self.clone(), peer }
        })
    }
}

struct Counted {
    peers: Peers,
    peer: IpAddr,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut all = self.peers.lock();
        if let Entry::Occupied(mut count) = all.entry(self.peer) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

type Secured = tokio_rustls::server::TlsStream<Idle<TcpStream>>;

async fn handshake(
    socket: TcpStream,
    peer: SocketAddr,
    acceptor: &TlsAcceptor,
    handshakes: &Semaphore,
) -> Option<Secured> {
    // Small answers must not wait for acknowledgements; without it they would only be slower.
    let _ = socket.set_nodelay(true);
    let shaken = timeout(HANDSHAKE_TIMEOUT, async {
        // Whoever says nothing takes no turn from those who do.
        socket.peek(&mut [0]).await?;
        let _turn = handshakes.acquire().await;
        acceptor.accept(Idle::new(socket, IDLE_TIMEOUT)).await
    });
    match shaken.await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            debug!(%peer, %error, "a TLS handshake failed");
            None
        }
        Err(_) => {
            debug!(%peer, "a TLS handshake took too long");
            None
        }
    }
}

async fn connection(stream: Secured, peer: SocketAddr, router: Router, stop: CancellationToken) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_headers(HEADERS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        router.clone().call(request)
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = match stop.run_until_cancelled(connection.as_mut()).await {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%peer, %error, "an admin connection ended with an error");
    }
}
