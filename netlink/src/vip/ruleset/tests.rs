//! The messages byte for byte, so that a new version of the encoder cannot change the fence unnoticed.

use netlink_packet_core::NetlinkSerializable;

use super::*;

const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 8, 7);

fn hex(message: &NetfilterMessage) -> (u16, String) {
    let mut bytes = vec![0; NetlinkSerializable::buffer_len(message)];
    message.serialize(&mut bytes);
    (message.message_type(), bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Attribute headers are in the host's order, their values in the network's: `nf_tables.h`.
#[cfg(target_endian = "little")]
#[test]
fn lease_messages_are_byte_exact() {
    // NFTA_SET_ELEM_LIST_TABLE "raftboot_vip", NFTA_SET_ELEM_LIST_SET "lease".
    const NAMES: &str = "11000100 72616674626f6f745f76697000 000000 0a000200 6c6561736500 0000";
    // …_ELEMENTS { NFTA_LIST_ELEM { NFTA_SET_ELEM_KEY { NFTA_DATA_VALUE 10.9.8.7 } NFTA_SET_ELEM_TIMEOUT 200 ms } }.
    const GRANTED: &str = "20000380 1c000180 0c000180 08000100 0a090807 0c000400 00000000000000c8";
    const NAMED: &str = "14000380 10000180 0c000180 08000100 0a090807";
    let ruleset = Ruleset::new("eth0", VIP);
    let [delete_ip, _, _, _, add_arp, add_netdev] = &ruleset.renew(Duration::from_millis(200))[..] else {
        panic!("delete and add in three families")
    };
    let withdraw = &withdraw(&FAMILIES)[0];
    let exclusive = NLM_F_CREATE | NLM_F_EXCL;
    for (name, step, kind, flags, expected) in [
        ("delete, ip", delete_ip, 0x0a0e, 0, ["02000000", NAMES, NAMED]),
        ("add, arp", add_arp, 0x0a0c, exclusive, ["03000000", NAMES, GRANTED]),
        ("add, netdev", add_netdev, 0x0a0c, exclusive, ["05000000", NAMES, GRANTED]),
        ("withdraw, ip", withdraw, 0x0a0e, 0, ["02000000", NAMES, ""]),
    ] {
        assert_eq!(hex(&step.message), (kind, expected.concat().replace(' ', "")), "{name}");
        assert_eq!(step.flags, flags, "{name}");
    }
}

#[test]
fn a_renewal_never_adds_before_it_has_deleted() {
    let kinds: Vec<_> = Ruleset::new("eth0", VIP)
        .renew(Duration::from_millis(200))
        .iter()
        .map(|step| (step.message.header.family, hex(&step.message).0))
        .collect();
    let of = |kind| FAMILIES.map(|family| (family, kind));
    assert_eq!(kinds, [of(0x0a0e), of(0x0a0c)].concat());
}

/// `ip saddr 10.9.8.7 ip saddr != @lease drop`.
#[cfg(target_endian = "little")]
#[test]
fn a_rule_is_byte_exact() {
    let rules = Ruleset::new("eth0", VIP).install();
    let rule = &rules[rules.len() - 5];
    let expected = [
        "02000000",
        "11000100 72616674626f6f745f76697000 000000 0b000200 6f757470757400 00",
        // NFTA_RULE_EXPRESSIONS
        "c4000480",
        // payload: destination register 1, network header, offset 12, 4 bytes
        "34000180 0c000100 7061796c6f616400 24000280 08000100 00000001 08000200 00000001 08000300 0000000c 08000400 00000004",
        // cmp: register 1 equals 10.9.8.7
        "2c000180 08000100 636d7000 20000280 08000100 00000001 08000200 00000000 0c000380 08000100 0a090807",
        // lookup: set lease, register 1, inverted
        "30000180 0b000100 6c6f6f6b757000 00 20000280 0a000100 6c6561736500 0000 08000200 00000001 08000500 00000001",
        // immediate: verdict register, NF_DROP
        "30000180 0e000100 696d6d65646961746500 0000 1c000280 08000100 00000000 10000280 0c000280 08000100 00000000",
    ];
    assert_eq!(hex(&rule.message), (0x0a06, expected.concat().replace(' ', "")));
}

/// Each chain alone already mutes its kind of packet, so that no test from outside would miss one.
#[test]
fn every_way_in_and_out_has_its_rule() {
    use NetfilterProtoFamily::{ARP, IPv4, NetDev};
    let equal = |offset| (offset, Operator::Equal);
    let expected = [
        (IPv4, "input", None, vec![equal(16)]),
        (IPv4, "output", None, vec![equal(12)]),
        (ARP, "input", None, vec![(14, Operator::NotEqual), equal(24)]),
        (ARP, "output", None, vec![equal(14)]),
        (NetDev, "egress", Some([8, 6]), vec![equal(14)]),
        (NetDev, "egress", Some([8, 0]), vec![equal(12)]),
    ];
    let built = Ruleset::new("eth0", VIP).install();
    let rules: Vec<_> = built.iter().filter(|step| hex(&step.message).0 == 0x0a06).collect();
    assert_eq!(rules.len(), expected.len());
    for (rule, (family, chain, protocol, matches)) in rules.into_iter().zip(expected) {
        let protocol = protocol.map_or_else(Vec::new, |ethertype| match_protocol(u16::from_be_bytes(ethertype)));
        let addresses = matches.into_iter().flat_map(|(offset, operator)| match_address(offset, operator, VIP));
        assert_eq!(
            *rule,
            new_rule(family, chain, protocol.into_iter().chain(addresses).collect()),
            "{family:?} {chain}"
        );
    }
}
