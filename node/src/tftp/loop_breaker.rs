//! Breaks the loop of an iPXE that is told to load iPXE: sites whose DHCP always names the same boot file.
//!
//! Such a DHCP sends the firmware to `undionly.kpxe`, and the iPXE inside it to `undionly.kpxe` again, for ever. Here
//! an iPXE that asks for a boot loader it has just been given gets the boot script instead, under that name: iPXE
//! looks at the content, not at the name.
//!
//! * Firmware always gets the binary: only requests shaped as iPXE's count (see [`Signature`]).
//! * An iPXE without history gets the binary as well. It is the one of a network card or a virtual machine, possibly
//!   too old for the script; the second round, from our own binary, gets the script.
//! * Clients are told apart by address. Two machines behind one address can at worst give an old iPXE the script.
//! * The script is given again for a short while, because a lost answer makes the client ask again; then the history
//!   is forgotten, so that the next boot starts with the binary.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::packet::Request;

/// How long a finished boot loader is remembered. Between it and the next request lie iPXE's start, the link, and DHCP
/// with all its retries.
pub const MEMORY: Duration = Duration::from_secs(300);
/// How long the script is given again after the first time.
pub const SCRIPT_REPEATS: Duration = Duration::from_secs(15);
/// Pairs of client and boot loader remembered; the oldest is forgotten first.
pub const ENTRIES_MAX: usize = 8192;

/// Block size that iPXE asks for, in bytes: always this one, and no other client known to us writes it.
const IPXE_BLKSIZE: &str = "1432";

/// Who wrote a read request, as far as its options tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signature {
    /// iPXE (or its ancestor gPXE): octet mode and exactly `blksize 1432`, `tsize 0`, in this order. An iPXE whose
    /// server refused these options asks again without any; it then counts as firmware.
    Ipxe,
    /// Firmware or another program. EDK2 writes `tsize` first and a `windowsize`; PXELINUX `tsize` first and blocks of
    /// 1408; GRUB blocks of 1024; U-Boot a `timeout`.
    Other,
}

impl Signature {
    /// Reads the signature of a request.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        let pairs: Vec<(&str, &str)> =
            request.options.iter().map(|option| (option.name.as_str(), option.value.as_str())).collect();
        if pairs == [("blksize", IPXE_BLKSIZE), ("tsize", "0")] { Self::Ipxe } else { Self::Other }
    }
}

/// What to answer to a request for a boot loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Give {
    /// The boot loader.
    Binary,
    /// The boot script, the text of `autoexec.ipxe`.
    Script,
}

/// Remembers who has been given which boot loader.
#[derive(Debug, Default)]
pub struct LoopBreaker {
    entries: HashMap<(IpAddr, String), Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    loaded: Instant,
    script_given: Option<Instant>,
}

impl Entry {
    fn is_over(&self, now: Instant) -> bool {
        let over = |since: Instant, limit| now.saturating_duration_since(since) >= limit;
        over(self.loaded, MEMORY) || self.script_given.is_some_and(|at| over(at, SCRIPT_REPEATS))
    }
}

impl LoopBreaker {
    /// Notes that a client got a whole boot loader; `loader` is its canonical name.
    pub fn loaded(&mut self, client: IpAddr, loader: &str, now: Instant) {
        let key = (client, loader.to_owned());
        if self.entries.len() >= ENTRIES_MAX && !self.entries.contains_key(&key) {
            self.make_room(now);
        }
        let entry = Entry { loaded: now, script_given: None };
        self.entries.insert(key, entry);
    }

    /// Decides what a client that asks for `loader` gets.
    pub fn decide(&mut self, client: IpAddr, loader: &str, signature: Signature, now: Instant) -> Give {
        if signature == Signature::Other {
            return Give::Binary;
        }
        let key = (client, loader.to_owned());
        match self.entries.get_mut(&key) {
            Some(entry) if !entry.is_over(now) => {
                entry.script_given.get_or_insert(now);
                Give::Script
            }
            _ => {
                self.entries.remove(&key);
                Give::Binary
            }
        }
    }

    fn make_room(&mut self, now: Instant) {
        self.entries.retain(|_, entry| !entry.is_over(now));
        if self.entries.len() < ENTRIES_MAX {
            return;
        }
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.loaded);
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::Packet;
    use super::*;

