//! Who may call: holders of a client certificate, over TLS 1.2 or newer and HTTP/2.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::certs::{CertError, Gate, Places, Shown};

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
pub fn own(files: &OwnFiles) -> Result<Arc<Gate>, CertError> {
    let shown = Gate::read_own((&files.chain, &files.key), HINT)?;
    let own = Some((files.chain.clone(), files.key.clone()));
    Gate::open(Places { own, client_ca: Some(files.client_ca.clone()), ..places() }, shown)
}

/// What the admin API shows, and client certificates of the cluster's CA, which is in that file.
///
/// # Errors
/// If that CA cannot be used.
pub fn of_cluster(ca: &Path, shown: Shown) -> Result<Arc<Gate>, CertError> {
    Gate::open(Places { cluster_ca: Some(ca.to_owned()), ..places() }, shown)
}

fn places() -> Places {
    // Newer Go clients refuse a server that does not choose HTTP/2.
    Places { own: None, cluster_ca: None, client_ca: None, needed: true, protocols: &[b"h2"], hint: HINT }
}
