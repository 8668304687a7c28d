//! Management nodes as people have them: Debian with systemd, the package, Ansible over SSH; read [`site`] first.

pub mod ansible;
pub mod base;
pub mod container;
pub mod old_pair;
pub mod package;
pub mod page;
pub mod site;

use crate::guest::cache;
use std::path::PathBuf;

/// The root of the repository whose tests run. Not where they were compiled: several clones may share what was built.
fn repository() -> PathBuf {
    let package =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.join("..")
}

/// Where what is made once for all runs is kept, and the hosts of runs that go on.
fn store() -> PathBuf {
    cache().join("deploy")
}
