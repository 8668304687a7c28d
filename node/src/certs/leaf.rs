//! The certificates a node issues to itself: kept while they fit, made anew when they do not.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;

use super::authority::{Authority, common_name, set_validity};
use super::files::{certificates, store};
use super::{CertError, GENERATED_HINT, provider};

const DAY: u64 = 86_400;
/// How long a certificate is valid: the most that every client accepts.
pub const LEAF_DAYS: u64 = 820;
/// A certificate with less than this left is replaced.
const RENEW_DAYS: u64 = 400;

/// One of the certificates a node has.
#[derive(Debug, Clone, Copy)]
pub struct Leaf {
    file: &'static str,
    key_file: &'static str,
    usages: &'static [ExtendedKeyUsagePurpose],
}

/// What operators see.
pub const SERVER: Leaf =
    Leaf { file: "server.crt", key_file: "server.key", usages: &[ExtendedKeyUsagePurpose::ServerAuth] };

/// What the other nodes see, whoever dials.
pub const PEER: Leaf = Leaf {
    file: "peer.crt",
    key_file: "peer.key",
    usages: &[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
};

/// A certificate that fits.
#[derive(Debug)]
pub struct Issued {
    /// The chain as PEM, leaf first.
    pub chain: String,
    /// The private key as PEM.
    pub key: String,
    /// The same for rustls.
    pub certified: Arc<CertifiedKey>,
    /// Whether it was made just now.
    pub is_new: bool,
}

impl Leaf {
    /// The certificate in `dir`; made anew when it does not cover `names` (host names and addresses) any more, comes to
    /// its end, does not fit its key, or is not there.
    ///
    /// # Errors
    /// When a file cannot be read or written, or what the CA signs is not valid under it.
    pub fn ensure(
        &self,
        authority: &Authority,
        dir: &Path,
        names: &[String],
        now: SystemTime,
    ) -> Result<Issued, CertError> {
        let fits = check(authority, &dir.join(self.file), names, now)
            .and_then(|()| self.read(dir, false).map_err(|error| error.to_string()));
        if let Ok(issued) = fits {
            return Ok(issued);
        }
        self.issue(authority, dir, names, now)?;
        check(authority, &dir.join(self.file), names, now).map_err(|what| {
            let what = format!("a certificate made with the key beside it is not valid under it: {what}");
            CertError::new(authority.file(), GENERATED_HINT, what)
        })?;
        self.read(dir, true)
    }

    fn read(&self, dir: &Path, is_new: bool) -> Result<Issued, CertError> {
        let (file, key_file) = (dir.join(self.file), dir.join(self.key_file));
        let text = |file: &Path| {
            std::fs::read_to_string(file)
                .map_err(|error| CertError::new(file, GENERATED_HINT, format!("it cannot be read: {error}")))
        };
        let certified = certified(&file, &key_file, GENERATED_HINT)?;
        Ok(Issued { chain: text(&file)?, key: text(&key_file)?, certified, is_new })
    }

    fn issue(&self, authority: &Authority, dir: &Path, names: &[String], now: SystemTime) -> Result<(), CertError> {
        let wanted = Wanted { name: "Raftboot", names, usages: self.usages, days: LEAF_DAYS };
        let (chain, key) = wanted.issue(authority, now)?;
        // A certificate that does not fit its key is noticed and replaced at the next look.
        store(&dir.join(self.key_file), &key, 0o600)?;
        store(&dir.join(self.file), &chain, 0o644)
    }
}

/// What a certificate is to say.
struct Wanted<'a> {
    name: &'a str,
    names: &'a [String],
    usages: &'a [ExtendedKeyUsagePurpose],
    days: u64,
}

impl Wanted<'_> {
    /// The certificate and its new key, as PEM.
    fn issue(&self, authority: &Authority, now: SystemTime) -> Result<(String, String), CertError> {
        let failed = |error: rcgen::Error| authority.unusable(format!("no certificate could be made: {error}"));
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::new(self.names).map_err(failed)?;
        params.distinguished_name = common_name(self.name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = self.usages.to_vec();
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, now, self.days);
        let chain = authority.sign(&key, &params, now).map_err(failed)?.pem();
        Ok((chain, key.serialize_pem()))
    }
}

