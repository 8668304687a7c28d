//! How fast file data goes to an address: what claims to come from it may be forged, acknowledgements included.
//!
//! Nothing in TFTP proves that a client reads what it acknowledges. So bytes are counted per address, generously for one
//! that has fetched whole files lately, and such that its first boot loader does not notice for any other.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Bytes that go to an address without history at once: more than any boot loader has.
pub const UNPROVEN_BURST_BYTES: u64 = 2 * 1024 * 1024;
/// Bytes per second that go to it afterwards.
pub const UNPROVEN_BYTES_PER_SECOND: u64 = 4 * 1024 * 1024;
/// Largest window agreed on with such an address: one acknowledgement brings no more than this many blocks.
pub const UNPROVEN_WINDOW_MAX: u16 = 8;
/// Bytes an address must have fetched in whole files to be believed.
pub const PROOF_BYTES: u64 = 256 * 1024;
/// How long it is believed after the last whole file.
pub const PROVEN_FOR: Duration = Duration::from_secs(600);
/// Bytes that go to a believed address at once.
pub const PROVEN_BURST_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes per second that go to it afterwards: about what 1 Gbit/s carries.
pub const PROVEN_BYTES_PER_SECOND: u64 = 112 * 1024 * 1024;
/// Addresses remembered; when there are more, the one unused for longest is forgotten.
pub const ADDRESSES_MAX: usize = 8192;

#[derive(Debug, Clone, Copy)]
struct Account {
    /// Bytes sent and not yet allowed again.
    spent: u64,
    since: Instant,
    /// Bytes of whole files, and when the last was complete.
    fetched: u64,
    complete_at: Instant,
}

impl Account {
    fn is_proven(&self, now: Instant) -> bool {
        self.fetched >= PROOF_BYTES && now.saturating_duration_since(self.complete_at) < PROVEN_FOR
    }

    /// What is allowed at once, and per second.
    fn rate(&self, now: Instant) -> (u64, u64) {
        if self.is_proven(now) {
            (PROVEN_BURST_BYTES, PROVEN_BYTES_PER_SECOND)
        } else {
            (UNPROVEN_BURST_BYTES, UNPROVEN_BYTES_PER_SECOND)
        }
    }
}

/// The bytes that went to each address lately.
#[derive(Debug, Default)]
pub struct Flow {
    accounts: HashMap<IpAddr, Account>,
}

impl Flow {
    /// Counts bytes that are about to go to a client.
    ///
    /// # Errors
    /// It has had its share; they may go at the time given, and nothing was counted.
    pub fn charge(&mut self, client: IpAddr, bytes: u64, now: Instant) -> Result<(), Instant> {
        let account = self.account(client, now);
        let (burst, rate) = account.rate(now);
        let passed = now.saturating_duration_since(account.since);
        let gained = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX).saturating_mul(rate) / 1_000_000;
        if gained > 0 {
            account.spent = account.spent.saturating_sub(gained);
            account.since = now;
        }
        // A window may overdraw, so that one larger than the burst still goes.
        let over = account.spent.saturating_sub(burst);
        if over > 0 {
            return Err(now + Duration::from_micros(over.saturating_mul(1_000_000) / rate + 1));
        }
        account.spent = account.spent.saturating_add(bytes);
        Ok(())
    }

    /// A client has acknowledged a whole file of so many bytes.
    pub fn complete(&mut self, client: IpAddr, bytes: u64, now: Instant) {
        let account = self.account(client, now);
        if now.saturating_duration_since(account.complete_at) >= PROVEN_FOR {
            account.fetched = 0;
        }
        account.fetched = account.fetched.saturating_add(bytes);
        account.complete_at = now;
    }

    /// The largest window for a client.
    #[must_use]
    pub fn window_max(&self, client: IpAddr, now: Instant) -> u16 {
        let is_proven = self.accounts.get(&client).is_some_and(|account| account.is_proven(now));
        if is_proven { u16::MAX } else { UNPROVEN_WINDOW_MAX }
    }

    fn account(&mut self, client: IpAddr, now: Instant) -> &mut Account {
        if self.accounts.len() >= ADDRESSES_MAX && !self.accounts.contains_key(&client) {
            let oldest = self.accounts.iter().min_by_key(|(_, account)| account.since).map(|(address, _)| *address);
            oldest.map(|address| self.accounts.remove(&address));
        }
        self.accounts.entry(client).or_insert(Account { spent: 0, since: now, fetched: 0, complete_at: now })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9));
    const WINDOW: u64 = 64 * 1432;

    /// Bytes that go out within a second to one that takes all it can get.
    fn within_a_second(flow: &mut Flow, start: Instant) -> u64 {
        let (mut now, mut sent) = (start, 0);
        while now < start + Duration::from_secs(1) {
            match flow.charge(CLIENT, WINDOW, now) {
                Ok(()) => sent += WINDOW,
                Err(at) => {
                    assert!(at > now);
                    now = at;
                }
            }
        }
        sent
    }

    #[test]
    fn an_address_without_history_gets_a_boot_loader_at_once_and_then_a_share() {
        let zero = Instant::now();
        let mut flow = Flow::default();
        let sent = within_a_second(&mut flow, zero);
        assert!(sent >= UNPROVEN_BURST_BYTES);
        assert!(sent <= UNPROVEN_BURST_BYTES + UNPROVEN_BYTES_PER_SECOND + 2 * WINDOW, "{sent} bytes");
        assert_eq!(flow.window_max(CLIENT, zero), UNPROVEN_WINDOW_MAX);
    }

    #[test]
    fn whole_files_prove_an_address_for_a_while_and_tiny_ones_do_not() {
        let zero = Instant::now();
        let mut flow = Flow::default();
        flow.complete(CLIENT, 300, zero);
        assert_eq!(flow.window_max(CLIENT, zero), UNPROVEN_WINDOW_MAX);
        flow.complete(CLIENT, PROOF_BYTES, zero);
        assert_eq!(flow.window_max(CLIENT, zero), u16::MAX);
        let sent = within_a_second(&mut flow, zero);
        assert!(sent > PROVEN_BYTES_PER_SECOND, "{sent} bytes");
        assert!(sent <= PROVEN_BURST_BYTES + PROVEN_BYTES_PER_SECOND + 2 * WINDOW, "{sent} bytes");
        assert_eq!(flow.window_max(CLIENT, zero + PROVEN_FOR), UNPROVEN_WINDOW_MAX);
        flow.complete(CLIENT, 300, zero + PROVEN_FOR);
        assert_eq!(flow.window_max(CLIENT, zero + PROVEN_FOR), UNPROVEN_WINDOW_MAX, "old proof counts no more");
    }

    #[test]
    fn addresses_are_bounded_and_the_oldest_is_forgotten() {
        let zero = Instant::now();
        let mut flow = Flow::default();
        for number in 0..u32::try_from(ADDRESSES_MAX).unwrap() + 50 {
            let now = zero + Duration::from_millis(number.into());
            flow.charge(IpAddr::from(number.to_be_bytes()), 1, now).unwrap();
        }
        assert_eq!(flow.accounts.len(), ADDRESSES_MAX);
        assert!(!flow.accounts.contains_key(&IpAddr::from([0, 0, 0, 49])));
    }
}
