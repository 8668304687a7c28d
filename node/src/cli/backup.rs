//! `backup`: fetches a backup, verifies it as it comes, and keeps it only if it is whole.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use raft::types::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};

use super::connect::{self, Connection};
use super::failure::Failure;
use super::output::{Terminal, bytes};
use super::progress;
use crate::backup::{self, BackupError, Contents};
use crate::client::Client;
use crate::times::rfc3339;

/// How the backups of a directory begin and end; between them is the time.
const PREFIX: &str = "raftboot-";
const SUFFIX: &str = ".backup";
/// The same of one without the bytes of files.
const STATE_SUFFIX: &str = ".state.backup";
/// The ending of one that is not whole yet.
const PART: &str = ".part";
/// Names of assets that are said at once.
const NAMES_SHOWN_MAX: usize = 10;

/// What is to be in it, and where it goes.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Where to write it; `-` is standard output
    #[arg(required_unless_present = "dir", conflicts_with = "dir")]
    file: Option<PathBuf>,
    /// With the bytes of all files
    #[arg(long)]
    files: bool,
    /// Write raftboot-TIME.backup into this directory, and remove the oldest there
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How many backups stay in that directory
    #[arg(long, value_name = "N", default_value_t = 14, value_parser = clap::value_parser!(u16).range(1..), requires = "dir")]
    keep: u16,
    /// Do not ask the leader: take what the node asked has, when nobody leads
    #[arg(long)]
    stale: bool,
}

pub(super) fn run(connection: &Connection, arguments: &Arguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let client = connection.open()?;
    let (file, contents, removed) = match (&arguments.dir, &arguments.file) {
        (Some(dir), _) => into_dir(&client, arguments, dir)?,
        (None, Some(file)) if file.as_os_str() == "-" => {
            let contents = fetch(&client, arguments, terminal.out, "standard output")?;
            terminal.complain(said(&contents).trim_end());
            return complete(&contents, "standard output");
        }
        (None, Some(file)) => (file.clone(), into_file(&client, arguments, file)?, Vec::new()),
        (None, None) => {
            return Err(Failure::usage("where is the backup to go?", "name a file, or a directory with --dir"));
        }
    };
    let place = file.display().to_string();
    let mut value = described(&contents);
    value["file"] = place.as_str().into();
    value["removed"] = removed.iter().map(|path| path.display().to_string()).collect();
    terminal.show(connection.format, &value, || {
        let gone: String = removed.iter().map(|path| format!("removed   {}\n", path.display())).collect();
        format!("{}written   {place}\n{gone}keep it as you keep the CA's key: that is in it\n", said(&contents))
    })?;
    complete(&contents, &place)
}

/// A backup with files that lacks some is kept and called what it is: whoever runs this nightly must hear of it.
fn complete(contents: &Contents, place: &str) -> Result<(), Failure> {
    if !contents.manifest.with_files || contents.lacking.is_empty() {
        return Ok(());
    }
    let message = format!("{place} is whole but for files of which no node gave the bytes: {}", names(contents));
    let hint = "bring back the node that has them, or upload them again (`raftboot asset put`), then back up again";
    Err(Failure::new(message, hint))
}

/// Fetches it into `into`; nothing that was written may be used when this fails.
fn fetch(client: &Client, arguments: &Arguments, into: &mut dyn Write, place: &str) -> Result<Contents, Failure> {
    let bar = progress::bar("receiving the backup", 0);
    let query: Vec<(&str, &str)> = [("files", arguments.files), ("stale", arguments.stale)]
        .into_iter()
        .filter(|(_, wanted)| *wanted)
        .map(|(name, _)| (name, "true"))
        .collect();
    let (read, failed) = client.stream("/backup", &query, |from| {
        let mut tee = Tee { from, into, failed: None };
        let read = backup::verify(&mut tee, &|moved| bar.inc(moved)).and_then(|contents| {
            tee.into.flush().map_err(BackupError::Io)?;
            Ok(contents)
        });
        (read, tee.failed)
    })?;
    bar.finish_and_clear();
    if let Some(error) = failed {
        return Err(Failure::new(
            format!("{place} cannot be written: {error}"),
            "nothing was kept: is there room for it?",
        ));
    }
    read.map_err(|error| {
        let hint = "nothing was kept: try again, and look at the log of the node that was asked";
        Failure::new(format!("what came is no whole backup: {error}"), hint)
    })
}

