//! How nodes talk: one TLS port, certificates of the cluster's own CA on both sides, and on every connection first a
//! word about who speaks to whom.
//!
//! `wire` is what is said, `tls` who may say it, `mux` carries requests and answers over one stream, `dial` opens streams,
//! `connection` is what openraft sends through, `calls` what a node asks of another besides, `server` the other end of
//! all of it.

mod calls;
mod connection;
mod dial;
mod mux;
mod server;
mod tls;
mod wire;

use std::net::SocketAddr;

pub(crate) use calls::{CallFailed, Calls};
pub(crate) use connection::Peers;
pub(crate) use dial::Dialer;
pub(crate) use server::{Answering, CallHandler, Server};
pub use tls::{Credentials, CredentialsError, Pems};
pub use wire::{Addressing, PeerView};
pub(crate) use wire::{Ask, CallAnswer, CallProblem, JoinAsk, ProblemKind, RemoveAsk};

use crate::home::cluster_name;

/// The application protocol (RFC 7301) of Raft and of calls between nodes.
pub const ALPN_RAFT: &[u8] = b"raftboot-raft/1";
/// The application protocol of bulk data and of nodes that ask to join.
pub const ALPN_HTTP: &[u8] = b"http/1.1";

/// The name in a node's certificate by which its peers know it.
#[must_use]
pub fn node_name(cluster: &[u8; 16], id: u64) -> String {
    format!("node-{id}.{}.raftboot.internal", cluster_name(cluster))
}

/// A connection whose protocol is HTTP, handed to whoever serves that.
#[derive(Debug)]
pub struct HttpPeer {
    /// The stream, with its handshake done.
    pub stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>,
    /// The member at the other end, as its certificate proves; `None` if it showed none.
    pub node: Option<u64>,
    /// Where it came from.
    pub address: SocketAddr,
}

/// What a node needs to talk to others.
#[derive(Debug)]
pub struct PeerOptions {
    /// The bound port.
    pub listener: std::net::TcpListener,
    /// Who we are and whom we trust.
    pub credentials: Credentials,
    /// Takes connections whose protocol is HTTP.
    pub http: tokio::sync::mpsc::Sender<HttpPeer>,
}
