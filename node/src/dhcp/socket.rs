//! The two UDP sockets: bound before anything starts, each knowing which address a packet was sent to.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::counters::Counters;
use super::decide::{Arrival, Port, Reply};
use super::own::OwnAddresses;

/// What the kernel may hand over at once: it may join several packets of one sender, up to the size of an IP packet.
pub(super) const RECEIVE_BUFFER_BYTES: usize = 65_536;

/// What the kernel keeps for us while we are busy: a rack that gets power sends hundreds of packets within a
/// millisecond, and the kernel's default was seen to drop the last hundred of 200. The kernel may grant less
/// (`net.core.rmem_max`).
const RECEIVE_QUEUE_BYTES: usize = 2 * 1024 * 1024;

/// What the kernel keeps of ours until it is sent. Packets to an address that does not answer wait there for seconds.
/// The kernel may grant less (`net.core.wmem_max`).
const SEND_QUEUE_BYTES: usize = 2 * 1024 * 1024;

/// The port "discard" (RFC 863), from which nothing comes.
const NOBODY_PORT: u16 = 9;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketConfig {
    /// The one interface to serve, such as `eth1`. Without it packets from every interface are answered.
    pub interface: Option<String>,
    /// Where clients look for servers, normally 67; `None` when another program on this node has that port.
    pub discover_port: Option<u16>,
    /// Where PXE clients ask for their boot file, normally 4011.
    pub boot_port: Option<u16>,
    /// Share the ports with another program that shares them too (SO_REUSEADDR): both hear broadcasts, but a
    /// unicast packet reaches only one of them.
    pub share_ports: bool,
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self { interface: None, discover_port: Some(67), boot_port: Some(4011), share_ports: false }
    }
}

/// Why a port could not be opened: what, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program has the port.
    #[error(
        "UDP port {port} is taken by another program, probably a DHCP server such as dnsmasq: find it with `ss -ulpn \
         'sport = :{port}'` and stop it, give it another interface, or switch our DHCP on this port off"
    )]
    InUse {
        /// The port.
        port: u16,
        /// What the kernel said.
        source: io::Error,
    },
    /// The port is privileged, and we are not.
    #[error(
        "no permission to open UDP port {port}: run as root, or grant the capability CAP_NET_BIND_SERVICE (systemd: \
         AmbientCapabilities=CAP_NET_BIND_SERVICE)"
    )]
    Permission {
        /// The port.
        port: u16,
        /// What the kernel said.
        source: io::Error,
    },
    /// The interface cannot be bound to.
    #[error(
        "cannot serve DHCP on interface {interface}: `ip link` lists the interfaces there are; binding to one needs \
         the capability CAP_NET_RAW on kernels before 5.7"
    )]
    Interface {
        /// The interface's name.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Anything else.
    #[error("cannot open UDP port {port} for DHCP")]
    Other {
        /// The port.
        port: u16,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The sockets, bound and silent until [`super::run`] is given them.
#[derive(Debug)]
pub struct Sockets {
    pub(super) discover: Option<PortSocket>,
    pub(super) boot: Option<PortSocket>,
    counters: Arc<Counters>,
}

impl Sockets {
    /// Opens the ports. Packets that arrive before [`super::run`] wait in the kernel.
    ///
    /// # Errors
    /// Says which port or interface failed and what an operator can do about it.
    pub fn bind(config: &SocketConfig) -> Result<Self, BindError> {
        let open = |port, number: Option<u16>| number.map(|number| PortSocket::bind(port, number, config)).transpose();
        Ok(Self {
            discover: open(Port::Discover, config.discover_port)?,
            boot: open(Port::Boot, config.boot_port)?,
            counters: Arc::default(),
        })
    }

    /// Where the sockets are bound: the port for discovery first, then the one for boot files.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let sockets = [&self.discover, &self.boot].into_iter().flatten();
        sockets.filter_map(|socket| socket.socket.local_addr().ok())
    }

    /// What the server counts; stays readable after [`super::run`] has taken the sockets.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }
}

/// One bound port.
#[derive(Debug)]
pub(super) struct PortSocket {
    port: Port,
    socket: std::net::UdpSocket,
    state: UdpSocketState,
    /// For replies to one address: those to everybody must not wait behind them.
    single: std::net::UdpSocket,
    single_state: UdpSocketState,
}

impl PortSocket {
    fn bind(port: Port, number: u16, config: &SocketConfig) -> Result<Self, BindError> {
        let other = |source| BindError::Other { port: number, source };
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).map_err(other)?;
        socket.set_broadcast(true).map_err(other)?;
        socket.set_recv_buffer_size(RECEIVE_QUEUE_BYTES).map_err(other)?;
        socket.set_send_buffer_size(SEND_QUEUE_BYTES).map_err(other)?;
        if config.share_ports {
            socket.set_reuse_address(true).map_err(other)?;
        }
        if let Some(interface) = &config.interface {
            socket
                .bind_device(Some(interface.as_bytes()))
                .map_err(|source| BindError::Interface { interface: interface.clone(), source })?;
        }
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, number));
        socket.bind(&address.into()).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { port: number, source },
            io::ErrorKind::PermissionDenied => BindError::Permission { port: number, source },
            _ => other(source),
        })?;
        let single = sender(&socket, config).map_err(other)?;
        let socket = std::net::UdpSocket::from(socket);
        let state = UdpSocketState::new(UdpSockRef::from(&socket)).map_err(other)?;
        let single_state = UdpSocketState::new(UdpSockRef::from(&single)).map_err(other)?;
        Ok(Self { port, socket, state, single, single_state })
    }

    /// Hands the socket to the runtime.
    pub(super) fn start(self) -> io::Result<Endpoint> {
        Ok(Endpoint {
            port: self.port,
            socket: UdpSocket::from_std(self.socket)?,
            state: self.state,
            single: UdpSocket::from_std(self.single)?,
            single_state: self.single_state,
            own: OwnAddresses::default(),
        })
    }
}

