//! A backup: one file with everything a cluster knows, written as a stream and verified byte by byte.
//!
//! It is a tar file, so that `tar` shows what is in it, with members in a fixed order: the manifest, the CA, the state as the
//! frames of a snapshot, the files by their digest, and an end that holds the sha256 of everything before it. `write` makes
//! one, `read` verifies one; what may be in a header, and what not, is `archive`'s.

mod archive;
mod manifest;
mod read;
mod write;

pub use manifest::{Counts, FORMAT, Manifest};
pub use read::{BackupError, Contents, Lacking, Place, StoredFile, state, verify};
pub use write::{Files, Origin, Written, write};

use serde::{Deserialize, Serialize};

/// The members, in their order; files follow `STATE`, one member each.
const MANIFEST: &str = "manifest.json";
const CA: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
const STATE: &str = "state";
const FILES: &str = "files/";
const END: &str = "end.json";

/// What stands behind everything else: without it the backup was cut short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    /// Records of the state.
    records: u64,
    /// Files with their bytes.
    files: u64,
    /// Bytes of those.
    file_bytes: u64,
    /// Of every byte before the header of this member.
    sha256: raft::types::Digest,
}

impl End {
    /// What the member holds, byte for byte.
    fn text(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("numbers and a digest are JSON");
        text.push(b'\n');
        text
    }
}
