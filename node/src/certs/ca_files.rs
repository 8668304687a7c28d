//! The CAs of a data directory: the one that issues, and while it changes the old one and the new one beside it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use raft::types::Digest;
use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

use super::authority::{CA_FILE, CA_KEY_FILE, self_signed};
use super::facts::Facts;
use super::files::{certificates, store};
use super::{Authority, CertError, GENERATED_HINT};

/// What a data directory holds of CAs only while one takes the place of another.
pub const CHANGING_FILES: [&str; 4] = ["ca-old.crt", "ca-old.key", "ca-new.crt", "ca-new.key"];

/// A CA, with its key; `Debug` does not show that.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaPair {
    /// Its certificate, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: String,
}

impl std::fmt::Debug for CaPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the CA {:?}", self.digest())
    }
}

impl CaPair {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate(now: SystemTime) -> Result<Self, String> {
        let key = KeyPair::generate().map_err(|error| format!("no key could be made: {error}"))?;
        let certificate = self_signed(&key, now).map_err(|error| format!("no certificate could be made: {error}"))?;
        Ok(Self { certificate, key: key.serialize_pem() })
    }

    /// sha256 of its certificate (DER).
    ///
    /// # Errors
    /// When there is no certificate in it, or it is not that of the key.
    pub fn digest(&self) -> Result<Digest, String> {
        let key = KeyPair::from_pem(&self.key).map_err(|error| format!("it holds no private key: {error}"))?;
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes())
            .map_err(|error| format!("it holds no certificate: {error}"))?;
        if Facts::read(&certificate)?.public_key != key.public_key_raw() {
            return Err("its key does not belong to its certificate".into());
        }
        Ok(Digest::of(&certificate))
    }
}

/// Which of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The one that goes.
    Old,
    /// The one that comes.
    New,
}

/// The CAs in a data directory.
#[derive(Debug, Clone)]
pub struct CaFiles(PathBuf);

impl CaFiles {
    /// Those in `dir`, which has one already.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// The right to issue certificates, by the CA that does.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn authority(&self) -> Result<Authority, CertError> {
        Authority::open(&self.0, SystemTime::now())
    }

    /// The CA that issues.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn issuing(&self) -> Result<CaPair, CertError> {
        let authority = self.authority()?;
        Ok(CaPair { certificate: pem(&authority.issuer()?), key: authority.key() })
    }

    /// The CAs that are trusted, by the sha256 of their certificates.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn trusted(&self) -> Result<Vec<Digest>, CertError> {
        let file = self.0.join(CA_FILE);
        let list = certificates(&file).map_err(|what| CertError::new(&file, GENERATED_HINT, what))?;
        Ok(list.iter().map(|certificate| Digest::of(certificate)).collect())
    }

    /// The CA with that digest, if it is here with its key.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn find(&self, digest: &Digest) -> Result<Option<CaPair>, CertError> {
        let places = [(CA_FILE, CA_KEY_FILE), names(Which::Old), names(Which::New)];
        for (file, key_file) in places {
            let pair = if file == CA_FILE { Some(self.issuing()?) } else { self.read(file, key_file)? };
            if let Some(pair) = pair.filter(|pair| pair.digest().as_ref() == Ok(digest)) {
                return Ok(Some(pair));
            }
        }
        Ok(None)
    }

    fn read(&self, file: &str, key_file: &str) -> Result<Option<CaPair>, CertError> {
        let text = |name: &str| match fs::read_to_string(self.0.join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                let hint = "give the user that the service runs as the right to read it";
                Err(CertError::new(&self.0.join(name), hint, format!("it cannot be read: {error}")))
            }
        };
        Ok(text(file)?.zip(text(key_file)?).map(|(certificate, key)| CaPair { certificate, key }))
    }

    /// Keeps a CA beside the one that issues.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, which: Which, pair: &CaPair) -> Result<(), CertError> {
        let (file, key_file) = names(which);
        if self.read(file, key_file)?.as_ref() == Some(pair) {
            return Ok(());
        }
        store(&self.0.join(key_file), &pair.key, 0o600)?;
        store(&self.0.join(file), &pair.certificate, 0o644)
    }

    /// Trusts these, and no others. The one that issues must be among them.
    ///
    /// # Errors
    /// When it cannot be written. Answers whether that is a change.
    pub fn trust(&self, pairs: &[&CaPair]) -> Result<bool, CertError> {
        let file = self.0.join(CA_FILE);
        let bundle: String = pairs.iter().map(|pair| pair.certificate.as_str()).collect();
        if fs::read_to_string(&file).is_ok_and(|there| there == bundle) {
            return Ok(false);
        }
        store(&file, &bundle, 0o644)?;
        Ok(true)
    }

    /// Lets this one issue from now on; it must be trusted already.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn issue_by(&self, pair: &CaPair) -> Result<(), CertError> {
        store(&self.0.join(CA_KEY_FILE), &pair.key, 0o600)
    }

    /// Forgets what is kept beside the one that issues.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn forget(&self) -> Result<(), CertError> {
        for name in CHANGING_FILES {
            match fs::remove_file(self.0.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let hint = "remove it by hand: it may hold a private key";
                    return Err(CertError::new(&self.0.join(name), hint, format!("it cannot be removed: {error}")));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn names(which: Which) -> (&'static str, &'static str) {
    let [old, old_key, new, new_key] = CHANGING_FILES;
    match which {
        Which::Old => (old, old_key),
        Which::New => (new, new_key),
    }
}

/// A certificate as PEM (RFC 7468).
pub(crate) fn pem(certificate: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}
