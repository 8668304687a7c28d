//! What a port shows and whom it lets in: changes while the port is open, and no connection is dropped for it.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use raft::types::Digest;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use tracing::{info, warn};

use super::facts::{Facts, Unfit, timestamp};
use super::files::certificates;
use super::leaf::certified;
use super::{CertError, provider};

/// How many certificates of callers are remembered as verified.
const KNOWN_MAX: usize = 256;

/// The certificate of the moment; clones show the same.
#[derive(Debug, Clone)]
pub struct Shown(Arc<ArcSwap<CertifiedKey>>);

impl Shown {
    /// Shows this one at first.
    #[must_use]
    pub fn new(certified: Arc<CertifiedKey>) -> Self {
        Self(Arc::new(ArcSwap::from(certified)))
    }

    /// Shows this one to connections from now on.
    pub fn set(&self, certified: Arc<CertifiedKey>) {
        self.0.store(certified);
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Files of an operator's, and what was in them when they were last looked at.
#[derive(Debug)]
struct Watched {
    files: Vec<PathBuf>,
    seen: Mutex<Digest>,
}

impl Watched {
    fn new(files: Vec<PathBuf>) -> Self {
        let seen = Mutex::new(content(&files));
        Self { files, seen }
    }

    /// Whether something else is in them than at the last look.
    fn changed(&self) -> bool {
        let now = content(&self.files);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *seen, now) != now
    }
}

fn content(files: &[PathBuf]) -> Digest {
    let each = files.iter().map(|file| match std::fs::read(file) {
        Ok(bytes) => Digest::of(&bytes).to_string(),
        Err(error) => error.kind().to_string(),
    });
    Digest::of(each.collect::<Vec<_>>().join("\n").as_bytes())
}

/// Where the certificates of a port are.
#[derive(Debug, Clone)]
pub struct Places {
    /// The operator's own chain and key; `None`: what is shown is set by others.
    pub own: Option<(PathBuf, PathBuf)>,
    /// The cluster's CA, if its clients are let in.
    pub cluster_ca: Option<PathBuf>,
    /// Another CA whose clients are let in.
    pub client_ca: Option<PathBuf>,
    /// Whether a client must have a certificate.
    pub needed: bool,
    /// The application protocols, the one preferred first.
    pub protocols: &'static [&'static [u8]],
    /// What to do about files that cannot be used.
    pub hint: &'static str,
}

/// Who has issued a caller's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The cluster's own CA.
    Cluster,
    /// The other CA that clients may be of.
    Other,
}

/// A caller whose certificate is good, whatever it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// What it says.
    pub facts: Facts,
    /// Who says so.
    pub origin: Origin,
    /// sha256 of the CA's certificate, if that is the cluster's.
    pub issuer: Option<Digest>,
}

/// Why a certificate is not accepted although its connection is there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotKnown {
    /// It cannot be read, or nobody trusted has signed it (any more).
    #[error("the certificate is not trusted: {0}")]
    Untrusted(String),
    /// Its time is over.
    #[error("the certificate has expired")]
    Expired,
    /// It is not meant for this.
    #[error("the certificate cannot be used to call: {0}")]
    Unfit(#[from] Unfit),
}

/// A port's certificates.
pub struct Gate {
    places: Places,
    shown: Shown,
    own: Watched,
    cas: Watched,
    now: ArcSwap<Moment>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("places", &self.places).finish_non_exhaustive()
    }
}

/// What holds until the CAs change: with them go the sessions that clients could resume, and what was verified.
struct Moment {
    config: Arc<ServerConfig>,
    cluster: Vec<(Digest, Arc<dyn ClientCertVerifier>)>,
    other: Option<Arc<dyn ClientCertVerifier>>,
    known: Mutex<HashMap<Digest, Arc<Known>>>,
}

impl Gate {
    /// Reads the files.
    ///
    /// # Errors
    /// If one cannot be read, or two do not belong together.
    pub fn open(places: Places, shown: Shown) -> Result<Arc<Self>, CertError> {
        let own = Watched::new(places.own.iter().flat_map(|(chain, key)| [chain.clone(), key.clone()]).collect());
        let cas = Watched::new(places.cluster_ca.iter().chain(&places.client_ca).cloned().collect());
        let now = ArcSwap::from_pointee(Moment::of(&places, &shown)?);
        Ok(Arc::new(Self { places, shown, own, cas, now }))
    }

    /// The operator's own certificate, to be shown from the start.
    ///
    /// # Errors
    /// As `open`.
    pub fn read_own((chain, key): (&Path, &Path), hint: &'static str) -> Result<Shown, CertError> {
        Ok(Shown::new(certified(chain, key, hint)?))
    }

