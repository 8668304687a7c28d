//! The directory of one node: who may use it, whose it is, and what lies in it.
//!
//! ```text
//! LOCK        held by the process that uses the directory
//! identity    cluster, generation, node; written last, so that it is there only when the rest is
//! mark        how far the log was synced, kept outside the database
//! db/         the database
//! snapshots/  the last snapshot
//! recovering  the identity it is about to have, while `rescue` gives it a new generation
//! torn-*.log  a write-ahead log, whole, while it is tried without its torn end
//! ```

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::codec::{self, Identity};
use crate::engine::{Batch, Durability, Engine, EngineError, Table};
use crate::failure::DAMAGE_HINT;
use crate::files;

/// Key of the identity in `Table::Meta`: file and database must name the same cluster and node.
pub(crate) const IDENTITY_KEY: &[u8] = b"identity";

/// How long a directory may still be in use, and how often it is tried meanwhile.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
const LOCK_POLL: Duration = Duration::from_millis(10);

/// Why a directory cannot be used; says what is wrong, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HomeError(pub String);

/// A locked directory.
#[derive(Debug)]
pub struct Home {
    dir: PathBuf,
    _lock: File,
    /// Whose it is; `None` for a new one.
    identity: Option<Identity>,
}

impl Home {
    /// Locks the directory, making it if need be, and reads whose it is.
    ///
    /// # Errors
    /// When it cannot be made or read, is in use, or was written by a newer version.
    pub fn open(dir: &Path) -> Result<Self, HomeError> {
        make_dir(dir).map_err(|error| unusable(dir, &error))?;
        let lock = lock(dir)?;
        let path = dir.join("identity");
        let identity = match fs::read(&path) {
            Ok(bytes) => Some(codec::decode(&bytes).map_err(|error| refuse("reading", &path, &error, DAMAGE_HINT))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(unusable(&path, &error)),
        };
        Ok(Self { dir: dir.to_owned(), _lock: lock, identity })
    }

    /// Whether it has never been used.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.identity.is_none()
    }

    /// The directory itself.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the database is.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.dir.join("db")
    }

    /// Where the durable mark is.
    #[must_use]
    pub fn mark(&self) -> PathBuf {
        self.dir.join("mark")
    }

    /// Where snapshots are.
    #[must_use]
    pub fn snapshots(&self) -> PathBuf {
        self.dir.join("snapshots")
    }

    /// Where the identity is noted that it is about to have.
    fn recovering(&self) -> PathBuf {
        self.dir.join("recovering")
    }

    /// Whose it is; nothing for a new one.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// The identity it is about to have, if a change of it was begun and not finished.
    ///
    /// # Errors
    /// When the note cannot be read.
    pub(crate) fn wanted(&self) -> Result<Option<Identity>, HomeError> {
        let path = self.recovering();
        match fs::read(&path) {
            Ok(bytes) => codec::decode(&bytes).map(Some).map_err(|error| refuse("reading", &path, &error, DAMAGE_HINT)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unusable(&path, &error)),
        }
    }

    /// Notes the identity it is about to have, before the database has it.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(crate) fn want(&self, identity: &Identity) -> Result<(), HomeError> {
        let path = self.recovering();
        let bytes = codec::encode(identity).map_err(|error| refuse("writing", &path, &error, "report this"))?;
        files::replace(&path, &bytes).map_err(|error| unusable(&path, &error))
    }

    /// Takes on the identity that was noted, after the database has it.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(crate) fn become_wanted(&mut self, identity: &Identity) -> Result<(), HomeError> {
        let path = self.dir.join("identity");
        let bytes = codec::encode(identity).map_err(|error| refuse("writing", &path, &error, "report this"))?;
        files::replace(&path, &bytes).map_err(|error| unusable(&path, &error))?;
        self.identity = Some(identity.clone());
        self.forget_wanted()
    }

    /// Forgets a change of identity: it is done, or was never made.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(crate) fn forget_wanted(&self) -> Result<(), HomeError> {
        let path = self.recovering();
        match fs::remove_file(&path).and_then(|()| files::sync_dir(&self.dir)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unusable(&path, &error)),
            _ => Ok(()),
        }
    }

    /// The identity in the database.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn stored(&self, engine: &dyn Engine) -> Result<Option<Identity>, HomeError> {
        let db = self.database();
        let bytes =
            engine.get(Table::Meta, IDENTITY_KEY).map_err(|error| refuse("reading", &db, &error, DAMAGE_HINT))?;
        let read = bytes.map(|bytes| codec::decode(&bytes)).transpose();
        read.map_err(|error| refuse("reading", &db, &error, DAMAGE_HINT))
    }

    /// Makes sure that file and database belong together; gives a new directory its identity.
    ///
    /// # Errors
    /// When they are of different clusters or nodes, or the database has data but the directory no identity.
    pub fn settle(&mut self, engine: &dyn Engine, expected: Option<[u8; 16]>) -> Result<Identity, HomeError> {
        let identity = match (&self.identity, self.stored(engine)?) {
            (Some(ours), Some(stored)) if *ours == stored => stored,
            (Some(ours), Some(stored)) => {
                let detail =
                    format!("its database is of {}, its identity file of {}", describe(&stored), describe(ours));
                if self.recovering().exists() {
                    let hint = "a recovery was cut short here: run `raftboot recover` again, it finishes that";
                    return Err(refuse("opening", &self.dir, &detail, hint));
                }
                return Err(refuse("opening", &self.dir, &detail, "put back the files that belong together"));
            }
            (Some(ours), None) => {
                let detail = format!("its database is empty, but it belongs to {}", describe(ours));
                return Err(refuse("opening", &self.dir, &detail, DAMAGE_HINT));
            }
            (None, _) => self.found(engine)?,
        };
        match expected {
            Some(cluster) if cluster != identity.cluster => {
                let detail =
                    format!("it belongs to {}, not to cluster {}", describe(&identity), cluster_name(&cluster));
                Err(refuse("opening", &self.dir, &detail, "name the right data directory, or an empty one"))
            }
            _ => Ok(identity),
        }
    }

    /// A new cluster of one. A first start that was cut short is begun again; a database with data is not touched.
    fn found(&mut self, engine: &dyn Engine) -> Result<Identity, HomeError> {
        let db = self.database();
        let fail = |error: EngineError| refuse("writing", &db, &error, crate::failure::write_hint(&error.0));
        if engine.last(Table::Log).map_err(fail)?.is_some() || engine.last(Table::Records).map_err(fail)?.is_some() {
            let detail = "the database holds data but the file `identity` is missing";
            return Err(refuse("opening", &self.dir, &detail, "put that file back; it was written on the first start"));
        }
        let identity = Identity {
            cluster: random_cluster().map_err(|error| unusable(&self.dir, &error))?,
            generation: 1,
            node: 1,
        };
        self.take_on(engine, &identity)?;
        Ok(identity)
    }

    /// Writes an identity into an empty database.
    ///
    /// # Errors
    /// When the database has data or does not take it.
    pub fn take_on(&self, engine: &dyn Engine, identity: &Identity) -> Result<(), HomeError> {
        let db = self.database();
        let fail = |error: EngineError| refuse("writing", &db, &error, crate::failure::write_hint(&error.0));
        let bytes = codec::encode(identity).map_err(|error| refuse("writing", &db, &error, "report this"))?;
        let mut batch = Batch::default();
        batch.put(Table::Meta, IDENTITY_KEY, bytes);
        engine.write(&batch, Durability::Synced).map_err(fail)
    }

    /// Writes the identity of a new directory, after everything else in it is there.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn seal(&mut self, identity: &Identity) -> Result<(), HomeError> {
        if self.identity.is_some() {
            return Ok(());
        }
        let path = self.dir.join("identity");
        let bytes = codec::encode(identity).map_err(|error| refuse("writing", &path, &error, "report this"))?;
        files::sync_dir(&self.dir)
            .and_then(|()| files::replace(&path, &bytes))
            .and_then(|()| files::sync_dir(files::parent_of(&self.dir)))
            .map_err(|error| unusable(&path, &error))?;
        self.identity = Some(identity.clone());
        Ok(())
    }
}

