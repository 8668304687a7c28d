//! Gives the files that root made in a data directory to whom the directory belongs: the service runs as that user.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{CWD, Dir, FileType, Gid, Mode, OFlags, Uid, fchown, fstat, openat};

/// Gives what root owns below `data_dir` to the owner of `data_dir`; does nothing for anybody but root, and where that is
/// root's own directory. Links are not followed, and a file that has a second name elsewhere is left alone: who may write
/// to the directory must not be given files by this.
///
/// # Errors
/// When the directory cannot be read, or a file in it cannot be given away.
pub fn give_to_owner(data_dir: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = match openat(CWD, data_dir, flags, Mode::empty()) {
        Ok(dir) => File::from(dir),
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let owner = dir.metadata()?;
    if owner.uid() == 0 { Ok(()) } else { give(dir.into(), &owner) }
}

/// Everything is looked at and given away through what was opened, so that nothing can be put in its place meanwhile.
fn give(dir: OwnedFd, to: &Metadata) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(to.uid()), Gid::from_raw(to.gid()));
    for item in Dir::read_from(&dir)? {
        let item = item?;
        if matches!(item.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        // No link is followed; nothing is done to a device or a pipe by this, and none of them is waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = openat(&dir, item.file_name(), flags, Mode::empty()) else { continue };
        let found = fstat(&file)?;
        if found.st_dev != to.dev() {
            continue;
        }
        let kind = FileType::from_raw_mode(found.st_mode);
        if found.st_uid == 0 && (kind.is_dir() || (kind.is_file() && found.st_nlink == 1)) {
            fchown(&file, Some(user), Some(group))?;
        }
        if kind.is_dir() {
            give(file, to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{AtFlags, chownat};

    use super::*;

    #[test]
    fn what_root_made_becomes_the_owner_s_and_nothing_else_does() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = |name: &str| dir.path().join(name);
        fs::create_dir_all(path("raft/db")).unwrap();
        for name in ["ca.key", "raft/db/LOG", "other"] {
            fs::write(path(name), "x").unwrap();
        }
        let secret = outside.path().join("shadow");
        fs::write(&secret, "x").unwrap();
        symlink(&secret, path("link")).unwrap();
        let (user, other) = (Uid::from_raw(4711), Uid::from_raw(4712));
        chownat(CWD, path("other"), Some(other), None, AtFlags::empty()).unwrap();
        give_to_owner(dir.path()).unwrap();
        assert_eq!(fs::metadata(path("ca.key")).unwrap().uid(), 0, "root's own directory stays root's");
        chownat(CWD, dir.path(), Some(user), Some(Gid::from_raw(4711)), AtFlags::empty()).unwrap();
        let hard = path("hard");
        // Another file system may refuse this; then there is nothing to protect.
        let linked = fs::hard_link(&secret, &hard).is_ok();
        give_to_owner(dir.path()).unwrap();
        for name in ["ca.key", "raft", "raft/db", "raft/db/LOG"] {
            assert_eq!(fs::metadata(path(name)).unwrap().uid(), 4711, "{name}");
        }
        assert_eq!(fs::metadata(path("other")).unwrap().uid(), 4712);
        assert_eq!(fs::metadata(&secret).unwrap().uid(), 0, "linked: {linked}");
    }
}
