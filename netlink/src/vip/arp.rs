//! The ARP packets of a VIP: announcements, the probe, and what a received packet says about other holders.

use std::fmt;
use std::net::Ipv4Addr;

/// An Ethernet header and an ARP packet for IPv4; the hardware pads it to 60 bytes.
pub(super) const FRAME_BYTES: usize = 42;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    const BROADCAST: Self = Self([0xff; 6]);
    const ZERO: Self = Self([0; 6]);
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operation {
    Request = 1,
    Reply = 2,
}

/// The announcement RFC 5227 §2.3 prefers: a broadcast request for our own address.
pub(super) fn announcement_request(mac: MacAddress, vip: Ipv4Addr) -> [u8; FRAME_BYTES] {
    frame(Operation::Request, mac, vip, MacAddress::ZERO, vip)
}

/// The same as a broadcast reply, for stacks that learn only from replies; Linux takes it as gratuitous only when the
/// target's hardware address equals the sender's (`arp_is_garp`).
pub(super) fn announcement_reply(mac: MacAddress, vip: Ipv4Addr) -> [u8; FRAME_BYTES] {
    frame(Operation::Reply, mac, vip, mac, vip)
}

/// The probe of RFC 5227 §2.1.1: asks who has the address without claiming it, so that no cache learns from it.
pub(super) fn probe(mac: MacAddress, vip: Ipv4Addr) -> [u8; FRAME_BYTES] {
    frame(Operation::Request, mac, Ipv4Addr::UNSPECIFIED, MacAddress::ZERO, vip)
}

/// The machine other than us that says, in this frame, that it has the VIP.
///
/// Any ARP packet counts whose sender address is the VIP, request or reply (RFC 5227 §2.4). A probe of another node has
/// no sender address and does not.
pub(super) fn foreign_holder(frame: &[u8], own: MacAddress, vip: Ipv4Addr) -> Option<MacAddress> {
    let packet = frame.get(14..FRAME_BYTES)?;
    let for_ethernet_and_ipv4 = packet.starts_with(&[0, 1, 8, 0, 6, 4]);
    let sender = MacAddress(packet.get(8..14)?.try_into().ok()?);
    (frame.get(12..14)? == [8, 6] && for_ethernet_and_ipv4 && packet.get(14..18)? == vip.octets() && sender != own)
        .then_some(sender)
}

fn frame(
    operation: Operation,
    sender: MacAddress,
    sender_ip: Ipv4Addr,
    target: MacAddress,
    target_ip: Ipv4Addr,
) -> [u8; FRAME_BYTES] {
    let mut frame = [0; FRAME_BYTES];
    frame[0..6].copy_from_slice(&MacAddress::BROADCAST.0);
    frame[6..12].copy_from_slice(&sender.0);
    // EtherType ARP; then hardware Ethernet, protocol IPv4, their address lengths (RFC 826).
    frame[12..20].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4]);
    frame[20..22].copy_from_slice(&(operation as u16).to_be_bytes());
    frame[22..28].copy_from_slice(&sender.0);
    frame[28..32].copy_from_slice(&sender_ip.octets());
    frame[32..38].copy_from_slice(&target.0);
    frame[38..42].copy_from_slice(&target_ip.octets());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: MacAddress = MacAddress([0x02, 0, 0, 0, 0, 0x0a]);
    const THEIRS: MacAddress = MacAddress([0x02, 0, 0, 0, 0, 0x0b]);
    const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 8, 7);

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn frames_are_byte_exact() {
        let cases = [
            (
                "request form: THA zero, TPA = SPA",
                announcement_request(OURS, VIP),
                ["ffffffffffff02000000000a0806", "0001080006040001", "02000000000a0a090807", "0000000000000a090807"],
            ),
            (
                "reply form: THA = SHA, TPA = SPA",
                announcement_reply(OURS, VIP),
                ["ffffffffffff02000000000a0806", "0001080006040002", "02000000000a0a090807", "02000000000a0a090807"],
            ),
            (
                "probe: SPA zero",
                probe(OURS, VIP),
                ["ffffffffffff02000000000a0806", "0001080006040001", "02000000000a00000000", "0000000000000a090807"],
            ),
        ];
        for (name, frame, expected) in cases {
            assert_eq!(hex(&frame), expected.concat(), "{name}");
        }
    }

    #[test]
    fn a_foreign_holder_is_whoever_sends_with_the_vip() {
        let other_ip = Ipv4Addr::new(10, 9, 8, 8);
        let mut padded = announcement_reply(THEIRS, VIP).to_vec();
        padded.resize(60, 0);
        let mut not_arp = announcement_request(THEIRS, VIP);
        not_arp[13] = 0;
        let mut not_ethernet = announcement_request(THEIRS, VIP);
        not_ethernet[15] = 6;
        let cases: [(&str, Vec<u8>, Option<MacAddress>); 9] = [
            ("their announcement", announcement_request(THEIRS, VIP).to_vec(), Some(THEIRS)),
            ("their answer, padded", padded, Some(THEIRS)),
            (
                "their question with the VIP as sender",
                frame(Operation::Request, THEIRS, VIP, MacAddress::ZERO, other_ip).to_vec(),
                Some(THEIRS),
            ),
            ("our own announcement, looped back", announcement_request(OURS, VIP).to_vec(), None),
            ("their probe", probe(THEIRS, VIP).to_vec(), None),
            ("another address", announcement_request(THEIRS, other_ip).to_vec(), None),
            ("another EtherType", not_arp.to_vec(), None),
            ("another hardware type", not_ethernet.to_vec(), None),
            ("a cut frame", announcement_request(THEIRS, VIP)[..41].to_vec(), None),
        ];
        for (name, frame, expected) in cases {
            assert_eq!(foreign_holder(&frame, OURS, VIP), expected, "{name}");
        }
    }

    #[test]
    fn an_ethernet_address_reads_as_usual() {
        assert_eq!(MacAddress([0, 0x1b, 0xff, 0x0a, 0, 1]).to_string(), "00:1b:ff:0a:00:01");
    }
}
