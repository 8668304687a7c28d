//! One unlocked key that can sign: as the OpenPGP library does it, except that RSA is blinded.

use std::fmt;

use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::errors::{Error, Result};
use pgp::packet::{PublicKey, SecretKey};
use pgp::types::{
    EddsaLegacyPublicParams, Fingerprint, KeyDetails, KeyId, KeyVersion, Mpi, Password, PlainSecretParams,
    PublicParams, SecretParams, SignatureBytes, SigningKey, Timestamp, VerifyingKey as _,
};
use rsa::rand_core::{CryptoRngCore, OsRng};
use rsa::sha2::Sha256;
use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, Pkcs1v15Sign, RsaPrivateKey};

/// Shorter ones are no longer safe; longer ones take so long that whoever asks for signatures could keep a node busy.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// A key, without anything that would have to be unlocked once more.
pub(super) struct Key {
    public: PublicKey,
    secret: Secret,
}

enum Secret {
    /// Apart from the rest because the library signs with RSA unblinded, and how long that takes tells of the key to
    /// whoever asks often enough (RUSTSEC-2023-0071).
    Rsa(Box<RsaPrivateKey>),
    Other(Box<SecretKey>),
}

/// Refuses a key of a kind that does not sign here.
///
/// # Errors
/// What it is.
pub(super) fn check_kind(key: &PublicKey) -> std::result::Result<(), String> {
    let algorithm = key.algorithm();
    if key.version() != KeyVersion::V4 {
        return Err(format!("it is in version {} of the key format; 4 is the one in use", u8::from(key.version())));
    }
    match key.public_params() {
        PublicParams::RSA(numbers) if algorithm != PublicKeyAlgorithm::RSAEncrypt => match numbers.key.n().bits() {
            bits if RSA_BITS.contains(&bits) => Ok(()),
            bits => Err(format!("it is an RSA key of {bits} bits; RSA keys sign here from 2048 to 4096 bits")),
        },
        PublicParams::ECDSA(point) if point.is_supported() => Ok(()),
        PublicParams::EdDSALegacy(EddsaLegacyPublicParams::Ed25519 { .. }) => Ok(()),
        PublicParams::ECDSA(_) | PublicParams::EdDSALegacy(_) => {
            Err("it is on an elliptic curve that is not known here".to_owned())
        }
        _ => Err(format!(
            "it is of the kind {algorithm:?} ({}); RSA, ECDSA and EdDSA keys sign here, as GnuPG makes them",
            u8::from(algorithm)
        )),
    }
}

impl Key {
    /// Takes over an unlocked key, and tries it.
    ///
    /// # Errors
    /// If it is still locked, or its public and its secret half do not belong together.
    pub(super) fn new(unlocked: SecretKey) -> Result<Self> {
        let public = unlocked.public_key().clone();
        let secret = match (unlocked.secret_params(), public.public_params()) {
            (SecretParams::Plain(PlainSecretParams::RSA(numbers)), PublicParams::RSA(known)) => {
                let (d, p, q, _) = numbers.to_bytes();
                let [d, p, q] = [d, p, q].map(|number| BigUint::from_bytes_be(&number));
                let (n, e) = (known.key.n().clone(), known.key.e().clone());
                Secret::Rsa(Box::new(RsaPrivateKey::from_components(n, e, d, vec![p, q])?))
            }
            _ => Secret::Other(Box::new(unlocked)),
        };
        let key = Self { public, secret };
        // Whether the halves of a key on a curve belong together shows when they are used.
        let hash = key.hash_alg();
        let digest = vec![1; hash.digest_size().unwrap_or_default()];
        key.public.verify(hash, &digest, &key.sign(&Password::empty(), hash, &digest)?)?;
        Ok(key)
    }

    /// The half that everybody may see.
    #[cfg(test)]
    pub(super) fn public(&self) -> &PublicKey {
        &self.public
    }
}

impl SigningKey for Key {
    fn sign(&self, password: &Password, hash: HashAlgorithm, digest: &[u8]) -> Result<SignatureBytes> {
        match &self.secret {
            Secret::Rsa(_) if hash != HashAlgorithm::Sha256 => Err(Error::from(format!("RSA with {hash} is not used"))),
            Secret::Rsa(key) => Ok(SignatureBytes::Mpis(vec![Mpi::from_slice(&blinded(key, &mut OsRng, digest)?)])),
            Secret::Other(key) => key.sign(password, hash, digest),
        }
    }

