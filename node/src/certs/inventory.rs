//! The certificates a node lives by, and when each of them ends.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use raft::types::{Digest, Timestamp};
use rustls::pki_types::CertificateDer;

use super::facts::Facts;
use super::files::certificates;

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Expiry {
    /// What it is for: `admin`, `grpc`, `peer`, `ca`, `admin-client-ca`, `grpc-client-ca`; a file with several has `ca-2`, ….
    pub certificate: String,
    /// Where it is.
    pub file: PathBuf,
    /// Whose it is, as it says.
    pub name: String,
    /// Its serial number.
    pub serial: String,
    /// sha256 of it.
    pub sha256: Option<Digest>,
    /// When it ends, in milliseconds since 1970; nothing where it cannot be read.
    #[serde(rename = "not_after_millis")]
    pub not_after: Option<Timestamp>,
    /// What is wrong with the file, where something is.
    pub problem: Option<String>,
}

/// A file, and what is in it.
#[derive(Debug, Clone)]
pub struct Place {
    /// As in [`Expiry::certificate`].
    pub certificate: &'static str,
    /// Where it is.
    pub file: PathBuf,
    /// Whether every certificate in it counts, as in a file of CAs, or only the first.
    pub all: bool,
}

/// What was found at the last look; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    places: Arc<Vec<Place>>,
    found: Arc<ArcSwap<Vec<Expiry>>>,
}

impl Inventory {
    /// Looks for the first time.
    #[must_use]
    pub fn of(places: Vec<Place>) -> Self {
        let inventory = Self { places: Arc::new(places), found: Arc::default() };
        inventory.look();
        inventory
    }

    /// Looks again.
    pub fn look(&self) {
        self.found.store(Arc::new(self.places.iter().flat_map(read).collect()));
    }

    /// What was found.
    #[must_use]
    pub fn list(&self) -> Arc<Vec<Expiry>> {
        self.found.load_full()
    }
}

fn read(place: &Place) -> Vec<Expiry> {
    let most = if place.all { usize::MAX } else { 1 };
    match certificates(&place.file) {
        Ok(list) => {
            list.iter().take(most).enumerate().map(|(at, one)| expiry(place, at, Some(one), Facts::read(one))).collect()
        }
        Err(problem) => vec![expiry(place, 0, None, Err(problem))],
    }
}

fn expiry(place: &Place, at: usize, der: Option<&CertificateDer<'_>>, facts: Result<Facts, String>) -> Expiry {
    let certificate = if at == 0 { place.certificate.to_owned() } else { format!("{}-{}", place.certificate, at + 1) };
    let (file, sha256) = (place.file.clone(), der.map(|der| Digest::of(der)));
    match facts {
        Ok(Facts { name, serial, not_after, .. }) => {
            Expiry { certificate, file, name, serial, sha256, not_after: Some(not_after), problem: None }
        }
        Err(problem) => Expiry {
            certificate,
            file,
            name: String::new(),
            serial: String::new(),
            sha256,
            not_after: None,
            problem: Some(problem),
        },
    }
}

impl Place {
    /// A chain, of which the first certificate counts.
    #[must_use]
    pub fn leaf(certificate: &'static str, file: &Path) -> Self {
        Self { certificate, file: file.to_owned(), all: false }
    }

    /// CAs, all of which count.
    #[must_use]
    pub fn cas(certificate: &'static str, file: &Path) -> Self {
        Self { certificate, file: file.to_owned(), all: true }
    }
}
