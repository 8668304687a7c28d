//! The address that moves between nodes: the mechanisms to hold, mute, announce and release it.
//!
//! Everything here is synchronous, blocks for at most a few milliseconds and is used from one thread that owns the
//! [`Vip`]. Whether to hold the address is decided elsewhere.
//!
//! The order that keeps a node honest: [`Vip::open`] (fence closed, leftovers removed) before any service binds; to
//! claim, [`Vip::add_address`], [`Vip::open_fence`], [`Vip::announce`]; to release, [`Vip::close_fence`], then
//! [`Vip::remove_address`].
//!
//! All transactions of nftables wait for each other: while another program loads tens of thousands of set elements, a
//! renewal waits too, and the fence may close. That is safe, and costs an interruption.

mod address;
mod arp;
mod error;
mod fence;
mod packet;
mod record;
mod ruleset;
mod socket;
mod types;
mod waker;
mod watch;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::time::{ClockId, clock_gettime};

pub use arp::MacAddress;
pub use error::VipError;
pub use types::{Event, FenceKind, FenceSupport, Refreshed, Renewed, VipConfig};
pub use waker::Waker;

use address::{Addresses, Owner};
use fence::Fence;
use packet::ArpSocket;
use ruleset::Ruleset;
use socket::NetlinkSocket;
use watch::Watch;

/// The shortest time a fence may be opened for. The kernel counts in ticks of up to 10 ms, and older ones take a timeout
/// that rounds to no tick at all as "never".
pub const FENCE_TIMEOUT_MIN: Duration = Duration::from_millis(20);

/// Datagrams read in one go, so that a flood of notifications cannot keep the caller from its deadlines; more than a
/// socket of the default size holds.
const DATAGRAMS_MAX: usize = 1024;

/// `RTNLGRP_LINK` and `RTNLGRP_IPV4_IFADDR`.
const ROUTE_GROUPS: [u32; 2] = [1, 5];
/// `NFNLGRP_NFTABLES`.
const NFTABLES_GROUPS: [u32; 1] = [7];

/// The VIP of this node: owns the sockets it is held with.
#[derive(Debug)]
pub struct Vip {
    config: VipConfig,
    fence: Option<Fence>,
    addresses: Addresses,
    arp: ArpSocket,
    /// The number of the interface that `arp` is bound to.
    arp_index: u32,
    route_watch: NetlinkSocket,
    nftables_watch: Option<NetlinkSocket>,
    watch: Watch,
    waker: Waker,
    /// Noticed outside of [`Vip::wait`]; sorted and without repetitions.
    pending: BTreeSet<Event>,
}

impl Vip {
    /// Opens the sockets, installs the fence closed in place of a dead process' one, and removes the address that a
    /// dead process left. An address that somebody else put there stays, and is the first event.
    ///
    /// To be called before any service binds.
    ///
    /// # Errors
    /// Without the interface, the rights ([`VipError::Permission`]) or what the fence needs of the kernel
    /// ([`VipError::FenceUnsupported`]); [`VipError::FenceOwnedByOther`] when a second process runs.
    pub fn open(config: VipConfig) -> Result<Self, VipError> {
        // Watching begins first, so that nothing happens between looking and watching.
        let subscribe = |protocol, groups: &[u32]| {
            NetlinkSocket::open(protocol, groups).map_err(|source| VipError::kernel("watching the kernel", source))
        };
        let route_watch = subscribe(NETLINK_ROUTE, &ROUTE_GROUPS)?;
        let mut addresses = Addresses::open(&config)?;
        let link = addresses.link(&config.interface)?;
        let (fence, nftables_watch) = match config.fence {
            FenceKind::Nftables => {
                let watch = subscribe(NETLINK_NETFILTER, &NFTABLES_GROUPS)?;
                (Some(Fence::install(Ruleset::new(&config.interface, config.address))?), Some(watch))
            }
            // A fence that another configuration left would stay closed for ever.
            FenceKind::Lifetime => (None, fence::remove_leftover_if_supported().map(|()| None)?),
        };
        addresses.remove(link.index)?;
        let pending = match addresses.owner(link.index)? {
            Owner::Other(_) => BTreeSet::from([Event::AddressTakenByOther]),
            Owner::Us | Owner::Nobody => BTreeSet::new(),
        };
        let arp = open_arp(&config)?;
        let watch = Watch {
            interface: config.interface.clone(),
            address: config.address,
            address_port: addresses.port(),
            fence_port: fence.as_ref().map(Fence::port),
            link: Some(link),
        };
        let waker = Waker::new().map_err(|source| VipError::kernel("an event descriptor", source))?;
        let arp_index = link.index;
        let mut vip =
            Self { config, fence, addresses, arp, arp_index, route_watch, nftables_watch, watch, waker, pending };
        vip.drain();
        Ok(vip)
    }

