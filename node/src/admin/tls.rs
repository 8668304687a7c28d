//! TLS of the admin API: the operator's own certificate, or one of ours that changes while the node runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tracing::{info, warn};

use crate::certs::{self, Authority, CertError};

/// Names that are always in the certificate.
const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

const OWN_HINT: &str = "`tls.cert` and `tls.key` name a PEM certificate chain, leaf first, and its PEM private key";

/// What the API shows to whoever connects; cheap to clone.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    shown: Arc<Shown>,
    /// Where ours is kept; nothing for the operator's own.
    dir: Option<PathBuf>,
}

/// The certificate of the moment.
#[derive(Debug)]
struct Shown(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Tls {
    /// The operator's `own` certificate chain and key if there are such files, else the one generated in `dir`, valid
    /// for `names` beside those of this host.
    ///
    /// # Errors
    /// If a file cannot be read or written, or two of them do not belong together.
    pub fn open(dir: &Path, own: Option<(&Path, &Path)>, names: &[String]) -> Result<Self, CertError> {
        let (certified, dir) = match own {
            Some((chain, key)) => (certs::certified(chain, key, OWN_HINT)?, None),
            None => (generated(dir, names)?, Some(dir.to_owned())),
        };
        let shown = Arc::new(Shown(ArcSwap::from(certified)));
        let mut config = ServerConfig::builder_with_provider(certs::provider())
            .with_safe_default_protocol_versions()
            .expect("ring has the default protocol versions")
            .with_no_client_auth()
            .with_cert_resolver(shown.clone());
        // Ours first: uploads are several times faster over HTTP/1.1, and curl 7.88 (Debian 12) does not show an answer
        // that comes before it has sent everything over HTTP/2.
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
        Ok(Self { config: Arc::new(config), shown, dir })
    }

    /// Makes a new certificate if the one shown does not cover `names` or comes to its end; connections from now on see
    /// it. An operator's own is left alone.
    ///
    /// # Errors
    /// As `open`; the old one stays then.
    pub fn renew(&self, names: &[String]) -> Result<(), CertError> {
        if let Some(dir) = &self.dir {
            self.shown.0.store(generated(dir, names)?);
        }
        Ok(())
    }

    /// What is shown, for another port of this node.
    #[must_use]
    pub fn shown(&self) -> Arc<dyn ResolvesServerCert> {
        self.shown.clone()
    }

    /// For the acceptor.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }
}

fn generated(dir: &Path, names: &[String]) -> Result<Arc<CertifiedKey>, CertError> {
    let (names, now) = (usable(names), SystemTime::now());
    let authority = Authority::open(dir, now)?;
    let issued = certs::SERVER.ensure(&authority, dir, &names, now)?;
    if issued.is_new {
        info!(names = names.join(", "), "made a new certificate for the admin API");
    }
    Ok(issued.certified)
}

fn usable(names: &[String]) -> Vec<String> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut usable: Vec<String> = Vec::new();
    for name in OWN_NAMES.map(str::to_owned).iter().chain([&host]).chain(names) {
        if ServerName::try_from(name.as_str()).is_err() {
            warn!(name, "cannot be a name in the admin API's certificate and was left out");
        } else if !usable.contains(name) {
            usable.push(name.clone());
        }
    }
    usable
}
