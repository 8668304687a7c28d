//! Reads interfaces, their addresses and the default route from the kernel, over rtnetlink.

use std::net::{IpAddr, Ipv4Addr};

use futures::TryStreamExt;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::RouteAttribute;
use rtnetlink::{Handle, RouteMessageBuilder};

/// An interface as the kernel has it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name, such as `eth0`.
    pub name: String,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it is the loopback interface.
    pub loopback: bool,
    /// Its addresses, IPv4 and IPv6.
    pub addresses: Vec<LinkAddress>,
}

impl Link {
    /// Its IPv4 addresses, in the kernel's order (primary first).
    pub fn ipv4(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.addresses.iter().filter_map(|address| match address.address {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        })
    }
}

/// One address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkAddress {
    /// The address itself.
    pub address: IpAddr,
    /// Length of its network prefix, in bits.
    pub prefix: u8,
}

/// All interfaces, and which of them leads to the default gateway.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Links {
    /// Every interface of this network namespace.
    pub links: Vec<Link>,
    /// Index of the interface of the IPv4 default route, if there is one.
    pub default_route: Option<u32>,
}

impl Links {
    /// The interface of that name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The interface a service should use when nobody named one: that of the default route, else the only one that
    /// is up, is not loopback and has an IPv4 address.
    #[must_use]
    pub fn main(&self) -> Option<&Link> {
        if let Some(index) = self.default_route {
            return self.links.iter().find(|link| link.index == index);
        }
        let mut usable = self.links.iter().filter(|link| link.up && !link.loopback && link.ipv4().next().is_some());
        usable.next().filter(|_| usable.next().is_none())
    }
}

/// Why the kernel could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No netlink socket.
    #[error("no netlink socket could be opened")]
    Socket(#[source] std::io::Error),
    /// The kernel refused a question.
    #[error("the kernel did not list its {what}")]
    Dump {
        /// What was asked for.
        what: &'static str,
        /// The kernel's answer.
        #[source]
        source: rtnetlink::Error,
    },
}

/// Reads all interfaces, their addresses and the IPv4 default route.
///
/// Needs a tokio runtime; takes a few milliseconds.
///
/// # Errors
/// When netlink is not available (a sandbox without `AF_NETLINK`).
pub async fn read() -> Result<Links, Error> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(Error::Socket)?;
    let connection = tokio::spawn(connection);
    let result = dump(&handle).await;
    connection.abort();
    result
}

async fn dump(handle: &Handle) -> Result<Links, Error> {
    let fail = |what| move |source| Error::Dump { what, source };
    let links: Vec<LinkMessage> = handle.link().get().execute().try_collect().await.map_err(fail("interfaces"))?;
    let addresses: Vec<AddressMessage> =
        handle.address().get().execute().try_collect().await.map_err(fail("addresses"))?;
    let route = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let routes: Vec<_> = handle.route().get(route).execute().try_collect().await.map_err(fail("routes"))?;
    let default_route = routes.iter().filter(|route| route.header.destination_prefix_length == 0).find_map(|route| {
        route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        })
    });
    Ok(Links { links: links.iter().filter_map(|link| read_link(link, &addresses)).collect(), default_route })
}

fn read_link(message: &LinkMessage, addresses: &[AddressMessage]) -> Option<Link> {
    let name = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })?;
    let index = message.header.index;
    Some(Link {
        index,
        name,
        up: message.header.flags.contains(LinkFlags::Up),
        loopback: message.header.flags.contains(LinkFlags::Loopback),
        addresses: addresses.iter().filter(|address| address.header.index == index).filter_map(read_address).collect(),
    })
}

fn read_address(message: &AddressMessage) -> Option<LinkAddress> {
    // IFA_LOCAL is the address of this end; IFA_ADDRESS differs from it on point-to-point links (if_addr.h).
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let remote = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    Some(LinkAddress { address: local.or(remote)?, prefix: message.header.prefix_len })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, up: bool, loopback: bool, address: &str) -> Link {
        let addresses = vec![LinkAddress { address: address.parse().expect("an address"), prefix: 24 }];
        Link { index, name: format!("if{index}"), up, loopback, addresses }
    }

    #[test]
    fn the_default_routes_interface_is_the_main_one() {
        let links =
            vec![link(1, true, true, "127.0.0.1"), link(2, true, false, "10.0.0.2"), link(3, true, false, "10.1.0.2")];
        assert_eq!(Links { links, default_route: Some(3) }.main().map(|link| link.index), Some(3));
    }

    #[test]
    fn without_a_default_route_only_a_single_candidate_is_taken() {
        let one =
            vec![link(1, true, true, "127.0.0.1"), link(2, true, false, "10.0.0.2"), link(3, false, false, "10.1.0.2")];
        assert_eq!(Links { links: one, default_route: None }.main().map(|link| link.index), Some(2));
        let two = vec![link(2, true, false, "10.0.0.2"), link(3, true, false, "10.1.0.2")];
        assert_eq!(Links { links: two, default_route: None }.main(), None);
    }

    #[tokio::test]
    async fn the_kernel_lists_its_loopback_interface() {
        let links = read().await.expect("netlink is available");
        let lo = links.named("lo").expect("every namespace has a loopback interface");
        assert!(lo.loopback);
    }
}
