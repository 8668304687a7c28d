//! Reaches other nodes over TLS with the cluster's own certificates, and only the node that was meant.

use std::io;
use std::pin::Pin;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use raft::peer::{ALPN_HTTP, Credentials, node_name};
use raft::state::Member;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Dial, Link};

/// TLS with certificates on both sides.
pub(super) struct Tls {
    pub(super) credentials: Credentials,
    pub(super) cluster: [u8; 16],
}

impl Dial for Tls {
    fn dial<'a>(&'a self, member: &'a Member) -> BoxFuture<'a, io::Result<Pin<Box<dyn Link>>>> {
        async move {
            let stream = TcpStream::connect(&member.peer).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(node_name(&self.cluster, member.id)).map_err(io::Error::other)?;
            let connector = TlsConnector::from(self.credentials.client_config(ALPN_HTTP));
            let link: Pin<Box<dyn Link>> = Box::pin(connector.connect(name, stream).await?);
            Ok(link)
        }
        .boxed()
    }
}