/// Makes a directory and those above it, each with its name durable: else a loss of power takes all that is in it.
fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = files::parent_of(dir);
    make_dir(parent)?;
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => files::sync_dir(parent),
    }
}

fn lock(dir: &Path) -> Result<File, HomeError> {
    let path = dir.join("LOCK");
    // Root may be asked to work in the directory of another user, who must not lead it elsewhere by a link.
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)
        .map_err(|error| unusable(&path, &error))?;
    // A process that is ending, or a child between fork and exec, may still hold what is free in a moment.
    let until = Instant::now() + LOCK_PATIENCE;
    let mut taken = flock(&file, FlockOperation::NonBlockingLockExclusive);
    while matches!(taken, Err(Errno::WOULDBLOCK | Errno::INTR)) && Instant::now() < until {
        std::thread::park_timeout(LOCK_POLL);
        taken = flock(&file, FlockOperation::NonBlockingLockExclusive);
    }
    if let Err(error) = taken {
        if error != Errno::WOULDBLOCK {
            return Err(unusable(&path, &error.into()));
        }
        let mut holder = String::new();
        let _ = file.read_to_string(&mut holder);
        let detail = format!("process {} is using it", if holder.is_empty() { "another" } else { holder.trim() });
        return Err(refuse("opening", dir, &detail, "stop that process first, or name another data directory"));
    }
    let noted = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    noted.map_err(|error| unusable(&path, &error))?;
    Ok(file)
}

fn refuse(what: &str, path: &Path, detail: &dyn std::fmt::Display, hint: &str) -> HomeError {
    HomeError(format!("{what} {}: {detail}; {hint}", path.display()))
}

fn unusable(path: &Path, error: &io::Error) -> HomeError {
    let hint = match error.kind() {
        io::ErrorKind::StorageFull => "free some space, then start again",
        io::ErrorKind::PermissionDenied => "give this user the right to write there",
        _ => "name a directory on a local disk that this user may write",
    };
    refuse("using", path, error, hint)
}

fn random_cluster() -> io::Result<[u8; 16]> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    // RFC 9562 §5.4: version 4, variant 10.
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    Ok(id)
}

/// A cluster id as people read it: RFC 9562 text.
#[must_use]
pub fn cluster_name(id: &[u8; 16]) -> String {
    let mut out = String::with_capacity(36);
    for (at, byte) in id.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push_str(&format!("{byte:02x}"));
    }
    out
}

fn describe(identity: &Identity) -> String {
    format!("cluster {} generation {} node {}", cluster_name(&identity.cluster), identity.generation, identity.node)
}
