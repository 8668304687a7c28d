//! Connections between nodes that break off, or change a byte on the way.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use raft::state::Member;
use raftboot::peer_http::{Dial, Link};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What goes wrong between nodes; nothing until it is set.
#[derive(Debug)]
pub(crate) struct Faults {
    ports: Mutex<BTreeMap<u64, SocketAddr>>,
    /// Each connection breaks off after so many bytes.
    pub(crate) cut_after: AtomicU64,
    /// The byte that is changed on the way, counted over all connections.
    pub(crate) change_at: AtomicU64,
    /// Bytes that came over all connections.
    pub(crate) moved: AtomicU64,
}

impl Default for Faults {
    fn default() -> Self {
        let (cut_after, change_at) = (AtomicU64::new(u64::MAX), AtomicU64::new(u64::MAX));
        Self { ports: Mutex::default(), cut_after, change_at, moved: AtomicU64::new(0) }
    }
}

impl Faults {
    pub(crate) fn set_port(&self, id: u64, address: SocketAddr) {
        self.ports.lock().expect("no one panics holding it").insert(id, address);
    }

    pub(crate) fn unset_port(&self, id: u64) {
        self.ports.lock().expect("no one panics holding it").remove(&id);
    }
}

/// Dials in the clear, through the faults.
pub(crate) struct Wire {
    faults: Arc<Faults>,
}

impl Wire {
    pub(crate) fn new(faults: Arc<Faults>) -> Self {
        Self { faults }
    }
}

impl Dial for Wire {
    fn dial<'a>(&'a self, member: &'a Member) -> BoxFuture<'a, io::Result<Pin<Box<dyn Link>>>> {
        async move {
            let address = self.faults.ports.lock().expect("no one panics holding it").get(&member.id).copied();
            let address = address.ok_or(io::ErrorKind::ConnectionRefused)?;
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let link: Pin<Box<dyn Link>> = Box::pin(Faulty { stream, faults: self.faults.clone(), read: 0 });
            Ok(link)
        }
        .boxed()
    }
}

struct Faulty {
    stream: TcpStream,
    faults: Arc<Faults>,
    read: u64,
}

impl AsyncRead for Faulty {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read >= self.faults.cut_after.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let fresh = (buffer.filled().len() - before) as u64;
        let moved = self.faults.moved.fetch_add(fresh, Ordering::Relaxed);
        let change_at = self.faults.change_at.load(Ordering::Relaxed);
        if (moved..moved + fresh).contains(&change_at) {
            let at = before + usize::try_from(change_at - moved).expect("within the buffer");
            buffer.filled_mut()[at] ^= 1;
        }
        self.read += fresh;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Faulty {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
