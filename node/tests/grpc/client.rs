//! A gRPC client over mutual TLS that shows everything: status, message, answer.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use super::wire;

/// How long one call may take: longer than the service waits for its cluster.
const PATIENCE: Duration = Duration::from_secs(40);

/// What a call was answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) message: String,
    /// As JSON, if the call was done.
    pub(crate) response: Option<Value>,
}

impl Answer {
    /// The answer to a call that was done.
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.code, 0, "{self:?}");
        self.response.expect("a call that was done has an answer")
    }
}

/// Who calls, and over what.
pub(crate) struct Client {
    address: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
    runtime: Runtime,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// The files of a client, as `raftboot cert client` writes them; without `client.crt`, one that has no certificate.
pub(crate) fn tls(certificates: &Path) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificates.join("ca.crt")).expect("a certificate")).expect("a CA");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("ring has them").with_root_certificates(roots);
    let own = certificates.join("client.crt");
    let mut config = if own.exists() {
        let chain = vec![CertificateDer::from_pem_file(own).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_file(certificates.join("client.key")).expect("a key");
        config.with_client_auth_cert(chain, key).expect("a pair")
    } else {
        config.with_no_client_auth()
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

impl Client {
    pub(crate) fn new(address: SocketAddr, tls: Arc<rustls::ClientConfig>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self { address, tls, runtime: runtime.expect("a runtime"), connection: None }
    }

    /// One call, over the connection there is or a new one.
    pub(crate) fn call(&mut self, method: &str, request: &Value) -> Answer {
        self.try_call(method, request).unwrap_or_else(|error| panic!("{method} at {}: {error}", self.address))
    }

    /// The same where the connection may fail.
    pub(crate) fn try_call(&mut self, method: &str, request: &Value) -> Result<Answer, String> {
        self.send(method, &wire::request(method, request))
    }

    /// One call with a message as bytes.
    pub(crate) fn send(&mut self, method: &str, message: &[u8]) -> Result<Answer, String> {
        let connection = match self.connection.take().filter(SendRequest::is_ready) {
            Some(connection) => connection,
            None => self.runtime.block_on(connect(self.address, self.tls.clone()))?,
        };
        let mut sender = connection.clone();
        let call = call(&mut sender, self.address, method, message);
        let limited = async { tokio::time::timeout(PATIENCE, call).await };
        let answer = self.runtime.block_on(limited).map_err(|_| format!("no answer within {PATIENCE:?}"))??;
        self.connection = Some(connection);
        Ok(answer)
    }
}

async fn connect(address: SocketAddr, tls: Arc<rustls::ClientConfig>) -> Result<SendRequest<Full<Bytes>>, String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let socket = TcpStream::connect(address).await.map_err(|error| text(&error))?;
    let name = ServerName::from(address.ip());
    let secured = TlsConnector::from(tls).connect(name, socket).await.map_err(|error| text(&error))?;
    assert_eq!(secured.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "newer Go clients insist on it");
    let (sender, connection) =
        handshake(TokioExecutor::new(), TokioIo::new(secured)).await.map_err(|error| text(&error))?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn call(
    sender: &mut SendRequest<Full<Bytes>>,
    address: SocketAddr,
    method: &str,
    message: &[u8],
) -> Result<Answer, String> {
    let length = u32::try_from(message.len()).expect("a message of a test is short").to_be_bytes();
    let body = [&[0][..], &length, message].concat();
    let request = http::Request::post(format!("https://{address}/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from(body)))
        .expect("a request");
    // With TLS 1.3 a server refuses a client's certificate after the client has begun to speak.
    let response = sender.send_request(request).await.map_err(|error| format!("{error:?}"))?;
    assert_eq!(response.status(), 200, "gRPC failures are in the trailers");
    let mut headers = response.headers().clone();
    let collected = response.into_body().collect().await.map_err(|error| format!("{error:?}"))?;
    headers.extend(collected.trailers().cloned().unwrap_or_default());
    let body = collected.to_bytes();
    let text = |name: &str| headers.get(name).map(|value| value.to_str().expect("a header").to_owned());
    let code = text("grpc-status").expect("every answer has a status").parse().expect("a number");
    let message = percent_encoding::percent_decode_str(&text("grpc-message").unwrap_or_default())
        .decode_utf8()
        .expect("UTF-8")
        .into_owned();
    let response = body.get(5..).map(|message| wire::answer(method, message));
    Ok(Answer { code, message, response })
}
