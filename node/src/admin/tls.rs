//! The admin API's certificate: the operator's own, or one from a CA that lives in the data directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use raft::types::Digest;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{RootCertStore, ServerConfig};
use tracing::{info, warn};

use super::clock::date;

/// The CA's certificate, for clients to trust.
pub const CA_FILE: &str = "ca.crt";
const CA_KEY_FILE: &str = "ca.key";
const SERVER_FILE: &str = "server.crt";
const SERVER_KEY_FILE: &str = "server.key";

const DAY: u64 = 86_400;
/// How long the CA is valid: as long as a cluster may live.
const CA_DAYS: u64 = 30 * 365;
/// How long a certificate is valid: the most that every client accepts.
const SERVER_DAYS: u64 = 820;
/// A certificate with less than this left is replaced when the node starts.
const RENEW_DAYS: u64 = 400;
/// Names that are always in the certificate.
const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}; {hint}", file.display())]
pub struct TlsError {
    file: PathBuf,
    what: String,
    hint: &'static str,
}

const OWN_HINT: &str = "`tls.cert` and `tls.key` name a PEM certificate chain, leaf first, and its PEM private key";
const GENERATED_HINT: &str =
    "remove ca.crt, ca.key, server.crt and server.key to have new ones made; clients then need the new ca.crt";

const ACCESS_HINT: &str = "give the user that the service runs as the right to read it (`chown`); do not remove it";

fn fail(file: &Path, hint: &'static str) -> impl Fn(&dyn std::fmt::Display) -> TlsError {
    move |what| TlsError { file: file.to_owned(), what: what.to_string(), hint }
}

/// The operator's `own` certificate chain and key if there are such files, else the one generated in `dir`, valid for
/// `names` beside those of this host.
///
/// # Errors
/// If a file cannot be read or written, or two of them do not belong together.
pub fn server_config(dir: &Path, own: Option<(&Path, &Path)>, names: &[String]) -> Result<Arc<ServerConfig>, TlsError> {
    match own {
        Some((chain, key)) => config(chain, key, OWN_HINT),
        None => generated(dir, names, SystemTime::now()),
    }
}

/// Uses the certificate in `dir`, making or renewing it when it does not cover `names` (host names and addresses) any
/// more, comes to its end, or is not there. The CA is made once.
///
/// # Errors
/// If a file cannot be read or written, or the CA's two files do not belong together.
fn generated(dir: &Path, names: &[String], now: SystemTime) -> Result<Arc<ServerConfig>, TlsError> {
    let names = usable(names);
    let ca_file = dir.join(CA_FILE);
    let ca_key = authority(dir, now)?;
    let (chain, key) = (dir.join(SERVER_FILE), dir.join(SERVER_KEY_FILE));
    if !key.exists() || check(&ca_file, &chain, &names, now).is_err() {
        issue(&ca_key, &names, now, &chain, &key)?;
        check(&ca_file, &chain, &names, now).map_err(|what| {
            fail(&ca_file, GENERATED_HINT)(&format!(
                "a certificate made with {CA_KEY_FILE} is not valid under it: {what}"
            ))
        })?;
        info!(names = names.join(", "), "made a new certificate for the admin API");
    }
    config(&chain, &key, GENERATED_HINT)
}

fn usable(names: &[String]) -> Vec<String> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut usable: Vec<String> = Vec::new();
    for name in OWN_NAMES.map(str::to_owned).iter().chain([&host]).chain(names) {
        if ServerName::try_from(name.as_str()).is_err() {
            warn!(name, "cannot be a name in the admin API's certificate and was left out");
        } else if !usable.contains(name) {
            usable.push(name.clone());
        }
    }
    usable
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn config(chain: &Path, key: &Path, hint: &'static str) -> Result<Arc<ServerConfig>, TlsError> {
    let certificates = certificates(chain).map_err(|what| fail(chain, hint)(&what))?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| fail(key, hint)(&format!("no private key can be read from it: {error}")))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring has the default protocol versions")
        .with_no_client_auth()
        .with_single_cert(certificates, private)
        .map_err(|error| fail(key, hint)(&format!("it does not fit {}: {error}", chain.display())))?;
    // Ours first: uploads are several times faster over HTTP/1.1, and curl 7.88 (Debian 12) does not show an answer that
    // comes before it has sent everything over HTTP/2.
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if certificates.is_empty() => Err("there is no certificate in it".into()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("no certificate can be read from it: {error}")),
    }
}

