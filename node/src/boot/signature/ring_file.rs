//! The key ring file: read within bounds, and its first secret key found, judged and unlocked.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use pgp::armor::{Dearmor, DearmorOptions};
use pgp::composed::{Deserializable as _, SignedKeyDetails, SignedSecretKey};
use pgp::errors::Error;
use pgp::packet::{KeyFlags, PacketParser, PacketTrait as _, SecretKey, Signature, SignatureType};
use pgp::types::{KeyDetails as _, Password, S2kParams, SecretParams, StringToKey, Tag};
use tracing::subscriber::{NoSubscriber, with_default};

use super::Held;
use super::key::{self, Key};

/// An exported key with many names and many signatures on them has some ten thousand bytes.
const KEY_RING_BYTES_MAX: usize = 4 * 1024 * 1024;

const ARMOR: &[u8] = b"-----BEGIN PGP PRIVATE KEY BLOCK-----";
const PUBLIC_ARMOR: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";

const EXPORT_HINT: &str = "write it with `gpg --export-secret-keys NAME > FILE`";
const ACCESS_HINT: &str = "the user that raftboot runs as must be able to read it";
const PASSPHRASE_HINT: &str = "look at the file that `boot.signing_passphrase_file` names";
const KIND_HINT: &str =
    "make a key for signing, such as `gpg --quick-generate-key NAME ed25519 sign never`, and export it";
const READ_HINT: &str = "write it anew with `gpg --export-secret-keys NAME > FILE`, or make a key of another kind, \
                         such as `gpg --quick-generate-key NAME ed25519 sign never`";

/// Why a key ring is of no use: which file, what is wrong with it, what to do.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}; {hint}", file.display())]
pub struct SignerError {
    file: PathBuf,
    what: String,
    hint: &'static str,
}

type Wrong = (String, &'static str);

/// The first secret key of a file, unlocked.
///
/// # Errors
/// Why there is none.
pub(super) fn open(file: &Path, passphrase: Option<&str>) -> Result<Held, SignerError> {
    // The library logs the secret half of an unlocked key when it reads one, at the level `debug`.
    let held = read(file).and_then(|ring| with_default(NoSubscriber::new(), || first_key(&ring, passphrase)));
    held.map_err(|(what, hint)| SignerError { file: file.to_owned(), what, hint })
}

fn read(file: &Path) -> Result<Vec<u8>, Wrong> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ("there is no such file".to_owned(), EXPORT_HINT),
        _ => (format!("it cannot be read: {error}"), ACCESS_HINT),
    };
    // Opening a pipe would wait for whoever writes it.
    if !fs::metadata(file).map_err(failed)?.is_file() {
        return Err(("it is not a file".to_owned(), EXPORT_HINT));
    }
    let mut bytes = Vec::new();
    let most = KEY_RING_BYTES_MAX as u64 + 1;
    File::open(file).and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(failed)?;
    match bytes.len() {
        0 => Err(("it is empty".to_owned(), EXPORT_HINT)),
        1..=KEY_RING_BYTES_MAX => Ok(bytes),
        _ => {
            Err((format!("it is longer than the {KEY_RING_BYTES_MAX} bytes that are read of a key ring"), EXPORT_HINT))
        }
    }
}

fn first_key(ring: &[u8], passphrase: Option<&str>) -> Result<Held, Wrong> {
    let cannot = |what: String| (format!("its first key cannot sign: {what}"), KIND_HINT);
    let SignedSecretKey { primary_key, details, .. } = parse(ring)?;
    key::check_kind(primary_key.public_key()).map_err(cannot)?;
    let expires = judge(&primary_key, &details).map_err(|what| cannot(what.to_owned()))?;
    let fingerprint = primary_key.fingerprint();
    let named = |(what, hint)| (format!("its first key, {fingerprint:X}, {what}"), hint);
    let unlocked = unlock(primary_key, passphrase).map_err(named)?;
    let key = Key::new(unlocked).map_err(|_| cannot("its numbers do not fit each other".to_owned()))?;
    let user = details.users.first().map(|user| String::from_utf8_lossy(user.id.id()).into_owned());
    Ok(Held { key, expires, user: user.unwrap_or_default() })
}

/// The first secret key with what is said of it. What follows it and cannot be read is not needed.
fn parse(ring: &[u8]) -> Result<SignedSecretKey, Wrong> {
    let (mut public, mut secret) = (false, false);
    let packets = PacketParser::new(without_armor(ring)?).filter(|packet| {
        public |= packet.as_ref().is_ok_and(|packet| packet.tag() == Tag::PublicKey);
        let wanted = packet.is_ok() || !secret;
        secret |= packet.as_ref().is_ok_and(|packet| packet.tag() == Tag::SecretKey);
        wanted
    });
    let first = SignedSecretKey::from_packets(packets.peekable()).next();
    match first {
        Some(Ok(key)) => Ok(key),
        Some(Err(error)) => Err(unreadable(&error)),
        None if public => Err(("it holds public keys only".to_owned(), EXPORT_HINT)),
        None => Err(("no whole secret key is in it".to_owned(), EXPORT_HINT)),
    }
}

