//! The observer's frames as bytes: what it asks with, and which answer a received frame is.

use crate::mac::Mac;
use std::net::Ipv4Addr;

/// An answer as the wire shows it: over which path, to which of the marks a probe carried, from whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// What was asked.
    pub path: Path,
    /// What the probe carried and the answer repeats: the last byte of the asking address for ARP, else the source port.
    pub mark: u16,
    /// The Ethernet address the answer came from.
    pub who: Mac,
    /// What a TCP answer acknowledges; 0 otherwise.
    pub acknowledged: u32,
    /// The address that was asked from.
    pub asked_from: Ipv4Addr,
}

/// What a probe asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Path {
    /// Who has the address (RFC 826).
    Arp,
    /// A datagram to a service's port.
    Udp,
    /// A SYN to a service's port.
    Tcp,
}

impl Path {
    /// Each once.
    pub const ALL: [Self; 3] = [Self::Arp, Self::Udp, Self::Tcp];
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const ETHERNET_BYTES: usize = 14;
const IPV4_BYTES: usize = 20;
const TCP_BYTES: u16 = 20;

/// Both ends of a probe over IP.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// The prober's Ethernet address.
    pub from_mac: Mac,
    /// The node the frame is for, whoever holds the address.
    pub to_mac: Mac,
    /// The prober.
    pub from: Ipv4Addr,
    /// The address under test.
    pub to: Ipv4Addr,
    /// Marks the probe.
    pub from_port: u16,
    /// The service.
    pub to_port: u16,
}

impl Ends {
    fn ethernet(&self) -> Vec<u8> {
        ethernet(self.to_mac, self.from_mac, ETHERTYPE_IPV4)
    }
}

fn ethernet(to: Mac, from: Mac, kind: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(128);
    frame.extend(to.0);
    frame.extend(from.0);
    frame.extend(kind.to_be_bytes());
    frame
}

