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
