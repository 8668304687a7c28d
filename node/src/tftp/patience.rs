//! Silence while busy: an ERROR ends a firmware's boot, but a request without an answer is asked again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::sessions::Key;

/// How long a client's requests stay unanswered before it is told to go away. EDK2 asks for 24 s, iPXE for longer.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(20);
/// A client not heard for this long has given up; its next request begins anew.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(40);
/// Clients remembered; more are left unanswered and not told.
const CLIENTS_MAX: usize = 4096;

/// What to do about a request that cannot be served now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Busy {
    /// Nothing, and it is the first of the client's: worth a word to the operator.
    First,
    /// Nothing: the client asks again.
    Again,
    /// Tell the client, so that it goes on to something else.
    TooLong,
}

/// Who waits, and since when.
#[derive(Debug, Default)]
pub(super) struct Patience {
    waiting: HashMap<Key, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    heard_at: Instant,
}

impl Patience {
    /// A request came that cannot be served now.
    pub(super) fn on_busy(&mut self, key: Key, now: Instant) -> Busy {
        let is_gone = |waiting: &Waiting| now.saturating_duration_since(waiting.heard_at) >= FORGOTTEN_AFTER;
        if self.waiting.get(&key).is_some_and(is_gone) {
            self.waiting.remove(&key);
        }
        if let Some(waiting) = self.waiting.get_mut(&key) {
            waiting.heard_at = now;
            if now.saturating_duration_since(waiting.since) < SILENCE_MAX {
                return Busy::Again;
            }
            self.waiting.remove(&key);
            return Busy::TooLong;
        }
        if self.waiting.len() >= CLIENTS_MAX {
            self.waiting.retain(|_, waiting| !is_gone(waiting));
        }
        if self.waiting.len() >= CLIENTS_MAX {
            return Busy::Again;
        }
        self.waiting.insert(key, Waiting { since: now, heard_at: now });
        Busy::First
    }

    /// The client is served after all.
    pub(super) fn on_served(&mut self, key: &Key) {
        self.waiting.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn key(port: u16) -> Key {
        (([10, 0, 0, 9], port).into(), IpAddr::from([10, 0, 0, 1]))
    }

    #[test]
    fn a_busy_server_is_silent_for_a_while_and_then_says_so() {
        let zero = Instant::now();
        let at = |seconds| zero + Duration::from_secs(seconds);
        let mut patience = Patience::default();
        assert_eq!(patience.on_busy(key(1), at(0)), Busy::First);
        assert_eq!(patience.on_busy(key(1), at(4)), Busy::Again);
        assert_eq!(patience.on_busy(key(2), at(19)), Busy::First, "another client waits for itself");
        assert_eq!(patience.on_busy(key(1), at(19)), Busy::Again);
        assert_eq!(patience.on_busy(key(1), at(20)), Busy::TooLong);
        assert_eq!(patience.on_busy(key(1), at(21)), Busy::First);
        patience.on_served(&key(1));
        assert_eq!(patience.on_busy(key(1), at(60)), Busy::First, "served meanwhile");
        assert_eq!(patience.on_busy(key(2), at(100)), Busy::First, "the next boot");
    }

    #[test]
    fn many_waiting_clients_are_bounded() {
        let zero = Instant::now();
        let mut patience = Patience::default();
        for port in 0..u16::MAX {
            assert_ne!(patience.on_busy(key(port), zero), Busy::TooLong);
        }
        assert_eq!(patience.waiting.len(), CLIENTS_MAX);
        assert_eq!(patience.on_busy(key(u16::MAX), zero + FORGOTTEN_AFTER), Busy::First);
        assert_eq!(patience.waiting.len(), 1);
    }
}
