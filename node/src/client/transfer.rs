//! Large files to and from the server: streamed, hashed on the way, never whole in memory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use raft::types::Digest;
use sha2::{Digest as _, Sha256};
use ureq::SendBody;
use ureq::http::Method;

use super::{Client, ClientError, Query};

/// How much is copied at once, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;

/// A file that is about to be sent.
#[derive(Debug)]
pub struct Upload {
    path: PathBuf,
    file: File,
    /// Its size in bytes.
    pub size: u64,
    /// Its sha256.
    pub digest: Digest,
}

impl Upload {
    /// Opens a file and reads it once for its digest; `moved` is told how many bytes that took since the last time.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(path: &Path, moved: &dyn Fn(u64)) -> Result<Self, ClientError> {
        let fail = |error| ClientError::File { what: format!("{} cannot be read", path.display()), error };
        let mut file = File::open(path).map_err(fail)?;
        if file.metadata().map_err(fail)?.is_dir() {
            return Err(fail(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        let (digest, size) = copy(&mut file, &mut io::sink(), moved).map_err(fail)?;
        io::Seek::rewind(&mut file).map_err(fail)?;
        Ok(Self { path: path.to_owned(), file, size, digest })
    }
}

/// Bytes that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Download {
    /// How many.
    pub size: u64,
    /// Their sha256.
    pub digest: Digest,
}

impl Client {
    /// Sends a file with PUT. The server is asked first whether it wants it, and checks the digest before it keeps it.
    ///
    /// # Errors
    /// Why not.
    pub fn upload(
        &self,
        path: &str,
        query: Query<'_>,
        upload: &mut Upload,
        moved: &dyn Fn(u64),
    ) -> Result<String, ClientError> {
        let (length, digest) = (upload.size.to_string(), upload.digest.to_string());
        let headers = [
            ("content-length", length.as_str()),
            ("content-type", "application/octet-stream"),
            ("x-content-sha256", digest.as_str()),
            ("expect", "100-continue"),
        ];
        let mut reader = Counted { inner: &mut upload.file, moved };
        match self.call(Method::PUT, path, query, SendBody::from_reader(&mut reader), &headers) {
            Err(ClientError::Unreachable { url, reason, .. }) => {
                let reason = format!("the upload of {} broke off: {reason}", upload.path.display());
                let hint = "nothing was kept; look at `raftboot status` and try again".into();
                Err(ClientError::Unreachable { url, reason, hint })
            }
            answer => answer.and_then(|answer| self.text(answer)),
        }
    }

    /// Fetches bytes into `file`, which is there whole and right afterwards or is left as it was. A link is followed. A
    /// pipe or a device stays what it is and is written to.
    ///
    /// # Errors
    /// Why not; `Corrupt` when they do not have the digest `wanted`.
    pub fn download_file(
        &self,
        path: &str,
        wanted: Digest,
        file: &Path,
        moved: &dyn Fn(u64),
    ) -> Result<Download, ClientError> {
        let fail = |error| ClientError::File { what: format!("{} cannot be written", file.display()), error };
        let goal = match Goal::of(file).map_err(fail)? {
            Goal::File(goal) => goal,
            Goal::Stream => {
                let mut stream = OpenOptions::new().write(true).open(file).map_err(fail)?;
                return self.download(path, wanted, &mut stream, moved);
            }
        };
        let part = Part::create(&goal).map_err(fail)?;
        let mut handle = &part.file;
        let got = self.download(path, wanted, &mut handle, moved)?;
        part.keep(&goal).map_err(fail)?;
        Ok(got)
    }

    /// Fetches something long; `read` is given its bytes as they come.
    ///
    /// # Errors
    /// Why there is nothing to read. What `read` makes of what comes is its own affair.
    pub fn stream<T>(
        &self,
        path: &str,
        query: Query<'_>,
        read: impl FnOnce(&mut dyn Read) -> T,
    ) -> Result<T, ClientError> {
        let mut answer = self.call(Method::GET, path, query, SendBody::none(), &[])?;
        Ok(read(&mut answer.body_mut().as_reader()))
    }

    /// Fetches bytes into `into`.
    ///
    /// # Errors
    /// Why not; `Corrupt` when they do not have the digest `wanted`, but they are written by then.
    pub fn download(
        &self,
        path: &str,
        wanted: Digest,
        into: &mut dyn Write,
        moved: &dyn Fn(u64),
    ) -> Result<Download, ClientError> {
        let mut answer = self.call(Method::GET, path, &[], SendBody::none(), &[])?;
        let mut body = answer.body_mut().as_reader();
        let copied = copy(&mut body, into, moved);
        let (digest, size) =
            copied.map_err(|error| ClientError::File { what: format!("the download of {path} broke off"), error })?;
        if digest != wanted {
            return Err(ClientError::Corrupt(format!("{path} came with sha256 {digest} instead of {wanted}")));
        }
        Ok(Download { size, digest })
    }
}

/// Copies all of `from`; answers the sha256 and the number of bytes.
pub(super) fn copy(from: &mut dyn Read, into: &mut dyn Write, moved: &dyn Fn(u64)) -> io::Result<(Digest, u64)> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut hasher, mut size) = (Sha256::new(), 0);
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..read]);
        into.write_all(&buffer[..read])?;
        size += read as u64;
        moved(read as u64);
    }
    into.flush()?;
    Ok((Digest(hasher.finalize().into()), size))
}

struct Counted<'a> {
    inner: &'a mut File,
    moved: &'a dyn Fn(u64),
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        (self.moved)(read as u64);
        Ok(read)
    }
}

/// What a download is to become.
enum Goal {
    /// A file of its own, new or in place of this one.
    File(PathBuf),
    /// Bytes written to a pipe, a device or a socket's file, which must not be replaced.
    Stream,
}

impl Goal {
    fn of(file: &Path) -> io::Result<Self> {
        let goal = match fs::symlink_metadata(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::File(file.to_owned())),
            Ok(meta) if meta.is_symlink() => fs::canonicalize(file).map_err(|error| {
                io::Error::new(error.kind(), format!("it is a link that leads to nothing usable ({error})"))
            })?,
            found => found.map(|_| file.to_owned())?,
        };
        let kind = fs::metadata(&goal)?;
        if kind.is_dir() {
            let message = "it is a directory: name a file in it";
            return Err(io::Error::new(io::ErrorKind::IsADirectory, message));
        }
        Ok(if kind.is_file() { Self::File(goal) } else { Self::Stream })
    }
}

/// A file beside its goal that is gone on drop.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn create(goal: &Path) -> io::Result<Self> {
        let name = goal.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
        let path = goal.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok(Self { path, file })
    }

    fn keep(&self, goal: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, goal)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Gone already if it was kept.
        let _ = fs::remove_file(&self.path);
    }
}
