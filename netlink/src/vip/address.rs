//! The VIP among the addresses of this machine: adds, renews and removes ours, never anybody else's.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NetlinkDeserializable, NetlinkHeader,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, CacheInfo};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;

use super::arp::MacAddress;
use super::record::Record;
use super::socket::{NetlinkSocket, Received};
use super::{FenceKind, Refreshed, VipConfig, VipError};

/// How we mark our address (`IFA_PROTO`, Linux 5.18): 'R'. Values below 4 are the kernel's; keepalived uses 0x12.
pub(super) const ADDRESS_PROTOCOL: AddressProtocol = AddressProtocol::Other(b'R');
/// The kernel removes the address of a dead holder after this time, in seconds; renewed every 500 ms.
const LIFETIME_SECONDS: u32 = 2;
/// Without a fence the lifetime is all that ends a dead holder's claim.
const LIFETIME_ALONE_SECONDS: u32 = 1;

/// The interface of the VIP as the kernel has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LinkState {
    /// Its number; a re-created interface has a new one.
    pub(super) index: u32,
    /// Its Ethernet address.
    pub(super) mac: MacAddress,
    /// Whether it is up and has carrier.
    pub(super) carrier: bool,
}

/// The VIP as it is found on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    index: u32,
    prefix: u8,
    protocol: Option<AddressProtocol>,
    /// Whether its lifetime ends.
    finite: bool,
}

/// Whose the VIP on this machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// It is not on this machine.
    Nobody,
    /// We added it.
    Us,
    /// Somebody else added it, on the interface of this number.
    Other(u32),
}

/// Changes the VIP's presence on its interface.
#[derive(Debug)]
pub(super) struct Addresses {
    socket: NetlinkSocket,
    address: Ipv4Addr,
    lifetime: u32,
    record: Record,
    /// Whether the kernel was seen to keep our mark.
    marks: bool,
}

impl Addresses {
    pub(super) fn open(config: &VipConfig) -> Result<Self, VipError> {
        let socket = open_socket()?;
        let lifetime = match config.fence {
            FenceKind::Nftables => LIFETIME_SECONDS,
            FenceKind::Lifetime => LIFETIME_ALONE_SECONDS,
        };
        let record = Record::new(&config.run_dir, &config.interface, config.address);
        Ok(Self { socket, address: config.address, lifetime, record, marks: false })
    }

    /// The port by which notifications name us.
    pub(super) const fn port(&self) -> u32 {
        self.socket.port()
    }

    /// The state of the interface of that name.
    pub(super) fn link(&mut self, name: &str) -> Result<LinkState, VipError> {
        link(&mut self.socket, name)
    }

    /// Whose the VIP is that is on this machine now.
    pub(super) fn owner(&mut self, index: u32) -> Result<Owner, VipError> {
        Ok(self.survey(index)?.0)
    }

    /// Adds the VIP unless somebody else has.
    pub(super) fn add(&mut self, index: u32) -> Result<(), VipError> {
        match self.owner(index)? {
            Owner::Other(index) => Err(VipError::AddressTaken { address: self.address, index }),
            Owner::Us => self.put(index, NLM_F_REPLACE),
            Owner::Nobody => self.put_new(index),
        }
    }

    /// Renews the lifetime; adds the VIP again when it was gone.
    pub(super) fn refresh(&mut self, index: u32) -> Result<Refreshed, VipError> {
        match self.owner(index)? {
            Owner::Other(index) => Err(VipError::AddressTaken { address: self.address, index }),
            Owner::Us => self.put(index, NLM_F_REPLACE).map(|()| Refreshed::Renewed),
            Owner::Nobody => self.put_new(index).map(|()| Refreshed::WasMissing),
        }
    }

    /// Removes the VIP if it is ours.
    pub(super) fn remove(&mut self, index: u32) -> Result<(), VipError> {
        let (_, ours) = self.survey(index)?;
        for found in ours {
            let message = RouteNetlinkMessage::DelAddress(self.message(found.index, found.prefix));
            match self.socket.request(message, NLM_F_ACK) {
                // Its lifetime ended, or its interface went, since we looked.
                Err(error) if is_any(&error, &[Errno::EADDRNOTAVAIL, Errno::ENODEV]) => {}
                other => drop(other.map_err(|source| VipError::kernel("removing the VIP", source))?),
            }
        }
        self.record.erase()
    }

