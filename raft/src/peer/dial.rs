//! Opens a stream to a peer: TCP, TLS with names on both sides, and the first word.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::tls::Credentials;
use super::wire::{Addressing, Channel, Hello, Welcome, receive, send};
use super::{ALPN_RAFT, node_name};
use crate::codec::Identity;

/// How long opening a stream may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection on which nothing that was sent is acknowledged for so long is over: the network was cut, and what is
/// dialled anew after that works at once.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(2);
/// An idle connection is asked after such a time, and then again and again until the other end is taken for gone.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Makes a connection notice that its other end is gone.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    socket
        .set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE).with_retries(3))
}

/// What it takes to dial any peer; clones share it.
#[derive(Clone)]
pub(crate) struct Dialer {
    inner: Arc<Inner>,
}

struct Inner {
    identity: Identity,
    credentials: Option<Credentials>,
    lease: Duration,
    removed: AtomicBool,
    removal: Notify,
}

impl Dialer {
    /// For the node of that identity; without credentials it reaches nobody.
    pub(crate) fn new(identity: Identity, credentials: Option<Credentials>, lease: Duration) -> Self {
        let (removed, removal) = (AtomicBool::new(false), Notify::new());
        Self { inner: Arc::new(Inner { identity, credentials, lease, removed, removal }) }
    }

    /// Opens a stream to a node.
    pub(crate) async fn dial(&self, target: u64, address: &str, channel: Channel) -> io::Result<TlsStream<TcpStream>> {
        tokio::time::timeout(DIAL_TIMEOUT, self.try_dial(target, address, channel))
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")))
    }

    async fn try_dial(&self, target: u64, address: &str, channel: Channel) -> io::Result<TlsStream<TcpStream>> {
        let Inner { identity, credentials, lease, .. } = &*self.inner;
        let Some(credentials) = credentials else {
            return Err(io::Error::other("this node was started without a port for peers"));
        };
        if address.is_empty() {
            return Err(io::Error::other("its address is not known yet"));
        }
        let stream = TcpStream::connect(address).await?;
        prepare(&stream)?;
        let name = ServerName::try_from(node_name(&identity.cluster, target)).map_err(io::Error::other)?;
        let connector = TlsConnector::from(credentials.client_config(ALPN_RAFT));
        let mut stream = connector.connect(name, stream).await?;
        let addressing =
            Addressing { cluster: identity.cluster, generation: identity.generation, from: identity.node, target };
        let lease_millis = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        send(&mut stream, &Hello { addressing, channel, lease_millis }).await?;
        match receive(&mut stream).await? {
            Some(Welcome::Come) => Ok(stream),
            Some(Welcome::Removed) => {
                self.note_removed();
                Err(io::Error::other("this node has been removed from the cluster"))
            }
            Some(Welcome::Refused(why)) => {
                tracing::warn!(node = target, address, why, "a peer refuses to talk to this node");
                Err(io::Error::other(why))
            }
            None => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        }
    }

    /// Remembers that this node is no member any more.
    pub(crate) fn note_removed(&self) {
        self.inner.removed.store(true, Ordering::Release);
        self.inner.removal.notify_waiters();
    }

    /// Resolves once this node is known to be no member any more.
    pub(crate) async fn removed(&self) {
        loop {
            let notified = self.inner.removal.notified();
            if self.inner.removed.load(Ordering::Acquire) {
                return;
            }
            notified.await;
        }
    }
}