/// Whether the certificate will satisfy clients that trust the CA, by every name, now and until the next renewal.
fn check(ca: &Path, chain: &Path, names: &[String], now: SystemTime) -> Result<(), String> {
    let leaf = certificates(chain)?.swap_remove(0);
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
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

/// The CA's key; both are made if neither is there.
fn authority(dir: &Path, now: SystemTime) -> Result<KeyPair, TlsError> {
    let (file, key_file) = (dir.join(CA_FILE), dir.join(CA_KEY_FILE));
    let broken = fail(&key_file, GENERATED_HINT);
    match fs::read_to_string(&key_file) {
        Ok(text) => {
            let key = KeyPair::from_pem(&text).map_err(|error| broken(&format!("it holds no private key: {error}")))?;
            if !file.exists() {
                write_ca(&file, &key, now)?;
            }
            Ok(key)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && !file.exists() => {
            let key = KeyPair::generate().map_err(|error| broken(&format!("no key could be made: {error}")))?;
            store(&key_file, &key.serialize_pem(), 0o600)?;
            write_ca(&file, &key, now)?;
            info!(file = %file.display(), "made a CA for the admin API; clients need this file");
            Ok(key)
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(fail(&key_file, ACCESS_HINT)(&format!("it cannot be read: {error}")))
        }
        Err(error) => Err(broken(&format!("it cannot be read: {error}"))),
    }
}

fn write_ca(file: &Path, key: &KeyPair, now: SystemTime) -> Result<(), TlsError> {
    let made = ca_params(key, now).self_signed(key);
    let made = made.map_err(|error| fail(file, GENERATED_HINT)(&format!("no certificate could be made: {error}")))?;
    store(file, &made.pem(), 0o644)
}

/// The same for the same key, so that the certificate itself need not be read to issue under it.
fn ca_params(key: &KeyPair, now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mark = Digest::of(key.public_key_raw()).to_string();
    params.distinguished_name = common_name(&format!("Raftboot admin CA {}", &mark[..12]));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, now, CA_DAYS);
    params
}

fn common_name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

/// Valid from yesterday, so that a clock that is a little behind does not matter.
fn set_validity(params: &mut CertificateParams, now: SystemTime, days: u64) {
    let today = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / DAY;
    let midnight = |day: u64| {
        let (year, month, day) = date(day);
        let small = |number: u64| u8::try_from(number).expect("months and days are small");
        date_time_ymd(i32::try_from(year).expect("a year of this age of the world"), small(month), small(day))
    };
    params.not_before = midnight(today.saturating_sub(1));
    params.not_after = midnight(today + days);
}

fn issue(ca_key: &KeyPair, names: &[String], now: SystemTime, file: &Path, key_file: &Path) -> Result<(), TlsError> {
    let failed = |error: rcgen::Error| fail(file, GENERATED_HINT)(&format!("no certificate could be made: {error}"));
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.distinguished_name = common_name("Raftboot");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, now, SERVER_DAYS);
    let authority = ca_params(ca_key, now);
    let made = params.signed_by(&key, &Issuer::from_params(&authority, ca_key)).map_err(failed)?;
    // A certificate that does not fit its key is noticed and replaced at the next start.
    store(key_file, &key.serialize_pem(), 0o600)?;
    store(file, &made.pem(), 0o644)
}

/// Writes a file so that it is there whole or not at all, power loss included.
fn store(file: &Path, text: &str, mode: u32) -> Result<(), TlsError> {
    write_whole(file, text.as_bytes(), mode)
        .map_err(|error| fail(file, "the data directory must be writable")(&format!("it cannot be written: {error}")))
}

/// Writes a file so that it is there whole or not at all, power loss included. `mode` is set before a byte is in it.
///
/// # Errors
/// Those of the file system.
pub(super) fn write_whole(file: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let new = file.with_added_extension("new");
    let _leftover = fs::remove_file(&new);
    let mut handle = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    handle.write_all(bytes)?;
    handle.sync_all()?;
    fs::rename(&new, file)?;
    File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()
}
