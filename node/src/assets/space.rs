//! Keeps room on the disk for the log: an upload gets its space before it starts, or is refused.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;

use super::ReceiveError;

/// What uploads leave free for the log and the state, in bytes; a tenth of the disk if that is less.
pub const RESERVE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// How much an upload of unknown length is given at a time, in bytes.
pub(super) const STEP_BYTES: u64 = 64 * 1024 * 1024;

/// How full the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes free for this process.
    pub free: u64,
    /// Bytes of those that uploads may not use.
    pub reserve: u64,
}

impl Room {
    /// Room on the disk that holds `file` or folder.
    pub(super) fn on(file: impl AsFd) -> io::Result<Self> {
        let disk = fstatvfs(file)?;
        let (free, total) = (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize);
        Ok(Self { free, reserve: RESERVE_BYTES_MAX.min(total / 10) })
    }
}

/// Hands out space; one upload at a time looks and takes, so that two cannot be promised the same bytes.
#[derive(Debug, Default)]
pub(super) struct Space {
    taking: Mutex<()>,
}

impl Space {
    /// Sets the bytes from `from` to `to` of `file` aside. Answers up to where space is certain: file systems that
    /// cannot allocate ahead are asked again after every step.
    pub(super) fn take(&self, file: &File, from: u64, to: u64) -> Result<u64, ReceiveError> {
        let _one_at_a_time = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let Room { free, reserve } = Room::on(file)?;
        let need = to.saturating_sub(from);
        if need > free.saturating_sub(reserve) {
            return Err(ReceiveError::NoSpace { need, free, reserve });
        }
        if need == 0 {
            return Ok(to);
        }
        match fallocate(file, FallocateFlags::KEEP_SIZE, from, need) {
            Ok(()) => Ok(to),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(to.min(from + STEP_BYTES)),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }
}
