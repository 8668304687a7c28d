//! What a data directory says its node is. Every file is written whole, in an order that a crash may cut anywhere.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use raft::codec::Identity;
use raft::state::{NodeKind, TwoNode};
use raft::types::Digest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::wire::{hex16, unhex16};
use crate::certs::{CA_FILE, CA_KEY_FILE, CHANGING_FILES, write_whole};

/// Below the data directory: the log and the state.
pub const RAFT_DIR: &str = "raft";
const IDENTITY_FILE: &str = "identity";
const MEMBER_FILE: &str = "member.json";
const FOUNDING_FILE: &str = "founding";
const INSTANCE_FILE: &str = "instance";
const REMOVED_FILE: &str = "removed";
const RESTORING_FILE: &str = "restoring";
const RESTORED_FILE: &str = "restored.json";
/// Written by `vip::Place`.
const VIP_FILE: &str = "vip";
/// A log that is being thrown away.
const WIPED_DIR: &str = "raft.wiped";

/// What may be in a directory that no node has used: what file systems put there, and blobs, which are known by their digest.
const HARMLESS: [&str; 5] = ["lost+found", "LOCK", "blobs", "tmp", "quarantine"];

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}; {hint}", path.display())]
pub struct HomeError {
    path: PathBuf,
    what: String,
    hint: &'static str,
}

/// What a node is called and does; the cluster's own record of it may be newer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: NodeKind,
}

/// Which backup a node was restored from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FromBackup {
    /// The sha256 at the end of the backup.
    pub backup: Digest,
    /// The generation it began.
    pub generation: u64,
}

/// What a cluster is founded as.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Founding {
    /// The first node's name; nothing: the host's.
    pub name: Option<String>,
    /// The floating address.
    pub vip: Option<Ipv4Addr>,
    /// What two nodes do when one of them is gone.
    pub two_node: TwoNode,
}

/// Where a data directory stands on the way into a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing has begun.
    New,
    /// A cluster was being founded.
    Founding(Founding),
    /// A cluster was being joined.
    Joining,
    /// A backup was being restored.
    Restoring,
    /// It belongs to a cluster.
    Member(Identity),
    /// It belonged to a cluster that took it out.
    Removed(Identity),
}

