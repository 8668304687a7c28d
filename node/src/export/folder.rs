//! Writes files below a folder; readers find each whole or not at all.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Whether a folder is not there, or holds nothing.
///
/// # Errors
/// When it cannot be read, or is no folder.
pub fn is_empty(dir: &Path) -> io::Result<bool> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// Writes one file at `path` below `dir`, with the folders it lies in. Readers see the old file or the new one; what a loss
/// of power leaves is only sure after [`settle`]. A file that has this content already is left alone.
///
/// # Errors
/// Those of the file system.
pub fn write(dir: &Path, path: &str, content: &[u8]) -> io::Result<PathBuf> {
    let file = dir.join(path);
    if fs::read(&file).is_ok_and(|there| there == content) {
        return Ok(file);
    }
    let parent = make_room(&file)?;
    // One file is written at a time. Matchbox reads what ends in `.json`: a part of a file has another ending.
    let part = parent.join(format!(".raftboot.{}.part", std::process::id()));
    let written = fs::write(&part, content).and_then(|()| fs::rename(&part, &file));
    if written.is_err() {
        // It may not have come into being.
        let _gone = fs::remove_file(&part);
    }
    written.map(|()| file)
}

/// Waits until everything written is on the disk: once for all files, because a wait for each takes minutes for thousands.
///
/// # Errors
/// Those of the file system.
pub fn settle(dir: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(dir)?)?)
}

/// Makes the folders that a file lies in; answers the innermost.
///
/// # Errors
/// Those of the file system.
pub fn make_room(file: &Path) -> io::Result<&Path> {
    let parent = file.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
    fs::create_dir_all(parent)?;
    Ok(parent)
}

/// How many files of a folder are looked at.
const ENTRIES_MAX: usize = 100_000;

/// Groups and profiles that lie in a folder and are none of `ours`: matchbox goes on reading them.
///
/// # Errors
/// When the folder cannot be read.
pub fn strangers(dir: &Path, ours: &BTreeSet<&str>) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in ["groups", "profiles"] {
        let entries = match fs::read_dir(dir.join(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries.take(ENTRIES_MAX) {
            let path = format!("{folder}/{}", entry?.file_name().to_string_lossy());
            if path.ends_with(".json") && !ours.contains(path.as_str()) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_whole_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        assert!(is_empty(dir.path()).unwrap() && is_empty(&dir.path().join("gone")).unwrap());
        let long = format!("generic/{}", "x".repeat(250));
        for (path, content) in
            [("groups/a.json", "1"), ("groups/a.json", "2"), ("profiles/team/p.json", ""), (&long, "l")]
        {
            let file = write(dir.path(), path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(file).unwrap(), content);
        }
        assert!(!is_empty(dir.path()).unwrap());
        for folder in ["groups", "generic"] {
            assert_eq!(fs::read_dir(dir.path().join(folder)).unwrap().count(), 1, "no part is left");
        }
        fs::write(dir.path().join("groups/old.json"), "").unwrap();
        fs::write(dir.path().join("groups/notes.txt"), "").unwrap();
        let ours = BTreeSet::from(["groups/a.json"]);
        assert_eq!(strangers(dir.path(), &ours).unwrap(), ["groups/old.json"]);
        settle(dir.path()).unwrap();
        assert!(write(dir.path(), "groups/a.json/b", b"").is_err());
        assert!(is_empty(&dir.path().join("groups/a.json")).is_err());
    }
}
