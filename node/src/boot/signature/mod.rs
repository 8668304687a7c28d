//! OpenPGP signatures beside what machines fetch, as matchbox makes them: detached, by the first key of a key ring file.
//!
//! The format is the `pgp` crate's. `ring_file` says what is wrong with a key ring, `key` blinds what RSA computes, `text`
//! tells which bodies are signed as text (docs/decisions/0022-openpgp-signatures.md).

mod key;
mod ring_file;
mod text;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use pgp::composed::{ArmorOptions, DetachedSignature};
use pgp::packet::{SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::ser::Serialize as _;
use pgp::types::{KeyDetails as _, Password, SigningKey as _, Timestamp};

pub use ring_file::SignerError;

use key::Key;

/// Makes detached signatures with one key, which it holds unlocked. Cheap to clone.
#[derive(Clone)]
pub struct Signer {
    held: Arc<Held>,
}

/// The key and what the owner calls it.
struct Held {
    key: Key,
    expires: Option<SystemTime>,
    user: String,
}

/// Why a body was not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// Whoever verifies would refuse it.
    #[error("the clock of this node is before the day the signing key was made; set the clock")]
    Clock,
    /// The key signed when it was opened, and now it does not.
    #[error("the signing key makes no signature; restart this node, and export the key anew if that does not help")]
    Key,
}

impl Signer {
    /// Reads the first secret key of an OpenPGP key ring and unlocks it. The file is what `gpg --export-secret-keys`
    /// writes, armored or not, or the `secring.gpg` of an old GnuPG.
    ///
    /// # Errors
    /// When the file cannot be read, has no secret key that can sign, or the passphrase does not unlock it.
    pub fn open(key_ring: &Path, passphrase: Option<&str>) -> Result<Self, SignerError> {
        ring_file::open(key_ring, passphrase).map(|held| Self { held: Arc::new(held) })
    }

    /// A signature of `body` as the bytes of its packet: what `.sig` serves.
    ///
    /// # Errors
    /// When the clock cannot be right, or the key fails.
    pub fn binary(&self, body: &[u8], now: SystemTime) -> Result<Vec<u8>, SignError> {
        self.sign(body, now)?.to_bytes().map_err(|_| SignError::Key)
    }

    /// The same as text: what `.asc` serves.
    ///
    /// # Errors
    /// Those of [`Signer::binary`].
    pub fn armored(&self, body: &[u8], now: SystemTime) -> Result<String, SignError> {
        self.sign(body, now)?.to_armored_string(ArmorOptions::default()).map_err(|_| SignError::Key)
    }

    /// A signature of a text where the body is plainly one, as matchbox makes it of everything; else of its bytes.
    fn sign(&self, body: &[u8], now: SystemTime) -> Result<DetachedSignature, SignError> {
        let key = &self.held.key;
        // The format has 32 bits for it, which last until 2106.
        let made = Timestamp::try_from(now).map_err(|_| SignError::Clock)?;
        if made < key.created_at() {
            return Err(SignError::Clock);
        }
        let kind = if text::is_text(body) { SignatureType::Text } else { SignatureType::Binary };
        let mut signature = SignatureConfig::v4(kind, key.algorithm(), key.hash_alg());
        let say = |what: SubpacketData| Subpacket::regular(what).map_err(|_| SignError::Key);
        signature.hashed_subpackets = vec![
            say(SubpacketData::SignatureCreationTime(made))?,
            say(SubpacketData::IssuerFingerprint(key.fingerprint()))?,
        ];
        signature.unhashed_subpackets = vec![say(SubpacketData::IssuerKeyId(key.legacy_key_id()))?];
        signature.sign(key, &Password::empty(), body).map(DetachedSignature::new).map_err(|_| SignError::Key)
    }

    /// Fingerprint of the key that signs, in capital hexadecimal, as `gpg` shows it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("{:X}", self.held.key.fingerprint())
    }

    /// The first name of the key, such as `Boot <boot@example.com>`; empty if it has none.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.held.user
    }

    /// When the key expires, by its own word; signatures made later will be refused by whoever verifies them.
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        self.held.expires
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Signer").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
