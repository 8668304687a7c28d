//! A node's certificates: the cluster's one CA, and what this node shows to operators and to the other nodes.
//!
//! The CA is made by the node that founds the cluster and travels to the others when they join, so that every node can
//! issue its own certificates whenever its names change or one comes to its end.

mod authority;
mod ca_files;
mod facts;
mod files;
mod gate;
mod inventory;
mod leaf;
mod sent_key;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

pub use authority::{Authority, CA_FILE, CA_KEY_FILE};
pub use ca_files::{CHANGING_FILES, CaFiles, CaPair, Which};
pub(crate) use facts::timestamp;
pub use facts::{Facts, ROLE_PREFIX, Unfit, serial};
pub use files::{certificates, write_whole};
pub use gate::{Gate, Known, NotKnown, Origin, Places, Shown};
pub use inventory::{Expiry, Inventory, Place};
pub use leaf::{
    ClientWish, Issued, LEAF_DAYS, Leaf, Lifetime, PEER, SERVER, certified, client, client_for, key_pair, server,
};

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}; {hint}", file.display())]
pub struct CertError {
    file: PathBuf,
    what: String,
    hint: &'static str,
}

impl CertError {
    /// Something is wrong with a file.
    pub fn new(file: &Path, hint: &'static str, what: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), what: what.to_string(), hint }
    }
}

/// What to do about files of ours that cannot be used.
pub(crate) const GENERATED_HINT: &str = "restore ca.crt and ca.key from another node or a backup; on a node that is alone, remove ca.crt, ca.key, server.crt \
     and server.key to have new ones made: clients then need the new ca.crt";

/// The one implementation of cryptography in this program.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
