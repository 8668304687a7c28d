//! Whose turn it is to answer a packet that was sent to everybody: several nodes hear it, one should answer.

use super::client::Client;
use super::repeats::Heard;
use super::request::{HardwareAddress, Request};
use crate::rendezvous;

/// iPXE counts no seconds in the field of that name: its lowest bit says that it has a proxy's offer already, and now
/// waits for an address.
const IPXE_HAS_OFFER: u16 = 1;

/// This node's part among those that hear a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// There is no other node.
    Alone,
    /// This node holds the floating address: it answers at once, from there.
    Holder,
    /// Another node holds the floating address; we answer when it does not.
    Backup,
    /// No holder is known: each machine has one node that answers at once, and the others when it does not.
    Shared {
        /// This node.
        this: u64,
        /// The nodes that may answer.
        nodes: Vec<u64>,
    },
}

impl Turn {
    /// Whether this node answers a client at once.
    #[must_use]
    fn is_first(&self, mac: HardwareAddress) -> bool {
        match self {
            Self::Alone | Self::Holder => true,
            Self::Backup => false,
            Self::Shared { this, nodes } => rendezvous::first(&mac.0, nodes).is_none_or(|first| first == *this),
        }
    }

    /// Whether this node answers a packet that named nobody.
    pub(super) fn answers(&self, request: &Request, client: &Client, heard: Heard) -> bool {
        let has_offer = *client == Client::Ipxe && request.secs & IPXE_HAS_OFFER != 0;
        self.is_first(request.mac) || heard == Heard::Again && !has_offer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_of_several_nodes_answers_a_machine_at_once() {
        let nodes = vec![2, 5, 7];
        let turns: Vec<Turn> = nodes.iter().map(|this| Turn::Shared { this: *this, nodes: nodes.clone() }).collect();
        let mut of = [0; 3];
        for last in 0..=255 {
            let mac = HardwareAddress([0x52, 0x54, 0, 0x12, 0x34, last]);
            let first: Vec<usize> = (0..3).filter(|at| turns[*at].is_first(mac)).collect();
            assert_eq!(first.len(), 1, "{mac}");
            of[first[0]] += 1;
        }
        assert!(of.iter().all(|count| *count > 50), "{of:?}");
    }
}