/// "Who has `target`? Tell `sender`" to everybody.
#[must_use]
pub(super) fn who_has(from_mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet(Mac::BROADCAST, from_mac, ETHERTYPE_ARP);
    // Ethernet, IPv4, their address lengths, request.
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(from_mac.0);
    frame.extend(sender.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

/// One UDP datagram.
#[must_use]
pub(super) fn datagram(ends: &Ends, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).expect("a probe is a few bytes");
    let mut segment = Vec::with_capacity(usize::from(length));
    segment.extend(ends.from_port.to_be_bytes());
    segment.extend(ends.to_port.to_be_bytes());
    segment.extend(length.to_be_bytes());
    segment.extend([0, 0]);
    segment.extend(payload);
    seal(ends, PROTOCOL_UDP, segment, 6)
}

/// A SYN with `sequence` as its first number.
#[must_use]
pub(super) fn syn(ends: &Ends, sequence: u32) -> Vec<u8> {
    seal(ends, PROTOCOL_TCP, tcp(ends, sequence, SYN), 16)
}

/// The RST that ends what [`syn`] opened, so that the server keeps nothing and repeats nothing.
#[must_use]
pub(super) fn rst(ends: &Ends, sequence: u32) -> Vec<u8> {
    seal(ends, PROTOCOL_TCP, tcp(ends, sequence, RST), 16)
}

fn tcp(ends: &Ends, sequence: u32, flags: u8) -> Vec<u8> {
    let mut segment = Vec::with_capacity(usize::from(TCP_BYTES));
    segment.extend(ends.from_port.to_be_bytes());
    segment.extend(ends.to_port.to_be_bytes());
    segment.extend(sequence.to_be_bytes());
    segment.extend([0; 4]);
    // Five words of header, then flags, window, checksum, no urgent data.
    segment.extend([5 << 4, flags, 0x10, 0, 0, 0, 0, 0]);
    segment
}

/// Puts the checksum into the segment and the headers before it.
fn seal(ends: &Ends, protocol: u8, mut segment: Vec<u8>, checksum_at: usize) -> Vec<u8> {
    let length = u16::try_from(segment.len()).expect("a probe is a few bytes");
    let mut pseudo = Vec::with_capacity(12 + segment.len());
    pseudo.extend(ends.from.octets());
    pseudo.extend(ends.to.octets());
    pseudo.extend([0, protocol]);
    pseudo.extend(length.to_be_bytes());
    pseudo.extend(&segment);
    segment[checksum_at..checksum_at + 2].copy_from_slice(&checksum(&pseudo).to_be_bytes());
    let total = u16::try_from(IPV4_BYTES).expect("20 fits") + length;
    let mut header = vec![0x45, 0];
    header.extend(total.to_be_bytes());
    // No identification, do not fragment, a time to live of 64.
    header.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    header.extend(ends.from.octets());
    header.extend(ends.to.octets());
    let sum = checksum(&header).to_be_bytes();
    header[10..12].copy_from_slice(&sum);
    let mut frame = ends.ethernet();
    frame.extend(header);
    frame.extend(segment);
    frame
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // 0xffff stands for zero in UDP, and for the same in ones' complement elsewhere.
    match !u16::try_from(sum).expect("folded to 16 bits") {
        0 => 0xffff,
        other => other,
    }
}

/// What a received frame answers, when it speaks for `vip` and is not the prober's own.
#[must_use]
pub(super) fn heard(frame: &[u8], vip: Ipv4Addr, own: Mac) -> Option<Heard> {
    let who = Mac(frame.get(6..12)?.try_into().ok()?);
    if who == own {
        return None;
    }
    let body = frame.get(ETHERNET_BYTES..)?;
    match u16::from_be_bytes(frame.get(12..14)?.try_into().ok()?) {
        ETHERTYPE_ARP => heard_arp(body, vip, who),
        ETHERTYPE_IPV4 => heard_ip(body, vip, who),
        _ => None,
    }
}

/// Who announces `vip` with this frame, if it is an announcement.
#[must_use]
pub(super) fn announced(frame: &[u8], vip: Ipv4Addr) -> Option<Mac> {
    let body = frame.get(ETHERNET_BYTES..)?;
    let is_request = frame.get(12..14)? == ETHERTYPE_ARP.to_be_bytes() && body.get(6..8)? == [0, 1];
    let same = body.get(14..18)? == vip.octets() && body.get(24..28)? == vip.octets();
    let who = Mac(frame.get(6..12)?.try_into().ok()?);
    (is_request && same).then_some(who)
}

fn heard_arp(body: &[u8], vip: Ipv4Addr, who: Mac) -> Option<Heard> {
    let reply = body.get(6..8)? == [0, 2];
    if !reply || body.get(14..18)? != vip.octets() {
        return None;
    }
    let asked_from: [u8; 4] = body.get(24..28)?.try_into().ok()?;
    let mark = u16::from(asked_from[3]);
    Some(Heard { path: Path::Arp, mark, who, acknowledged: 0, asked_from: asked_from.into() })
}

fn heard_ip(body: &[u8], vip: Ipv4Addr, who: Mac) -> Option<Heard> {
    if body.get(12..16)? != vip.octets() {
        return None;
    }
    let asked_from: [u8; 4] = body.get(16..20)?.try_into().ok()?;
    let segment = body.get(usize::from(body.first()? & 0x0f) * 4..)?;
    let mark = u16::from_be_bytes(segment.get(2..4)?.try_into().ok()?);
    let of = |path, acknowledged| Some(Heard { path, mark, who, acknowledged, asked_from: asked_from.into() });
    match *body.get(9)? {
        PROTOCOL_UDP => of(Path::Udp, 0),
        PROTOCOL_TCP if segment.get(13)? & (SYN | ACK) == SYN | ACK => {
            of(Path::Tcp, u32::from_be_bytes(segment.get(8..12)?.try_into().ok()?))
        }
        // A refusal is not the service: the address is there, what machines boot from is not.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIP: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 100);
    const OWN: Mac = Mac([2, 0x88, 0, 0, 0, 201]);
    const NODE: Mac = Mac([2, 0x88, 0, 0, 0, 2]);

    fn ends() -> Ends {
        Ends { from_mac: NODE, to_mac: OWN, from: VIP, to: Ipv4Addr::new(10, 88, 0, 160), from_port: 69, to_port: 2024 }
    }

    #[test]
    fn an_answer_names_path_mark_and_node() {
        let udp = heard(&datagram(&ends(), b"error"), VIP, OWN).unwrap();
        assert_eq!((udp.path, udp.mark, udp.who), (Path::Udp, 2024, NODE));
        let mut frame = who_has(NODE, VIP, Ipv4Addr::new(10, 88, 0, 226));
        frame[21] = 2;
        let arp = heard(&frame, VIP, OWN).unwrap();
        assert_eq!((arp.path, arp.mark, arp.who), (Path::Arp, 226, NODE));
    }

    #[test]
    fn only_a_completed_offer_of_a_connection_is_an_answer() {
        let mut frame = syn(&ends(), 7);
        let flags = ETHERNET_BYTES + IPV4_BYTES + 13;
        assert_eq!(heard(&frame, VIP, OWN), None, "a SYN is a question");
        frame[flags] = SYN | ACK;
        frame[flags - 5..flags - 1].copy_from_slice(&99_u32.to_be_bytes());
        let tcp = heard(&frame, VIP, OWN).unwrap();
        assert_eq!((tcp.path, tcp.mark, tcp.acknowledged), (Path::Tcp, 2024, 99));
        frame[flags] = RST | ACK;
        assert_eq!(heard(&frame, VIP, OWN), None, "a refusal is no service");
    }

    #[test]
    fn questions_others_addresses_own_and_cut_frames_are_no_answers() {
        let frame = datagram(&ends(), b"error");
        assert_eq!(heard(&frame, Ipv4Addr::new(10, 88, 0, 101), OWN), None);
        assert_eq!(heard(&frame, VIP, NODE), None, "its own");
        assert_eq!(heard(&who_has(NODE, VIP, VIP), VIP, OWN), None, "an announcement");
        assert_eq!(announced(&who_has(NODE, VIP, VIP), VIP), Some(NODE));
        assert_eq!(announced(&who_has(NODE, Ipv4Addr::new(10, 88, 0, 2), VIP), VIP), None, "a question");
        for length in 0..ETHERNET_BYTES + IPV4_BYTES + 4 {
            assert_eq!(heard(&frame[..length], VIP, OWN), None, "{length} bytes");
        }
    }

    #[test]
    fn checksums_cancel_out() {
        let frame = syn(&ends(), 1);
        assert_eq!(checksum(&frame[ETHERNET_BYTES..ETHERNET_BYTES + IPV4_BYTES]), 0xffff);
        let frame = datagram(&ends(), b"odd");
        let mut pseudo = frame[ETHERNET_BYTES + 12..ETHERNET_BYTES + 20].to_vec();
        pseudo.extend([0, PROTOCOL_UDP, 0, 11]);
        pseudo.extend(&frame[ETHERNET_BYTES + IPV4_BYTES..]);
        assert_eq!(checksum(&pseudo), 0xffff);
    }
}
