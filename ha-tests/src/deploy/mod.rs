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

/// Where what is made once for all runs is kept, and the hosts of runs that go on.
fn store() -> PathBuf {
    cache().join("deploy")
}