/// A second socket on the port of `receiver` that only sends. It is connected to where nothing comes from, so that it
/// is never given a packet. Sharing the port is allowed just for a moment: another program must not slip in.
fn sender(receiver: &Socket, config: &SocketConfig) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_broadcast(true)?;
    socket.set_send_buffer_size(SEND_QUEUE_BYTES)?;
    socket.set_reuse_address(true)?;
    receiver.set_reuse_address(true)?;
    let bound = receiver.local_addr().and_then(|address| socket.bind(&address));
    receiver.set_reuse_address(config.share_ports)?;
    bound?;
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, NOBODY_PORT));
    if socket.connect(&nobody.into()).is_err() {
        // Without loopback it would take packets from the receiver: one socket must do.
        return Ok(receiver.try_clone()?.into());
    }
    if let Some(interface) = &config.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    Ok(socket.into())
}

/// One port in service.
#[derive(Debug)]
pub(super) struct Endpoint {
    port: Port,
    socket: UdpSocket,
    state: UdpSocketState,
    single: UdpSocket,
    single_state: UdpSocketState,
    own: OwnAddresses,
}

impl Endpoint {
    /// Waits for packets; gives how they came and their bytes. Cancel-safe: nothing is read before it returns.
    pub(super) async fn receive<'a>(
        &mut self,
        buffer: &'a mut [u8],
    ) -> io::Result<(Option<Arrival>, impl Iterator<Item = &'a [u8]> + use<'a>)> {
        let mut meta = [RecvMeta::default()];
        self.socket
            .async_io(Interest::READABLE, || {
                let mut slices = [IoSliceMut::new(&mut *buffer)];
                let socket = UdpSockRef::from(&self.socket);
                self.state.recv(socket, &mut slices, &mut meta)
            })
            .await?;
        let [meta] = meta;
        let arrival = match (meta.addr, meta.dst_ip) {
            (SocketAddr::V4(source), Some(IpAddr::V4(asked))) => {
                let asked = self.own.contains(asked, Instant::now()).then_some(asked);
                Some(Arrival { port: self.port, asked, source })
            }
            _ => None,
        };
        // An empty datagram is one packet too, if only to be counted.
        let received = &buffer[..meta.len];
        let stride = meta.stride.max(1);
        let packets = (0..meta.len.max(1)).step_by(stride).map(move |at| &received[at..meta.len.min(at + stride)]);
        Ok((arrival, packets))
    }

    /// Sends a reply from the address it names. For a reply to everybody that address also chooses the interface
    /// (the kernel routes 255.255.255.255 by source), so it goes out where the address lives.
    ///
    /// # Errors
    /// What the kernel says; `WouldBlock` when its queue is full. Nobody waits for room: clients ask again.
    pub(super) fn send(&self, reply: &Reply) -> io::Result<()> {
        let transmit = Transmit {
            destination: SocketAddr::V4(reply.destination),
            ecn: None,
            contents: &reply.bytes,
            segment_size: None,
            src_ip: Some(IpAddr::V4(reply.source)),
        };
        let (socket, state) = if reply.destination.ip().is_broadcast() {
            (&self.socket, &self.state)
        } else {
            (&self.single, &self.single_state)
        };
        socket.try_io(Interest::WRITABLE, || state.try_send(UdpSockRef::from(socket), &transmit))
    }

    /// Waits until the runtime knows that both sockets can send.
    pub(super) async fn ready_to_send(&self) -> io::Result<()> {
        self.socket.writable().await?;
        self.single.writable().await
    }

    /// Where the socket is bound.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }
}