    /// Looks the VIP up among all addresses of the machine: whose it is, and those that are ours.
    fn survey(&mut self, index: u32) -> Result<(Owner, Vec<Found>), VipError> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        let listed = self
            .socket
            .request(RouteNetlinkMessage::GetAddress(message), NLM_F_DUMP)
            .map_err(|source| VipError::kernel("listing addresses", source))?;
        let found: Vec<_> = listed.iter().filter_map(|message| find_vip(&decode(message)?, self.address)).collect();
        let recorded = self.record.exists();
        self.marks |= found.iter().any(|found| found.protocol == Some(ADDRESS_PROTOCOL));
        Ok((owner_of(&found, index, recorded), found.into_iter().filter(|found| is_ours(found, recorded)).collect()))
    }

    fn put_new(&mut self, index: u32) -> Result<(), VipError> {
        if !self.marks {
            // Before the address, so that there is none of ours without it; the mark makes it superfluous.
            self.record.write()?;
        }
        self.put(index, NLM_F_CREATE | NLM_F_EXCL)?;
        self.owner(index)?;
        if self.marks { self.record.erase() } else { Ok(()) }
    }

    fn put(&mut self, index: u32, flags: u16) -> Result<(), VipError> {
        let message = RouteNetlinkMessage::NewAddress(self.message(index, 32));
        match self.socket.request(message, NLM_F_ACK | flags) {
            Ok(_) => Ok(()),
            Err(error) if is_any(&error, &[Errno::EEXIST]) => {
                Err(VipError::AddressTaken { address: self.address, index })
            }
            Err(source) => Err(VipError::kernel("adding the VIP", source)),
        }
    }

    fn message(&self, index: u32, prefix: u8) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = prefix;
        message.header.index = index;
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_valid = self.lifetime;
        lifetime.ifa_preferred = self.lifetime;
        message.attributes = vec![
            AddressAttribute::Local(IpAddr::V4(self.address)),
            AddressAttribute::Address(IpAddr::V4(self.address)),
            AddressAttribute::Flags(AddressFlags::Noprefixroute),
            AddressAttribute::CacheInfo(lifetime),
            AddressAttribute::Protocol(ADDRESS_PROTOCOL),
        ];
        message
    }
}

/// The state of the interface of that name.
pub(super) fn find_link(name: &str) -> Result<LinkState, VipError> {
    link(&mut open_socket()?, name)
}

fn open_socket() -> Result<NetlinkSocket, VipError> {
    NetlinkSocket::open(NETLINK_ROUTE, &[]).map_err(|source| VipError::kernel("a route socket", source))
}

fn link(socket: &mut NetlinkSocket, name: &str) -> Result<LinkState, VipError> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    let answer = socket.request(RouteNetlinkMessage::GetLink(message), 0);
    let found = match answer {
        Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => None,
        other => {
            other.map_err(|source| VipError::kernel("reading the interface", source))?.iter().find_map(|message| {
                match decode(message) {
                    Some(RouteNetlinkMessage::NewLink(link)) => Some(link),
                    _ => None,
                }
            })
        }
    };
    let link = found.ok_or_else(|| VipError::NoInterface { interface: name.to_owned() })?;
    link_state(&link).ok_or_else(|| VipError::NotEthernet { interface: name.to_owned() })
}

/// Decodes a route message; nothing when this version of the decoder does not know its kind.
pub(super) fn decode(message: &Received) -> Option<RouteNetlinkMessage> {
    let mut header = NetlinkHeader::default();
    header.message_type = message.kind;
    RouteNetlinkMessage::deserialize(&header, &message.payload).ok()
}

/// What a link message says about an Ethernet interface.
pub(super) fn link_state(link: &LinkMessage) -> Option<LinkState> {
    // Loopback has an address of six octets too, and nobody to tell it to.
    if link.header.flags.contains(LinkFlags::Loopback) {
        return None;
    }
    let mac = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(address) => <[u8; 6]>::try_from(address.as_slice()).ok().map(MacAddress),
        _ => None,
    })?;
    let carrier = link.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp | LinkFlags::Running);
    Some(LinkState { index: link.header.index, mac, carrier })
}

