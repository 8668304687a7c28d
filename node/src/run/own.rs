//! Who this node is to the others: its name, what it does, and where it is reached.

use anyhow::bail;
use raft::codec::Identity;
use raft::command::{Command, Edit};
use raft::state::{Announcement, NodeKind};
use raft::types::{Digest, Timestamp};

use super::site::Site;
use crate::config::{Config, is_node_name};
use crate::membership::{DataDir, Own};

/// What the configuration, else the data directory, else the host says.
///
/// # Errors
/// When a name was given that differs from the configured one, or the host's name cannot be one.
pub(super) fn own(config: &Config, home: &DataDir, named: Option<&str>, kind: Option<NodeKind>) -> anyhow::Result<Own> {
    let noted = home.own()?;
    if let (Some(named), Some(configured)) = (named, config.name.as_deref())
        && named != configured
    {
        bail!(
            "`--name {named}` contradicts the configuration, which says `name = \"{configured}\"`: leave one of them out"
        );
    }
    let kind = kind.or(noted.as_ref().map(|own| own.kind)).unwrap_or_default();
    let name = named.map(str::to_owned).or_else(|| config.name.clone()).or(noted.map(|own| own.name));
    let name = name.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
    if !is_node_name(&name) {
        bail!(
            "`{name}` cannot be a node's name (letters, digits, `.`, `-` and `_`, not only digits): set `name` in the configuration"
        );
    }
    Ok(Own { name, kind })
}

/// `host:port` that the other nodes dial.
pub(super) fn peer_address(config: &Config, site: &Site) -> String {
    match &config.peer_address {
        Some(address) => address.clone(),
        None if config.peer.ip().is_unspecified() => format!("{}:{}", site.address, config.peer.port()),
        None => config.peer.to_string(),
    }
}

/// Where machines reach this node's boot HTTP; nothing for a witness.
pub(super) fn boot_address(kind: NodeKind, site: &Site) -> String {
    match kind {
        NodeKind::Data => format!("http://{}:{}", site.address, site.http_port),
        NodeKind::Witness => String::new(),
    }
}

/// What this node says of itself.
pub(super) fn announcement(config: &Config, site: &Site, own: &Own, identity: &Identity) -> Announcement {
    Announcement {
        id: identity.node,
        name: own.name.clone(),
        kind: own.kind,
        peer: peer_address(config, site),
        boot: boot_address(own.kind, site),
    }
}

/// One change made by the service itself.
pub(super) fn command(edits: Vec<Edit>) -> Command {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Command {
        actor: "node".into(),
        at: Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
        idempotency_key: String::new(),
        fingerprint: Digest([0; 32]),
        edits: edits.into_iter().map(Into::into).collect(),
        replace: Vec::new(),
        allow_ties: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configured_name_wins_over_the_one_noted() {
        let folder = tempfile::tempdir().unwrap();
        let home = DataDir::new(folder.path());
        let config = |text: &str| Config::parse(text).unwrap();
        let name = |text: &str, named: Option<&str>| {
            own(&config(text), &home, named, None).map(|own| own.name).map_err(|error| error.to_string())
        };
        home.write_own(&Own { name: "noted".into(), kind: NodeKind::Witness }).unwrap();
        assert_eq!(name("", None).unwrap(), "noted");
        assert_eq!(name("name = \"written\"", None).unwrap(), "written");
        assert_eq!(name("", Some("said")).unwrap(), "said");
        assert!(name("name = \"written\"", Some("said")).unwrap_err().contains("contradicts"));
        assert_eq!(own(&config(""), &home, None, None).unwrap().kind, NodeKind::Witness);
    }

    #[test]
    fn the_others_dial_what_is_configured_else_where_it_listens() {
        let site = Site {
            address: std::net::Ipv4Addr::new(10, 0, 0, 2),
            http_port: 8080,
            interface: None,
            names: Vec::new(),
            addresses: Vec::new(),
        };
        let address = |text: &str| peer_address(&Config::parse(text).unwrap(), &site);
        assert_eq!(address(""), "10.0.0.2:7443");
        assert_eq!(address("[listen]\npeer = \"10.1.0.2:7000\""), "10.1.0.2:7000");
        assert_eq!(address("peer_address = \"a.lab:7\""), "a.lab:7");
        assert_eq!(boot_address(NodeKind::Data, &site), "http://10.0.0.2:8080");
        assert_eq!(boot_address(NodeKind::Witness, &site), "");
    }
}
