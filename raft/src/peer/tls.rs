//! Certificates between nodes: both sides show one of the cluster's CA, and its name says which node it is.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::{ALPN_HTTP, ALPN_RAFT};

/// A node's certificates as PEM text.
#[derive(Debug, Clone)]
pub struct Pems {
    /// The cluster's CA.
    pub ca: String,
    /// This node's certificate chain, leaf first.
    pub chain: String,
    /// Its private key.
    pub key: String,
}

/// Why certificates cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the certificates between nodes cannot be used: {0}")]
pub struct CredentialsError(String);

/// Who this node is to its peers, and whom it trusts; clones share it, and it can be replaced while in use.
#[derive(Clone, Debug)]
pub struct Credentials {
    current: Arc<ArcSwap<Configs>>,
}

#[derive(Debug)]
struct Configs {
    raft_client: Arc<ClientConfig>,
    http_client: Arc<ClientConfig>,
    raft_server: Arc<ServerConfig>,
    http_server: Arc<ServerConfig>,
}

impl Credentials {
    /// From PEM texts.
    ///
    /// # Errors
    /// When one of them cannot be read or they do not belong together.
    pub fn new(pems: &Pems) -> Result<Self, CredentialsError> {
        Ok(Self { current: Arc::new(ArcSwap::from_pointee(Configs::new(pems)?)) })
    }

    /// Uses other certificates for connections from now on; those that are open stay.
    ///
    /// # Errors
    /// As `new`; the old ones stay in use then.
    pub fn replace(&self, pems: &Pems) -> Result<(), CredentialsError> {
        self.current.store(Arc::new(Configs::new(pems)?));
        Ok(())
    }

    /// For dialling a peer by that application protocol.
    #[must_use]
    pub fn client_config(&self, alpn: &[u8]) -> Arc<ClientConfig> {
        let current = self.current.load();
        if alpn == ALPN_RAFT { current.raft_client.clone() } else { current.http_client.clone() }
    }

    pub(super) fn server_config(&self, alpn: &[u8]) -> Arc<ServerConfig> {
        let current = self.current.load();
        if alpn == ALPN_RAFT { current.raft_server.clone() } else { current.http_server.clone() }
    }
}

impl Configs {
    fn new(pems: &Pems) -> Result<Self, CredentialsError> {
        let fail = |what: &str, error: &dyn std::fmt::Display| CredentialsError(format!("{what}: {error}"));
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&pems.ca).map_err(|error| fail("the CA", &error))? {
            roots.add(certificate).map_err(|error| fail("the CA", &error))?;
        }
        let mut chain = certificates(&pems.chain).map_err(|error| fail("the node's certificate", &error))?;
        // A node that joins knows the CA only by its hash, so it is sent along.
        chain.extend(certificates(&pems.ca).map_err(|error| fail("the CA", &error))?);
        let key = || PrivateKeyDer::from_pem_slice(pems.key.as_bytes()).map_err(|error| fail("the node's key", &error));
        let roots = Arc::new(roots);
        let client = |alpn: &[u8]| {
            let mut config = ClientConfig::builder_with_provider(provider())
                .with_protocol_versions(&[&rustls::version::TLS13])
                .map_err(|error| fail("TLS 1.3", &error))?
                .with_root_certificates(roots.clone())
                .with_client_auth_cert(chain.clone(), key()?)
                .map_err(|error| fail("the node's certificate", &error))?;
            config.alpn_protocols = vec![alpn.to_vec()];
            Ok(Arc::new(config))
        };
        let server = |alpn: &[u8], needed: bool| {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider());
            let verifier = if needed { verifier } else { verifier.allow_unauthenticated() };
            let verifier = verifier.build().map_err(|error| fail("the CA", &error))?;
            let mut config = ServerConfig::builder_with_provider(provider())
                .with_protocol_versions(&[&rustls::version::TLS13])
                .map_err(|error| fail("TLS 1.3", &error))?
                .with_client_cert_verifier(verifier)
                .with_single_cert(chain.clone(), key()?)
                .map_err(|error| fail("the node's certificate", &error))?;
            config.alpn_protocols = vec![alpn.to_vec()];
            Ok(Arc::new(config))
        };
        Ok(Self {
            raft_client: client(ALPN_RAFT)?,
            http_client: client(ALPN_HTTP)?,
            raft_server: server(ALPN_RAFT, true)?,
            http_server: server(ALPN_HTTP, false)?,
        })
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match read {
        Ok(list) if list.is_empty() => Err("there is no certificate in it".into()),
        Ok(list) => Ok(list),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether a certificate, whose chain has been verified, bears that name.
pub(super) fn bears(certificate: &CertificateDer<'_>, name: &str) -> bool {
    let Ok(name) = ServerName::try_from(name) else { return false };
    webpki::EndEntityCert::try_from(certificate)
        .is_ok_and(|certificate| certificate.verify_is_valid_for_subject_name(&name).is_ok())
}
