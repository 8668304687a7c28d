//! The transfers under way: found by who talks to whom, woken by their deadlines, bounded in number.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Instant;

use super::handoff::Shared;
use super::questions::{Client, Refusal};
use super::source::Source;
use super::transfer::Transfer;
use crate::metrics::count::Inside;
use crate::metrics::counted;

/// Most transfers at once, on one socket.
pub(super) const TRANSFERS_MAX: usize = 4096;
/// Most transfers at once that read files, on one socket: each may keep some hundred KiB ready.
pub(super) const FILE_TRANSFERS_MAX: usize = 128;
/// Most transfers at once for one client address. Machines behind a translating router share one.
pub(super) const TRANSFERS_PER_CLIENT_MAX: usize = 32;

/// Who talks to whom: the client's address and port, and our address.
pub(super) type Key = (SocketAddr, IpAddr);

/// One transfer and what belongs to it.
#[derive(Debug)]
pub(super) struct Session {
    /// Tells this transfer from an earlier one with the same key.
    pub(super) id: u64,
    pub(super) client: Client,
    pub(super) name: String,
    /// The request's bytes, to know a repeated one.
    pub(super) request: Box<[u8]>,
    pub(super) transfer: Transfer,
    pub(super) source: Source,
    /// Blocks to send as soon as their bytes are there.
    pub(super) pending: Option<RangeInclusive<u64>>,
    /// When they may go, if the client has had its share of bytes for now.
    pub(super) resume_at: Option<Instant>,
    pub(super) started_at: Instant,
    /// What other nodes were told of it, if it concerns them.
    pub(super) shared: Option<Shared>,
    /// When the table will wake it, at the latest.
    wake_at: Option<Instant>,
    _counted: Inside,
}

impl Session {
    pub(super) fn new(
        client: Client,
        name: String,
        request: &[u8],
        transfer: Transfer,
        source: Source,
        now: Instant,
    ) -> Self {
        Self {
            id: 0,
            client,
            name,
            request: request.into(),
            transfer,
            source,
            pending: None,
            resume_at: None,
            started_at: now,
            shared: None,
            wake_at: None,
            _counted: counted::TFTP_ACTIVE.enter(),
        }
    }

    /// Bytes the client has acknowledged.
    pub(super) fn bytes_acked(&self) -> u64 {
        let agreed = self.transfer.agreed();
        (self.transfer.acked() * u64::from(agreed.blksize)).min(agreed.size)
    }

    /// When there is something to do, if nothing else happens.
    fn next_deadline(&self) -> Instant {
        let deadline = self.transfer.next_deadline();
        self.resume_at.map_or(deadline, |at| at.min(deadline))
    }

    fn reads_a_file(&self) -> bool {
        matches!(self.source, Source::File(_))
    }
}

/// All transfers of one socket.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_key: HashMap<Key, Session>,
    per_client: HashMap<IpAddr, usize>,
    wakes: BTreeSet<(Instant, u64, Key)>,
    files: usize,
    /// Transfers whose client may not have answered yet, oldest first: from memory, and from files.
    unopened: [BTreeMap<u64, Key>; 2],
    last_id: u64,
}

impl Sessions {
    /// Whether one more transfer may begin.
    ///
    /// # Errors
    /// [`Refusal::Busy`] at a limit.
    pub(super) fn has_room(&self, client: IpAddr, reads_a_file: bool) -> Result<(), Refusal> {
        let of_client = self.per_client.get(&client).copied().unwrap_or_default();
        let files_full = reads_a_file && self.files >= FILE_TRANSFERS_MAX;
        if self.by_key.len() >= TRANSFERS_MAX || of_client >= TRANSFERS_PER_CLIENT_MAX || files_full {
            return Err(Refusal::Busy);
        }
        Ok(())
    }

