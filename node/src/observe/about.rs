//! What a node tells of itself. Fields that another version does not know are left out or passed over.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{Source, millis};
use crate::metrics::counted;

/// One node, as it sees itself. All times are in milliseconds since 1970, by its own clock.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// What it is called.
    pub name: String,
    /// Which program it runs.
    pub version: String,
    /// What its clock says.
    pub now: u64,
    /// When its process started.
    pub started: u64,
    /// How it stands with the VIP there.
    pub vip: VipHere,
    /// How full its disk is.
    pub disk: Option<Disk>,
    /// Damaged files that were put aside.
    pub quarantined: usize,
    /// Its certificates.
    pub certificates: Vec<Certificate>,
    /// When it gave the last whole backup.
    pub last_backup: Option<u64>,
    /// A boot server that is none of this cluster, which a machine asked.
    pub dhcp_rival: Option<Rival>,
}

/// The VIP on one node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct VipHere {
    /// `none`, `idle`, `claiming`, `held`, `survivor`, `conflict` or `unusable`.
    pub state: String,
    /// More of it in words.
    pub detail: String,
    /// Since when this node holds it.
    pub held_since: Option<u64>,
    /// Who else says to have it.
    pub rival: Option<Rival>,
}

impl VipHere {
    /// Whether this node answers for it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held_since.is_some()
    }
}

/// Somebody who is none of this cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Rival {
    /// A MAC or an IP address.
    pub who: String,
    /// Since when, or when for the last time.
    pub at: u64,
}

/// A disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Disk {
    /// Bytes free.
    pub free: u64,
    /// Bytes of those that uploads leave for the log.
    pub reserve: u64,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Certificate {
    /// Which: `admin`.
    pub name: String,
    /// When it ends.
    pub expires: u64,
}

impl Source {
    /// What this node tells of itself. Asks the disk how full it is; blocks.
    #[must_use]
    pub fn about(&self) -> About {
        About {
            name: self.name(),
            version: self.version.into(),
            now: millis(SystemTime::now()),
            started: millis(self.started),
            vip: (self.vip)(),
            disk: self.store.room().ok().map(|room| Disk { free: room.free, reserve: room.reserve }),
            quarantined: self.store.quarantined(),
            certificates: (self.certificates)(),
            last_backup: self.last_backup.get(),
            dhcp_rival: counted::last_dhcp_rival().map(|(who, at)| Rival { who: who.to_string(), at: millis(at) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_version_tells_is_read_as_far_as_it_goes() {
        let text = r#"{"name":"b","version":"9.9","colour":"green","vip":{"state":"held","held_since":5}}"#;
        let about: About = serde_json::from_str(text).unwrap();
        assert_eq!((about.name.as_str(), about.vip.is_held(), about.disk), ("b", true, None));
    }
}