/// What the library says of an error is left out: it can quote the bytes it stumbled on, and they may be secret.
fn unreadable(error: &Error) -> Wrong {
    match error {
        Error::IO { .. } | Error::PacketIncomplete { .. } => {
            ("it is cut short, or its armor is damaged".to_owned(), EXPORT_HINT)
        }
        _ => ("its first key is damaged, or of a kind that is not known here".to_owned(), READ_HINT),
    }
}

/// The packets in the first armor of a secret key, or the bytes as they are where there is no armor.
fn without_armor(ring: &[u8]) -> Result<Box<dyn BufRead + '_>, Wrong> {
    // Every packet begins with the highest bit set, which no text does.
    if ring.first().is_some_and(|first| first & 0x80 != 0) {
        return Ok(Box::new(ring));
    }
    let find = |marker: &[u8]| ring.windows(marker.len()).position(|part| part == marker);
    let Some(begin) = find(ARMOR) else {
        let public = find(PUBLIC_ARMOR).is_some();
        let what = if public { "it holds public keys only" } else { "it is not an OpenPGP key ring" };
        return Err((what.to_owned(), EXPORT_HINT));
    };
    let options = DearmorOptions::new().set_limit(KEY_RING_BYTES_MAX);
    let mut armor = Dearmor::with_options(&ring[begin..], options);
    armor.read_header().map_err(|_| ("its armor is damaged".to_owned(), EXPORT_HINT))?;
    Ok(Box::new(BufReader::new(armor)))
}

/// When a key expires, by its newest word on itself.
///
/// These words are not verified: whoever can write the key ring can put any key there.
///
/// # Errors
/// Why it must not sign.
fn judge(key: &SecretKey, details: &SignedKeyDetails) -> Result<Option<SystemTime>, &'static str> {
    let (id, fingerprint) = (key.legacy_key_id(), key.fingerprint());
    let by_itself =
        |said: &&Signature| said.issuer_key_id().contains(&&id) || said.issuer_fingerprint().contains(&&fingerprint);
    if details.revocation_signatures.iter().any(|said| by_itself(&said)) {
        return Err("its owner revoked it");
    }
    let of_names = details.users.iter().flat_map(|user| &user.signatures);
    let of_names = of_names.filter(|said| said.typ() != Some(SignatureType::CertRevocation));
    let mut said: Vec<_> = of_names.chain(&details.direct_signatures).filter(by_itself).collect();
    said.sort_by_key(|said| said.created());
    // No flags at all forbid nothing.
    let flags = said.iter().rev().map(|said| said.key_flags()).find(|flags| *flags != KeyFlags::default());
    if flags.is_some_and(|flags| !flags.sign()) {
        return Err("it is meant for signing other keys only, and subkeys are not used");
    }
    let lasts = said.last().and_then(|said| said.key_expiration_time()).filter(|lasts| lasts.as_secs() > 0);
    Ok(lasts.map(|lasts| SystemTime::from(key.created_at()) + Duration::from(lasts)))
}

fn unlock(mut key: SecretKey, passphrase: Option<&str>) -> Result<SecretKey, Wrong> {
    let SecretParams::Encrypted(locked) = key.secret_params() else { return Ok(key) };
    // GnuPG's mark for a secret half that is elsewhere.
    if let S2kParams::Cfb { s2k: StringToKey::Private { unknown, .. }, .. } = locked.string_to_key_params() {
        return Err(if unknown.ends_with(b"GNU\x01") {
            ("is there without its secret half, as subkeys are exported".to_owned(), EXPORT_HINT)
        } else {
            ("is on a smart card".to_owned(), KIND_HINT)
        });
    }
    // An empty one is none, as in matchbox.
    let Some(passphrase) = passphrase.filter(|words| !words.is_empty()) else {
        return Err(("is locked, and no passphrase is given".to_owned(), PASSPHRASE_HINT));
    };
    match key.remove_password(&Password::from(passphrase)) {
        Ok(()) => Ok(key),
        Err(Error::InvalidInput { .. } | Error::Aead { .. }) => {
            Err(("is not unlocked by the passphrase given".to_owned(), PASSPHRASE_HINT))
        }
        Err(_) => Err(("is damaged, or locked in a way that is not known here".to_owned(), EXPORT_HINT)),
    }
}
