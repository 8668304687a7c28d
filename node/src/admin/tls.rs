//! TLS of the admin API: the operator's own certificate or one of ours, and clients that have one or not.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use tracing::{info, warn};

use crate::certs::{self, Authority, CA_FILE, CertError, Gate, Places, Shown};

/// Names that are always in the certificate.
const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

const OWN_HINT: &str = "`tls.cert` and `tls.key` name a PEM certificate chain, leaf first, and its PEM private key; `tls.client_ca` \
     the PEM certificates of a CA whose clients are let in too";

/// What the API shows to whoever connects, and whose certificates it takes; cheap to clone.
#[derive(Debug, Clone)]
pub struct Tls {
    gate: Arc<Gate>,
    /// Where ours is kept; nothing for the operator's own.
    dir: Option<PathBuf>,
}

impl Tls {
    /// The operator's `own` certificate chain and key if there are such files, else the one generated in `dir`, valid
    /// for `names` beside those of this host. Client certificates are taken if they are of the cluster's CA or of
    /// `client_ca`.
    ///
    /// # Errors
    /// If a file cannot be read or written, or two of them do not belong together.
    pub fn open(
        dir: &Path,
        own: Option<(&Path, &Path)>,
        client_ca: Option<&Path>,
        names: &[String],
    ) -> Result<Self, CertError> {
        let (shown, kept) = match own {
            Some(own) => {
                // Made if it is not there: clients of the cluster's CA are let in.
                Authority::open(dir, SystemTime::now())?;
                (Gate::read_own(own, OWN_HINT)?, None)
            }
            None => (Shown::new(generated(dir, names)?), Some(dir.to_owned())),
        };
        let places = Places {
            own: own.map(|(chain, key)| (chain.to_owned(), key.to_owned())),
            cluster_ca: Some(dir.join(CA_FILE)),
            client_ca: client_ca.map(Path::to_owned),
            needed: false,
            // Ours first: uploads are several times faster over HTTP/1.1, and curl 7.88 (Debian 12) does not show an answer
            // that comes before it has sent everything over HTTP/2.
            protocols: &[b"http/1.1", b"h2"],
            hint: OWN_HINT,
        };
        Ok(Self { gate: Gate::open(places, shown)?, dir: kept })
    }

    /// Makes a new certificate if the one shown does not cover `names` or comes to its end; connections from now on see
    /// it. An operator's own is left alone.
    ///
    /// # Errors
    /// As `open`; the old one stays then.
    pub fn renew(&self, names: &[String]) -> Result<(), CertError> {
        if let Some(dir) = &self.dir {
            self.gate.shown().set(generated(dir, names)?);
        }
        self.gate.refresh();
        Ok(())
    }

    /// For whoever serves the port.
    #[must_use]
    pub fn gate(&self) -> Arc<Gate> {
        self.gate.clone()
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
