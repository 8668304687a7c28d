//! What notifications of the kernel mean for the VIP: decides, without touching a socket.

use std::net::Ipv4Addr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};

use super::Event;
use super::address::{LinkState, decode, is_about, is_marked, link_state};
use super::fence::names_our_table;
use super::socket::Received;

/// `NFNL_SUBSYS_NFTABLES` in the upper byte of a message type.
const NFTABLES_TYPES: u16 = 10 << 8;
/// `NFT_MSG_NEWGEN` only says that some transaction ended.
const NEW_GENERATION: u16 = NFTABLES_TYPES | 15;

/// What we know of the VIP's surroundings, and who we are in notifications.
#[derive(Debug)]
pub(super) struct Watch {
    /// The interface's name.
    pub(super) interface: String,
    /// The VIP.
    pub(super) address: Ipv4Addr,
    /// The port of the socket that changes addresses; what it caused is no news.
    pub(super) address_port: u32,
    /// The port of the socket that changes the fence, when there is one.
    pub(super) fence_port: Option<u32>,
    /// The interface as last seen; nothing while it does not exist.
    pub(super) link: Option<LinkState>,
}

impl Watch {
    /// What an nftables notification means.
    pub(super) fn nftables(&self, message: &Received) -> Option<Event> {
        let fence_port = self.fence_port?;
        let object = message.kind & 0xff00 == NFTABLES_TYPES && message.kind != NEW_GENERATION;
        (object && message.port != fence_port && names_our_table(message)).then_some(Event::FenceTampered)
    }

    /// What a link or address notification means; updates what we know of the link.
    pub(super) fn route(&mut self, message: &Received) -> Vec<Event> {
        match decode(message) {
            Some(RouteNetlinkMessage::NewLink(link)) => self.new_link(&link),
            Some(RouteNetlinkMessage::DelLink(link)) if self.is_our_link(&link) => self.link_is(None),
            Some(RouteNetlinkMessage::NewAddress(address)) if is_about(&address, self.address) => {
                let ours = message.port == self.address_port || is_marked(&address);
                if ours { Vec::new() } else { vec![Event::AddressTakenByOther] }
            }
            Some(RouteNetlinkMessage::DelAddress(address)) if is_about(&address, self.address) => {
                let ours = message.port == self.address_port;
                if ours { Vec::new() } else { vec![Event::AddressGone] }
            }
            _ => Vec::new(),
        }
    }

    /// Takes note of the link's present state and says what that changes.
    pub(super) fn link_is(&mut self, link: Option<LinkState>) -> Vec<Event> {
        let before = std::mem::replace(&mut self.link, link);
        let carrier = |link: Option<LinkState>| link.is_some_and(|link| link.carrier);
        let mut events = Vec::new();
        match (carrier(before), carrier(link)) {
            (true, false) => events.push(Event::LinkDown),
            (false, true) => events.push(Event::LinkUp),
            _ => {}
        }
        // The egress hook belonged to the interface that is gone.
        let index = |link: Option<LinkState>| link.map(|link| link.index);
        if self.fence_port.is_some() && link.is_some() && index(before) != index(link) {
            events.push(Event::FenceTampered);
        }
        events
    }

    fn new_link(&mut self, link: &LinkMessage) -> Vec<Event> {
        if self.is_our_link(link) {
            return self.link_is(link_state(link));
        }
        // Ours was renamed: for us it is gone.
        if self.link.is_some_and(|known| known.index == link.header.index) && name(link).is_some() {
            return self.link_is(None);
        }
        Vec::new()
    }

    fn is_our_link(&self, link: &LinkMessage) -> bool {
        name(link) == Some(&self.interface)
    }
}

