//! A small client of the gRPC service, with messages of its own making, for measuring it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

/// One connection over mutual TLS.
pub struct Caller {
    address: SocketAddr,
    runtime: Runtime,
    connection: SendRequest<Full<Bytes>>,
}

impl Caller {
    /// Connects with the files that `raftboot cert client` wrote, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// When the files cannot be used or the service does not let us in.
    pub fn connect(address: SocketAddr, certificates: &Path) -> Result<Self> {
        let file = |name: &str| certificates.join(name);
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(file("ca.crt")).context("read ca.crt")?)?;
        let chain = vec![CertificateDer::from_pem_file(file("client.crt")).context("read client.crt")?];
        let key = PrivateKeyDer::from_pem_file(file("client.key")).context("read client.key")?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connection = runtime.block_on(async {
            let socket = TcpStream::connect(address).await?;
            socket.set_nodelay(true)?;
            let name = ServerName::from(address.ip());
            let secured = TlsConnector::from(Arc::new(tls)).connect(name, socket).await?;
            let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(secured)).await?;
            tokio::spawn(connection);
            anyhow::Ok(sender)
        });
        Ok(Self { address, runtime, connection: connection.context("connect to the gRPC service")? })
    }

    /// `Groups/GroupPut` of a group with one machine.
    ///
    /// # Errors
    /// When it is not done.
    pub fn put_group(&mut self, id: &str, profile: &str, mac: &str) -> Result<()> {
        let selector = [text(1, "mac"), text(2, mac)].concat();
        let group = [text(1, id), text(3, profile), field(4, &selector), text(5, "{\"hostname\":\"h\"}")].concat();
        self.call("rpcpb.Groups/GroupPut", &field(1, &group)).map(drop)
    }

    /// `Groups/GroupGet`: its message as bytes.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn group(&mut self, id: &str) -> Result<Bytes> {
        self.call("rpcpb.Groups/GroupGet", &text(1, id))
    }

    fn call(&mut self, method: &str, message: &[u8]) -> Result<Bytes> {
        let length = u32::try_from(message.len()).context("a short message")?.to_be_bytes();
        let request = Request::post(format!("https://{}/{method}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(Bytes::from([&[0][..], &length, message].concat())))?;
        let Self { runtime, connection, .. } = self;
        runtime.block_on(async {
            let response = connection.send_request(request).await?;
            let mut headers = response.headers().clone();
            let collected = response.into_body().collect().await?;
            headers.extend(collected.trailers().cloned().unwrap_or_default());
            let status = headers.get("grpc-status").context("every answer has a status")?;
            if status != "0" {
                bail!("{method}: {status:?} {:?}", headers.get("grpc-message"));
            }
            let bytes = collected.to_bytes();
            ensure!(bytes.len() >= 5, "{method}: a cut answer");
            Ok(bytes.slice(5..))
        })
    }
}

fn text(number: u8, text: &str) -> Vec<u8> {
    field(number, text.as_bytes())
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    [out, bytes.to_vec()].concat()
}
