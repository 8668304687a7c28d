//! An upload that is still coming in, as others may read it: each byte as soon as it is written, the digest last.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use futures::stream;
use raft::types::Digest;
use tokio::sync::watch;

/// How much is read at once, in bytes.
const PIECE_BYTES: u64 = 256 * 1024;

/// How far an upload has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// So many bytes are there.
    Growing(u64),
    /// All are there, and this is what they are.
    Whole(u64, Digest),
    /// It was given up.
    Broken,
}

/// The writer's end: says how far the file has come.
#[derive(Debug)]
pub(super) struct Growth(watch::Sender<Stage>);

impl Growth {
    /// Shows the file that is being written to whoever wants to follow.
    pub(super) fn of(file: &File, told: Box<dyn FnOnce(Follow) + Send>) -> io::Result<Self> {
        let (sender, stage) = watch::channel(Stage::Growing(0));
        told(Follow { file: Arc::new(file.try_clone()?), stage });
        Ok(Self(sender))
    }

    pub(super) fn reached(&self, size: u64) {
        self.0.send_replace(Stage::Growing(size));
    }

    pub(super) fn ended(&self, digest: Digest) {
        self.0.send_modify(|stage| {
            if let Stage::Growing(size) = *stage {
                *stage = Stage::Whole(size, digest);
            }
        });
    }
}

impl Drop for Growth {
    /// Whoever follows must not take what came until now for the whole.
    fn drop(&mut self) {
        self.0.send_if_modified(|stage| {
            let open = matches!(stage, Stage::Growing(_));
            if open {
                *stage = Stage::Broken;
            }
            open
        });
    }
}

/// A reader's end; cheap to clone. The file stays readable after it has got its name.
#[derive(Debug, Clone)]
pub struct Follow {
    file: Arc<File>,
    stage: watch::Receiver<Stage>,
}

impl Follow {
    /// All bytes as they come in, and at the end the 32 bytes of their sha256. An error says that the upload was given up.
    pub fn bytes(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        stream::try_unfold((self, 0), |(mut follow, at)| async move {
            let piece = follow.next(at).await?;
            Ok(piece.map(|(bytes, end)| (bytes, (follow, end))))
        })
    }

    /// The piece at `at` and where the next one begins; `None` after the digest.
    async fn next(&mut self, at: u64) -> io::Result<Option<(Bytes, u64)>> {
        // The digest stands behind the bytes, so having sent it is having gone past their end.
        let news = |stage: &Stage| match stage {
            Stage::Growing(size) => *size > at,
            Stage::Whole(..) | Stage::Broken => true,
        };
        let gone = |_| io::Error::other("the upload was given up");
        let stage = *self.stage.wait_for(news).await.map_err(gone)?;
        let size = match stage {
            Stage::Growing(size) => size,
            Stage::Whole(size, digest) if at == size => {
                return Ok(Some((Bytes::copy_from_slice(&digest.0), size + digest.0.len() as u64)));
            }
            Stage::Whole(size, _) if at > size => return Ok(None),
            Stage::Whole(size, _) => size,
            Stage::Broken => return Err(io::Error::other("the upload was given up")),
        };
        let bytes = read(self.file.clone(), at, size - at).await?;
        let end = at + bytes.len() as u64;
        Ok(Some((bytes, end)))
    }
}

/// A part of a file in pieces, read where blocking holds up nobody, one piece in memory at a time.
pub fn pieces(file: File, start: u64, length: u64) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let file = Arc::new(file);
    stream::try_unfold((file, start, length), |(file, at, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let bytes = read(file.clone(), at, left).await?;
        let length = bytes.len() as u64;
        Ok(Some((bytes, (file, at + length, left - length))))
    })
}

async fn read(file: Arc<File>, at: u64, left: u64) -> io::Result<Bytes> {
    let length = usize::try_from(left.min(PIECE_BYTES)).expect("a piece fits in memory");
    let read = move || {
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, at)?;
        Ok(Bytes::from(bytes))
    };
    tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
}
