//! The key that signs what machines fetch: read and unlocked once, at start.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use tracing::{info, warn};

use crate::boot::Signer;
use crate::config::{Config, SigningKey};

/// Bytes of a file with a passphrase.
const PASSPHRASE_BYTES_MAX: u64 = 4096;
/// How long before its end a key is warned about.
const ENDS_SOON: Duration = Duration::from_secs(30 * 86_400);

/// The key that the configuration names, if it names one.
///
/// # Errors
/// Why it cannot sign.
pub(super) fn open(config: &Config) -> anyhow::Result<Option<Signer>> {
    let Some(SigningKey { key_ring, passphrase_file }) = &config.signing else { return Ok(None) };
    let passphrase = passphrase_file.as_deref().map(passphrase).transpose()?;
    Ok(Some(Signer::open(key_ring, passphrase.as_deref())?))
}

/// Tells what signs, and whether it will for long.
pub(super) fn report(signer: &Signer) {
    info!(fingerprint = signer.fingerprint(), user = signer.user(), "what machines fetch is signed");
    let left = signer.expires().map(|end| end.duration_since(SystemTime::now()));
    match left {
        Some(Err(_)) => {
            warn!("the signing key has expired: whoever verifies refuses its signatures; extend it and export it anew")
        }
        Some(Ok(left)) if left < ENDS_SOON => {
            warn!(days = left.as_secs() / 86_400, "the signing key expires soon; extend it and export it anew");
        }
        _ => {}
    }
}

fn passphrase(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = File::open(file).and_then(|open| open.take(PASSPHRASE_BYTES_MAX + 1).read_to_string(&mut text));
    read.with_context(|| {
        format!("{}: the passphrase of the signing key cannot be read (`boot.signing_passphrase_file`)", file.display())
    })?;
    if text.len() as u64 > PASSPHRASE_BYTES_MAX {
        bail!("{}: longer than {PASSPHRASE_BYTES_MAX} bytes, which is no passphrase", file.display());
    }
    // An editor ends the line.
    Ok(text.strip_suffix('\n').map(str::to_owned).unwrap_or(text))
}