/// The VIP in an address message, if that is what it is about.
fn find_vip(message: &RouteNetlinkMessage, vip: Ipv4Addr) -> Option<Found> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    is_about(message, vip).then(|| Found {
        index: message.header.index,
        prefix: message.header.prefix_len,
        protocol: message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Protocol(protocol) => Some(*protocol),
            _ => None,
        }),
        finite: message.attributes.iter().any(
            |attribute| matches!(attribute, AddressAttribute::CacheInfo(lifetime) if lifetime.ifa_valid != u32::MAX),
        ),
    })
}

/// Whether an address message is about the VIP.
pub(super) fn is_about(message: &AddressMessage, vip: Ipv4Addr) -> bool {
    message
        .attributes
        .iter()
        .any(|attribute| matches!(attribute, AddressAttribute::Local(IpAddr::V4(ip)) if *ip == vip))
}

/// Whether an address message carries our mark.
pub(super) fn is_marked(message: &AddressMessage) -> bool {
    message.attributes.contains(&AddressAttribute::Protocol(ADDRESS_PROTOCOL))
}

/// Whether we added it: it has our mark, or no mark at all, a lifetime that ends and a record of ours.
fn is_ours(found: &Found, recorded: bool) -> bool {
    match found.protocol {
        Some(protocol) => protocol == ADDRESS_PROTOCOL,
        None => recorded && found.finite && found.prefix == 32,
    }
}

/// Whose the VIP is, found on a machine where it belongs on the interface of that number.
fn owner_of(found: &[Found], index: u32, recorded: bool) -> Owner {
    if let Some(other) = found.iter().find(|found| !is_ours(found, recorded)) {
        return Owner::Other(other.index);
    }
    if found.iter().any(|found| found.index == index) { Owner::Us } else { Owner::Nobody }
}

fn is_any(error: &io::Error, errnos: &[Errno]) -> bool {
    errnos.iter().any(|errno| error.raw_os_error() == Some(*errno as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKED: Found = Found { index: 2, prefix: 32, protocol: Some(ADDRESS_PROTOCOL), finite: true };
    const UNMARKED: Found = Found { index: 2, prefix: 32, protocol: None, finite: true };
    const FOREVER: Found = Found { finite: false, ..UNMARKED };
    const KEEPALIVED: Found = Found { protocol: Some(AddressProtocol::Other(0x12)), ..MARKED };
    const ELSEWHERE: Found = Found { index: 3, ..MARKED };

    #[test]
    fn an_address_is_ours_only_by_mark_or_record() {
        let cases: [(&str, &[Found], bool, Owner); 9] = [
            ("none", &[], true, Owner::Nobody),
            ("marked", &[MARKED], false, Owner::Us),
            ("unmarked", &[UNMARKED], false, Owner::Other(2)),
            ("unmarked and recorded", &[UNMARKED], true, Owner::Us),
            ("an administrator's, beside a stale record", &[FOREVER], true, Owner::Other(2)),
            ("another prefix, beside a stale record", &[Found { prefix: 24, ..UNMARKED }], true, Owner::Other(2)),
            ("another program's mark", &[KEEPALIVED], true, Owner::Other(2)),
            ("ours and somebody else's", &[MARKED, FOREVER], false, Owner::Other(2)),
            ("ours, on an interface we used before", &[ELSEWHERE], false, Owner::Nobody),
        ];
        for (name, found, recorded, owner) in cases {
            assert_eq!(owner_of(found, 2, recorded), owner, "{name}");
        }
    }

    #[test]
    fn carrier_needs_up_running_and_a_live_wire() {
        let mut link = LinkMessage::default();
        link.header.index = 4;
        assert_eq!(link_state(&link), None, "an interface without an Ethernet address");
        link.attributes.push(LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]));
        for (flags, carrier) in [
            (LinkFlags::Up | LinkFlags::LowerUp | LinkFlags::Running, true),
            (LinkFlags::Up, false),
            (LinkFlags::Up | LinkFlags::LowerUp, false),
            (LinkFlags::LowerUp | LinkFlags::Running, false),
        ] {
            link.header.flags = flags;
            let mac = MacAddress([2, 0, 0, 0, 0, 1]);
            assert_eq!(link_state(&link), Some(LinkState { index: 4, mac, carrier }), "{flags:?}");
        }
    }
}
