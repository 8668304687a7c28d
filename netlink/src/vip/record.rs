//! The record that the VIP on this machine is ours, for kernels that cannot mark an address.

use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::VipError;

/// First line of the file: what it is, in which version.
const HEADER: &str = "raftboot vip 1";

/// A file in the run directory that names the interface and address we added.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    content: String,
}

impl Record {
    pub(super) fn new(run_dir: &Path, interface: &str, address: Ipv4Addr) -> Self {
        Self { path: run_dir.join("vip"), content: format!("{HEADER}\n{interface} {address}\n") }
    }

    /// Whether the file says that we added exactly this address on this interface.
    pub(super) fn exists(&self) -> bool {
        std::fs::read_to_string(&self.path).is_ok_and(|content| content == self.content)
    }

    pub(super) fn write(&self) -> Result<(), VipError> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(directory)
            .and_then(|()| std::fs::write(&self.path, &self.content))
            .map_err(|source| self.failed(source))
    }

    pub(super) fn erase(&self) -> Result<(), VipError> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.failed(error)),
            _ => Ok(()),
        }
    }

    fn failed(&self, source: io::Error) -> VipError {
        VipError::Record { path: self.path.display().to_string(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_speaks_only_for_its_own_address() {
        let dir = tempfile::tempdir().expect("a directory");
        let run_dir = dir.path().join("not/yet/there");
        let record = |interface, last| Record::new(&run_dir, interface, Ipv4Addr::new(10, 0, 0, last));
        assert!(!record("eth0", 9).exists());
        record("eth0", 9).write().expect("written");
        assert!(record("eth0", 9).exists());
        assert!(!record("eth0", 8).exists());
        assert!(!record("eth1", 9).exists());
        record("eth0", 9).erase().expect("erased");
        record("eth0", 9).erase().expect("erasing twice is nothing new");
        assert!(!record("eth0", 9).exists());
    }
}
