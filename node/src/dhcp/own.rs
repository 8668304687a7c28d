//! Tells our own addresses from broadcast ones: both are what a packet that reached us may have been sent to.
//!
//! The last byte does not tell: 10.0.0.127 is the broadcast address of a /25, and 10.0.0.255 a host's in a /23. The
//! kernel knows, and says so when a socket without the right to broadcast is connected: nothing is sent by that.

use std::collections::HashMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

/// How long an answer of the kernel's holds; addresses come and go.
const KNOWN_FOR: Duration = Duration::from_secs(10);
/// Addresses remembered; a packet that reached us was sent to one of the few this machine has.
const ADDRESSES_MAX: usize = 256;
/// Any port will do ("discard", RFC 863): nothing is sent there.
const PORT: u16 = 9;

/// What the kernel said lately about addresses that packets were sent to.
#[derive(Debug, Default)]
pub(super) struct OwnAddresses {
    known: HashMap<Ipv4Addr, (Instant, bool)>,
}

impl OwnAddresses {
    /// Whether `asked`, where a packet that reached us was sent to, is an address of ours and not everybody's.
    pub(super) fn contains(&mut self, asked: Ipv4Addr, now: Instant) -> bool {
        if asked.is_broadcast() || asked.is_multicast() || asked.is_unspecified() {
            return false;
        }
        if let Some((at, is_own)) = self.known.get(&asked)
            && now.saturating_duration_since(*at) < KNOWN_FOR
        {
            return *is_own;
        }
        if self.known.len() >= ADDRESSES_MAX {
            self.known.clear();
        }
        let is_own = is_single(asked);
        self.known.insert(asked, (now, is_own));
        is_own
    }
}

fn is_single(address: Ipv4Addr) -> bool {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| socket.connect((address, PORT))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_broadcast_addresses_whatever_their_last_byte() {
        let mut own = OwnAddresses::default();
        let now = Instant::now();
        let cases = [
            ("127.0.0.1", true),
            ("127.0.0.127", true),
            ("127.0.1.255", true),
            ("127.255.255.255", false),
            ("255.255.255.255", false),
            ("224.0.0.1", false),
            ("0.0.0.0", false),
        ];
        for (address, expected) in cases {
            assert_eq!(own.contains(address.parse().unwrap(), now), expected, "{address}");
        }
        assert_eq!(own.known.len(), 4, "what is plain needs no question");
    }
}
