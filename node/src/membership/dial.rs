//! Asks a node of a cluster to be let in, or which one it is, over TLS that trusts exactly the CA the join token names.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use raft::types::Digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    StreamOwned,
};
use serde::de::DeserializeOwned;

use super::token::{JoinToken, same};
use super::wire::{ANSWER_BYTES_MAX, JOIN_PATH, JoinAnswer, JoinRequest, Refusal, WHO_PATH, Who};
use crate::certs;

/// The peer port, where none is named.
pub const PORT: u16 = 7443;
/// How long connecting to one address may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the other node may be silent; it waits for its leader meanwhile.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long it may take to say who it is, for which it waits for nobody.
const WHO_SILENCE_MAX: Duration = Duration::from_secs(5);
/// What the certificate is asked by; the CA alone decides, because no node's name is known yet.
const NAME: &str = "join.raftboot.internal";

/// Why the cluster did not let this node in.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// There was no answer.
    #[error("{address} does not answer: {error}")]
    Unreachable {
        /// Who was asked.
        address: String,
        /// What happened.
        error: io::Error,
    },
    /// It is not the cluster that the token is for.
    #[error("{address} is not a node of the cluster that made this token: {error}")]
    Stranger {
        /// Who was asked.
        address: String,
        /// What happened.
        error: rustls::Error,
    },
    /// It said no.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// It cannot say yes now.
    #[error("{}", .0.message)]
    NotNow(Refusal),
    /// What came back is no answer to this.
    #[error("{address} gave an answer that cannot be read: {what}")]
    Garbage {
        /// Who was asked.
        address: String,
        /// What is wrong with it.
        what: String,
    },
}

impl DialError {
    /// What to do.
    #[must_use]
    pub fn hint(&self) -> &str {
        match self {
            Self::Unreachable { .. } => {
                "is `raftboot serve` running there, is the port its peer port (7443), and does a firewall let it through?"
            }
            Self::Stranger { error: rustls::Error::InvalidCertificate(reason), .. } if is_about_time(reason) => {
                "compare the clocks of both nodes: by this one's, the other's certificate is not valid now"
            }
            Self::Stranger { .. } => {
                "name the peer port of a node of that cluster, or get a token from this one: `raftboot join-token`"
            }
            Self::Refused(refusal) | Self::NotNow(refusal) => &refusal.hint,
            Self::Garbage { .. } => "is that the peer port of a node with the same version of raftboot?",
        }
    }
}

fn is_about_time(reason: &CertificateError) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    matches!(reason, Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. })
}

/// `ADDRESS[:PORT]` with a port in any case.
#[must_use]
pub fn with_port(address: &str) -> String {
    let is_bare_v6 = address.parse::<std::net::Ipv6Addr>().is_ok();
    let has_port = !is_bare_v6 && address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    match (is_bare_v6, has_port) {
        (true, _) => format!("[{address}]:{PORT}"),
        (false, true) => address.to_owned(),
        (false, false) => format!("{address}:{PORT}"),
    }
}

/// Asks the node at `address` (`host:port`) to be let in.
///
/// # Errors
/// Why there is no id for this node.
pub fn ask(address: &str, token: &JoinToken, request: &JoinRequest) -> Result<JoinAnswer, DialError> {
    let body = serde_json::to_vec(request).expect("names and addresses are JSON");
    let head = format!(
        "POST {JOIN_PATH} HTTP/1.1\r\nHost: {NAME}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        token.bearer(),
        body.len()
    );
    exchange(address, token.ca(), &[head.as_bytes(), &body], SILENCE_MAX)
}

/// Asks the node at `address` (`host:port`) which one it is, if what answers there has a certificate of that CA.
///
/// # Errors
/// Why it did not say.
pub fn who(address: &str, ca: Digest) -> Result<Who, DialError> {
    let head = format!("GET {WHO_PATH} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
    exchange(address, ca, &[head.as_bytes()], WHO_SILENCE_MAX)
}

/// One request and its answer, over TLS that trusts that CA alone.
fn exchange<T: DeserializeOwned>(
    address: &str,
    ca: Digest,
    request: &[&[u8]],
    silence: Duration,
) -> Result<T, DialError> {
    let unreachable = |error| DialError::Unreachable { address: address.to_owned(), error };
    let socket = connect(address, silence).map_err(unreachable)?;
    let name = ServerName::try_from(NAME).expect("a constant name");
    let session = ClientConnection::new(Arc::new(client(ca)), name)
        .map_err(|error| DialError::Stranger { address: address.to_owned(), error })?;
    let mut stream = StreamOwned::new(session, socket);
    let written = request.iter().try_for_each(|part| stream.write_all(part)).and_then(|()| stream.flush());
    written.map_err(|error| failed(address, error))?;
    let answer = read(&mut stream).map_err(|error| failed(address, error))?;
    understand(&answer).map_err(|error| match error {
        Misread::Said(said) => said,
        Misread::Garbage(what) => DialError::Garbage { address: address.to_owned(), what },
    })
}

fn connect(address: &str, silence: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&candidate, CONNECT_TIMEOUT) {
            Ok(socket) => {
                socket.set_read_timeout(Some(silence))?;
                socket.set_write_timeout(Some(silence))?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A failed handshake comes as an error of the stream, with the reason inside.
fn failed(address: &str, error: io::Error) -> DialError {
    let address = address.to_owned();
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(reason) => DialError::Stranger { address, error: reason.clone() },
        None => DialError::Unreachable { address, error },
    }
}

fn read(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    match stream.take(ANSWER_BYTES_MAX as u64).read_to_end(&mut answer) {
        // Whether the other side said good-bye does not matter: the length in the head says whether all is there.
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        _ => Ok(answer),
    }
}

enum Misread {
    Said(DialError),
    Garbage(String),
}

fn understand<T: DeserializeOwned>(answer: &[u8]) -> Result<T, Misread> {
    let garbage = |what: &str| Misread::Garbage(what.to_owned());
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(|| garbage("it breaks off early"))?;
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| garbage("its head is no text"))?;
    let body = &answer[end + 4..];
    let mut lines = head.split("\r\n");
    let status: u16 = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok())
        .ok_or_else(|| garbage("it is not HTTP"))?;
    let length: usize = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, length)| length.trim().parse().ok())
        .ok_or_else(|| garbage("it has no length"))?;
    let body = body.get(..length).ok_or_else(|| garbage("it breaks off early"))?;
    if status == 200 {
        return serde_json::from_slice(body).map_err(|error| Misread::Garbage(error.to_string()));
    }
    let refusal: Refusal = serde_json::from_slice(body).map_err(|_| Misread::Garbage(format!("status {status}")))?;
    let again = matches!(status, 429 | 503 | 504);
    Err(Misread::Said(if again { DialError::NotNow(refusal) } else { DialError::Refused(refusal) }))
}

