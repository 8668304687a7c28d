//! Holds the sockets of what operators and their programs speak to: TLS, HTTP/1.1 and HTTP/2, everything bounded.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service as _;
use tracing::{debug, warn};

use crate::idle::Idle;
use crate::metrics::counted;
use crate::request_id::{REQUEST_ID, RequestId};

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
/// How many failed handshakes are told of in one `FAILURES_EVERY`.
const FAILURES_MAX: u32 = 5;
/// How many addresses are told of in that time.
const FAILING_MAX: usize = 64;
/// The time over which they are counted.
const FAILURES_EVERY: Duration = Duration::from_secs(10);

/// What is served behind a port.
#[derive(Debug)]
pub struct Service {
    /// What messages call it.
    pub name: &'static str,
    /// The key of the configuration that says where it listens.
    pub key: &'static str,
    /// What metrics call it.
    pub label: &'static str,
    /// Counts an answer.
    pub count: fn(&http::response::Parts),
    /// Whether a failed handshake is worth telling an operator about: those who have no certificate see nothing else.
    pub tells_failures: bool,
}

/// The address a request came from, in its extensions.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// The certificate a request was made with, verified, in its extensions if there is one.
#[derive(Debug, Clone)]
pub struct PeerCertificate(pub CertificateDer<'static>);

/// Why a service cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("the {} cannot listen on {address}: {error}; {hint} (`{}`)", service.name, service.key)]
pub struct BindError {
    service: &'static Service,
    address: SocketAddr,
    error: io::Error,
    hint: &'static str,
}

/// A port that is taken and not served yet.
#[derive(Debug)]
pub struct Listener {
    socket: std::net::TcpListener,
    service: &'static Service,
}

impl Listener {
    /// Where it listens.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// Takes the port, so that everything is bound before anything runs.
///
/// # Errors
/// If it cannot be had; the message says what to do.
pub fn bind(address: SocketAddr, service: &'static Service) -> Result<Listener, BindError> {
    let socket = std::net::TcpListener::bind(address).and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
    socket.map(|socket| Listener { socket, service }).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "another process has that port (`ss -ltnp` shows which): stop it, or choose another address"
            }
            io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one",
            io::ErrorKind::AddrNotAvailable => "this host has no such address: choose one it has",
            _ => "choose another address",
        };
        BindError { service, address, error, hint }
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
    let Listener { socket, service } = listener;
    let socket = TcpListener::from_std(socket)?;
    let stop = CancellationToken::new();
    let told = async {
        shutdown.await;
        stop.cancel();
        std::future::pending().await
    };
    let server = Server { service, tls, router, stop: stop.clone(), failures: Failures::default() };
    tokio::select! {
        () = accept(socket, Arc::new(server)) => Ok(()),
        never = told => never,
    }
}

struct Server {
    service: &'static Service,
    tls: Arc<ServerConfig>,
    router: Router,
    stop: CancellationToken,
    failures: Failures,
}