    /// For the next connection.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        self.now.load().config.clone()
    }

    /// What is shown, for another port of this node.
    #[must_use]
    pub fn shown(&self) -> Shown {
        self.shown.clone()
    }

    /// Uses files that have changed. What cannot be used is said once, and what was in use before stays.
    pub fn refresh(&self) {
        if let Some((chain, key)) = &self.places.own
            && self.own.changed()
        {
            match certified(chain, key, self.places.hint) {
                Ok(certified) => {
                    self.shown.set(certified);
                    info!(file = %chain.display(), "a certificate has changed on disk and is used from now on");
                }
                Err(error) => {
                    warn!(%error, "a certificate has changed on disk and cannot be used; the one before stays")
                }
            }
        }
        if self.cas.changed() {
            match Moment::of(&self.places, &self.shown) {
                Ok(moment) => {
                    self.now.store(Arc::new(moment));
                    info!("the CAs of clients have changed on disk and are used from now on");
                }
                Err(error) => warn!(%error, "a CA has changed on disk and cannot be used; the one before stays"),
            }
        }
    }

    /// Whether the holder of a certificate, leaf first, with which a connection was made, is trusted now.
    ///
    /// # Errors
    /// Why not.
    pub fn know(&self, chain: &[CertificateDer<'_>], now: SystemTime) -> Result<Arc<Known>, NotKnown> {
        let moment = self.now.load();
        let leaf = chain.first().ok_or_else(|| NotKnown::Untrusted("there is none".into()))?;
        let digest = Digest::of(leaf);
        let known = moment.known().get(&digest).cloned();
        let known = match known {
            Some(known) => known,
            None => {
                let known = Arc::new(moment.verify(chain, now)?);
                let mut all = moment.known();
                if all.len() >= KNOWN_MAX {
                    all.clear();
                }
                all.insert(digest, known.clone());
                known
            }
        };
        if known.facts.not_after < timestamp(now) {
            return Err(NotKnown::Expired);
        }
        known.facts.role()?;
        Ok(known)
    }
}

