//! UDP sockets that know which of our addresses was asked, and answer from it.

use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;

use super::options::MTU_DEFAULT;

/// Room for packets not yet read, in bytes; the kernel may give less.
const RECEIVE_BUFFER_BYTES: usize = 1024 * 1024;
/// Room for packets not yet sent, in bytes; the kernel may give less.
const SEND_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Longest wait for room to send. What finds none is lost, as packets are.
const SEND_WAIT_MAX: Duration = Duration::from_millis(100);
/// Most bytes of one segmented send: what an IP packet can describe, less headers.
const SEGMENTED_BYTES_MAX: usize = 65_000;
/// Most packets of one segmented send (the kernel's UDP_MAX_SEGMENTS).
const SEGMENTS_MAX: usize = 64;
/// Times segmentation offload may fail before it is left off.
const OFFLOAD_FAILURES_MAX: u32 = 16;
/// How long a link's MTU is believed.
const MTU_KNOWN_FOR: Duration = Duration::from_secs(10);
/// Links whose MTU is kept.
const LINKS_MAX: usize = 256;

/// Sockets that are bound but not served yet.
#[derive(Debug)]
pub struct Sockets {
    bound: Vec<(UdpSocket, UdpSocketState, SocketAddr)>,
}

/// A TFTP address that cannot be bound: what, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program has the port.
    #[error(
        "cannot serve TFTP on udp {0}: the port is in use; stop the other TFTP server (often dnsmasq or tftpd-hpa; \
         `ss -lunp` names it), or give raftboot another address"
    )]
    InUse(SocketAddr, #[source] io::Error),
    /// Ports below 1024 need a privilege.
    #[error(
        "cannot serve TFTP on udp {0}: not allowed; run as root or give the process CAP_NET_BIND_SERVICE \
         (`AmbientCapabilities=` in its systemd unit)"
    )]
    NotAllowed(SocketAddr, #[source] io::Error),
    /// The address is not this machine's.
    #[error("cannot serve TFTP on udp {0}: this machine does not have the address; `ip address` lists those it has")]
    NoSuchAddress(SocketAddr, #[source] io::Error),
    /// Anything else the kernel says.
    #[error("cannot serve TFTP on udp {0}")]
    Other(SocketAddr, #[source] io::Error),
}

impl BindError {
    fn new(address: SocketAddr, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::InUse(address, error),
            io::ErrorKind::PermissionDenied => Self::NotAllowed(address, error),
            io::ErrorKind::AddrNotAvailable => Self::NoSuchAddress(address, error),
            _ => Self::Other(address, error),
        }
    }
}

impl Sockets {
    /// Binds all addresses; wildcards serve every address of their family, floating ones included. Packets wait in the
    /// sockets until [`super::run`].
    ///
    /// # Errors
    /// [`BindError`] for the first address that cannot be had; none stays bound then.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, BindError> {
        let bind = |address: &SocketAddr| {
            let (socket, state) = bind_one(*address).map_err(|error| BindError::new(*address, error))?;
            let local = socket.local_addr().unwrap_or(*address);
            Ok((socket, state, local))
        };
        let bound = addresses.iter().map(bind).collect::<Result<_, _>>()?;
        Ok(Self { bound })
    }

    /// The bound addresses, with the port the kernel chose where 0 was asked for.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.bound.iter().map(|(_, _, address)| *address).collect()
    }

    /// Hands the sockets to the async runtime this is called in.
    ///
    /// # Errors
    /// The runtime cannot watch a socket.
    pub(super) fn into_ports(self) -> io::Result<Vec<Port>> {
        let port = |(socket, state, _)| {
            Ok(Port {
                socket: tokio::net::UdpSocket::from_std(socket)?,
                state,
                offload_failures: 0,
                links: HashMap::new(),
            })
        };
        self.bound.into_iter().map(port).collect()
    }
}

fn bind_one(address: SocketAddr) -> io::Result<(UdpSocket, UdpSocketState)> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // Each family has its own socket, so that addresses look the same everywhere.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    // Larger buffers are a wish: the kernel caps them silently.
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(&address.into())?;
    let socket = UdpSocket::from(socket);
    let state = prepare(&socket, address.is_ipv6())?;
    Ok((socket, state))
}