fn into_file(client: &Client, arguments: &Arguments, file: &Path) -> Result<Contents, Failure> {
    let place = file.display().to_string();
    let fail = |error: io::Error| {
        Failure::new(
            format!("{place} cannot be written: {error}"),
            "name a file in a directory that this user may write to",
        )
    };
    match fs::metadata(file) {
        Ok(meta) if meta.is_dir() => {
            return Err(Failure::usage(
                format!("{place} is a directory"),
                "write `--dir` before it, or name a file in it",
            ));
        }
        // A pipe or a device stays what it is.
        Ok(meta) if !meta.is_file() => {
            let mut stream = OpenOptions::new().write(true).open(file).map_err(fail)?;
            return fetch(client, arguments, &mut stream, &place);
        }
        _ => {}
    }
    let part = Part::create(file).map_err(fail)?;
    let contents = fetch(client, arguments, &mut &part.file, &place)?;
    part.keep(file).map_err(fail)?;
    Ok(contents)
}

/// What the timer runs: one more, read back from the disk, and the oldest go. One that lacks files takes no older one's place.
/// Where there is no room for one more the oldest go before it, but never the last one.
fn into_dir(client: &Client, arguments: &Arguments, dir: &Path) -> Result<(PathBuf, Contents, Vec<PathBuf>), Failure> {
    let fail = |error: io::Error| {
        Failure::new(
            format!("{} cannot be used: {error}", dir.display()),
            "name a directory that this user may write to",
        )
    };
    let lock = File::open(dir).map_err(fail)?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        let message = format!("another backup into {} is under way", dir.display());
        return Err(Failure::new(message, "wait until it is done"));
    }
    for left in listed(dir, PART).map_err(fail)? {
        fs::remove_file(left).map_err(fail)?;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let time = rfc3339(now).unwrap_or_default().replace(['-', ':'], "");
    // With and without files they are counted apart: fourteen of one kind must not take the place of the other.
    let kind = if arguments.files { SUFFIX } else { STATE_SUFFIX };
    let file = dir.join(format!("{PREFIX}{time}{kind}"));
    let mut kept = of_kind(dir, kind).map_err(fail)?;
    let wanted = wanted(client, arguments, &kept)?;
    let mut removed = make_room(&mut kept, wanted, free_bytes(dir).map_err(fail)?)?;
    into_file(client, arguments, &file)?;
    let reread = File::open(&file).map_err(BackupError::Io);
    let contents = reread.and_then(|handle| backup::verify(&mut BufReader::new(handle), &|_| ())).map_err(|error| {
        let hint = "it came whole: look at the disk; older backups were removed only where there was no room";
        Failure::new(format!("{} was written and does not read back: {error}", file.display()), hint)
    })?;
    if complete(&contents, "").is_ok() && !contents.manifest.stale {
        let mut kept = of_kind(dir, kind).map_err(fail)?;
        while kept.len() > usize::from(arguments.keep) {
            removed.push(drop_oldest(&mut kept).map_err(fail)?);
        }
    }
    Ok((file, contents, removed))
}

/// The backups of one kind in `dir`, the oldest first.
fn of_kind(dir: &Path, kind: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = listed(dir, kind)?;
    found.retain(|path| (kind == STATE_SUFFIX) == path.to_string_lossy().ends_with(STATE_SUFFIX));
    found.sort();
    Ok(found)
}

fn drop_oldest(kept: &mut Vec<PathBuf>) -> io::Result<PathBuf> {
    let oldest = kept.remove(0);
    fs::remove_file(&oldest)?;
    Ok(oldest)
}

/// What one more backup will need, bytes: what the files have that there are now, or else as much as the newest, and a little
/// more.
fn wanted(client: &Client, arguments: &Arguments, kept: &[PathBuf]) -> Result<u64, Failure> {
    // Where nobody leads there is no list.
    let whole: u64 = if arguments.files && !arguments.stale {
        let assets = connect::list(client, "/assets", &[])?;
        let sizes = assets.iter().map(|asset| (asset["digest"].to_string(), asset["size"].as_u64().unwrap_or(0)));
        sizes.collect::<BTreeMap<_, _>>().values().sum()
    } else {
        kept.last().and_then(|newest| newest.metadata().ok()).map_or(0, |meta| meta.len())
    };
    Ok(whole.saturating_add(whole / 16))
}

/// Removes the oldest backups until there is room for `wanted` bytes where `free` are. The last one stays, and all do where
/// even so there would be no room.
fn make_room(kept: &mut Vec<PathBuf>, wanted: u64, mut free: u64) -> Result<Vec<PathBuf>, Failure> {
    let size = |path: &PathBuf| path.metadata().map_or(0, |meta| meta.len());
    let spare: u64 = kept.iter().rev().skip(1).map(size).sum();
    if free.saturating_add(spare) < wanted {
        let message = format!(
            "there is no room for one more backup: it needs about {}, {} are free, and all older ones but the newest have {}; nothing was removed",
            bytes(wanted),
            bytes(free),
            bytes(spare)
        );
        return Err(Failure::new(message, "give that disk more room, or name a directory elsewhere (`--dir`)"));
    }
    let mut removed = Vec::new();
    while free < wanted && kept.len() > 1 {
        free = free.saturating_add(size(&kept[0]));
        removed.push(drop_oldest(kept).map_err(|error| {
            Failure::new(format!("an old backup cannot be removed: {error}"), "look at that directory's owner")
        })?);
    }
    Ok(removed)
}

