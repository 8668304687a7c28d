//! The certificates a node issues to itself: kept while they fit, made anew when they do not.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use raft::state::Role;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PublicKeyData,
    SerialNumber,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;

use super::authority::{Authority, common_name, set_minutes, set_validity};
use super::facts::ROLE_PREFIX;
use super::files::{certificates, store};
use super::sent_key::SentKey;
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
    /// Its name in the data directory.
    #[must_use]
    pub fn file(&self) -> &'static str {
        self.file
    }

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
        let (name, lifetime) = (common_name("Raftboot"), Lifetime::Days(LEAF_DAYS));
        let (chain, key) = Wanted { name, names, usages: self.usages, lifetime }.issue(authority, now)?;
        // A certificate that does not fit its key is noticed and replaced at the next look.
        store(&dir.join(self.key_file), &key, 0o600)?;
        store(&dir.join(self.file), &chain, 0o644)
    }
}

/// How long a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// To the end of that day.
    Days(u64),
    /// To the second, for what is used at once.
    Minutes(u64),
}

/// What a certificate is to say.
struct Wanted<'a> {
    name: DistinguishedName,
    names: &'a [String],
    usages: &'a [ExtendedKeyUsagePurpose],
    lifetime: Lifetime,
}

impl Wanted<'_> {
    /// The certificate and its new key, as PEM.
    fn issue(self, authority: &Authority, now: SystemTime) -> Result<(String, String), CertError> {
        let key = KeyPair::generate().map_err(|error| failed(authority, error))?;
        Ok((self.issue_for(&key, authority, now)?, key.serialize_pem()))
    }

    fn issue_for(self, key: &impl PublicKeyData, authority: &Authority, now: SystemTime) -> Result<String, CertError> {
        let failed = |error: rcgen::Error| failed(authority, error);
        let mut params = CertificateParams::new(self.names).map_err(failed)?;
        params.distinguished_name = self.name;
        params.serial_number = Some(SerialNumber::from(random_serial().map_err(|error| {
            authority.unusable(format!("no certificate could be made: the system has no randomness: {error}"))
        })?));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = self.usages.to_vec();
        params.use_authority_key_identifier_extension = true;
        match self.lifetime {
            Lifetime::Days(days) => set_validity(&mut params, now, days),
            Lifetime::Minutes(minutes) => set_minutes(&mut params, now, minutes),
        }
        Ok(authority.sign(key, &params, now).map_err(failed)?.pem())
    }
}

fn failed(authority: &Authority, error: rcgen::Error) -> CertError {
    authority.unusable(format!("no certificate could be made: {error}"))
}

/// 127 bits that no other certificate has; the first byte is neither zero nor negative.
fn random_serial() -> Result<Vec<u8>, getrandom::Error> {
    let mut bytes = vec![0; 16];
    getrandom::fill(&mut bytes)?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(bytes)
}

/// A client to be.
#[derive(Debug, Clone, Copy)]
pub struct ClientWish<'a> {
    /// How the log calls it.
    pub name: &'a str,
    /// What it may do; `None`: not said, as it was before there were roles.
    pub role: Option<Role>,
    /// For how long.
    pub lifetime: Lifetime,
}

impl ClientWish<'_> {
    fn wanted(self) -> Wanted<'static> {
        let mut name = common_name(self.name);
        let role = self.role.map(|role| match role {
            Role::Read => "read",
            Role::Operate => "operate",
            Role::Admin => "admin",
        });
        if let Some(role) = role {
            name.push(DnType::OrganizationalUnitName, format!("{ROLE_PREFIX}{role}"));
        }
        Wanted { name, names: &[], usages: &[ExtendedKeyUsagePurpose::ClientAuth], lifetime: self.lifetime }
    }
}

/// A client's certificate and its new key, as PEM. The role is in its subject: OU `raftboot:operate`.
///
/// # Errors
/// When the CA cannot be used.
pub fn client(authority: &Authority, wish: ClientWish<'_>, now: SystemTime) -> Result<(String, String), CertError> {
    let key = KeyPair::generate().map_err(|error| failed(authority, error))?;
    Ok((wish.wanted().issue_for(&key, authority, now)?, key.serialize_pem()))
}

/// The same for a key that somebody else has; `public_key` is PEM.
///
/// # Errors
/// When that is no key we know, or the CA cannot be used.
pub fn client_for(
    authority: &Authority,
    wish: ClientWish<'_>,
    public_key: &str,
    now: SystemTime,
) -> Result<String, String> {
    let key = SentKey::read(public_key)?;
    wish.wanted().issue_for(&key, authority, now).map_err(|error| error.to_string())
}

/// A new key, and its public part as PEM, for `client_for`.
///
/// # Errors
/// When the system has no randomness to give.
pub fn key_pair() -> Result<(String, String), String> {
    let key = KeyPair::generate().map_err(|error| format!("no key could be made: {error}"))?;
    Ok((key.serialize_pem(), key.public_key_pem()))
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
    let name = common_name(names.first().map_or("Raftboot", String::as_str));
    let lifetime = Lifetime::Days(days);
    Wanted { name, names, usages: &[ExtendedKeyUsagePurpose::ServerAuth], lifetime }.issue(authority, now)
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
    // While the CA changes, nodes trust two; their own certificates are of the one that issues.
    let mut roots = RootCertStore::empty();
    roots.add(authority.issuer().map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
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
