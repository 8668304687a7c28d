//! Where this node is on the network: the interface it serves and the address machines are told.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, bail};
use netlink::{Link, Links};
use tracing::{info, warn};

use crate::config::{Config, Listen};

/// A node's place on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Site {
    /// The address named in DHCP answers and scripts.
    pub(super) address: Ipv4Addr,
    /// The port of boot HTTP.
    pub(super) http_port: u16,
    /// The interface DHCP is served on; `None`: all of them.
    pub(super) interface: Option<String>,
    /// Addresses and names under which operators may reach the admin API.
    pub(super) names: Vec<String>,
    /// Every address of this host.
    pub(super) addresses: Vec<IpAddr>,
}

/// Asks the kernel, and checks the configuration against what it says.
pub(super) async fn find(config: &Config) -> anyhow::Result<Site> {
    let links = netlink::read().await.context("the network interfaces cannot be read")?;
    let site = decide(config, &links)?;
    info!(interface = site.interface.as_deref().unwrap_or("all"), address = %site.address, "machines are told to boot from here");
    Ok(site)
}

/// The names and addresses of this host as they are now.
pub(super) async fn host(config: &Config, address: Ipv4Addr) -> anyhow::Result<(Vec<String>, Vec<IpAddr>)> {
    let links = netlink::read().await.context("the network interfaces cannot be read")?;
    Ok((names(config, &links, address), addresses(&links)))
}

fn addresses(links: &Links) -> Vec<IpAddr> {
    links.links.iter().flat_map(|link| &link.addresses).map(|address| address.address).collect()
}

fn decide(config: &Config, links: &Links) -> anyhow::Result<Site> {
    let link = match &config.interface {
        Some(name) => Some(links.named(name).with_context(|| {
            let known: Vec<&str> = links.links.iter().map(|link| link.name.as_str()).collect();
            format!("interface `{name}` does not exist; this host has {}: correct `interface`", known.join(", "))
        })?),
        None => links.main(),
    };
    let address = match (config.advertise, link.and_then(|link| link.ipv4().next())) {
        (Some(address), _) => check(address, links)?,
        (None, Some(address)) => address,
        (None, None) if link.is_some() && config.interface.is_some() => {
            bail!(
                "interface `{}` has no IPv4 address yet: give it one, or set `advertise`",
                config.interface.as_deref().unwrap_or_default()
            )
        }
        (None, None) if matches!(config.dhcp, Listen::On(())) => {
            bail!(
                "which address should machines boot from? there is no default route to tell: set `interface` or `advertise`"
            )
        }
        (None, None) => {
            warn!(
                "no interface could be chosen, so machines are told 127.0.0.1, which only helps on this host: set `interface` or `advertise`"
            );
            Ipv4Addr::LOCALHOST
        }
    };
    Ok(Site {
        address,
        http_port: config.boot_http.port(),
        interface: link.map(|link: &Link| link.name.clone()),
        names: names(config, links, address),
        addresses: addresses(links),
    })
}

/// An address that no interface has cannot be answered from; the floating address will be the one exception.
fn check(address: Ipv4Addr, links: &Links) -> anyhow::Result<Ipv4Addr> {
    let ours = links.links.iter().flat_map(Link::ipv4).any(|ip| ip == address);
    if !ours {
        bail!(
            "`advertise` names {address}, which no interface of this host has: machines would boot from somewhere else"
        );
    }
    Ok(address)
}

fn names(config: &Config, links: &Links, address: Ipv4Addr) -> Vec<String> {
    let mut names: Vec<String> = vec!["localhost".into(), "127.0.0.1".into(), "::1".into(), address.to_string()];
    names.extend(rustix::system::uname().nodename().to_str().ok().map(str::to_owned));
    let addresses = links.links.iter().flat_map(|link| &link.addresses).map(|address| address.address);
    // Link-local addresses change with the card and need a zone in a URL: nobody dials them.
    let dialled = addresses.filter(|ip| !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local()));
    names.extend(dialled.map(|ip| ip.to_string()));
    names.extend(config.names.iter().cloned());
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use netlink::LinkAddress;

    use super::*;

    fn links(list: &[(&str, &str)]) -> Links {
        let link = |(at, (name, address)): (usize, &(&str, &str))| Link {
            index: u32::try_from(at).expect("a few") + 1,
            name: (*name).to_owned(),
            up: true,
            loopback: *name == "lo",
            addresses: address.parse().map(|address| LinkAddress { address, prefix: 24 }).into_iter().collect(),
        };
        Links { links: list.iter().enumerate().map(link).collect(), default_route: None }
    }

    fn check(config: &str, list: &[(&str, &str)]) -> String {
        let config = Config::parse(config).expect("a valid configuration");
        match decide(&config, &links(list)) {
            Ok(site) => format!("{} {}", site.interface.as_deref().unwrap_or("all"), site.address),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_place_on_the_network_is_found_or_asked_for() {
        let one = [("lo", "127.0.0.1"), ("eth0", "10.0.0.2")];
        let two = [("lo", "127.0.0.1"), ("eth0", "10.0.0.2"), ("eth1", "10.1.0.2")];
        assert_eq!(check("", &one), "eth0 10.0.0.2");
        assert_eq!(check("", &two), "all 127.0.0.1");
        assert_eq!(check("interface = \"eth1\"", &two), "eth1 10.1.0.2");
        assert_eq!(check("advertise = \"10.0.0.2\"", &two), "all 10.0.0.2");
        assert!(check("advertise = \"10.9.9.9\"", &two).contains("no interface of this host has"));
        assert!(check("interface = \"eth9\"", &two).contains("this host has lo, eth0, eth1"));
        assert!(check("interface = \"eth0\"", &[("eth0", "none")]).contains("no IPv4 address yet"));
        assert!(check("[listen]\ndhcp = \"on\"", &two).contains("set `interface` or `advertise`"));
    }

    #[test]
    fn the_certificate_covers_every_way_to_dial_this_host() {
        let config = Config::parse("[tls]\nnames = [\"boot.lab\"]").expect("a valid configuration");
        let site = decide(&config, &links(&[("lo", "127.0.0.1"), ("eth0", "10.0.0.2")])).expect("one interface");
        for name in ["localhost", "127.0.0.1", "10.0.0.2", "boot.lab"] {
            assert!(site.names.contains(&name.to_owned()), "{name} is missing from {:?}", site.names);
        }
    }
}