fn name(link: &LinkMessage) -> Option<&String> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use netlink_packet_core::NetlinkSerializable;
    use netlink_packet_route::address::{AddressAttribute, AddressMessage};
    use netlink_packet_route::link::LinkFlags;

    use super::*;
    use crate::vip::address::ADDRESS_PROTOCOL;
    use crate::vip::arp::MacAddress;

    const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 8, 7);
    const OURS: u32 = 71;
    const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
    const UP: LinkState = LinkState { index: 2, mac: MAC, carrier: true };

    fn watch() -> Watch {
        Watch { interface: "eth0".into(), address: VIP, address_port: OURS, fence_port: Some(72), link: Some(UP) }
    }

    fn received(message: &RouteNetlinkMessage, port: u32) -> Received {
        let mut payload = vec![0; NetlinkSerializable::buffer_len(message)];
        message.serialize(&mut payload);
        Received { kind: message.message_type(), sequence: 0, port, payload }
    }

    fn link(name: &str, index: u32, carrier: bool) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.flags =
            if carrier { LinkFlags::Up | LinkFlags::LowerUp | LinkFlags::Running } else { LinkFlags::Up };
        link.attributes = vec![LinkAttribute::IfName(name.into()), LinkAttribute::Address(MAC.0.to_vec())];
        link
    }

    fn address(ip: Ipv4Addr, marked: bool) -> AddressMessage {
        let mut address = AddressMessage::default();
        address.header.family = netlink_packet_route::AddressFamily::Inet;
        address.attributes = vec![AddressAttribute::Local(IpAddr::V4(ip))];
        if marked {
            address.attributes.push(AddressAttribute::Protocol(ADDRESS_PROTOCOL));
        }
        address
    }

    #[test]
    fn only_what_others_do_to_the_vip_is_news() {
        use RouteNetlinkMessage::{DelAddress, NewAddress};
        let other_ip = Ipv4Addr::new(10, 9, 8, 8);
        let cases = [
            ("we add it", NewAddress(address(VIP, true)), OURS, vec![]),
            ("we add it, on a kernel without marks", NewAddress(address(VIP, false)), OURS, vec![]),
            ("we remove it", DelAddress(address(VIP, true)), OURS, vec![]),
            ("its lifetime ends", DelAddress(address(VIP, true)), 0, vec![Event::AddressGone]),
            ("somebody removes it", DelAddress(address(VIP, true)), 9, vec![Event::AddressGone]),
            ("somebody adds it", NewAddress(address(VIP, false)), 9, vec![Event::AddressTakenByOther]),
            ("another address comes", NewAddress(address(other_ip, false)), 9, vec![]),
            ("another address goes", DelAddress(address(other_ip, false)), 9, vec![]),
        ];
        for (name, message, port, expected) in cases {
            assert_eq!(watch().route(&received(&message, port)), expected, "{name}");
        }
    }

    #[test]
    fn the_link_is_followed_by_its_name() {
        use RouteNetlinkMessage::{DelLink, NewLink};
        let mut watch = watch();
        let steps = [
            ("no change", NewLink(link("eth0", 2, true)), vec![]),
            ("another link goes down", NewLink(link("eth1", 3, false)), vec![]),
            ("carrier lost", NewLink(link("eth0", 2, false)), vec![Event::LinkDown]),
            ("carrier lost, again", NewLink(link("eth0", 2, false)), vec![]),
            ("carrier back", NewLink(link("eth0", 2, true)), vec![Event::LinkUp]),
            ("another link is deleted", DelLink(link("eth1", 3, true)), vec![]),
            ("deleted", DelLink(link("eth0", 2, true)), vec![Event::LinkDown]),
            ("created anew", NewLink(link("eth0", 5, false)), vec![Event::FenceTampered]),
            ("and up", NewLink(link("eth0", 5, true)), vec![Event::LinkUp]),
            ("renamed", NewLink(link("uplink", 5, true)), vec![Event::LinkDown]),
        ];
        for (name, message, expected) in steps {
            assert_eq!(watch.route(&received(&message, 0)), expected, "{name}");
        }
        assert_eq!(watch.link, None);
    }
}
