//! What each machine did lately and what it got, so that an operator can see why it does not boot.
//!
//! `book` keeps it, bounded and in memory: a restart forgets, and nothing of it is replicated. `catalog` notes into a
//! [`Record`] what the protocols tell it. A [`Reader`] (`across`) puts together what all nodes have noted of a machine, which
//! `serve` gives to the other nodes.

mod across;
mod book;
mod serve;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raft::types::{Mac, Timestamp};

pub use across::{Everywhere, OfNode, Reader};
pub use book::{Brief, DETAIL_CHARS_MAX, EVENTS_MAX, Event, MACHINES_MAX, Who};
pub use serve::router;

use book::Book;

/// Where this node's events go; cheap to clone, never waits for anybody.
#[derive(Debug, Clone, Default)]
pub struct Record {
    book: Arc<Mutex<Book>>,
}

impl Record {
    /// Notes one thing: `what` in one word for programs, `detail` for people, from whatever source.
    pub fn note(&self, who: Who<'_>, what: &'static str, detail: &str, now: Timestamp) {
        self.book().note(who, what, detail, now);
    }

    /// Remembers that a machine speaks from an address: what is asked from there without naming a MAC is its doing.
    pub fn met(&self, mac: &Mac, address: std::net::IpAddr, now: Timestamp) {
        self.book().met(mac, address, now);
    }

    /// Every machine that is remembered, with how many events and the last of them; no details.
    #[must_use]
    pub fn summary(&self) -> Vec<Brief> {
        self.book().summary()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
