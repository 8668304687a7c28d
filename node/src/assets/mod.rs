//! Blobs: the bytes behind asset names, kept in files named by their sha256 and verified before they are served.
//!
//! `receive` is one upload: stream, hash, fsync, rename. `verify` is what makes a copy fit to be served, `space` keeps
//! uploads from starving the log, `follow` shows others an upload that is still coming in, `inventory` is the whole store
//! for whoever compares it with what the nodes have agreed on. `store` is where they meet.

mod follow;
mod inventory;
mod receive;
mod space;
mod store;
mod verify;

use std::io;

use raft::types::Digest;

pub use follow::{Follow, pieces};
pub use receive::{ASSET_BYTES_MAX, COPIES_MAX, Declared, Origin, Received, Reception, UPLOADS_MAX};
pub use space::{RESERVE_BYTES_MAX, Room};
pub use store::{Store, StoreError};

/// Why the bytes of a blob cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// This node does not hold them.
    #[error("this node holds no copy of it")]
    Missing,
    /// They are not what their digest says; the file has been moved to quarantine.
    #[error("the copy on this node is damaged")]
    Damaged,
    /// They are being verified; ask again soon.
    #[error("the copy on this node is still being verified")]
    Busy,
    /// Reading failed.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
}

/// Why an upload was not kept; nothing of it is left on the disk.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// As many uploads as there may be are under way.
    #[error("{UPLOADS_MAX} uploads are under way already")]
    Busy,
    /// Larger than a blob may be.
    #[error("more than {ASSET_BYTES_MAX} bytes")]
    TooLarge,
    /// The disk would be too full for the log.
    #[error("{need} bytes are needed, {free} are free and {reserve} of them are kept for the log")]
    NoSpace {
        /// Bytes still to be stored.
        need: u64,
        /// Bytes free on the disk.
        free: u64,
        /// Bytes of those that uploads may not use.
        reserve: u64,
    },
    /// The disk filled up while the bytes came in.
    #[error("the disk is full")]
    DiskFull,
    /// The bytes are not those that were announced.
    #[error("the bytes have sha256 {found}, not {declared}")]
    Mismatch {
        /// What the sender said.
        declared: Digest,
        /// What came.
        found: Digest,
    },
    /// More or fewer bytes came than were announced.
    #[error("{found} bytes came, {declared} were announced")]
    Length {
        /// What the sender said.
        declared: u64,
        /// What came, up to the point where it was noticed.
        found: u64,
    },
    /// The sender went away or was silent for too long.
    #[error("the upload was cut short: {0}")]
    Interrupted(String),
    /// The disk failed.
    #[error("storing failed: {0}")]
    Disk(io::Error),
}

impl From<io::Error> for ReceiveError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Self::DiskFull,
            _ => Self::Disk(error),
        }
    }
}
