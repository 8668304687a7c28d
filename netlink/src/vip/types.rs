//! What callers say to the VIP and what they hear from it.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::MacAddress;

/// What the VIP is, and how its holder is muted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VipConfig {
    /// The interface that carries it, such as `eth0`.
    pub interface: String,
    /// The address itself.
    pub address: Ipv4Addr,
    /// What silences a holder that died or froze.
    pub fence: FenceKind,
    /// Directory for the record of an address we added; needed only where the kernel cannot mark addresses.
    pub run_dir: PathBuf,
}

/// What silences a holder that died or froze.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FenceKind {
    /// A table of nftables rules that drops the VIP unless its lease was renewed within milliseconds.
    Nftables,
    /// Nothing but the lifetime of the address, 1 s: for kernels without nftables, chosen explicitly.
    Lifetime,
}

/// What a renewal of the fence found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Renewed {
    /// It was open and stays open for the new timeout.
    Open,
    /// Its timeout had passed, so that it had closed; it stays closed.
    WasClosed,
}

/// What a refresh of the address found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Refreshed {
    /// It was there; its lifetime begins anew.
    Renewed,
    /// Somebody had deleted it, or its lifetime had passed; it is there again.
    WasMissing,
}

/// What this kernel can do for the fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FenceSupport {
    /// Whether our tables belong to our process, so that nobody else (`nft flush ruleset`) can change them (Linux 6.9).
    pub owned: bool,
}

/// What [`super::Vip::wait`] noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Event {
    /// Somebody else changed or deleted the fence, or its interface was created anew: release now, then
    /// [`super::Vip::reinstall_fence`].
    FenceTampered,
    /// The interface is down, lost its carrier or is gone.
    LinkDown,
    /// The interface is up and has carrier again.
    LinkUp,
    /// The VIP was on this machine and is not any more, and it was not us who removed it.
    AddressGone,
    /// Somebody else put the VIP on this machine; it is not ours to use or to remove.
    AddressTakenByOther,
    /// A machine with another Ethernet address claims the VIP, or answers our probe for it.
    ForeignHolder {
        /// The sender in its ARP packet.
        mac: MacAddress,
    },
    /// The kernel dropped notifications: compare what is with what should be.
    Overflow,
    /// A [`super::Waker`] asked for attention.
    Woken,
}
