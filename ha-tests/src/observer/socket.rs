//! A packet socket on a host's `eth0`: frames out, frames in with the kernel's time of arrival.

use crate::mac::Mac;
use crate::netns;
use anyhow::{Context, Result};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::sockopt::{RcvBufForce, ReceiveTimeout, ReceiveTimestampns};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvmsg, send,
    setsockopt, socket,
};
use nix::sys::time::TimeVal;
use rustix::time::{ClockId, clock_gettime};
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Room for what arrives while the reading thread is not on a processor.
const BUFFER_BYTES: usize = 8 << 20;
/// How long a read waits, so that the reader sees when it should end.
const READ_MAX_MICROSECONDS: i64 = 50_000;
/// The longest frame looked at; answers are short.
const FRAME_BYTES_MAX: usize = 256;

/// The socket; every frame of the host, its own included, can be read from it.
pub(super) struct PacketSocket {
    descriptor: OwnedFd,
    /// The Ethernet address of `eth0`.
    pub(super) mac: Mac,
}

/// A frame and when the kernel received it.
pub(super) struct Frame {
    bytes: [u8; FRAME_BYTES_MAX],
    length: usize,
    /// On the monotonic clock.
    pub(super) at: Instant,
}

impl Frame {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl PacketSocket {
    /// Opens a socket in the namespace `netns`.
    pub(super) fn open(netns: &str) -> Result<Self> {
        netns::run_in(netns, || {
            let address = getifaddrs()
                .context("list interfaces")?
                .filter(|interface| interface.interface_name == "eth0")
                .find_map(|interface| interface.address.as_ref().and_then(|address| address.as_link_addr()).copied())
                .context("eth0 has no Ethernet address")?;
            let mac = Mac(address.addr().context("eth0 has no Ethernet address")?);
            let descriptor = open(&address)?;
            Ok(Self { descriptor, mac })
        })
    }

    /// Puts one frame on the wire; a full queue or a link that is down loses it, as a wire would.
    pub(super) fn send(&self, frame: &[u8]) {
        // A lost probe is an unanswered probe, which is what the verdict then says.
        let _ = send(self.descriptor.as_raw_fd(), frame, MsgFlags::MSG_DONTWAIT);
    }

    /// The next frame, or `None` when nothing came for a moment.
    pub(super) fn receive(&self) -> Result<Option<Frame>> {
        let mut bytes = [0; FRAME_BYTES_MAX];
        let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let read = recvmsg::<()>(self.descriptor.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty());
        let (length, stamp) = match read {
            Ok(message) => {
                let stamp = message.cmsgs().context("read a frame's time")?.find_map(|part| match part {
                    ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
                    _ => None,
                });
                (message.bytes, stamp)
            }
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return Ok(None),
            Err(error) => return Err(error).context("read frames"),
        };
        let at = arrival(stamp.context("the kernel gave a frame no time")?);
        Ok(Some(Frame { bytes, length: length.min(FRAME_BYTES_MAX), at }))
    }
}

fn open(address: &LinkAddr) -> Result<OwnedFd> {
    let descriptor = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
        .context("open a packet socket (this needs root)")?;
    setsockopt(&descriptor, ReceiveTimestampns, &true).context("ask for times of arrival")?;
    setsockopt(&descriptor, RcvBufForce, &BUFFER_BYTES).context("enlarge the receive buffer")?;
    let limit = TimeVal::new(0, READ_MAX_MICROSECONDS);
    setsockopt(&descriptor, ReceiveTimeout, &limit).context("limit how long a read waits")?;
    // The address of getifaddrs names the interface and protocol 0, which keeps the socket's own.
    bind(descriptor.as_raw_fd(), address).context("bind to eth0")?;
    Ok(descriptor)
}

/// The kernel stamps with the wall clock; going back from now makes steps of that clock harmless.
fn arrival(stamp: Duration) -> Instant {
    let wall = clock_gettime(ClockId::Realtime);
    let now = Instant::now();
    let wall = Duration::new(wall.tv_sec.try_into().unwrap_or(0), wall.tv_nsec.try_into().unwrap_or(0));
    now.checked_sub(wall.saturating_sub(stamp)).unwrap_or(now)
}