    /// Opens the closed fence for `timeout`, after which the kernel closes it by itself, never later. The kernel's clock
    /// for this stands still while the machine sleeps.
    ///
    /// # Errors
    /// [`VipError::FenceMissing`] when somebody deleted it; [`VipError::TimeoutTooShort`].
    pub fn open_fence(&mut self, timeout: Duration) -> Result<(), VipError> {
        let result = self.fence.as_mut().map_or(Ok(()), |fence| fence.open(timeout));
        self.drain();
        result
    }

    /// Keeps an open fence open for `timeout` from now; a fence that has closed stays closed.
    ///
    /// # Errors
    /// [`VipError::FenceMissing`] when somebody deleted or changed it: the node may not be muted.
    pub fn renew_fence(&mut self, timeout: Duration) -> Result<Renewed, VipError> {
        let result = self.fence.as_mut().map_or(Ok(Renewed::Open), |fence| fence.renew(timeout));
        self.drain();
        result
    }

    /// Closes the fence now, whether it is open or not.
    ///
    /// # Errors
    /// [`VipError::FenceMissing`] when somebody deleted it.
    pub fn close_fence(&mut self) -> Result<(), VipError> {
        let result = self.fence.as_mut().map_or(Ok(()), Fence::close);
        self.drain();
        result
    }

    /// Installs the fence anew, closed; also what follows an interface that was created anew.
    ///
    /// # Errors
    /// As [`Vip::open`].
    pub fn reinstall_fence(&mut self) -> Result<(), VipError> {
        let link = self.addresses.link(&self.config.interface)?;
        self.pending.extend(self.watch.link_is(Some(link)));
        self.drain();
        // What was noticed about the old fence is answered by a new one; what follows is about that.
        self.pending.remove(&Event::FenceTampered);
        let result = self.fence.as_mut().map_or(Ok(()), Fence::reinstall);
        self.drain();
        result
    }

    /// Adds the address with a lifetime of 2 s (1 s without a fence).
    ///
    /// # Errors
    /// [`VipError::AddressTaken`] when somebody else has put it on this machine.
    pub fn add_address(&mut self) -> Result<(), VipError> {
        let result = self.index().and_then(|index| self.addresses.add(index));
        self.drain();
        result
    }

    /// Renews the lifetime of the address, and adds it again when it is gone.
    ///
    /// # Errors
    /// As [`Vip::add_address`].
    pub fn refresh_address(&mut self) -> Result<Refreshed, VipError> {
        let result = self.index().and_then(|index| self.addresses.refresh(index));
        self.drain();
        result
    }

