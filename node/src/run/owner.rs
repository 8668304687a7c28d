//! Gives the files that root made in a data directory to whom the directory belongs: the service runs as that user.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Gid, Uid, chownat};

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
    match fs::metadata(data_dir) {
        Ok(owner) if owner.uid() != 0 => give(data_dir, &owner),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn give(dir: &Path, to: &Metadata) -> io::Result<()> {
    for item in fs::read_dir(dir)? {
        let path = item?.path();
        let found = fs::symlink_metadata(&path)?;
        if found.dev() != to.dev() {
            continue;
        }
        if found.uid() == 0 && (found.is_dir() || (found.is_file() && found.nlink() == 1)) {
            let (user, group) = (Uid::from_raw(to.uid()), Gid::from_raw(to.gid()));
            chownat(CWD, &path, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        if found.is_dir() {
            give(&path, to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

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
