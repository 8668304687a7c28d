//! Reads and writes certificate files: whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::CertError;

/// Writes a file so that it is there whole or not at all, power loss included. `mode` is set before a byte is in it.
///
/// # Errors
/// Those of the file system.
pub fn write_whole(file: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let new = file.with_added_extension("new");
    let _leftover = fs::remove_file(&new);
    let mut handle = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    let written = handle.write_all(bytes).and_then(|()| handle.sync_all()).and_then(|()| fs::rename(&new, file));
    if let Err(error) = written {
        // It may hold a private key.
        let _already_gone = fs::remove_file(&new);
        return Err(error);
    }
    File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// The certificates in a PEM file, at least one.
///
/// # Errors
/// What is wrong with it, without its name.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if certificates.is_empty() => Err("there is no certificate in it".into()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("no certificate can be read from it: {error}")),
    }
}

pub(super) fn store(file: &Path, text: &str, mode: u32) -> Result<(), CertError> {
    let hint = "the data directory must be writable";
    write_whole(file, text.as_bytes(), mode)
        .map_err(|error| CertError::new(file, hint, format!("it cannot be written: {error}")))
}
