//! Files that are whole or absent after a loss of power.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// Replaces `path` with `bytes`: beside it, synced, renamed, directory synced.
///
/// # Errors
/// When the disk does not take it; the old content is then still there.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("tmp");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    publish(&beside, path)
}

/// Gives a synced file its name.
///
/// # Errors
/// When the rename or the sync of the directory fails.
pub(crate) fn publish(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_dir(parent_of(to))
}

/// The directory that holds a name; `.` for a bare one.
pub(crate) fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(if path.has_root() {
        "/"
    } else {
        "."
    }))
}

/// Makes the names in a directory durable.
///
/// # Errors
/// When the disk does not take it.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
