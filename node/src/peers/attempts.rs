//! Decides whether an address that failed to join may try again yet.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Failures an address may have within `WINDOW`; guessing is hopeless anyway, this spares the log and the processor.
const FAILURES_MAX: u32 = 10;
/// How long failures are remembered.
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses remembered; when there are more, the oldest go.
const ADDRESSES_MAX: usize = 1024;

/// Who has failed to join, and how often.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    failed: HashMap<IpAddr, (Instant, u32)>,
}

impl Attempts {
    /// How long that address must wait; nothing: it need not.
    pub(super) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let (since, count) = self.failed.get(&address)?;
        let left = WINDOW.checked_sub(now.saturating_duration_since(*since))?;
        (*count >= FAILURES_MAX && !left.is_zero()).then_some(left)
    }

    /// Notes a failure.
    pub(super) fn failed(&mut self, address: IpAddr, now: Instant) {
        let is_over = |since: Instant| now.saturating_duration_since(since) >= WINDOW;
        if self.failed.len() >= ADDRESSES_MAX && !self.failed.contains_key(&address) {
            self.failed.retain(|_, (since, _)| !is_over(*since));
            if self.failed.len() >= ADDRESSES_MAX
                && let Some(oldest) = self.failed.iter().min_by_key(|(_, (since, _))| *since).map(|(ip, _)| *ip)
            {
                self.failed.remove(&oldest);
            }
        }
        let entry = self.failed.entry(address).or_insert((now, 0));
        if is_over(entry.0) {
            *entry = (now, 0);
        }
        entry.1 = entry.1.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_address_that_keeps_failing_has_to_wait_and_others_have_not() {
        let (start, one, other) = (Instant::now(), IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut attempts = Attempts::default();
        for _ in 0..FAILURES_MAX {
            assert_eq!(attempts.wait(one, start), None);
            attempts.failed(one, start);
        }
        assert_eq!(attempts.wait(one, start), Some(WINDOW));
        assert_eq!(attempts.wait(other, start), None);
        assert_eq!(attempts.wait(one, start + WINDOW), None);
        attempts.failed(one, start + WINDOW);
        assert_eq!(attempts.wait(one, start + WINDOW), None, "it begins anew");
    }

    #[test]
    fn memory_is_bounded() {
        let mut attempts = Attempts::default();
        for at in 0..u32::try_from(ADDRESSES_MAX).unwrap() + 10 {
            attempts.failed(Ipv4Addr::from(at).into(), Instant::now());
        }
        assert_eq!(attempts.failed.len(), ADDRESSES_MAX);
    }
}
