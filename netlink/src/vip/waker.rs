//! Ends a wait from another thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Ends [`super::Vip::wait`] from any thread; the wait then reports [`super::Event::Woken`].
#[derive(Debug, Clone)]
pub struct Waker(Arc<EventFd>);

impl Waker {
    pub(super) fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(Arc::new(EventFd::from_value_and_flags(0, flags)?)))
    }

    /// Ends the present wait, or the next one.
    pub fn wake(&self) {
        // It can only fail when the counter is full, which means that a wake is pending already.
        let _ = self.0.write(1);
    }

    /// Whether anybody woke us since the last call.
    pub(super) fn drain(&self) -> bool {
        self.0.read().is_ok()
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
