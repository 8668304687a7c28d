//! Decides which blob is fetched next: what somebody waits for first, then small before large, and failures later.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use raft::types::Digest;

use super::plan::Wanted;

/// How long to wait after the first failure; it doubles with each.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// How long to wait at most.
const PAUSE_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
struct Entry {
    size: u64,
    urgent: bool,
    running: bool,
    failures: u32,
    not_before: Option<Instant>,
}

/// What is to be fetched.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: BTreeMap<Digest, Entry>,
}

impl Queue {
    /// Takes over what is wanted now; what is not wanted any more is forgotten, unless it is under way.
    pub(super) fn set(&mut self, wanted: &[Wanted]) {
        let mut old = std::mem::take(&mut self.entries);
        for wanted in wanted {
            let fresh = Entry { size: wanted.size, urgent: false, running: false, failures: 0, not_before: None };
            let mut entry = old.remove(&wanted.digest).unwrap_or(fresh);
            entry.urgent |= wanted.urgent;
            self.entries.insert(wanted.digest, entry);
        }
        self.entries.extend(old.into_iter().filter(|(_, entry)| entry.running));
    }

    /// Somebody waits for this one now.
    pub(super) fn urge(&mut self, digest: &Digest) {
        if let Some(entry) = self.entries.get_mut(digest) {
            (entry.urgent, entry.not_before) = (true, None);
        }
    }

    /// Tries failed ones again at once: the world has changed.
    pub(super) fn encourage(&mut self) {
        self.entries.values_mut().for_each(|entry| (entry.failures, entry.not_before) = (0, None));
    }

    /// The next one to fetch, which is under way from now on.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Digest, u64)> {
        let ready = |entry: &Entry| !entry.running && entry.not_before.is_none_or(|at| at <= now);
        let waiting = self.entries.iter_mut().filter(|(_, entry)| ready(entry));
        let (digest, entry) = waiting.min_by_key(|(digest, entry)| (!entry.urgent, entry.size, **digest))?;
        entry.running = true;
        Some((*digest, entry.size))
    }

    /// One is here.
    pub(super) fn done(&mut self, digest: &Digest) {
        self.entries.remove(digest);
    }

    /// One could not be had; answers how often in a row.
    pub(super) fn failed(&mut self, digest: &Digest, now: Instant) -> u32 {
        let Some(entry) = self.entries.get_mut(digest) else { return 0 };
        let pause = PAUSE_MIN.saturating_mul(1 << entry.failures.min(10)).min(PAUSE_MAX);
        entry.failures += 1;
        (entry.running, entry.urgent, entry.not_before) = (false, false, Some(now + pause));
        entry.failures
    }

    /// When to look again although nothing has happened.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.entries.values().filter(|entry| !entry.running).filter_map(|entry| entry.not_before).min()
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.entries.values().filter(|entry| !entry.running).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str, size: u64, urgent: bool) -> Wanted {
        Wanted { digest: Digest::of(name.as_bytes()), size, urgent }
    }

    #[test]
    fn what_somebody_waits_for_goes_first_and_then_the_smallest() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.set(&[wanted("big", 9, false), wanted("small", 1, false), wanted("upload", 99, true)]);
        queue.urge(&Digest::of(b"big"));
        let order: Vec<u64> = std::iter::from_fn(|| queue.next(now)).map(|(_, size)| size).collect();
        assert_eq!(order, [9, 99, 1]);
    }

    #[test]
    fn a_failure_waits_longer_each_time_until_somebody_asks_or_something_changes() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.set(&[wanted("a", 1, false)]);
        let digest = Digest::of(b"a");
        let mut at = now;
        let mut pauses = Vec::new();
        for _ in 0..9 {
            assert!(queue.next(at).is_some());
            queue.failed(&digest, at);
            assert!(queue.next(at).is_none(), "not at once");
            let next = queue.wake_at().expect("it waits");
            pauses.push(next - at);
            at = next;
        }
        assert_eq!((pauses[0], pauses[1], pauses[8]), (PAUSE_MIN, 2 * PAUSE_MIN, PAUSE_MAX));
        for change in [Queue::encourage, |queue: &mut Queue| queue.urge(&Digest::of(b"a"))] {
            queue.next(at);
            queue.failed(&digest, at);
            change(&mut queue);
            assert!(queue.next(at).is_some());
            queue.failed(&digest, at);
        }
    }

    #[test]
    fn what_is_under_way_is_neither_begun_twice_nor_forgotten_before_it_ends() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.set(&[wanted("a", 1, false), wanted("b", 2, false)]);
        assert!(queue.next(now).is_some());
        queue.set(&[]);
        assert_eq!((queue.next(now), queue.waiting()), (None, 0), "b is not wanted any more");
        queue.set(&[wanted("a", 1, false)]);
        assert_eq!(queue.next(now), None, "a is under way");
        queue.done(&Digest::of(b"a"));
        queue.set(&[wanted("a", 1, false)]);
        assert!(queue.next(now).is_some(), "wanted again later, it is fetched again");
    }
}
