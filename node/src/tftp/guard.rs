//! Who may be answered, and how often: the sender of a UDP request may be forged.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Lowest source port answered. Boot clients use high ports; low ones belong to services that a forged request would
/// make us talk to.
pub const SOURCE_PORT_MIN: u16 = 1024;
/// Replies to unproven clients that one address may cause at once. GRUB and Raspberry Pis ask for dozens of files
/// that do not exist.
pub const BURST_MAX: u32 = 64;
/// Time after which one more such reply is allowed.
pub const REFILL: Duration = Duration::from_millis(60);
/// Addresses remembered; the rest share one allowance.
pub const CLIENTS_MAX: usize = 4096;

/// Why a packet gets no answer at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unanswerable {
    /// From no single host, or from nowhere.
    #[error("its source address is no host's")]
    Source,
    /// From a port no boot client uses.
    #[error("its source port is a service's")]
    SourcePort,
    /// Sent to more than one host (RFC 1123 §4.2.3.5).
    #[error("it was sent to a broadcast or multicast address")]
    Destination,
}

/// Whether a packet from `source` to our address `local` may be answered.
///
/// # Errors
/// [`Unanswerable`] says why not.
pub fn answerable(source: SocketAddr, local: IpAddr) -> Result<(), Unanswerable> {
    if !is_host(source.ip()) {
        return Err(Unanswerable::Source);
    }
    if source.port() < SOURCE_PORT_MIN {
        return Err(Unanswerable::SourcePort);
    }
    if !is_host(local) {
        return Err(Unanswerable::Destination);
    }
    Ok(())
}

/// Whether an address is one host's. Directed broadcasts look like hosts here; the kernel refuses to send from them.
fn is_host(address: IpAddr) -> bool {
    match address {
        // 0/8 is "this network", 240/4 reserved and broadcast.
        IpAddr::V4(v4) => !v4.is_multicast() && !matches!(v4.octets()[0], 0 | 240..=255),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_host(IpAddr::V4(v4)),
            None => !v6.is_multicast() && !v6.is_unspecified(),
        },
    }
}

/// A bounded allowance per client address, refilled by time.
#[derive(Debug, Default)]
pub struct Allowance {
    clients: HashMap<IpAddr, Bucket>,
    /// Shared by all addresses that found no room.
    rest: Option<Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    spent: u32,
    since: Instant,
}

impl Bucket {
    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        let gained = u32::try_from(passed.as_millis() / REFILL.as_millis()).unwrap_or(u32::MAX);
        if gained >= self.spent {
            self.spent = 0;
            self.since = now;
        } else {
            self.spent -= gained;
            self.since += REFILL * gained;
        }
    }
}

impl Allowance {
    /// Takes one reply out of the client's allowance; false when it is used up.
    pub fn take(&mut self, client: IpAddr, now: Instant) -> bool {
        if self.clients.len() >= CLIENTS_MAX && !self.clients.contains_key(&client) {
            self.clients.retain(|_, bucket| {
                bucket.refill(now);
                bucket.spent > 0
            });
        }
        let fresh = Bucket { spent: 0, since: now };
        let bucket = if self.clients.len() < CLIENTS_MAX || self.clients.contains_key(&client) {
            self.clients.entry(client).or_insert(fresh)
        } else {
            self.rest.get_or_insert(fresh)
        };
        bucket.refill(now);
        let allowed = bucket.spent < BURST_MAX;
        if allowed {
            bucket.spent += 1;
        }
        allowed
    }

    /// Gives one back: the client has fetched a whole file, or could not be served yet. An acknowledgement alone may be
    /// forged and gives nothing back.
    pub fn give_back(&mut self, client: IpAddr) {
        if let Some(bucket) = self.clients.get_mut(&client) {
            bucket.spent = bucket.spent.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_single_hosts_with_client_ports_are_answered() {
        let cases = [
            ("10.0.0.9:1794", "10.0.0.2", Ok(())),
            ("127.0.0.1:40000", "127.0.0.2", Ok(())),
            ("[fd00::9]:2070", "fd00::2", Ok(())),
            ("10.0.0.9:1023", "10.0.0.2", Err(Unanswerable::SourcePort)),
            ("10.0.0.9:69", "10.0.0.2", Err(Unanswerable::SourcePort)),
            ("10.0.0.9:0", "10.0.0.2", Err(Unanswerable::SourcePort)),
            ("0.0.0.0:2070", "10.0.0.2", Err(Unanswerable::Source)),
            ("0.1.2.3:2070", "10.0.0.2", Err(Unanswerable::Source)),
            ("255.255.255.255:2070", "10.0.0.2", Err(Unanswerable::Source)),
            ("224.0.0.1:2070", "10.0.0.2", Err(Unanswerable::Source)),
            ("240.0.0.1:2070", "10.0.0.2", Err(Unanswerable::Source)),
            ("[ff02::1]:2070", "fd00::2", Err(Unanswerable::Source)),
            ("[::]:2070", "fd00::2", Err(Unanswerable::Source)),
            ("[::ffff:224.0.0.1]:2070", "fd00::2", Err(Unanswerable::Source)),
            ("10.0.0.9:2070", "255.255.255.255", Err(Unanswerable::Destination)),
            ("10.0.0.9:2070", "239.1.1.1", Err(Unanswerable::Destination)),
            ("[fd00::9]:2070", "ff02::1", Err(Unanswerable::Destination)),
        ];
        for (source, local, expected) in cases {
            let got = answerable(source.parse().unwrap(), local.parse().unwrap());
            assert_eq!(got, expected, "{source} to {local}");
        }
    }

    #[test]
    fn a_client_gets_a_burst_then_a_trickle() {
        let client = IpAddr::from([10, 0, 0, 9]);
        let zero = Instant::now();
        let mut allowance = Allowance::default();
        let taken = (0..200).filter(|_| allowance.take(client, zero)).count();
        assert_eq!(taken, BURST_MAX as usize);
        assert!(!allowance.take(client, zero + REFILL / 2));
        assert!(allowance.take(client, zero + REFILL));
        assert!(!allowance.take(client, zero + REFILL));
        assert!(allowance.take(IpAddr::from([10, 0, 0, 10]), zero), "others are not affected");
        allowance.give_back(client);
        assert!(allowance.take(client, zero + REFILL), "a proven client is not charged");
    }

    #[test]
    fn many_forged_addresses_share_one_allowance_and_bounded_memory() {
        let zero = Instant::now();
        let mut allowance = Allowance::default();
        let address = |number: usize| IpAddr::from(u32::try_from(number).unwrap().to_be_bytes());
        let taken = (0..20_000).filter(|number| allowance.take(address(*number), zero)).count();
        assert_eq!(allowance.clients.len(), CLIENTS_MAX);
        assert_eq!(taken, CLIENTS_MAX + BURST_MAX as usize);
        let later = zero + REFILL * 2;
        assert!(allowance.take(address(30_000), later), "memory is freed by time");
        assert!(allowance.clients.len() < 10);
    }
}