/// A node's data directory.
#[derive(Debug, Clone)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// Looks at a directory that need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where its log and state are.
    #[must_use]
    pub fn raft(&self) -> PathBuf {
        self.0.join(RAFT_DIR)
    }

    /// How far it has come.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn standing(&self) -> Result<Standing, HomeError> {
        let founding = self.json::<Founding>(FOUNDING_FILE)?;
        // Whatever else is there is not whole.
        if self.0.join(RESTORING_FILE).exists() {
            return Ok(Standing::Restoring);
        }
        Ok(match (self.identity()?, founding) {
            (_, Some(founding)) => Standing::Founding(founding),
            (Some(identity), None) if self.0.join(REMOVED_FILE).exists() => Standing::Removed(identity),
            (Some(identity), None) => Standing::Member(identity),
            (None, None) if self.has_joined() => Standing::Joining,
            (None, None) => Standing::New,
        })
    }

    /// Whether it came, or is to come, into its cluster by joining.
    #[must_use]
    pub fn has_joined(&self) -> bool {
        self.0.join(INSTANCE_FILE).exists()
    }

    fn identity(&self) -> Result<Option<Identity>, HomeError> {
        let path = self.raft().join(IDENTITY_FILE);
        let Some(bytes) = self.bytes(&path)? else { return Ok(None) };
        raft::codec::decode(&bytes).map(Some).map_err(|error| HomeError {
            path,
            what: format!("it does not say whose directory this is: {error}"),
            hint: "restore it from a backup, or let the node join again with --wipe",
        })
    }

    /// What the node is called and does, if that was ever decided.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn own(&self) -> Result<Option<Own>, HomeError> {
        self.json(MEMBER_FILE)
    }

    /// Notes what the node is called and does.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write_own(&self, own: &Own) -> Result<(), HomeError> {
        self.write_json(MEMBER_FILE, own)
    }

    /// Notes that a cluster is being founded, before anything else is there.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn begin_founding(&self, founding: &Founding) -> Result<(), HomeError> {
        self.make()?;
        self.write_json(FOUNDING_FILE, founding)
    }

    /// Notes that the cluster has been founded.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn end_founding(&self) -> Result<(), HomeError> {
        self.remove(FOUNDING_FILE)
    }

    /// Notes that a backup is being restored, before anything of it is there.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn begin_restoring(&self) -> Result<(), HomeError> {
        self.make()?;
        self.write(RESTORING_FILE, b"a backup is being restored here; `raftboot restore` finishes that\n")
    }

    /// Notes that the backup is restored.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn end_restoring(&self) -> Result<(), HomeError> {
        self.remove(RESTORING_FILE)
    }

    /// Which backup this node was restored from, if it was.
    ///
    /// # Errors
    /// When the note cannot be read.
    pub fn restored(&self) -> Result<Option<FromBackup>, HomeError> {
        self.json(RESTORED_FILE)
    }

    /// Notes which backup this node is restored from.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write_restored(&self, from: &FromBackup) -> Result<(), HomeError> {
        self.write_json(RESTORED_FILE, from)
    }

    /// What lies in the directory beside what may be there before a node is: nothing, for a new one.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn strangers(&self) -> Result<Vec<String>, HomeError> {
        let listed = match fs::read_dir(&self.0) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(cannot(self.0.clone(), "be listed", &error)),
        };
        let names = listed.map(|item| item.map(|item| item.file_name().to_string_lossy().into_owned()));
        let names: io::Result<Vec<String>> = names.collect();
        let mut names = names.map_err(|error| cannot(self.0.clone(), "be listed", &error))?;
        names.retain(|name| !HARMLESS.contains(&name.as_str()));
        names.sort();
        Ok(names)
    }

    /// The mark by which the cluster knows this directory, made and kept before it asks to join.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn begin_joining(&self) -> Result<[u8; 16], HomeError> {
        self.make()?;
        let path = self.0.join(INSTANCE_FILE);
        if let Some(bytes) = self.bytes(&path)? {
            let hint = "remove it: the node joins as a new one then";
            return std::str::from_utf8(&bytes).ok().and_then(|text| unhex16(text.trim())).ok_or_else(|| HomeError {
                path,
                what: "it holds no 32 hexadecimal digits".into(),
                hint,
            });
        }
        let mut instance = [0; 16];
        getrandom::fill(&mut instance).map_err(|error| HomeError {
            path: path.clone(),
            what: format!("the system has no randomness: {error}"),
            hint: "try again",
        })?;
        self.write(INSTANCE_FILE, format!("{}\n", hex16(&instance)).as_bytes())?;
        Ok(instance)
    }

    /// Notes that the cluster has taken this node out.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn mark_removed(&self) -> Result<(), HomeError> {
        self.write(REMOVED_FILE, b"this node was removed from its cluster; `raftboot join --wipe` makes it a new one\n")
    }

    /// Forgets every cluster; blobs stay, because they are known by their digest. May be repeated after a crash.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn wipe(&self) -> Result<(), HomeError> {
        self.sweep()?;
        let (raft, wiped) = (self.raft(), self.0.join(WIPED_DIR));
        match fs::rename(&raft, &wiped) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot(raft, "be moved away", &error)),
            _ => self.sweep()?,
        }
        let files = [
            INSTANCE_FILE,
            MEMBER_FILE,
            FOUNDING_FILE,
            REMOVED_FILE,
            RESTORED_FILE,
            VIP_FILE,
            "admin.token",
            "server.crt",
            "server.key",
            "peer.crt",
            "peer.key",
            CA_FILE,
            CA_KEY_FILE,
            // Last: while it is there, nobody takes what is left for anything.
            RESTORING_FILE,
        ];
        files.into_iter().chain(CHANGING_FILES).try_for_each(|file| self.remove(file))
    }

    /// Removes what a wipe that was cut short left behind.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn sweep(&self) -> Result<(), HomeError> {
        let wiped = self.0.join(WIPED_DIR);
        match fs::remove_dir_all(&wiped) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cannot(wiped, "be removed", &error)),
            _ => Ok(()),
        }
    }

    fn make(&self) -> Result<(), HomeError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.map_err(|error| cannot(self.0.clone(), "be made", &error))
    }

    fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, HomeError> {
        let path = self.0.join(name);
        let Some(bytes) = self.bytes(&path)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| HomeError {
            path,
            what: format!("it is not what it should be: {error}"),
            hint: "restore it from a backup, or wipe the node and let it join again",
        })
    }

    fn write_json<T: Serialize>(&self, name: &str, value: &T) -> Result<(), HomeError> {
        self.write(name, &serde_json::to_vec(value).expect("names and addresses are JSON"))
    }

    fn bytes(&self, path: &Path) -> Result<Option<Vec<u8>>, HomeError> {
        match fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(cannot(path.to_owned(), "be read", &error)),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), HomeError> {
        let path = self.0.join(name);
        write_whole(&path, bytes, 0o600).map_err(|error| cannot(path, "be written", &error))
    }

    /// The name is gone for good when this returns: what it stood for must not come back after a loss of power.
    fn remove(&self, name: &str) -> Result<(), HomeError> {
        let path = self.0.join(name);
        let removed = fs::remove_file(&path).and_then(|()| fs::File::open(&self.0)?.sync_all());
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cannot(path, "be removed", &error)),
            _ => Ok(()),
        }
    }
}

fn cannot(path: PathBuf, what: &str, error: &io::Error) -> HomeError {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => "run this as the user of the service, or as root",
        io::ErrorKind::StorageFull => "free some space, then try again",
        _ => "look at the disk of the data directory",
    };
    HomeError { path, what: format!("it cannot {what}: {error}"), hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_says_how_far_its_node_has_come() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::new(folder.path().join("data"));
        assert_eq!(dir.standing().unwrap(), Standing::New);
        let instance = dir.begin_joining().unwrap();
        assert_eq!(dir.standing().unwrap(), Standing::Joining);
        assert_eq!(dir.begin_joining().unwrap(), instance, "a repeated request is the same request");
        let identity = Identity { cluster: [7; 16], generation: 1, node: 3 };
        fs::create_dir(dir.raft()).unwrap();
        fs::write(dir.raft().join("identity"), raft::codec::encode(&identity).unwrap()).unwrap();
        assert_eq!(dir.standing().unwrap(), Standing::Member(identity.clone()));
        dir.mark_removed().unwrap();
        assert_eq!(dir.standing().unwrap(), Standing::Removed(identity));
        dir.wipe().unwrap();
        assert_eq!(dir.standing().unwrap(), Standing::New);
        assert_ne!(dir.begin_joining().unwrap(), instance, "a wiped directory is another node");
    }

    #[test]
    fn founding_that_was_cut_short_is_remembered_with_what_was_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::new(folder.path());
        let wanted = Founding { vip: Some(Ipv4Addr::new(10, 0, 0, 9)), ..Founding::default() };
        dir.begin_founding(&wanted).unwrap();
        assert_eq!(dir.standing().unwrap(), Standing::Founding(wanted));
        dir.end_founding().unwrap();
        assert_eq!(dir.standing().unwrap(), Standing::New);
        fs::write(folder.path().join("member.json"), "{").unwrap();
        assert!(dir.own().unwrap_err().to_string().contains("member.json"));
    }
}