fn client(ca: Digest) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(certs::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring has TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned::new(ca)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// Trusts a certificate only if the chain sent with it holds the CA with this digest, and that CA has signed it.
pub struct Pinned {
    ca: Digest,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    /// Trusts what the CA whose certificate has that sha256 has signed, and nothing else.
    #[must_use]
    pub fn new(ca: Digest) -> Self {
        Self { ca, provider: certs::provider() }
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "only the CA {}", self.ca)
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let ca = chain.iter().find(|certificate| same(&Digest::of(certificate), &self.ca));
        let ca = ca.ok_or(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        // No intermediates: the nodes' certificates are signed by the CA itself.
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&ParsedCertificate::try_from(leaf)?, &roots, &[], now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::certs::{Authority, PEER};

    /// The certificates a node of some cluster sends: its own, and its CA's.
    fn chain(folder: &tempfile::TempDir) -> (Vec<CertificateDer<'static>>, Digest) {
        let now = SystemTime::now();
        let authority = Authority::open(folder.path(), now).unwrap();
        let issued = PEER.ensure(&authority, folder.path(), &["node-1.x.internal".into()], now).unwrap();
        let ca = certs::certificates(&folder.path().join(certs::CA_FILE)).unwrap();
        ([issued.certified.cert.clone(), ca].concat(), authority.digest().unwrap())
    }

    fn verdict(ca: Digest, chain: &[CertificateDer<'_>], at: UnixTime) -> Result<(), rustls::Error> {
        let name = ServerName::try_from(NAME).unwrap();
        Pinned::new(ca).verify_server_cert(&chain[0], &chain[1..], &name, &[], at).map(|_| ())
    }

    #[test]
    fn only_what_the_named_ca_has_signed_is_trusted() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [(ours, ca), (theirs, other_ca)] = folders.each_ref().map(chain);
        let now = UnixTime::now();
        assert_eq!(verdict(ca, &ours, now), Ok(()));
        assert!(verdict(other_ca, &ours, now).is_err(), "another CA");
        assert!(verdict(ca, &ours[..1], now).is_err(), "the CA was not sent");
        assert!(verdict(ca, &[theirs[0].clone(), ours[1].clone()], now).is_err(), "our CA beside a stranger's leaf");
        assert!(
            verdict(ca, &[theirs[0].clone(), theirs[1].clone(), ours[1].clone()], now).is_err(),
            "hidden behind ours"
        );
        assert!(verdict(ca, &[ours[1].clone(), ours[1].clone()], now).is_err(), "the CA itself is no node");
        let late = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs() + 3 * 365 * 86_400));
        let error = verdict(ca, &ours, late).unwrap_err();
        let hint = DialError::Stranger { address: String::new(), error }.hint().to_owned();
        assert!(hint.contains("clocks"), "{hint}");
    }

    #[test]
    fn an_address_has_a_port_in_any_case() {
        for (address, whole) in [
            ("10.0.0.1", "10.0.0.1:7443"),
            ("10.0.0.1:7000", "10.0.0.1:7000"),
            ("node-a.lab", "node-a.lab:7443"),
            ("fd00::7", "[fd00::7]:7443"),
            ("[fd00::7]:7000", "[fd00::7]:7000"),
            ("[fd00::7]", "[fd00::7]:7443"),
        ] {
            assert_eq!(with_port(address), whole);
        }
    }

    #[test]
    fn answers_that_are_none_are_said_to_be_none() {
        let misread = |text: &str| match understand::<JoinAnswer>(text.as_bytes()) {
            Ok(answer) => format!("{answer:?}"),
            Err(Misread::Garbage(what)) => what,
            Err(Misread::Said(error)) => format!("{error} ({})", error.hint()),
        };
        assert_eq!(misread("SSH-2.0\r\n\r\n"), "it is not HTTP");
        assert_eq!(misread("HTTP/1.1 200 OK\r\n"), "it breaks off early");
        assert_eq!(misread("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{"), "it breaks off early");
        assert_eq!(misread("HTTP/1.1 200 OK\r\n\r\n{}"), "it has no length");
        let refusal = r#"{"code":"c","message":"no","hint":"ask"}"#;
        let text = format!("HTTP/1.1 401 Unauthorized\r\ncontent-length: {}\r\n\r\n{refusal}", refusal.len());
        assert_eq!(misread(&text), "no (ask)");
    }
}