/// A client's certificate and its new key, as PEM. The holder may change what machines boot, over gRPC; `name` is how the
/// log calls it.
///
/// # Errors
/// When the CA cannot be used.
pub fn client(authority: &Authority, name: &str, days: u64, now: SystemTime) -> Result<(String, String), CertError> {
    Wanted { name, names: &[], usages: &[ExtendedKeyUsagePurpose::ClientAuth], days }.issue(authority, now)
}

/// A server's certificate for those names and addresses and its new key, as PEM.
///
/// # Errors
/// When the CA cannot be used, or a name is none.
pub fn server(
    authority: &Authority,
    names: &[String],
    days: u64,
    now: SystemTime,
) -> Result<(String, String), CertError> {
    let name = names.first().map_or("Raftboot", String::as_str);
    Wanted { name, names, usages: &[ExtendedKeyUsagePurpose::ServerAuth], days }.issue(authority, now)
}

/// A chain and its key from PEM files, ready for rustls.
///
/// # Errors
/// When they cannot be read or do not belong together.
pub fn certified(chain: &Path, key: &Path, hint: &'static str) -> Result<Arc<CertifiedKey>, CertError> {
    let certificates = certificates(chain).map_err(|what| CertError::new(chain, hint, what))?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| CertError::new(key, hint, format!("no private key can be read from it: {error}")))?;
    CertifiedKey::from_der(certificates, private, &provider())
        .map(Arc::new)
        .map_err(|error| CertError::new(key, hint, format!("it does not fit {}: {error}", chain.display())))
}

/// Whether the certificate will satisfy those who trust the CA, by every name, now and until the next renewal.
fn check(authority: &Authority, chain: &Path, names: &[String], now: SystemTime) -> Result<(), String> {
    let leaf = certificates(chain)?.swap_remove(0);
    let roots = authority.roots().map_err(|error| error.to_string())?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
    let verifier = verifier.build().map_err(|error| error.to_string())?;
    let today = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    for time in [today, today + Duration::from_secs(RENEW_DAYS * DAY)] {
        for name in names {
            let name = ServerName::try_from(name.as_str()).map_err(|error| error.to_string())?;
            let verdict = verifier.verify_server_cert(&leaf, &[], &name, &[], UnixTime::since_unix_epoch(time));
            verdict.map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_certificate_is_kept_while_it_fits_and_replaced_before_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let start = SystemTime::now();
        let authority = Authority::open(dir.path(), start).unwrap();
        let first = PEER.ensure(&authority, dir.path(), &names(&["node-1.x.internal"]), start).unwrap();
        assert!(first.is_new);
        let days = |count: u64| start + Duration::from_secs(count * DAY);
        let again = |at, list: &[&str]| PEER.ensure(&authority, dir.path(), &names(list), at).unwrap().is_new;
        assert!(!again(days(LEAF_DAYS - RENEW_DAYS - 2), &["node-1.x.internal"]));
        assert!(again(days(LEAF_DAYS - RENEW_DAYS + 2), &["node-1.x.internal"]));
        assert!(again(days(LEAF_DAYS - RENEW_DAYS + 2), &["node-2.x.internal"]));
    }

    #[test]
    fn a_certificate_that_does_not_fit_its_key_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let authority = Authority::open(dir.path(), now).unwrap();
        SERVER.ensure(&authority, dir.path(), &names(&["localhost"]), now).unwrap();
        std::fs::write(dir.path().join("server.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
        assert!(SERVER.ensure(&authority, dir.path(), &names(&["localhost"]), now).unwrap().is_new);
        assert!(!SERVER.ensure(&authority, dir.path(), &names(&["localhost"]), now).unwrap().is_new);
    }
}