    /// The transfer to end in favour of a new one when a limit is reached that is not the client's own: the oldest whose
    /// client never answered. Requests from forged addresses make such transfers.
    pub(super) fn evictable(&mut self, reads_a_file: bool) -> Option<Key> {
        let files_full = reads_a_file && self.files >= FILE_TRANSFERS_MAX;
        if self.by_key.len() < TRANSFERS_MAX && !files_full {
            return None;
        }
        let oldest = |of: &BTreeMap<u64, Key>| of.first_key_value().map(|(id, key)| (*id, *key));
        for of in &mut self.unopened {
            // Those that were answered since, or ended, are sorted out here.
            while let Some((id, key)) = oldest(of) {
                if self.by_key.get(&key).is_some_and(|session| session.id == id && !session.transfer.opened()) {
                    break;
                }
                of.remove(&id);
            }
        }
        let [memory, file] = &self.unopened;
        let memory = oldest(memory).filter(|_| !files_full);
        memory.into_iter().chain(oldest(file)).min().map(|(_, key)| key)
    }

    pub(super) fn get(&mut self, key: &Key) -> Option<&mut Session> {
        self.by_key.get_mut(key)
    }

    /// Adds a transfer; there must be none with its key.
    pub(super) fn insert(&mut self, key: Key, mut session: Session) {
        self.last_id += 1;
        session.id = self.last_id;
        self.files += usize::from(session.reads_a_file());
        self.unopened[usize::from(session.reads_a_file())].insert(session.id, key);
        *self.per_client.entry(key.0.ip()).or_default() += 1;
        let replaced = self.by_key.insert(key, session);
        debug_assert!(replaced.is_none(), "the caller ended the earlier transfer");
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<Session> {
        let session = self.by_key.remove(key)?;
        if let Some(at) = session.wake_at {
            self.wakes.remove(&(at, session.id, *key));
        }
        self.files -= usize::from(session.reads_a_file());
        self.unopened[usize::from(session.reads_a_file())].remove(&session.id);
        if let Some(count) = self.per_client.get_mut(&key.0.ip()) {
            *count -= 1;
            if *count == 0 {
                self.per_client.remove(&key.0.ip());
            }
        }
        Some(session)
    }

    /// Sees to it that the transfer is woken in time. Deadlines mostly move away, with each acknowledgement; the entry
    /// moves only when one comes nearer.
    pub(super) fn schedule(&mut self, key: &Key) {
        let Some(session) = self.by_key.get_mut(key) else {
            return;
        };
        let deadline = session.next_deadline();
        if session.wake_at.is_some_and(|at| at <= deadline) {
            return;
        }
        if let Some(at) = session.wake_at.replace(deadline) {
            self.wakes.remove(&(at, session.id, *key));
        }
        self.wakes.insert((deadline, session.id, *key));
    }

    /// When [`Self::pop_due`] may have something.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.wakes.first().map(|(at, ..)| *at)
    }

    /// A transfer whose deadline has come; the caller schedules it again.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Key> {
        while self.next_wake().is_some_and(|at| at <= now) {
            let (_, _, key) = self.wakes.pop_first()?;
            let Some(session) = self.by_key.get_mut(&key) else {
                continue;
            };
            session.wake_at = None;
            if session.next_deadline() <= now {
                return Some(key);
            }
            self.schedule(&key);
        }
        None
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.by_key.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::loop_breaker::Signature;
    use super::super::options::Agreed;
    use super::super::transfer::{Heard, INTERVAL_FIRST};
    use super::*;

    fn key(host: u8, port: u16) -> Key {
        let client = SocketAddr::from(([10, 0, 0, host], port));
        (client, IpAddr::from([10, 0, 0, 1]))
    }

    fn session(key: Key, reads_a_file: bool, now: Instant) -> Session {
        let agreed = Agreed { size: 10_000, blksize: 512, windowsize: 1, timeout: None, answer: Some(Vec::new()) };
        let client = Client { address: key.0, local: key.1, interface: None, signature: Signature::Other };
        let source = if reads_a_file {
            Source::file("/nonexistent".into(), 10_000)
        } else {
            Source::Bytes(Arc::from(vec![0; 10_000]))
        };
        let (transfer, _) = Transfer::new(agreed, now);
        Session::new(client, "f".into(), b"", transfer, source, now)
    }

