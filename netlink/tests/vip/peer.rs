//! The other machine of the cable, frame by frame: asks for the VIP in every protocol and hears what comes back.
//!
//! Each question about the VIP is followed by one about the node's own address: frames keep their order on a veth pair,
//! so that once the second is answered, the first never will be. Silence needs no waiting.

use std::io::Read;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use netlink::vip::MacAddress;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::bind;
use socket2::{Domain, Protocol, Socket, Type};

use crate::lab::{Lab, NODE, PATIENCE, PEER, Side, VIP};

const EVERY_PROTOCOL: u16 = 0x0003;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// A raw socket in the peer's namespace.
pub(crate) struct Peer {
    socket: Socket,
    own: MacAddress,
    node: MacAddress,
}

/// What the VIP answered to.
#[derive(Debug, PartialEq, Eq, Clone, Copy, Default)]
pub(crate) struct Answers {
    pub(crate) arp: bool,
    pub(crate) ip: bool,
}

impl Answers {
    pub(crate) const NONE: Self = Self { arp: false, ip: false };
    pub(crate) const ALL: Self = Self { arp: true, ip: true };
}

impl Peer {
    pub(crate) fn new(lab: &Lab) -> Self {
        let socket = lab.on(Side::Peer, || {
            let protocol = Protocol::from(i32::from(EVERY_PROTOCOL.to_be()));
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).expect("a packet socket");
            let address = getifaddrs()
                .expect("interfaces")
                .filter(|entry| entry.interface_name == "lan")
                .find_map(|entry| entry.address?.as_link_addr().copied())
                .expect("lan is there");
            bind(socket.as_raw_fd(), &address).expect("bound");
            socket
        });
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        Self { socket, own: lab.mac(Side::Peer), node: lab.mac(Side::Node) }
    }

    /// Asks for the VIP by ARP, ICMP, UDP and TCP, and returns what was answered from it.
    pub(crate) fn ask(&self) -> Answers {
        let echo = [&[8, 0, 0, 0, 0, 1, 0, 1][..], b"raftboot"].concat();
        // To ports where nobody listens: the kernel itself answers, with an ICMP error and with RST.
        let udp = [9, 9, 0, 9, 0, 8, 0, 0].to_vec();
        let syn = [9, 9, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0x20, 0, 0, 0, 0, 0].to_vec();
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            self.forget();
            self.send(&self.arp_request(VIP));
            self.send(&self.ip_packet(VIP, ICMP, echo.clone()));
            self.send(&self.ip_packet(VIP, UDP, udp.clone()));
            self.send(&self.ip_packet(VIP, TCP, syn.clone()));
            self.send(&self.arp_request(NODE));
            self.send(&self.ip_packet(NODE, ICMP, echo.clone()));
            if let Some(answers) = self.listen() {
                return answers;
            }
        }
        panic!("the node's own address does not answer");
    }

    /// Collects what comes from the VIP until the node has answered for its own address; nothing on a timeout.
    fn listen(&self) -> Option<Answers> {
        let mut answers = Answers::default();
        let (mut arp_seen, mut ip_seen) = (false, false);
        while !(arp_seen && ip_seen) {
            let frame = self.receive()?;
            match sender(&frame, self.node)? {
                (0x0806, VIP) => answers.arp = true,
                (0x0800, VIP) => answers.ip = true,
                (0x0806, NODE) => arp_seen |= frame.get(20..22) == Some(&[0, 2]),
                (0x0800, NODE) => ip_seen = true,
                _ => {}
            }
        }
        Some(answers)
    }

    /// The ARP frames with the VIP as sender that the node sent before `last`, the answer to a request for its own
    /// address.
    pub(crate) fn heard_announcements(&self) -> Vec<Vec<u8>> {
        let mut heard = Vec::new();
        self.send(&self.arp_request(NODE));
        loop {
            let frame = self.receive().expect("the node answers for its own address");
            match sender(&frame, self.node) {
                Some((0x0806, VIP)) => heard.push(frame),
                Some((0x0806, NODE)) if frame.get(20..22) == Some(&[0, 2]) => return heard,
                _ => {}
            }
        }
    }

    /// Claims the VIP with a gratuitous ARP from that Ethernet address.
    pub(crate) fn claim(&self, mac: MacAddress) {
        self.send(&arp_frame(mac, VIP, VIP));
    }

    fn arp_request(&self, target: Ipv4Addr) -> Vec<u8> {
        arp_frame(self.own, PEER, target)
    }

    fn ip_packet(&self, target: Ipv4Addr, protocol: u8, mut payload: Vec<u8>) -> Vec<u8> {
        let addresses = [PEER.octets(), target.octets()].concat();
        let length = u16::try_from(payload.len()).expect("a short packet");
        let pseudo = [&addresses[..], &[0, protocol], &length.to_be_bytes()].concat();
        let (offset, covered) = match protocol {
            ICMP => (2, payload.clone()),
            TCP => (16, [&pseudo[..], &payload].concat()),
            _ => (6, [&pseudo[..], &payload].concat()),
        };
        payload[offset..offset + 2].copy_from_slice(&checksum(&covered).to_be_bytes());
        let mut header = [&[0x45, 0][..], &(20 + length).to_be_bytes(), &[0, 0, 0x40, 0, 64, protocol, 0, 0]].concat();
        header.extend(addresses);
        let sum = checksum(&header).to_be_bytes();
        header[10..12].copy_from_slice(&sum);
        [&self.node.0[..], &self.own.0, &[8, 0], &header, &payload].concat()
    }

    fn send(&self, frame: &[u8]) {
        self.socket.send(frame).expect("the cable takes it");
    }

    /// Drops what came before the question.
    fn forget(&self) {
        self.socket.set_nonblocking(true).expect("a socket option");
        while self.receive().is_some() {}
        self.socket.set_nonblocking(false).expect("a socket option");
    }

    fn receive(&self) -> Option<Vec<u8>> {
        let mut frame = vec![0; 2048];
        let length = (&self.socket).read(&mut frame).ok()?;
        frame.truncate(length);
        Some(frame)
    }
}

/// EtherType and sender address of a frame, if the node sent it.
fn sender(frame: &[u8], node: MacAddress) -> Option<(u16, Ipv4Addr)> {
    let ethertype = u16::from_be_bytes(frame.get(12..14)?.try_into().ok()?);
    let offset = match ethertype {
        0x0806 => 28,
        0x0800 => 26,
        _ => return Some((ethertype, Ipv4Addr::UNSPECIFIED)),
    };
    let address = <[u8; 4]>::try_from(frame.get(offset..offset + 4)?).ok()?;
    let from_node = frame.get(6..12)? == node.0;
    Some((ethertype, if from_node { Ipv4Addr::from(address) } else { Ipv4Addr::UNSPECIFIED }))
}

fn arp_frame(mac: MacAddress, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let head = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    [&head[..], &mac.0, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &mac.0, &sender.octets(), &[0; 6], &target.octets()].concat()
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded twice")
}
