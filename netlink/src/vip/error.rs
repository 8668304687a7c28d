//! Why the VIP could not be held, muted or released.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::FENCE_TIMEOUT_MIN;

/// Why the VIP could not be held, muted or released.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VipError {
    /// The interface does not exist.
    #[error("there is no interface {interface}; set `interface` to one that `ip link` lists")]
    NoInterface {
        /// Its name as configured.
        interface: String,
    },
    /// ARP does not work there.
    #[error("interface {interface} is not Ethernet, so that the VIP cannot be announced on it")]
    NotEthernet {
        /// Its name as configured.
        interface: String,
    },
    /// Somebody else put the VIP on this machine.
    #[error(
        "{address} is on this machine already (interface number {index}) and was not added by Raftboot; remove it \
         there, or choose another VIP"
    )]
    AddressTaken {
        /// The VIP.
        address: Ipv4Addr,
        /// The interface that has it.
        index: u32,
    },
    /// Our table is gone, so that nothing mutes this node.
    #[error("the fence is gone: somebody deleted or changed the nftables table raftboot_vip")]
    FenceMissing,
    /// The kernel cannot run the fence.
    #[error(
        "this kernel cannot fence the VIP: it has no nftables with {what}; load its modules (nf_tables, nft_chain_*), \
         or accept slower takeovers by choosing `fence = \"lifetime\"` explicitly"
    )]
    FenceUnsupported {
        /// What is missing.
        what: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Another live process owns our table.
    #[error("another process owns the nftables table raftboot_vip; is a second raftboot running?")]
    FenceOwnedByOther,
    /// The process may not do this.
    #[error("{what} needs CAP_NET_ADMIN and CAP_NET_RAW; run raftboot with these capabilities")]
    Permission {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A timeout that the kernel might round to "never".
    #[error("a fence cannot be opened for {timeout:?}, the least is {FENCE_TIMEOUT_MIN:?}")]
    TimeoutTooShort {
        /// What was asked for.
        timeout: Duration,
    },
    /// The record of an address in the run directory.
    #[error("cannot keep the record of the VIP in {path}")]
    Record {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Anything else the kernel refused.
    #[error("the kernel refused {what}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// Its answer.
        #[source]
        source: io::Error,
    },
}

impl VipError {
    /// Wraps a refusal, telling missing rights from everything else.
    pub(super) fn kernel(what: &'static str, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Permission { what, source },
            _ => Self::Kernel { what, source },
        }
    }
}
