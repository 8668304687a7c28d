//! The cluster's CA: made once, by the node that founds the cluster.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use raft::types::Digest;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tracing::info;

use super::ca_files::pem;
use super::facts::Facts;
use super::files::{certificates, store};
use super::{CertError, GENERATED_HINT};

/// The CA's certificate, for clients to trust.
pub const CA_FILE: &str = "ca.crt";
/// Its key; every node has it.
pub const CA_KEY_FILE: &str = "ca.key";

const DAY: u64 = 86_400;
const MINUTE: Duration = Duration::from_secs(60);
/// How far behind the clock of another node may be for a certificate that is made for minutes.
const CLOCK_MINUTES: u32 = 10;
/// How long the CA is valid: as long as a cluster may live.
const CA_DAYS: u64 = 30 * 365;

const ACCESS_HINT: &str = "give the user that the service runs as the right to read it (`chown`); do not remove it";

/// The right to issue certificates of the cluster.
#[derive(Debug)]
pub struct Authority {
    file: PathBuf,
    key: KeyPair,
}

impl Authority {
    /// The CA in `dir`; both of its files are made if neither is there.
    ///
    /// # Errors
    /// When a file cannot be read or written, or the key is none.
    pub fn open(dir: &Path, now: SystemTime) -> Result<Self, CertError> {
        let (file, key_file) = (dir.join(CA_FILE), dir.join(CA_KEY_FILE));
        let broken = |what: String| CertError::new(&key_file, GENERATED_HINT, what);
        match fs::read_to_string(&key_file) {
            Ok(text) => {
                let key =
                    KeyPair::from_pem(&text).map_err(|error| broken(format!("it holds no private key: {error}")))?;
                if !file.exists() {
                    write_certificate(&file, &key, now)?;
                }
                Ok(Self { file, key })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !file.exists() => {
                let key = KeyPair::generate().map_err(|error| broken(format!("no key could be made: {error}")))?;
                store(&key_file, &key.serialize_pem(), 0o600)?;
                write_certificate(&file, &key, now)?;
                info!(file = %file.display(), "made the cluster's CA; clients need this file");
                Ok(Self { file, key })
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(CertError::new(&key_file, ACCESS_HINT, format!("it cannot be read: {error}")))
            }
            Err(error) => Err(broken(format!("it cannot be read: {error}"))),
        }
    }

    /// Puts the CA of a cluster that this node joins into `dir`.
    ///
    /// # Errors
    /// When the two do not belong together, or cannot be written.
    pub fn install(dir: &Path, certificate: &str, key: &str) -> Result<(), CertError> {
        let (file, key_file) = (dir.join(CA_FILE), dir.join(CA_KEY_FILE));
        let hint = "this came from the other node: look at ca.crt and ca.key of its data directory";
        KeyPair::from_pem(key)
            .map_err(|error| CertError::new(&key_file, hint, format!("what was sent is no private key: {error}")))?;
        CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|error| CertError::new(&file, hint, format!("what was sent is no certificate: {error}")))?;
        store(&key_file, key, 0o600)?;
        store(&file, certificate, 0o644)
    }

    /// What to trust in order to trust this CA and nothing else.
    ///
    /// # Errors
    /// When its certificate cannot be read.
    pub fn roots(&self) -> Result<RootCertStore, CertError> {
        let wrong = |what: String| CertError::new(&self.file, GENERATED_HINT, what);
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.file).map_err(wrong)? {
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
        Ok(roots)
    }

    /// Its certificate as PEM.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn certificate(&self) -> Result<String, CertError> {
        fs::read_to_string(&self.file)
            .map_err(|error| CertError::new(&self.file, GENERATED_HINT, format!("it cannot be read: {error}")))
    }

    /// Its key as PEM, for a node that joins.
    #[must_use]
    pub fn key(&self) -> String {
        self.key.serialize_pem()
    }

    /// sha256 of its certificate (DER): what a join token pins.
    ///
    /// # Errors
    /// When the certificate cannot be read.
    pub fn digest(&self) -> Result<Digest, CertError> {
        self.issuer().map(|certificate| Digest::of(&certificate))
    }

    /// The certificate of its key: the file holds another one too while the CA changes.
    ///
    /// # Errors
    /// When there is none of that key.
    pub fn issuer(&self) -> Result<CertificateDer<'static>, CertError> {
        let all = certificates(&self.file).map_err(|what| CertError::new(&self.file, GENERATED_HINT, what))?;
        let is_ours = |certificate: &CertificateDer<'_>| {
            Facts::read(certificate).is_ok_and(|facts| facts.public_key == self.key.public_key_raw())
        };
        let ours = all.into_iter().find(is_ours);
        ours.ok_or_else(|| self.unusable(format!("no certificate in it belongs to {CA_KEY_FILE} beside it")))
    }

    /// Something is wrong with its certificate.
    pub fn unusable(&self, what: impl std::fmt::Display) -> CertError {
        CertError::new(&self.file, GENERATED_HINT, what)
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    pub(super) fn sign(
        &self,
        key: &impl PublicKeyData,
        leaf: &CertificateParams,
        now: SystemTime,
    ) -> Result<Certificate, rcgen::Error> {
        let own = params(&self.key, now);
        leaf.clone().signed_by(key, &Issuer::from_params(&own, &self.key))
    }
}

fn write_certificate(file: &Path, key: &KeyPair, now: SystemTime) -> Result<(), CertError> {
    let made = self_signed(key, now);
    let made =
        made.map_err(|error| CertError::new(file, GENERATED_HINT, format!("no certificate could be made: {error}")))?;
    store(file, &made, 0o644)
}

/// The certificate of a CA with that key, PEM with line feeds alone.
pub(super) fn self_signed(key: &KeyPair, now: SystemTime) -> Result<String, rcgen::Error> {
    Ok(pem(params(key, now).self_signed(key)?.der()))
}

/// The same for the same key, so that the certificate itself need not be read to issue under it.
fn params(key: &KeyPair, now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mark = Digest::of(key.public_key_raw()).to_string();
    params.distinguished_name = common_name(&format!("Raftboot CA {}", &mark[..12]));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, now, CA_DAYS);
    params
}

pub(super) fn common_name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

/// Valid for that long from now, and for a few minutes before, so that a clock that is a little behind does not matter.
pub(super) fn set_minutes(params: &mut CertificateParams, now: SystemTime, minutes: u64) {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let moment = |time: Duration| date_time_ymd(1970, 1, 1) + Duration::from_secs(time.as_secs());
    params.not_before = moment(now.saturating_sub(CLOCK_MINUTES * MINUTE));
    params.not_after = moment(now + MINUTE * u32::try_from(minutes).unwrap_or(u32::MAX));
}

/// Valid from yesterday, so that a clock that is a little behind does not matter.
pub(super) fn set_validity(params: &mut CertificateParams, now: SystemTime, days: u64) {
    let today = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / DAY;
    let midnight = |day: u64| date_time_ymd(1970, 1, 1) + Duration::from_secs(day * DAY);
    params.not_before = midnight(today.saturating_sub(1));
    params.not_after = midnight(today + days);
}