/// What may still be written on the disk of a directory.
fn free_bytes(dir: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(dir)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Files in `dir` that this command has written, with that ending.
fn listed(dir: &Path, ending: &str) -> io::Result<Vec<PathBuf>> {
    let ours = |name: &str| {
        let name = name.strip_prefix('.').unwrap_or(name);
        name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(ending)).is_some_and(|time| {
            let time = time.strip_suffix(STATE_SUFFIX).or(time.strip_suffix(SUFFIX)).unwrap_or(time);
            let time = time.strip_suffix(".state").unwrap_or(time);
            time.len() == "20261125T030000Z".len()
                && time.bytes().all(|byte| byte.is_ascii_digit() || b"TZ".contains(&byte))
        })
    };
    let mut found = Vec::new();
    for item in fs::read_dir(dir)? {
        let item = item?;
        if item.file_name().to_str().is_some_and(ours) {
            found.push(item.path());
        }
    }
    Ok(found)
}

/// Passes on what is read.
struct Tee<'a> {
    from: &'a mut dyn Read,
    into: &'a mut dyn Write,
    /// What kept it from being passed on.
    failed: Option<io::Error>,
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        if let Err(error) = self.into.write_all(&buffer[..read]) {
            self.failed = Some(error);
            return Err(io::Error::other("it could not be passed on"));
        }
        Ok(read)
    }
}

/// A file beside its goal that only its owner may read, gone on drop.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn create(goal: &Path) -> io::Result<Self> {
        let name = goal.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
        let path = goal.with_file_name(format!(".{}{PART}", name.to_string_lossy()));
        // What a backup that was killed has left is written over; its mode may be anything.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { path, file })
    }

    fn keep(&self, goal: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, goal)?;
        let dir = goal.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(dir)?.sync_all()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Gone already if it was kept.
        let _ = fs::remove_file(&self.path);
    }
}

/// What a backup holds, for programs.
pub(super) fn described(contents: &Contents) -> Value {
    let stored: u64 = contents.files.iter().map(|file| file.place.length).sum();
    json!({
        "manifest": contents.manifest,
        "files": contents.files.len(),
        "file_bytes": stored,
        "lacking": contents.lacking,
        "sha256": contents.digest,
    })
}

/// The same for people.
pub(super) fn said(contents: &Contents) -> String {
    let manifest = &contents.manifest;
    let counts = &manifest.counts;
    let stored: u64 = contents.files.iter().map(|file| file.place.length).sum();
    let lacking = match contents.lacking.len() {
        0 => String::new(),
        count => format!("; {count} without: {}", names(contents)),
    };
    let stale = if manifest.stale { ", without asking the leader" } else { "" };
    format!(
        "cluster   {} generation {}, up to log entry {}\n\
         made      {} by node {} ({}), raftboot {}{stale}\n\
         objects   {} profiles, {} groups, {} templates, {} assets, {} machines, {} tokens\n\
         files     {} with their bytes ({}){lacking}\n\
         sha256    {}\n",
        manifest.cluster_id,
        manifest.generation,
        manifest.log_index,
        manifest.created_at,
        manifest.node_name,
        manifest.node_id,
        manifest.version,
        counts.profiles,
        counts.groups,
        counts.templates,
        counts.assets,
        counts.machines,
        counts.tokens,
        contents.files.len(),
        bytes(stored),
        contents.digest,
    )
}

/// The assets whose bytes are not in it, the first of them by name.
fn names(contents: &Contents) -> String {
    let all: Vec<&str> = contents.lacking.iter().flat_map(|lacking| &lacking.names).map(String::as_str).collect();
    let mut shown = all.iter().take(NAMES_SHOWN_MAX).copied().collect::<Vec<_>>().join(", ");
    if all.len() > NAMES_SHOWN_MAX {
        shown.push_str(&format!(" and {} more", all.len() - NAMES_SHOWN_MAX));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_command_has_written_is_ever_removed() {
        let dir = tempfile::tempdir().unwrap();
        let names = [
            "raftboot-20261125T030000Z.backup",
            "raftboot-20261126T030000Z.backup",
            ".raftboot-20261126T030000Z.backup.part",
            "raftboot-before-upgrade.backup",
            "20261126T030000Z.backup",
            "raftboot-20261125T030000Z.backup.gpg",
        ];
        for name in names {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let found = |ending| {
            let mut found = listed(dir.path(), ending).unwrap();
            found.sort();
            found.into_iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(found(SUFFIX), names[..2]);
        assert_eq!(found(PART), names[2..3]);
    }
}
