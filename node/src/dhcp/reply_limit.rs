//! Bounds what is sent to addresses that strangers name, so that forged packets cannot use up the sending.
//!
//! A packet to an address nobody answers for waits in the kernel for about three seconds. Every bound here is such
//! that what waits fits into one socket's send buffer.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Replies of one port: at once, and per second.
const REPLIES: Rate = Rate { burst: 4_000, per_second: 2_000 };
/// Replies to one relay or client whose address is also the packet's source. A relay may stand for some racks.
const DESTINATION: Rate = Rate { burst: 400, per_second: 200 };
/// Replies to one relay whose packets come from another address: one of its own, or a forger's.
const STRANGER: Rate = Rate { burst: 20, per_second: 20 };
/// Replies to all such relays together.
const STRANGERS: Rate = Rate { burst: 100, per_second: 100 };
/// Addresses that were not sent to lately. A rack that gets power brings some hundred; each asks several times.
const NEWCOMERS: Rate = Rate { burst: 200, per_second: 60 };
/// Addresses remembered, about 256 KiB; the one unused for longest is forgotten first.
const DESTINATIONS_MAX: usize = 4096;

/// How much is allowed: at once, and again each second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rate {
    /// At once.
    burst: u32,
    /// Per second.
    per_second: u32,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    spent: Duration,
    since: Instant,
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self { spent: Duration::ZERO, since: now }
    }

    /// Whether one more fits, without taking it.
    fn has_room(&mut self, rate: Rate, now: Instant) -> bool {
        self.spent = self.spent.saturating_sub(now.saturating_duration_since(self.since));
        self.since = self.since.max(now);
        self.spent + cost(rate) <= cost(rate) * rate.burst
    }

    fn take(&mut self, rate: Rate) {
        self.spent += cost(rate);
    }
}

/// What one reply costs, in time until it is allowed again.
fn cost(rate: Rate) -> Duration {
    Duration::from_secs(1) / rate.per_second
}

/// What one port has sent lately.
#[derive(Debug)]
pub(super) struct ReplyLimit {
    all: Bucket,
    strangers: Bucket,
    newcomers: Bucket,
    destinations: HashMap<Ipv4Addr, Bucket>,
}

impl ReplyLimit {
    /// A port that has sent nothing yet.
    pub(super) fn new(now: Instant) -> Self {
        let fresh = Bucket::new(now);
        Self { all: fresh, strangers: fresh, newcomers: fresh, destinations: HashMap::new() }
    }

    /// Counts one reply to `destination` for a packet that came from `source`; false when it must not be sent.
    pub(super) fn allow(&mut self, destination: Ipv4Addr, source: Ipv4Addr, now: Instant) -> bool {
        if !self.all.has_room(REPLIES, now) {
            return false;
        }
        // What goes to everybody waits for nobody, and stays on this network.
        if !destination.is_broadcast() && !self.allow_one(destination, destination != source, now) {
            return false;
        }
        self.all.take(REPLIES);
        true
    }

    fn allow_one(&mut self, destination: Ipv4Addr, is_stranger: bool, now: Instant) -> bool {
        if is_stranger && !self.strangers.has_room(STRANGERS, now) {
            return false;
        }
        let is_known = self.destinations.contains_key(&destination);
        if !is_known && !self.newcomers.has_room(NEWCOMERS, now) {
            return false;
        }
        if !is_known && self.destinations.len() >= DESTINATIONS_MAX {
            let oldest = self.destinations.iter().min_by_key(|(_, bucket)| bucket.since).map(|(address, _)| *address);
            oldest.map(|address| self.destinations.remove(&address));
        }
        let bucket = self.destinations.entry(destination).or_insert_with(|| Bucket::new(now));
        let rate = if is_stranger { STRANGER } else { DESTINATION };
        let allowed = bucket.has_room(rate, now);
        if allowed {
            bucket.take(rate);
            if is_stranger {
                self.strangers.take(STRANGERS);
            }
            if !is_known {
                self.newcomers.take(NEWCOMERS);
            }
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELAY: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
    const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);

    fn random(number: u32) -> Ipv4Addr {
        Ipv4Addr::from(0x0a00_0000 + number)
    }

    fn allowed(limit: &mut ReplyLimit, source: Ipv4Addr, now: Instant) -> u32 {
        (0..1_000).map(|_| u32::from(limit.allow(RELAY, source, now))).sum()
    }

    #[test]
    fn a_relay_is_answered_often_from_its_own_address_and_seldom_from_another() {
        let now = Instant::now();
        assert_eq!(allowed(&mut ReplyLimit::new(now), RELAY, now), DESTINATION.burst);
        let mut limit = ReplyLimit::new(now);
        assert_eq!(allowed(&mut limit, ELSEWHERE, now), STRANGER.burst);
        let later = now + Duration::from_secs(1);
        assert_eq!(allowed(&mut limit, ELSEWHERE, later), STRANGER.per_second);
    }

    #[test]
    fn forged_relays_do_not_silence_a_known_relay_nor_the_network_itself() {
        let start = Instant::now();
        let mut limit = ReplyLimit::new(start);
        assert!(limit.allow(RELAY, RELAY, start));
        let (mut forged, mut twins) = (0, 0);
        for tick in 0..5_000 {
            let now = start + Duration::from_millis(u64::from(tick));
            forged += u32::from(limit.allow(random(tick), ELSEWHERE, now));
            twins += u32::from(limit.allow(random(50_000 + tick), random(50_000 + tick), now));
            if tick % 100 == 0 {
                assert!(limit.allow(RELAY, RELAY, now), "the relay is silenced after {tick} ms");
                assert!(limit.allow(Ipv4Addr::BROADCAST, Ipv4Addr::UNSPECIFIED, now));
            }
        }
        assert!(forged + twins <= NEWCOMERS.burst + 5 * NEWCOMERS.per_second, "{forged} and {twins} answered");
    }

    #[test]
    fn all_replies_and_all_memory_are_bounded() {
        let start = Instant::now();
        let mut limit = ReplyLimit::new(start);
        let sent = (0..10_000).filter(|_| limit.allow(Ipv4Addr::BROADCAST, Ipv4Addr::UNSPECIFIED, start)).count();
        assert_eq!(sent, REPLIES.burst as usize);
        for number in 0..6_000 {
            let now = start + Duration::from_secs(1 + u64::from(number));
            assert!(limit.allow(random(number), random(number), now));
        }
        assert_eq!(limit.destinations.len(), DESTINATIONS_MAX);
    }
}
