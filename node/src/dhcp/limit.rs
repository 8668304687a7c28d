//! Bounds how often one machine is answered, so that a looping client or a forger costs little.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::request::HardwareAddress;

/// How long packets are counted before everybody starts afresh.
const WINDOW: Duration = Duration::from_secs(10);
/// Packets per machine and window. A boot sends about eight in its busiest ten seconds (firmware and iPXE retry
/// after 1, 2, 4 and 8 seconds), and a machine with four cards asks on all of them.
const PACKETS_PER_WINDOW_MAX: u32 = 40;
/// Machines counted at once, about 1 MB. When more appear, counting starts afresh: a flood of forged addresses
/// must not lock out honest ones.
const MACHINES_MAX: usize = 16_384;

/// Counts packets by machine.
#[derive(Debug, Default)]
pub struct RateLimit {
    window_began: Option<Instant>,
    packets: HashMap<HardwareAddress, u32>,
}

impl RateLimit {
    /// Counts one packet from `mac`; false when it should be dropped.
    pub fn allow(&mut self, mac: HardwareAddress, now: Instant) -> bool {
        let over = self.window_began.is_none_or(|began| now.saturating_duration_since(began) >= WINDOW);
        if over || self.packets.len() >= MACHINES_MAX && !self.packets.contains_key(&mac) {
            self.packets.clear();
            self.window_began = Some(now);
        }
        let packets = self.packets.entry(mac).or_default();
        *packets = packets.saturating_add(1);
        *packets <= PACKETS_PER_WINDOW_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(number: usize) -> HardwareAddress {
        let [.., b, c, d] = number.to_be_bytes();
        HardwareAddress([2, 0, 0, b, c, d])
    }

    #[test]
    fn a_looping_machine_is_stopped_until_the_window_ends_and_others_are_not() {
        let start = Instant::now();
        let mut limit = RateLimit::default();
        let allowed = (0..100).filter(|_| limit.allow(mac(1), start)).count();
        assert_eq!(allowed, PACKETS_PER_WINDOW_MAX as usize);
        assert!(limit.allow(mac(2), start));
        assert!(!limit.allow(mac(1), start + WINDOW / 2));
        assert!(limit.allow(mac(1), start + WINDOW));
    }

    #[test]
    fn a_flood_of_addresses_neither_fills_memory_nor_locks_out_a_machine() {
        let start = Instant::now();
        let mut limit = RateLimit::default();
        for number in 0..3 * MACHINES_MAX {
            assert!(limit.allow(mac(number), start));
            assert!(limit.packets.len() <= MACHINES_MAX);
        }
    }
}