impl Moment {
    fn of(places: &Places, shown: &Shown) -> Result<Self, CertError> {
        let wrong = |file: &Path| {
            let (file, hint) = (file.to_owned(), places.hint);
            move |what: String| CertError::new(&file, hint, what)
        };
        let (mut all, mut cluster) = (RootCertStore::empty(), Vec::new());
        if let Some(file) = &places.cluster_ca {
            for certificate in certificates(file).map_err(wrong(file))? {
                let digest = Digest::of(&certificate);
                let roots = roots([certificate], &mut all).map_err(wrong(file))?;
                cluster.push((digest, verifier(roots, true).map_err(wrong(file))?));
            }
        }
        let other = places.client_ca.as_ref().map(|file| {
            let roots = certificates(file).and_then(|list| roots(list, &mut all)).map_err(wrong(file))?;
            verifier(roots, true).map_err(wrong(file))
        });
        let other = other.transpose()?;
        let some = places.client_ca.as_ref().or(places.cluster_ca.as_ref());
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring has the default protocol versions");
        let builder = match some {
            Some(file) => builder.with_client_cert_verifier(verifier(all, places.needed).map_err(wrong(file))?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(shown.clone()));
        config.alpn_protocols = places.protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Self { config: Arc::new(config), cluster, other, known: Mutex::default() })
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Arc<Known>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection was verified when it was made; the CAs may be others since.
    fn verify(&self, chain: &[CertificateDer<'_>], now: SystemTime) -> Result<Known, NotKnown> {
        let facts = Facts::read(&chain[0]).map_err(NotKnown::Untrusted)?;
        let time = UnixTime::since_unix_epoch(now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default());
        let try_with = |verifier: &Arc<dyn ClientCertVerifier>| {
            verifier.verify_client_cert(&chain[0], &chain[1..], time).map(|_| ())
        };
        let mut why = None;
        for (digest, verifier) in &self.cluster {
            match try_with(verifier) {
                Ok(()) => return Ok(Known { facts, origin: Origin::Cluster, issuer: Some(*digest) }),
                Err(error) => why = Some(error),
            }
        }
        match self.other.as_ref().map(try_with) {
            Some(Ok(())) => Ok(Known { facts, origin: Origin::Other, issuer: None }),
            Some(Err(error)) => Err(NotKnown::Untrusted(error.to_string())),
            None => Err(NotKnown::Untrusted(why.map_or("no CA is trusted".into(), |error| error.to_string()))),
        }
    }
}

fn roots(
    list: impl IntoIterator<Item = CertificateDer<'static>>,
    all: &mut RootCertStore,
) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in list {
        all.add(certificate.clone()).map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(roots)
}

fn verifier(roots: RootCertStore, needed: bool) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let builder = if needed { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| format!("it cannot be used to verify clients: {error}"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use raft::state::Role;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;
    use crate::certs::{Authority, CA_FILE, ClientWish, Lifetime, PEER, SERVER, client};

    const HINT: &str = "look at it";

    struct Port {
        dir: tempfile::TempDir,
        gate: Arc<Gate>,
    }

    fn authority(dir: &Path) -> Authority {
        Authority::open(dir, SystemTime::now()).expect("a CA")
    }

    fn own(port: &Path) -> (PathBuf, PathBuf) {
        (port.join("server.crt"), port.join("server.key"))
    }

    /// With an own certificate, and the cluster's CA in the same folder.
    fn port() -> Port {
        let dir = tempfile::tempdir().expect("a temporary folder");
        SERVER.ensure(&authority(dir.path()), dir.path(), &["a.lab".into()], SystemTime::now()).expect("a certificate");
        let (chain, key) = own(dir.path());
        let places = Places {
            own: Some((chain.clone(), key.clone())),
            cluster_ca: Some(dir.path().join(CA_FILE)),
            client_ca: None,
            needed: true,
            protocols: &[b"h2"],
            hint: HINT,
        };
        let gate = Gate::open(places, Gate::read_own((&chain, &key), HINT).expect("a pair")).expect("a gate");
        Port { dir, gate }
    }

    fn chain(authority: &Authority, lifetime: Lifetime) -> Vec<CertificateDer<'static>> {
        let wish = ClientWish { name: "ops", role: Some(Role::Read), lifetime };
        let (pem, _) = client(authority, wish, SystemTime::now()).expect("a certificate");
        vec![CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM")]
    }

    #[test]
    fn a_certificate_is_known_until_it_ends() {
        let port = port();
        let chain = chain(&authority(port.dir.path()), Lifetime::Minutes(10));
        let now = SystemTime::now();
        let known = port.gate.know(&chain, now).unwrap();
        assert_eq!((known.facts.name.as_str(), known.facts.role()), ("ops", Ok(Some(Role::Read))));
        assert_eq!((known.origin, known.issuer), (Origin::Cluster, authority(port.dir.path()).digest().ok()));
        port.gate.know(&chain, now + Duration::from_secs(590)).unwrap();
        assert_eq!(port.gate.know(&chain, now + Duration::from_secs(610)), Err(NotKnown::Expired));
    }

    #[test]
    fn what_nodes_show_each_other_is_no_certificate_of_a_client() {
        let port = port();
        let names = ["node-7.0.raftboot.internal".to_owned()];
        let issued = PEER.ensure(&authority(port.dir.path()), port.dir.path(), &names, SystemTime::now()).unwrap();
        assert_eq!(port.gate.know(&issued.certified.cert, SystemTime::now()), Err(NotKnown::Unfit(Unfit::Node)));
        let server = certificates(&own(port.dir.path()).0).unwrap();
        assert!(matches!(port.gate.know(&server, SystemTime::now()), Err(NotKnown::Untrusted(_))), "for servers only");
    }

    #[test]
    fn a_ca_that_changes_on_disk_changes_who_is_known_and_a_broken_one_changes_nothing() {
        let port = port();
        let ours = chain(&authority(port.dir.path()), Lifetime::Days(30));
        let other = tempfile::tempdir().unwrap();
        let theirs = chain(&authority(other.path()), Lifetime::Days(30));
        let known = |chain: &[CertificateDer<'_>]| port.gate.know(chain, SystemTime::now()).is_ok();
        assert_eq!([known(&ours), known(&theirs)], [true, false]);
        let (file, before) = (port.dir.path().join(CA_FILE), port.gate.config());
        let both = format!(
            "{}{}",
            fs::read_to_string(&file).unwrap(),
            fs::read_to_string(other.path().join(CA_FILE)).unwrap()
        );
        fs::write(&file, both).unwrap();
        port.gate.refresh();
        assert_eq!([known(&ours), known(&theirs)], [true, true]);
        assert!(!Arc::ptr_eq(&before, &port.gate.config()), "sessions of before cannot be resumed");
        fs::write(&file, "nonsense").unwrap();
        port.gate.refresh();
        assert_eq!([known(&ours), known(&theirs)], [true, true]);
        fs::copy(other.path().join(CA_FILE), &file).unwrap();
        port.gate.refresh();
        assert_eq!([known(&ours), known(&theirs)], [false, true], "also what was known before");
    }

    #[test]
    fn an_own_certificate_that_changes_on_disk_is_shown_once_its_key_fits() {
        let port = port();
        let shown = || port.gate.shown.0.load().cert[0].clone();
        let first = shown();
        let next = tempfile::tempdir().unwrap();
        SERVER.ensure(&authority(next.path()), next.path(), &["a.lab".into()], SystemTime::now()).unwrap();
        let (chain, key) = own(port.dir.path());
        fs::copy(next.path().join("server.crt"), &chain).unwrap();
        port.gate.refresh();
        assert_eq!(shown(), first, "the key is still the old one");
        fs::copy(next.path().join("server.key"), &key).unwrap();
        port.gate.refresh();
        assert_ne!(shown(), first);
        let second = shown();
        fs::remove_file(&key).unwrap();
        port.gate.refresh();
        assert_eq!(shown(), second);
    }
}