    const ROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 10));
    const LOADER: &str = "undionly.kpxe";

    fn signature(options: &str) -> Signature {
        let mut bytes = b"\0\x01undionly.kpxe\0octet\0".to_vec();
        for word in options.split([' ', '=']).filter(|word| !word.is_empty()) {
            bytes.extend(word.bytes());
            bytes.push(0);
        }
        match Packet::parse(&bytes) {
            Ok(Packet::Read(request)) => Signature::of(&request),
            other => panic!("not a request: {other:?}"),
        }
    }

    #[test]
    fn ipxe_is_known_by_its_options() {
        let cases = [
            // Captured from SeaBIOS's iPXE ROM, undionly.kpxe and snponly.efi.
            ("blksize=1432 tsize=0", Signature::Ipxe),
            // Captured from OVMF 2022.11: the probe and the request.
            ("tsize=0 blksize=1468 windowsize=4", Signature::Other),
            ("blksize=1468 windowsize=4", Signature::Other),
            // PXELINUX, GRUB, U-Boot, curl, and nothing at all.
            ("tsize=0 blksize=1408", Signature::Other),
            ("blksize=1024 tsize=0", Signature::Other),
            ("timeout=5 tsize=0 blksize=1468", Signature::Other),
            ("tsize=0 blksize=1432 timeout=6", Signature::Other),
            ("tsize=0 blksize=1432", Signature::Other),
            ("", Signature::Other),
        ];
        for (options, expected) in cases {
            assert_eq!(signature(options), expected, "{options}");
        }
    }

    #[test]
    fn an_ipxe_that_asks_again_gets_the_script_and_firmware_never() {
        let zero = Instant::now();
        let mut breaker = LoopBreaker::default();
        let at = |seconds| zero + Duration::from_secs(seconds);
        // The card's own iPXE is chained to our binary first.
        assert_eq!(breaker.decide(ROM, LOADER, Signature::Ipxe, at(0)), Give::Binary);
        breaker.loaded(ROM, LOADER, at(1));
        // Another machine, another file, and firmware are not concerned.
        assert_eq!(breaker.decide(OTHER, LOADER, Signature::Ipxe, at(2)), Give::Binary);
        assert_eq!(breaker.decide(ROM, "ipxe.efi", Signature::Ipxe, at(2)), Give::Binary);
        assert_eq!(breaker.decide(ROM, LOADER, Signature::Other, at(2)), Give::Binary);
        // Our binary asks: script, also when the answer was lost.
        assert_eq!(breaker.decide(ROM, LOADER, Signature::Ipxe, at(6)), Give::Script);
        assert_eq!(breaker.decide(ROM, LOADER, Signature::Ipxe, at(8)), Give::Script);
        // The next boot starts with the binary again.
        assert_eq!(breaker.decide(ROM, LOADER, Signature::Ipxe, at(40)), Give::Binary);
        breaker.loaded(ROM, LOADER, at(41));
        assert_eq!(breaker.decide(ROM, LOADER, Signature::Ipxe, at(46)), Give::Script);
    }

    #[test]
    fn a_binary_that_never_arrived_is_given_again() {
        let zero = Instant::now();
        let mut breaker = LoopBreaker::default();
        for _ in 0..3 {
            assert_eq!(breaker.decide(ROM, LOADER, Signature::Ipxe, zero), Give::Binary);
        }
    }

    #[test]
    fn history_ends_and_is_bounded() {
        let zero = Instant::now();
        let mut breaker = LoopBreaker::default();
        breaker.loaded(ROM, LOADER, zero);
        assert_eq!(breaker.decide(ROM, LOADER, Signature::Ipxe, zero + MEMORY), Give::Binary);
        for number in 0..u32::try_from(ENTRIES_MAX).unwrap() + 100 {
            let client = IpAddr::from(number.to_be_bytes());
            breaker.loaded(client, LOADER, zero + Duration::from_millis(number.into()));
        }
        assert_eq!(breaker.entries.len(), ENTRIES_MAX);
        let newest = IpAddr::from((u32::try_from(ENTRIES_MAX).unwrap() + 99).to_be_bytes());
        let now = zero + Duration::from_secs(10);
        assert_eq!(breaker.decide(newest, LOADER, Signature::Ipxe, now), Give::Script);
    }
}
