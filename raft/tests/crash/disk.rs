//! A small disk of our own, of which the power can be cut: ext4 on a loop device. Needs root.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use tempfile::TempDir;

/// `FS_IOC_SHUTDOWN` (linux/fs.h), and its flag for losing the journal too: what fsync has not written is gone at this
/// instant, as in xfstests' `godown`.
const CUT_POWER: &str =
    r#"open(my $d, "<", $ARGV[0]) or die $!; my $f = pack("L", 2); ioctl($d, 0x8004587d, $f) or die $!;"#;

/// Mounted while it lives.
pub(crate) struct Disk {
    // Dropped after the file system has been unmounted.
    dir: TempDir,
}

impl Disk {
    /// A fresh one of that many MiB.
    pub(crate) fn new(mebibytes: u64) -> Self {
        let disk = Self { dir: tempfile::tempdir().unwrap() };
        File::create(disk.image()).unwrap().set_len(mebibytes * 1024 * 1024).unwrap();
        std::fs::create_dir(disk.root()).unwrap();
        // Whoever makes a mount namespace meanwhile (`ip netns exec` does) holds a copy of every mount. Shared, the copy
        // goes with ours; otherwise it would keep the file system without power, and the next mount would get that one.
        run("mount", &["--bind", text(disk.dir.path()), text(disk.dir.path())]);
        run("mount", &["--make-shared", text(disk.dir.path())]);
        run("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", text(&disk.image())]);
        disk.mount();
        disk
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    /// Where it is mounted.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("mounted")
    }

    fn mount(&self) {
        // The journal is committed by fsync only, not every five seconds behind our back.
        run("mount", &["-o", "loop,commit=3600,noatime", text(&self.image()), text(&self.root())]);
    }

    /// From this instant nothing is written any more, and what was not synced is lost.
    pub(crate) fn cut_power(&self) {
        run("perl", &["-e", CUT_POWER, text(&self.root())]);
    }

    /// Power is back: the file system recovers and is mounted again.
    pub(crate) fn restart(&self) {
        run("umount", &[text(&self.root())]);
        self.mount();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Process::new("umount").arg("-l").arg(self.root()).status();
        let _ = Process::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn run(program: &str, args: &[&str]) {
    let done = Process::new(program).args(args).output();
    let done = done.unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {args:?} (this test needs root, loop devices and ext4): {said}");
}
