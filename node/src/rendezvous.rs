//! Rendezvous hashing: which nodes serve a key, in which order, agreed on by all without a word.
//!
//! Every node weighs each node for a key; the heaviest serves it. When one goes, only its keys move. The weights must be
//! the same on every node, so this arithmetic never changes.

/// FNV-1a's start and factor for 64 bits.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// How much `node` weighs for `key`.
#[must_use]
pub fn weight(key: &[u8], node: u64) -> u64 {
    let bytes = key.iter().copied().chain(node.to_be_bytes());
    let hash = bytes.fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
    // FNV leaves the last bytes in the low bits only; the comparison looks at the high ones first.
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Puts nodes in the order in which they serve `key`.
pub fn sort(key: &[u8], nodes: &mut [u64]) {
    nodes.sort_by_key(|node| (std::cmp::Reverse(weight(key, *node)), *node));
}

/// The node that serves `key` first.
#[must_use]
pub fn first(key: &[u8], nodes: &[u64]) -> Option<u64> {
    nodes.iter().copied().max_by_key(|node| (weight(key, *node), std::cmp::Reverse(*node)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: u32 = 3_000;

    fn keys() -> impl Iterator<Item = [u8; 6]> {
        (0..KEYS).map(|number| {
            let [a, b, c, d] = number.to_be_bytes();
            [0x52, 0x54, a, b, c, d]
        })
    }

    #[test]
    fn weights_are_the_same_in_every_version() {
        assert_eq!(
            [weight(b"52:54:00:12:34:56", 1), weight(b"52:54:00:12:34:56", 2), weight(b"", 3)],
            [0xfc48_636d_4769_a624, 0x35de_c770_b4ef_72a1, 0xbdcb_d7f2_3c49_57ad]
        );
    }

    #[test]
    fn machines_are_spread_evenly_and_stay_when_another_node_goes() {
        let mut of = [0_u32; 4];
        for key in keys() {
            let before = first(&key, &[1, 2, 3]).unwrap();
            of[usize::try_from(before).unwrap()] += 1;
            let after = first(&key, &[1, 3]).unwrap();
            assert!(after == before || before == 2, "a machine moved although its node stayed");
        }
        assert!(of[1..].iter().all(|count| (KEYS / 4..KEYS / 2).contains(count)), "{of:?}");
    }

    #[test]
    fn the_order_does_not_depend_on_how_the_nodes_are_listed() {
        for key in keys().take(50) {
            let (mut one, mut other) = ([1, 2, 3, 9], [9, 3, 1, 2]);
            sort(&key, &mut one);
            sort(&key, &mut other);
            assert_eq!(one, other);
            assert_eq!(first(&key, &[3, 9, 2, 1]), Some(one[0]));
        }
        assert_eq!(first(b"k", &[]), None);
    }
}
