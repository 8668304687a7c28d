//! Who may call: holders of a client certificate, over TLS 1.2 or newer and HTTP/2.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::server::{ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;

use crate::certs::{self, CertError};

const HINT: &str = "`grpc.cert`, `grpc.key` and `grpc.client_ca` name PEM files: the server's chain, leaf first, its key, \
     and the CA whose client certificates are let in";

/// Certificates as matchbox has them in `/etc/matchbox`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFiles {
    /// The server's chain, leaf first.
    pub chain: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The CA of the clients.
    pub client_ca: PathBuf,
}

/// The operator's own certificates.
///
/// # Errors
/// If a file cannot be read, or two of them do not belong together.
pub fn own(files: &OwnFiles) -> Result<Arc<ServerConfig>, CertError> {
    let certified = certs::certified(&files.chain, &files.key, HINT)?;
    let wrong = |what: String| CertError::new(&files.client_ca, HINT, what);
    let mut roots = RootCertStore::empty();
    for certificate in certs::certificates(&files.client_ca).map_err(wrong)? {
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    config(roots, Arc::new(SingleCertAndKey::from(certified))).map_err(wrong)
}

/// The certificate of the admin API, which changes while the node runs, and client certificates of the cluster's CA.
///
/// # Errors
/// If that CA cannot be used.
pub fn of_cluster(
    authority: &certs::Authority,
    shown: Arc<dyn ResolvesServerCert>,
) -> Result<Arc<ServerConfig>, CertError> {
    config(authority.roots()?, shown).map_err(|what| authority.unusable(what))
}

fn config(roots: RootCertStore, shown: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, String> {
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), certs::provider());
    let clients = clients.build().map_err(|error| format!("it cannot be used to verify clients: {error}"))?;
    let mut config = ServerConfig::builder_with_provider(certs::provider())
        .with_safe_default_protocol_versions()
        .expect("ring has the default protocol versions")
        .with_client_cert_verifier(clients)
        .with_cert_resolver(shown);
    // Newer Go clients refuse a server that does not choose it.
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}
