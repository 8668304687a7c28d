//! Holds the sockets of boot HTTP: accepts, limits, times out, and ends without cutting answers short.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::answer::{Context, Ends};
use super::config::Parser;
use super::digests::Digests;
use super::gate::{Gate, Pass};
use super::pace::Pace;
use super::signature::Signer;
use super::signed::Signing;
use super::stream::Reader;
use super::{Questions, respond};
use crate::idle::Idle;
use crate::metrics::counted;
use crate::request_id::RequestId;

/// How many connections wait in the kernel's queue.
const BACKLOG_MAX: u32 = 1024;
/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a connection may move no byte in either direction.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// How much of an answer a client must take, in bytes, within [`PACE_TIMEOUT`], while more is waiting for it.
const PACE_BYTES: usize = 32 * 1024;
/// Long enough for a switch port that is blocked for a while, as spanning tree does.
const PACE_TIMEOUT: Duration = Duration::from_secs(60);
/// Size of the head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How many headers a request may have.
const HEADERS_MAX: usize = 100;
/// How much of a request's body is read and ignored before the connection is given up, in bytes.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How long that may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait after the system could not accept (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long downloads may go on after the server was told to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The address could not be taken.
#[derive(Debug, thiserror::Error)]
#[error("boot HTTP cannot listen on {address}: {hint}")]
pub struct BindError {
    address: SocketAddr,
    hint: &'static str,
    #[source]
    source: io::Error,
}

impl BindError {
    fn new(address: SocketAddr, source: io::Error) -> Self {
        let hint = match source.kind() {
            io::ErrorKind::AddrInUse => {
                "another program listens there (see `ss -ltnp`); stop it, or choose another address for boot HTTP"
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need CAP_NET_BIND_SERVICE; grant it, or choose a higher port"
            }
            io::ErrorKind::AddrNotAvailable => "no interface here has that address; use 0.0.0.0 or one that exists",
            _ => "the system refused it",
        };
        Self { address, hint, source }
    }
}

/// A bound listener that serves nothing yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    signer: Option<Signer>,
}

/// Takes the address.
///
/// # Errors
/// What is in the way and what to do about it.
pub fn bind(address: SocketAddr) -> Result<Server, BindError> {
    let open = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG_MAX)
    };
    open().map(|listener| Server { listener, signer: None }).map_err(|error| BindError::new(address, error))
}

impl Server {
    /// With signatures beside what machines fetch, made by that key.
    #[must_use]
    pub fn signing(self, signer: Option<Signer>) -> Self {
        Self { signer, ..self }
    }

    /// The address that was taken; its port is the one the system chose if 0 was asked for.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until told to stop, then lets answers under way come to their end, for a while.
    ///
    /// # Errors
    /// None today: failing to accept is waited out.
    pub async fn serve(self, questions: Arc<dyn Questions>, stop: CancellationToken) -> io::Result<()> {
        let context = Context {
            questions,
            reader: Arc::new(Reader::default()),
            parser: Arc::new(Parser::default()),
            digests: Digests::default(),
            signing: self.signer.clone().map(|signer| Arc::new(Signing::new(signer))),
        };
        let context = Arc::new(context);
        let (tasks, gate) = (TaskTracker::new(), Gate::default());
        while let Some((stream, client, pass)) = stop.run_until_cancelled(self.accept(&gate)).await {
            let (context, stop) = (context.clone(), stop.clone());
            tasks.spawn(async move {
                converse(stream, client, context, stop).await;
                drop(pass);
            });
        }
        drop(self.listener);
        tasks.close();
        if tokio::time::timeout(STOP_TIMEOUT, tasks.wait()).await.is_err() {
            warn!(connections = tasks.len(), "downloads were cut off because the node is stopping");
        }
        Ok(())
    }

    async fn accept(&self, gate: &Gate) -> (TcpStream, SocketAddr, Pass) {
        loop {
            let permit = gate.permit().await;
            match self.listener.accept().await {
                Ok((stream, client)) => match gate.pass(client.ip(), permit) {
                    Ok(pass) => return (stream, client, pass),
                    Err(reason) => {
                        counted::BOOT_REFUSED.one();
                        debug!(%client, %reason, "refused a connection");
                    }
                },
                Err(error) => {
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Serves one connection to its end.
async fn converse(stream: TcpStream, client: SocketAddr, context: Arc<Context>, stop: CancellationToken) {
    let _counted = counted::BOOT_CONNECTIONS.enter();
    // Nagle's algorithm would hold back the last piece of a file for 40 ms.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%client, %error, "nagle's algorithm stays on");
    }
    let Ok(local) = stream.local_addr() else { return };
    let ends = Ends { client, local };
    let service = service_fn(|request: http::Request<Incoming>| {
        let context = &context;
        async move { Ok::<_, Infallible>(RequestId::fresh().scope(respond(request, context, ends)).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    http.max_headers(HEADERS_MAX).half_close(true);
    let idle = Idle::new(Pace::new(stream, PACE_BYTES, PACE_TIMEOUT), IDLE_TIMEOUT);
    let mut connection = pin!(http.serve_connection(TokioIo::new(idle), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%client, %error, "a connection ended early");
    }
}

async fn respond(request: http::Request<Incoming>, context: &Context, ends: Ends) -> respond::Answer {
    let (parts, body) = request.into_parts();
    let ignored = drain(body).await;
    let begun = Instant::now();
    let mut answer = context.answer(&parts, ends).await;
    counted::boot_request(parts.uri.path(), answer.status().as_u16(), begun.elapsed());
    if !ignored {
        info!(client = %ends.client, "a request's body was too long or too slow; the connection is closed after the answer");
        respond::set(&mut answer, http::header::CONNECTION, "close");
    }
    answer
}

/// Reads a body that nobody asked for, so that the next request can follow; `false` if it is too long or too slow.
async fn drain(mut body: Incoming) -> bool {
    if hyper::body::Body::is_end_stream(&body) {
        return true;
    }
    let read = async {
        let mut left = BODY_BYTES_MAX;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            let length = frame.data_ref().map_or(0, |data| data.len());
            let Some(rest) = left.checked_sub(length) else { return false };
            left = rest;
        }
        true
    };
    within(BODY_TIMEOUT, read).await
}

async fn within(limit: Duration, work: impl Future<Output = bool>) -> bool {
    tokio::time::timeout(limit, work).await.unwrap_or(false)
}
