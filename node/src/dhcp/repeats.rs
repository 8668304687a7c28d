//! Knows a client that has to repeat itself: whoever ought to have answered it did not, or was not heard.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::request::HardwareAddress;

/// A second copy within this time is the network's doing (a bridge, two cables): no client is that impatient.
const COPY: Duration = Duration::from_millis(400);
/// After so long without a packet a client begins anew. Firmware waits up to 32 s between two (PXE 2.1), and some takes
/// its transaction id from its MAC address, the same at every boot.
const FORGET: Duration = Duration::from_secs(40);
/// Clients remembered in each half of the table, together about 2 MB. When one half is full the older one is dropped.
const CLIENTS_MAX: usize = 16_384;

/// Whether a client has asked this before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Heard {
    /// As far as we know it has just begun.
    First,
    /// It repeats itself.
    Again,
}

/// What a client said last.
#[derive(Debug, Clone, Copy)]
struct Record {
    xid: u32,
    secs: u16,
    first_at: Instant,
    last_at: Instant,
}

/// The clients heard lately.
#[derive(Debug, Default)]
pub struct Repeats {
    young: HashMap<HardwareAddress, Record>,
    old: HashMap<HardwareAddress, Record>,
}

impl Repeats {
    /// Takes note of a packet that was sent to everybody. It is a repetition if the client has sent the same transaction
    /// some time ago, or counts more seconds than before. What it counts absolutely says nothing: iPXE begins with 4.
    pub fn hear(&mut self, mac: HardwareAddress, xid: u32, secs: u16, now: Instant) -> Heard {
        let known = self.young.get(&mac).or_else(|| self.old.get(&mac)).copied();
        let known = known.filter(|known| now.saturating_duration_since(known.last_at) < FORGET && secs >= known.secs);
        let heard = match known {
            Some(known) if secs > known.secs => Heard::Again,
            Some(known) if known.xid == xid && now.saturating_duration_since(known.first_at) >= COPY => Heard::Again,
            _ => Heard::First,
        };
        let first_at = known.filter(|known| known.xid == xid).map_or(now, |known| known.first_at);
        if self.young.len() >= CLIENTS_MAX && !self.young.contains_key(&mac) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(mac, Record { xid, secs, first_at, last_at: now });
        heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(number: usize) -> HardwareAddress {
        let [.., b, c, d] = number.to_be_bytes();
        HardwareAddress([2, 0, 0, b, c, d])
    }

    /// Each line: milliseconds, client, transaction, seconds the client counts, what it is.
    fn check(lines: &str) {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |at: usize| words[at].parse::<u32>().unwrap();
            let now = start + Duration::from_millis(number(0).into());
            let heard = repeats.hear(mac(number(1) as usize), number(2), u16::try_from(number(3)).unwrap(), now);
            let want = if words[4] == "again" { Heard::Again } else { Heard::First };
            assert_eq!(heard, want, "{line}\nin{lines}");
        }
    }

    #[test]
    fn ipxe_that_is_not_answered_asks_again_after_a_second() {
        check(
            "
                0 1 7  4 first
             1000 1 7  8 again
             3000 1 7 12 again",
        );
    }

    #[test]
    fn firmware_that_leaves_the_seconds_at_zero_is_known_by_its_transaction() {
        check(
            "
                0 1 7 0 first
             4000 1 7 0 again
            12000 1 7 0 again",
        );
    }

    #[test]
    fn firmware_that_takes_a_new_transaction_each_time_is_known_by_its_seconds() {
        check(
            "
                0 1 7 0 first
             4000 1 8 4 again
            12000 1 9 12 again",
        );
    }

    #[test]
    fn a_copy_of_the_same_packet_is_no_repetition() {
        check(
            "
              0 1 7 4 first
              1 1 7 4 first
            399 1 7 4 first
            400 1 7 4 again",
        );
    }

    #[test]
    fn each_stage_of_a_boot_begins_anew() {
        check(
            "
                0 1 7 4 first
             4000 1 7 8 again
             9000 1 8 4 first
            10000 1 8 8 again
            20000 1 9 0 first",
        );
    }

    #[test]
    fn a_machine_that_boots_again_with_the_transaction_of_last_time_begins_anew() {
        check(
            "
                0 1 7 0 first
             4000 1 7 4 again
            20000 1 7 0 first
            70000 1 7 0 first",
        );
    }

    #[test]
    fn machines_do_not_repeat_each_other() {
        check(
            "
               0 1 7 0 first
            1000 2 7 4 first
            1100 1 7 0 again",
        );
    }

    #[test]
    fn a_flood_of_addresses_neither_fills_memory_nor_makes_a_machine_forgotten_at_once() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        repeats.hear(mac(0), 1, 0, start);
        for number in 1..CLIENTS_MAX + 10 {
            assert_eq!(repeats.hear(mac(number), 1, 0, start), Heard::First);
        }
        assert_eq!(repeats.hear(mac(0), 1, 0, start + COPY), Heard::Again);
        for number in 1..4 * CLIENTS_MAX {
            repeats.hear(mac(number), 1, 0, start);
            assert!(repeats.young.len() + repeats.old.len() <= 2 * CLIENTS_MAX);
        }
    }
}