    #[test]
    fn transfers_are_bounded_per_client_and_for_files() {
        let now = Instant::now();
        let mut sessions = Sessions::default();
        let limit = u16::try_from(TRANSFERS_PER_CLIENT_MAX).unwrap();
        for port in 0..limit {
            let key = key(9, 2000 + port);
            assert!(sessions.has_room(key.0.ip(), false).is_ok());
            sessions.insert(key, session(key, false, now));
        }
        let greedy = key(9, 1).0.ip();
        assert_eq!(sessions.has_room(greedy, false), Err(Refusal::Busy));
        assert!(sessions.has_room(key(10, 1).0.ip(), false).is_ok());
        sessions.remove(&key(9, 2000)).unwrap();
        assert!(sessions.has_room(greedy, false).is_ok());

        for number in 0..FILE_TRANSFERS_MAX {
            let key = key(u8::try_from(100 + number / 30).unwrap(), 2000 + u16::try_from(number).unwrap());
            assert!(sessions.has_room(key.0.ip(), true).is_ok());
            sessions.insert(key, session(key, true, now));
        }
        let fresh = key(200, 1).0.ip();
        assert_eq!(sessions.has_room(fresh, true), Err(Refusal::Busy));
        assert!(sessions.has_room(fresh, false).is_ok());
    }

    #[test]
    fn a_full_table_gives_up_the_oldest_transfer_that_was_never_answered() {
        let now = Instant::now();
        let mut sessions = Sessions::default();
        let nth = |number: usize| key(u8::try_from(1 + number / 30).unwrap(), 2000 + u16::try_from(number).unwrap());
        for number in 0..TRANSFERS_MAX {
            assert_eq!(sessions.evictable(false), None);
            let reads_a_file = number >= TRANSFERS_MAX - FILE_TRANSFERS_MAX;
            sessions.insert(nth(number), session(nth(number), reads_a_file, now));
        }
        assert_eq!(sessions.evictable(false), Some(nth(0)));
        assert_eq!(
            sessions.evictable(true),
            Some(nth(TRANSFERS_MAX - FILE_TRANSFERS_MAX)),
            "a file's makes room for a file"
        );
        sessions.get(&nth(0)).unwrap().transfer.on_packet(Heard::Ack(0), now);
        assert_eq!(sessions.evictable(false), Some(nth(1)), "who has answered is served on");
        sessions.remove(&nth(1)).unwrap();
        assert_eq!(sessions.evictable(false), None);
        sessions.insert(nth(1), session(nth(1), false, now));
        for number in 1..TRANSFERS_MAX {
            sessions.get(&nth(number)).unwrap().transfer.on_packet(Heard::Ack(0), now);
        }
        assert_eq!(sessions.evictable(false), None, "nobody is thrown out who is being served");
    }

    #[test]
    fn a_transfer_is_woken_at_its_deadline_and_not_before() {
        let zero = Instant::now();
        let mut sessions = Sessions::default();
        let key = key(9, 2070);
        sessions.insert(key, session(key, false, zero));
        sessions.schedule(&key);
        assert_eq!(sessions.next_wake(), Some(zero + INTERVAL_FIRST));
        // Progress moves the deadline away; the early wake finds nothing to do and is moved.
        let later = zero + Duration::from_millis(900);
        sessions.get(&key).unwrap().transfer.on_packet(Heard::Ack(0), later);
        sessions.schedule(&key);
        assert_eq!(sessions.pop_due(zero + INTERVAL_FIRST), None);
        let deadline = sessions.get(&key).unwrap().transfer.next_deadline();
        assert_eq!(sessions.next_wake(), Some(deadline));
        assert_eq!(sessions.pop_due(deadline), Some(key));
        assert_eq!(sessions.next_wake(), None);
        sessions.schedule(&key);
        sessions.remove(&key).unwrap();
        assert_eq!(sessions.next_wake(), None, "nothing of a removed transfer stays");
    }
}