    /// SHA-256, but no shorter hash than the numbers of a curve are: `gpg` wants that.
    fn hash_alg(&self) -> HashAlgorithm {
        self.public.public_params().hash_alg()
    }
}

/// An RSA signature. Given random numbers, `rsa` blinds; it also checks the result before anybody sees it.
fn blinded(key: &RsaPrivateKey, random: &mut impl CryptoRngCore, digest: &[u8]) -> rsa::Result<Vec<u8>> {
    key.sign_with_rng(random, Pkcs1v15Sign::new::<Sha256>(), digest)
}

impl KeyDetails for Key {
    fn version(&self) -> KeyVersion {
        self.public.version()
    }

    fn legacy_key_id(&self) -> KeyId {
        self.public.legacy_key_id()
    }

    fn fingerprint(&self) -> Fingerprint {
        self.public.fingerprint()
    }

    fn algorithm(&self) -> PublicKeyAlgorithm {
        self.public.algorithm()
    }

    fn created_at(&self) -> Timestamp {
        self.public.created_at()
    }

    fn legacy_v3_expiration_days(&self) -> Option<u16> {
        self.public.legacy_v3_expiration_days()
    }

    fn public_params(&self) -> &PublicParams {
        self.public.public_params()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Key").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rsa::rand_core::{CryptoRng, Error, RngCore};

    use super::super::fixtures::{ED25519, RSA_LOCKED};
    use super::super::ring_file;
    use super::*;

    fn key(ring: &str) -> Key {
        let file = tempfile::NamedTempFile::new().expect("the test's own set-up");
        std::fs::write(&file, ring).expect("the test's own set-up");
        ring_file::open(file.path(), Some("geheim")).expect("a key that signs").key
    }

    /// Random numbers of the system, and how many bytes of them were asked for.
    struct Counted(usize);

    impl RngCore for Counted {
        fn next_u32(&mut self) -> u32 {
            self.0 += 4;
            OsRng.next_u32()
        }

        fn next_u64(&mut self) -> u64 {
            self.0 += 8;
            OsRng.next_u64()
        }

        fn fill_bytes(&mut self, bytes: &mut [u8]) {
            self.0 += bytes.len();
            OsRng.fill_bytes(bytes);
        }

        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
            self.0 += bytes.len();
            OsRng.try_fill_bytes(bytes)
        }
    }

    impl CryptoRng for Counted {}

    #[test]
    fn each_rsa_signature_is_blinded_by_a_number_as_long_as_the_key() {
        let key = key(RSA_LOCKED);
        let Secret::Rsa(numbers) = &key.secret else { panic!("RSA is left to the library, which does not blind") };
        let (mut random, digest) = (Counted(0), [7; 32]);
        for round in 1..=3 {
            let number = blinded(numbers, &mut random, &digest).unwrap();
            assert!(random.0 >= round * 256, "{} bytes in {round} signatures", random.0);
            let number = SignatureBytes::Mpis(vec![Mpi::from_slice(&number)]);
            key.public.verify(HashAlgorithm::Sha256, &digest, &number).unwrap();
            let signed = key.sign(&Password::empty(), HashAlgorithm::Sha256, &digest).unwrap();
            assert_eq!(signed, number, "blinding does not show");
        }
    }

    #[test]
    fn rsa_signs_no_other_hash_under_this_name() {
        let key = key(RSA_LOCKED);
        assert!(key.sign(&Password::empty(), HashAlgorithm::Sha512, &[7; 64]).is_err());
        assert!(key.sign(&Password::empty(), HashAlgorithm::Sha256, &[7; 64]).is_err());
    }

    #[test]
    fn a_key_shows_nothing_that_is_secret() {
        for ring in [ED25519, RSA_LOCKED] {
            let shown = format!("{:?}", key(ring));
            assert!(shown.starts_with("Key { fingerprint: ") && shown.len() < 80, "{shown}");
        }
    }
}
