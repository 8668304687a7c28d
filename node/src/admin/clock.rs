//! The wall clock, and how times are written in answers.

use std::time::{SystemTime, UNIX_EPOCH};

use raft::types::Timestamp;

pub(super) use crate::times::rfc3339;

/// Now, in milliseconds since 1970.
#[must_use]
pub(super) fn now() -> Timestamp {
    millis(SystemTime::now())
}

/// A time in milliseconds since 1970; zero before that.
#[must_use]
pub(super) fn millis(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
