//! What the nodes agree on about certificates: which client certificates there are and which of them are refused, and
//! how far a change of the cluster's CA has come. Never a key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Role, State, Stored};
use crate::types::{Digest, Timestamp};

/// How many certificates are remembered that are refused, and again as many that are not.
pub const CERTIFICATES_MAX: usize = 4096;
/// How long after its end a certificate is forgotten: whoever asks for that may have a clock that is ahead.
pub const CERTIFICATE_KEPT_MILLIS: u64 = 30 * 86_400_000;
/// Hexadecimal digits of a serial number (RFC 5280 §4.1.2.2 has 20 bytes; some write more).
pub const SERIAL_DIGITS_MAX: usize = 80;

/// A client's certificate that was issued, or used, or is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Its serial number: lower-case hexadecimal digits, two to a byte, without leading zero bytes.
    pub serial: String,
    /// Whom it is for, as its subject says; empty if that is not known.
    pub name: String,
    /// What its holder may do; `None` if that is not known.
    pub role: Option<Role>,
    /// When it ends, or at the latest does.
    pub expires: Timestamp,
    /// sha256 of the certificate of the CA that issued it; `None` if that is not known.
    pub issuer: Option<Digest>,
    /// Whether its holder is refused.
    pub revoked: bool,
    /// Why, for people.
    pub reason: String,
}

/// How far a change of the cluster's CA has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaStage {
    /// Nodes trust both CAs; certificates are issued by the old one.
    Trust,
    /// Nodes trust both; certificates are issued by the new one.
    Issue,
    /// The old one is trusted no more.
    Done,
}

/// The cluster's CA while it changes, and after that the one it has changed to. CAs are known by the sha256 of their
/// certificate; keys travel between nodes and are not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaRecord {
    /// How far it has come.
    pub stage: CaStage,
    /// The CA that goes.
    pub old: Digest,
    /// The CA that comes.
    pub new: Digest,
    /// When it began.
    pub since: Timestamp,
    /// Nodes that have said that they trust the new one.
    pub trusting: BTreeSet<u64>,
    /// Nodes that have said that their certificates are of the new one.
    pub issuing: BTreeSet<u64>,
}

/// The next step of a change of the CA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CaStep {
    /// Begin: trust a new one beside the old one.
    Begin {
        /// The CA there is.
        old: Digest,
        /// The CA that comes.
        new: Digest,
    },
    /// Issue certificates by the new one.
    Issue,
    /// Trust the old one no more.
    Finish,
    /// One step back.
    Back,
    /// The only node, which has been restored with another CA, says which one it has.
    Adopt(Digest),
}

/// A new secret for a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRotation {
    /// The token.
    pub id: String,
    /// sha256 of the new secret.
    pub secret_sha256: Digest,
    /// Until when the one before is accepted too.
    pub former_until: Timestamp,
}

/// The secret a token had before, for as long as it is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerSecret {
    /// The token.
    pub id: String,
    /// sha256 of the secret.
    pub secret_sha256: Digest,
    /// After this it is refused.
    pub until: Timestamp,
}

impl State {
    /// A client's certificate by its serial number.
    #[must_use]
    pub fn certificate(&self, serial: &str) -> Option<&Arc<Stored<Certificate>>> {
        self.certificates.get(serial)
    }

    /// All known client certificates by serial number.
    pub fn certificates(&self) -> impl ExactSizeIterator<Item = &Arc<Stored<Certificate>>> {
        self.certificates.values()
    }

    /// Of each name the certificate that ends last, and each that has no name; none whose holder is refused. Others have a
    /// successor already.
    pub fn last_certificates(&self) -> impl Iterator<Item = &Certificate> {
        let mut last: BTreeMap<(&str, &str), &Certificate> = BTreeMap::new();
        for certificate in self.certificates().map(|stored| &stored.value).filter(|certificate| !certificate.revoked) {
            let apart = if certificate.name.is_empty() { certificate.serial.as_str() } else { "" };
            let known = last.entry((&certificate.name, apart)).or_insert(certificate);
            if certificate.expires > known.expires {
                *known = certificate;
            }
        }
        last.into_values()
    }

    /// Whether the holder of the certificate with that serial number is refused.
    #[must_use]
    pub fn is_revoked(&self, serial: &str) -> bool {
        self.certificates.get(serial).is_some_and(|stored| stored.value.revoked)
    }

    /// How far a change of the cluster's CA has come; `None` if there never was one.
    #[must_use]
    pub fn ca(&self) -> Option<&Arc<CaRecord>> {
        self.ca.as_ref()
    }

    /// The secret that a token had before, if it had one; look at its end before it is accepted.
    #[must_use]
    pub fn former_secret(&self, token: &str) -> Option<&Arc<FormerSecret>> {
        self.former_secrets.get(token)
    }
}
