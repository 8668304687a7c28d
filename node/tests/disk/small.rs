//! A disk that fills up; needs root, as the rest of the lab does.

use std::process::Command;

/// Mounted until it is dropped.
pub(crate) struct SmallDisk(pub(crate) tempfile::TempDir);

impl SmallDisk {
    /// One of that many MiB.
    pub(crate) fn new(megabytes: usize) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let size = format!("size={megabytes}m");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "raftboot-test"]).arg(dir.path()).status();
        assert!(done.is_ok_and(|status| status.success()), "a small disk needs root: run the tests as root");
        Self(dir)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _still_mounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}