async fn accept(listener: TcpListener, server: Arc<Server>) {
    let name = server.service.name;
    let acceptor = TlsAcceptor::from(server.tls.clone());
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let peers = Peers::default();
    let mut connections = JoinSet::new();
    while let Some(Ok(place)) = server.stop.run_until_cancelled(places.clone().acquire_owned()).await {
        let Some(accepted) = server.stop.run_until_cancelled(listener.accept()).await else { break };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((socket, peer)) => {
                let Some(counted) = peers.enter(peer.ip()) else {
                    server.failures.note(server.service, peer, TOO_MANY);
                    continue;
                };
                let (acceptor, handshakes, server) = (acceptor.clone(), handshakes.clone(), server.clone());
                connections.spawn(async move {
                    match handshake(socket, &acceptor, &handshakes).await {
                        Ok(stream) => connection(stream, peer, &server).await,
                        Err(reason) => server.failures.note(server.service, peer, &reason),
                    }
                    drop((place, counted));
                });
            }
            Err(error) => {
                warn!(service = name, %error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let ended = timeout(STOP_TIMEOUT, async { while connections.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        warn!(service = name, connections = connections.len(), "requests did not end in time and were dropped");
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

async fn handshake(socket: TcpStream, acceptor: &TlsAcceptor, handshakes: &Semaphore) -> Result<Secured, String> {
    // Small answers must not wait for acknowledgements; without it they would only be slower.
    let _ = socket.set_nodelay(true);
    let shaken = timeout(HANDSHAKE_TIMEOUT, async {
        // Whoever says nothing takes no turn from those who do.
        if socket.peek(&mut [0]).await? == 0 {
            // A port scan or a health check of a load balancer.
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, NOTHING_SAID));
        }
        let _turn = handshakes.acquire().await;
        acceptor.accept(Idle::new(socket, IDLE_TIMEOUT)).await
    });
    match shaken.await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("it took longer than {HANDSHAKE_TIMEOUT:?}")),
    }
}

const TOO_MANY: &str = "its address has as many connections as one may have";
const NOTHING_SAID: &str = "the connection was closed without a word";

/// Tells of failed handshakes, a few of each address at a time: a scanner must not fill the disk with log lines, nor hide
/// what others get wrong.
#[derive(Debug, Default)]
struct Failures(Mutex<HashMap<IpAddr, (Instant, u32)>>);

impl Failures {
    fn note(&self, service: &'static Service, peer: SocketAddr, reason: &str) {
        counted::HANDSHAKES_FAILED.one(service.label);
        if !service.tells_failures || reason == NOTHING_SAID {
            debug!(service = service.name, %peer, reason, "a TLS handshake failed");
            return;
        }
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if recent.len() >= FAILING_MAX {
            recent.retain(|_, (since, _)| now - *since < FAILURES_EVERY);
        }
        if recent.len() >= FAILING_MAX {
            return;
        }
        let entry = recent.entry(peer.ip().to_canonical()).or_insert((now, 0));
        if now - entry.0 >= FAILURES_EVERY {
            *entry = (now, 0);
        }
        let count = entry.1;
        entry.1 += 1;
        drop(recent);
        match count {
            0..FAILURES_MAX => {
                warn!(service = service.name, %peer, reason, remedy = remedy(reason), "a TLS handshake failed")
            }
            FAILURES_MAX => {
                warn!(service = service.name, %peer, "more handshakes of this address fail; they are not told for a while");
            }
            _ => {}
        }
    }
}

/// What to do about a handshake that failed, by what rustls says of it.
fn remedy(reason: &str) -> &'static str {
    let about = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if about(&["no certificates", "NoCertificatesPresented"]) {
        "the client sent no certificate: `raftboot cert client NAME` makes one"
    } else if about(&["UnknownIssuer"]) {
        "the client's certificate is of another CA: make one with `raftboot cert client NAME`, or set `grpc.client_ca`"
    } else if about(&["Expired", "expired"]) {
        "the client's certificate has expired, or a clock is wrong"
    } else if about(&["extended key usage", "InvalidPurpose"]) {
        "the client sent a certificate that is not for clients (extended key usage clientAuth)"
    } else if about(&["CertificateUnknown", "UnknownCA", "BadCertificate"]) {
        "the client does not trust this server: give it the ca.crt that belongs to the server's certificate"
    } else if about(&["protocol", "Protocol", "incompatible", "SignatureAlgorithmsExtensionRequired"]) {
        "TLS 1.2 or newer is needed, with `h2` among the protocols (ALPN)"
    } else if about(&["corrupt message", "InvalidContentType"]) {
        "the client does not speak TLS"
    } else if reason == TOO_MANY {
        "use fewer connections at once from one address, or one connection for many calls"
    } else {
        ""
    }
}

async fn connection(stream: Secured, peer: SocketAddr, server: &Server) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_headers(HEADERS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificate = certificates.first().cloned().map(|leaf| PeerCertificate(leaf.into_owned()));
    let (router, count) = (server.router.clone(), server.service.count);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        if let Some(certificate) = &certificate {
            request.extensions_mut().insert(certificate.clone());
        }
        let id = RequestId::of(request.headers());
        request.extensions_mut().insert(id.clone());
        let answering = router.clone().call(request);
        let named = HeaderValue::from_str(&id.0);
        id.scope(async move {
            let mut answer = answering.await?;
            if let Ok(named) = named {
                answer.headers_mut().insert(REQUEST_ID, named);
            }
            let (parts, body) = answer.into_parts();
            count(&parts);
            Ok::<_, Infallible>(Response::from_parts(parts, body))
        })
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = match server.stop.run_until_cancelled(connection.as_mut()).await {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(service = server.service.name, %peer, %error, "a connection ended with an error");
    }
}
