//! The raw socket for ARP: sends our announcements, receives what others claim.

use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::ifaddrs::getifaddrs;
use nix::libc;
use nix::sys::socket::{LinkAddr, bind};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::arp::{self, FRAME_BYTES, MacAddress};

const ETHERTYPE_ARP: u16 = 0x0806;
/// More than a padded ARP frame; what is longer is cut, for we need only its beginning.
const RECEIVE_BYTES: usize = 128;
/// Frames read in one go, so that a flood cannot keep the caller from its deadlines.
const FRAMES_MAX: usize = 64;

/// A raw socket on one interface that sees only ARP packets whose sender is the VIP.
#[derive(Debug)]
pub(super) struct ArpSocket {
    socket: Socket,
    address: Ipv4Addr,
}

impl ArpSocket {
    /// Opens the socket on that interface.
    pub(super) fn open(interface: &str, address: Ipv4Addr) -> io::Result<Self> {
        let protocol = Protocol::from(i32::from(ETHERTYPE_ARP.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(&only_from(address))?;
        bind(socket.as_raw_fd(), &link_address(interface)?)?;
        let mut socket = Self { socket, address };
        // Until it was bound, the socket heard every interface.
        while socket.read()?.is_some() {}
        Ok(socket)
    }

    /// Sends one frame.
    pub(super) fn send(&self, frame: &[u8; FRAME_BYTES]) -> io::Result<()> {
        self.socket.send(frame).map(drop)
    }

    /// The machines other than us that claimed the VIP since the last call.
    ///
    /// # Errors
    /// `ENETDOWN` once after the interface went down.
    pub(super) fn holders(&mut self, own: MacAddress) -> io::Result<Vec<MacAddress>> {
        let mut holders = Vec::new();
        for _ in 0..FRAMES_MAX {
            let Some(frame) = self.read()? else { break };
            holders.extend(arp::foreign_holder(&frame, own, self.address));
        }
        Ok(holders)
    }

    fn read(&mut self) -> io::Result<Option<[u8; RECEIVE_BYTES]>> {
        let mut frame = [0; RECEIVE_BYTES];
        match (&self.socket).read(&mut frame) {
            Ok(_) => Ok(Some(frame)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for ArpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The packet address of an interface. Its protocol is 0, which leaves the socket's own in force when binding.
fn link_address(interface: &str) -> io::Result<LinkAddr> {
    getifaddrs()?
        .filter(|entry| entry.interface_name == interface)
        .find_map(|entry| entry.address?.as_link_addr().copied())
        .filter(|address| address.protocol() == 0)
        .ok_or_else(|| io::Error::from(nix::errno::Errno::ENODEV))
}

/// A socket filter that lets ARP packets pass whose sender is `address`, except frames for other machines and VLANs,
/// which the kernel shows to packet sockets too.
fn only_from(address: Ipv4Addr) -> [SockFilter; 8] {
    /// `SKF_AD_OFF` and the ancillary data behind it.
    const ANCILLARY: u32 = u32::MAX - 0x1000 + 1;
    const PACKET_TYPE: u32 = ANCILLARY + 4;
    const VLAN_TAG_PRESENT: u32 = ANCILLARY + 48;
    const PACKET_OTHERHOST: u32 = 3;
    const SENDER_OFFSET: u32 = 28;
    const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, PACKET_TYPE),
        SockFilter::new(JUMP_EQUAL, 5, 0, PACKET_OTHERHOST),
        SockFilter::new(LOAD_BYTE, 0, 0, VLAN_TAG_PRESENT),
        SockFilter::new(JUMP_EQUAL, 0, 3, 0),
        SockFilter::new(LOAD_WORD, 0, 0, SENDER_OFFSET),
        SockFilter::new(JUMP_EQUAL, 0, 1, u32::from(address)),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}