    /// Removes the address if it is there and ours.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove_address(&mut self) -> Result<(), VipError> {
        let index = self.watch.link.map_or(0, |link| link.index);
        let result = self.addresses.remove(index);
        self.drain();
        result
    }

    /// Tells every machine of the link that the VIP is here, by both forms of gratuitous ARP.
    ///
    /// # Errors
    /// When nothing could be sent: no carrier, or the fence is closed.
    pub fn announce(&mut self) -> Result<(), VipError> {
        let frames = [arp::announcement_request, arp::announcement_reply];
        frames
            .iter()
            .try_for_each(|frame| self.arp.send(&frame(self.mac(), self.config.address)))
            .map_err(|source| VipError::kernel("announcing the VIP", source))
    }

    /// Asks once whether anybody has the VIP; answers are [`Event::ForeignHolder`]. Works with a closed fence.
    ///
    /// # Errors
    /// When nothing could be sent: no carrier.
    pub fn probe(&mut self) -> Result<(), VipError> {
        let frame = arp::probe(self.mac(), self.config.address);
        self.arp.send(&frame).map_err(|source| VipError::kernel("probing for the VIP", source))
    }

    /// Whether the interface was up and had carrier when we last looked.
    #[must_use]
    pub fn carrier(&self) -> bool {
        self.watch.link.is_some_and(|link| link.carrier)
    }

    /// The Ethernet address of the interface; all zero while there is no such interface.
    #[must_use]
    pub fn mac(&self) -> MacAddress {
        self.watch.link.map_or(MacAddress([0; 6]), |link| link.mac)
    }

    /// Whether our tables belong to this process, so that nobody else can change them.
    #[must_use]
    pub fn fence_owned(&self) -> bool {
        self.fence.as_ref().is_some_and(Fence::owned)
    }

    /// Waits until something happens, for at most `timeout`. Each event appears once, the most urgent first; after
    /// [`Event::LinkDown`] and [`Event::LinkUp`] together, [`Vip::carrier`] says what holds now.
    ///
    /// # Errors
    /// When polling itself fails, which leaves only releasing the VIP.
    pub fn wait(&mut self, timeout: Duration) -> Result<Vec<Event>, VipError> {
        if self.pending.is_empty() {
            self.poll(timeout).map_err(|source| VipError::kernel("waiting for events", source))?;
        }
        self.drain();
        if self.waker.drain() {
            self.pending.insert(Event::Woken);
        }
        Ok(std::mem::take(&mut self.pending).into_iter().collect())
    }

    /// A handle by which another thread ends [`Vip::wait`].
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Closes the fence, removes our address, and only then our tables.
    ///
    /// # Errors
    /// The first step that failed; the tables stay when the address could not be removed.
    pub fn shutdown(mut self) -> Result<(), VipError> {
        let closed = self.close_fence();
        self.remove_address()?;
        self.fence.as_mut().map_or(Ok(()), Fence::remove)?;
        closed
    }

    fn index(&self) -> Result<u32, VipError> {
        let missing = || VipError::NoInterface { interface: self.config.interface.clone() };
        self.watch.link.map(|link| link.index).ok_or_else(missing)
    }

    fn poll(&self, timeout: Duration) -> io::Result<()> {
        let mut descriptors = vec![self.route_watch.as_fd(), self.arp.as_fd(), self.waker.as_fd()];
        descriptors.extend(self.nftables_watch.as_ref().map(AsFd::as_fd));
        let mut polled: Vec<_> = descriptors.into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match ppoll(&mut polled, Some(timeout.into()), None) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Reads all notifications, so that what we caused ourselves does not end the next wait.
    fn drain(&mut self) {
        self.drain_route();
        self.drain_nftables();
        self.follow_interface();
        // An error only says that the interface went down, which the link notification says too.
        let holders = self.arp.holders(self.mac()).unwrap_or_default();
        self.pending.extend(holders.into_iter().map(|mac| Event::ForeignHolder { mac }));
    }

    fn drain_route(&mut self) {
        for _ in 0..DATAGRAMS_MAX {
            match self.route_watch.receive() {
                Ok(Some(messages)) => {
                    self.pending.extend(messages.iter().flat_map(|message| self.watch.route(message)));
                }
                Ok(None) => break,
                Err(_) => self.route_overflow(),
            }
        }
    }

    fn drain_nftables(&mut self) {
        for _ in 0..DATAGRAMS_MAX {
            let Some(watch) = &mut self.nftables_watch else { break };
            match watch.receive() {
                Ok(Some(messages)) => {
                    self.pending.extend(messages.iter().filter_map(|message| self.watch.nftables(message)));
                }
                Ok(None) => break,
                Err(_) => self.nftables_overflow(),
            }
        }
    }

    /// An interface that was created anew needs a new packet socket; while that fails, the next call tries again.
    fn follow_interface(&mut self) {
        let Some(link) = self.watch.link.filter(|link| link.index != self.arp_index) else { return };
        if let Ok(arp) = open_arp(&self.config) {
            self.arp = arp;
            self.arp_index = link.index;
        }
    }

    /// Notifications about links or addresses were lost: looks at the link; the caller looks at the address.
    fn route_overflow(&mut self) {
        self.pending.insert(Event::Overflow);
        let link = self.addresses.link(&self.config.interface).ok();
        self.pending.extend(self.watch.link_is(link));
    }

    /// Notifications about nftables were lost: looks at the fence.
    fn nftables_overflow(&mut self) {
        self.pending.insert(Event::Overflow);
        if self.fence.as_mut().is_some_and(|fence| !fence.is_intact()) {
            self.pending.insert(Event::FenceTampered);
        }
    }
}

/// Time since boot, suspended time included: a jump beyond what was waited for means that the machine slept.
#[must_use]
pub fn boot_time() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has had CLOCK_BOOTTIME since 2.6.39").into()
}

/// Clears away what a killed process left: closes its fence, removes its address, then its tables.
///
/// # Errors
/// When the kernel refuses, or [`VipError::FenceOwnedByOther`] when the process still runs. Kernels without nftables
/// have no fence to clear.
pub fn clear(config: &VipConfig) -> Result<(), VipError> {
    fence::close_leftover()?;
    let mut addresses = Addresses::open(config)?;
    let index = addresses.link(&config.interface).map_or(0, |link| link.index);
    addresses.remove(index)?;
    fence::remove_leftover_if_supported()
}

/// The fence that is installed in this network namespace, whoever did so: each family with its chains and rules. Nothing
/// is changed.
///
/// # Errors
/// When the kernel is not asked: no right to.
pub fn fence_found() -> Result<Vec<(String, usize, usize)>, VipError> {
    fence::found()
}

/// Asks the kernel whether the fence would work on that interface, without installing anything.
///
/// # Errors
/// [`VipError::FenceUnsupported`] says what is missing.
pub fn fence_support(interface: &str) -> Result<FenceSupport, VipError> {
    // Linux 6.16 lets rules wait for an interface that does not exist yet.
    address::find_link(interface)?;
    fence::dry_run(interface).map(|owned| FenceSupport { owned })
}

fn open_arp(config: &VipConfig) -> Result<ArpSocket, VipError> {
    ArpSocket::open(&config.interface, config.address).map_err(|source| VipError::kernel("a packet socket", source))
}