/// Asks the kernel for destination addresses and offloads. Leaves "don't fragment" off, which `quinn-udp` sets: some ROMs
/// cannot take it, and a path narrower than our link would swallow every block.
fn prepare(socket: impl std::os::fd::AsFd, is_v6: bool) -> io::Result<UdpSocketState> {
    let state = UdpSocketState::new((&socket).into())?;
    if is_v6 {
        set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::DONT)?;
    } else {
        set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DONT)?;
    }
    Ok(state)
}

/// One socket in service.
#[derive(Debug)]
pub(super) struct Port {
    socket: tokio::net::UdpSocket,
    state: UdpSocketState,
    offload_failures: u32,
    /// MTU by interface index, and when it was read.
    links: HashMap<u32, (Instant, u32)>,
}

/// The two ends of an exchange: the client, and our address it asked.
pub(super) type Ends = (SocketAddr, IpAddr);

impl Port {
    /// Waits for packets; how many of `metas` are filled.
    pub(super) async fn receive(&self, buffers: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> io::Result<usize> {
        let receive = || self.state.recv((&self.socket).into(), buffers, metas);
        self.socket.async_io(Interest::READABLE, receive).await
    }

    /// Sends one packet.
    pub(super) async fn send(&mut self, ends: Ends, packet: &[u8]) -> io::Result<()> {
        let sent = self.transmit(ends, packet, None).await;
        self.recover(sent)
    }

    /// Sends packets of `length` bytes each, the last maybe shorter, lying one behind the other.
    pub(super) async fn send_many(&mut self, ends: Ends, packets: &[u8], length: usize) -> io::Result<()> {
        let segments = self.state.max_gso_segments().min(SEGMENTS_MAX).min(SEGMENTED_BYTES_MAX / length);
        if segments > 1 && packets.len() > length {
            for batch in packets.chunks(segments * length) {
                if self.transmit(ends, batch, Some(length)).await.is_ok() {
                    continue;
                }
                // Not every link can cut packets for us; then we do. An address that is gone fails here as well.
                for packet in batch.chunks(length) {
                    self.send(ends, packet).await?;
                }
                self.offload_failures += 1;
            }
            return Ok(());
        }
        for packet in packets.chunks(length) {
            self.send(ends, packet).await?;
        }
        Ok(())
    }

    /// The MTU of an interface, in bytes.
    pub(super) fn mtu(&mut self, interface: Option<u32>, now: Instant) -> u32 {
        let Some(index) = interface else {
            return MTU_DEFAULT;
        };
        if let Some((read_at, mtu)) = self.links.get(&index)
            && now.saturating_duration_since(*read_at) < MTU_KNOWN_FOR
        {
            return *mtu;
        }
        let mtu = read_mtu(&self.socket, index).unwrap_or(MTU_DEFAULT);
        if self.links.len() >= LINKS_MAX {
            self.links.clear();
        }
        self.links.insert(index, (now, mtu));
        mtu
    }

    async fn transmit(&self, (to, from): Ends, contents: &[u8], segment_size: Option<usize>) -> io::Result<()> {
        let transmit = Transmit { destination: to, ecn: None, contents, segment_size, src_ip: Some(from) };
        let send = || self.state.try_send((&self.socket).into(), &transmit);
        match self.socket.try_io(Interest::WRITABLE, send) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let room = self.socket.async_io(Interest::WRITABLE, send);
                tokio::time::timeout(SEND_WAIT_MAX, room).await?
            }
            other => other,
        }
    }

    /// A refused source address looks to `quinn-udp` like a kernel without offloads, which it then leaves off for good.
    /// The address is the one that is gone, so start afresh, unless the offload itself keeps failing.
    fn recover(&mut self, sent: io::Result<()>) -> io::Result<()> {
        let is_invalid = |error: &io::Error| error.kind() == io::ErrorKind::InvalidInput;
        if sent.as_ref().is_err_and(is_invalid) && self.offload_failures < OFFLOAD_FAILURES_MAX {
            let is_v6 = self.socket.local_addr().is_ok_and(|address| address.is_ipv6());
            if let Ok(fresh) = prepare(&self.socket, is_v6) {
                self.state = fresh;
            }
        }
        sent
    }
}

fn read_mtu(socket: &tokio::net::UdpSocket, index: u32) -> Option<u32> {
    let name = rustix::net::netdevice::index_to_name(socket, index).ok()?;
    let text = std::fs::read_to_string(format!("/sys/class/net/{name}/mtu")).ok()?;
    text.trim().parse().ok()
}
