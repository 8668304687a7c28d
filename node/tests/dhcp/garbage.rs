//! Whatever comes in, nothing breaks, and garbage is not answered.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use raftboot::dhcp::{Decision, Facts, Heard, PACKET_MAX, Place, Port, Request, Turn, decide};

use super::case::{ADVERTISED, arrival};
use super::packet::{Packet, client_fixtures, fixture};

/// What a node that is alone, one that holds the floating address and one that steps in do with a packet on both ports,
/// without the socket.
fn decisions(packet: &[u8]) -> Vec<Decision> {
    let Ok(request) = Request::parse(packet) else {
        return vec![];
    };
    let alone = Facts::proxy(ADVERTISED, 8080);
    let floating = Some(Place::new(Ipv4Addr::new(10, 88, 0, 10), 8080));
    let holder = Facts { floating, turn: Turn::Holder, ..alone.clone() };
    let backup = Facts { turn: Turn::Backup, ..holder.clone() };
    let all = [alone, holder, backup];
    let ports = [Port::Discover, Port::Boot];
    let decide = |facts, port| decide(&request, &arrival(port), facts, None, Heard::Again);
    all.iter().flat_map(|facts| ports.map(|port| decide(facts, port))).collect()
}

/// Everything that holds for every reply, whatever was asked.
fn check_replies(packet: &[u8]) {
    for decision in decisions(packet) {
        let Ok(reply) = decision.reply else { continue };
        assert!((300..=1472).contains(&reply.bytes.len()));
        let read = Packet::read(&reply.bytes).expect("a reply that reads");
        assert_eq!(read.header[0], 2, "a reply, which nobody answers");
        assert_eq!(read.header[4..8], packet[4..8], "the transaction asked");
        assert_eq!(read.header[28..34], packet[28..34], "the card that asked");
        assert_eq!(read.address(16), Ipv4Addr::UNSPECIFIED, "no address is given away");
        assert_eq!(read.options[0].0, 53);
        assert_eq!(read.options.last(), Some(&(255, vec![])));
        assert!(read.tail.iter().all(|byte| *byte == 0));
        let class = read.option(60).expect("a class");
        assert!(matches!(class, b"PXEClient" | b"HTTPClient"));
        if let Some(at) = read.options.iter().position(|option| option.0 == 82) {
            assert!(read.options[at..].iter().all(|option| matches!(option.0, 82 | 255)));
        }
        assert!(!reply.destination.ip().is_unspecified() && reply.destination.port() != 0);
        assert!(decisions(&reply.bytes).is_empty(), "our own reply is answered");
    }
}

fn a_client_packet() -> impl Strategy<Value = Vec<u8>> {
    let packets: Vec<_> = client_fixtures().iter().map(|name| fixture(name).expect("a packet").bytes()).collect();
    prop::sample::select(packets)
}

/// Options that are syntactically an option list, with the numbers that matter most often.
fn options() -> impl Strategy<Value = Vec<u8>> {
    let code = prop_oneof![
        any::<u8>(),
        prop::sample::select(vec![0_u8, 43, 52, 53, 54, 57, 60, 61, 77, 82, 93, 94, 97, 175, 255]),
    ];
    let option = (code, prop::collection::vec(any::<u8>(), 0..40));
    prop::collection::vec(option, 0..60).prop_map(|options| {
        let mut bytes = vec![];
        for (code, value) in options {
            bytes.extend_from_slice(&[code, u8::try_from(value.len()).expect("short")]);
            bytes.extend_from_slice(&value);
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_not_answered(packet in prop::collection::vec(any::<u8>(), 0..PACKET_MAX + 100)) {
        prop_assert!(decisions(&packet).iter().all(|decision| decision.reply.is_err()));
    }

    #[test]
    fn random_options_behind_a_good_header_are_not_answered(mut options in options()) {
        // Unless they happen to spell one of the signs of a network boot.
        let mut packet = Packet::request(1).bytes();
        packet.pop();
        options.retain(|byte| !matches!(byte, 60 | 97 | 175));
        packet.append(&mut options);
        prop_assert!(decisions(&packet).iter().all(|decision| decision.reply.is_err()));
    }

    #[test]
    fn random_options_added_to_a_network_boot_break_nothing(packet in a_client_packet(), options in options()) {
        let mut read = Packet::read(&packet).expect("a packet");
        read.options.pop();
        let mut packet = read.bytes();
        packet.extend_from_slice(&options);
        packet.truncate(PACKET_MAX);
        check_replies(&packet);
    }

    #[test]
    fn a_truncated_packet_breaks_nothing(packet in a_client_packet(), keep in 0..500_usize) {
        let packet = &packet[..keep.min(packet.len())];
        check_replies(packet);
        if keep < 240 {
            prop_assert!(Request::parse(packet).is_err());
        }
    }

    #[test]
    fn a_damaged_packet_breaks_nothing(
        mut packet in a_client_packet(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        for (at, byte) in damage {
            let at = at.index(packet.len());
            packet[at] = byte;
        }
        check_replies(&packet);
    }
}

#[test]
fn options_that_repeat_to_the_end_of_the_packet_are_read_once() {
    for (code, length) in [(0, 0), (82, 0), (77, 1), (93, 2), (52, 1), (61, 255)] {
        let mut packet = Packet::request(1);
        packet.set(60, b"PXEClient".to_vec());
        packet.set(93, vec![0, 0]);
        while packet.bytes().len() + 2 + length <= PACKET_MAX {
            packet.add(code, vec![1; length]);
        }
        check_replies(&packet.bytes());
    }
}
