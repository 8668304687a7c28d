//! A public key that somebody sends to have a certificate issued for it.

use rcgen::{
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm,
};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const ELLIPTIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
/// Bits of an RSA key, as bytes of what holds it: 2048 at least, 8192 at most.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 260..=1100;

/// A key of a kind that servers can verify.
pub(super) struct SentKey {
    bits: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

impl SentKey {
    /// From PEM (`PUBLIC KEY`).
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(pem: &str) -> Result<Self, String> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| format!("it is no public key in PEM: {error}"))?;
        let key = SubjectPublicKeyInfoOwned::from_der(&der).map_err(|error| format!("it is no public key: {error}"))?;
        let bits = key.subject_public_key.raw_bytes().to_vec();
        let curve = key.algorithm.parameters.as_ref().and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
        let algorithm = match (key.algorithm.oid, curve) {
            (RSA, _) if RSA_BYTES.contains(&bits.len()) => &PKCS_RSA_SHA256,
            (ED25519, _) if bits.len() == 32 => &PKCS_ED25519,
            (ELLIPTIC, Some(P256)) if bits.len() == 65 => &PKCS_ECDSA_P256_SHA256,
            (ELLIPTIC, Some(P384)) if bits.len() == 97 => &PKCS_ECDSA_P384_SHA384,
            _ => return Err("it is a key of a kind or a length that is not taken".into()),
        };
        Ok(Self { bits, algorithm })
    }
}

impl PublicKeyData for SentKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}
