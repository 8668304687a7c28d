//! What is known of one computer, gathered from what it says on the network.

use serde::{Deserialize, Serialize};

use crate::types::{Mac, Timestamp};

/// One observation of a machine by DHCP, TFTP or HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The card it spoke through.
    pub mac: Mac,
    /// SMBIOS UUID in lower case, empty when unknown.
    pub uuid: String,
    /// SMBIOS serial, empty when unknown.
    pub serial: String,
    /// iPXE's `buildarch` or the firmware class, empty when unknown.
    pub arch: String,
    /// The address it spoke from, empty when it had none.
    pub address: String,
    /// When.
    pub at: Timestamp,
}

/// What is known of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Its cards, in the order they were first seen. Never empty.
    pub macs: Vec<Mac>,
    /// SMBIOS UUID in lower case, empty when unknown.
    pub uuid: String,
    /// SMBIOS serial, empty when unknown.
    pub serial: String,
    /// Architecture as last reported.
    pub arch: String,
    /// Address as last seen.
    pub address: String,
    /// When it was first seen; zero if only configured so far.
    pub first_seen: Timestamp,
    /// When it was last seen, to within the reporting interval.
    pub last_seen: Timestamp,
    /// What an operator wants of it.
    pub policy: MachinePolicy,
}

/// What an operator wants of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MachinePolicy {
    /// Never answer its DHCP; its scripts say that it is held.
    pub hold: bool,
    /// Boot loader to name instead of the class's, empty for none.
    pub loader: String,
    /// Send PXE discovery control (43.6 = 8) to UEFI firmware that wants it.
    pub discovery_control: bool,
}

/// A change to a machine's policy: what is `None` stays as it is, so that two operators who set different things at
/// the same moment both get what they asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MachinePolicyChange {
    /// See [`MachinePolicy::hold`].
    pub hold: Option<bool>,
    /// See [`MachinePolicy::loader`].
    pub loader: Option<String>,
    /// See [`MachinePolicy::discovery_control`].
    pub discovery_control: Option<bool>,
}

impl MachinePolicyChange {
    /// The policy after this change.
    #[must_use]
    pub fn applied_to(&self, policy: &MachinePolicy) -> MachinePolicy {
        MachinePolicy {
            hold: self.hold.unwrap_or(policy.hold),
            loader: self.loader.clone().unwrap_or_else(|| policy.loader.clone()),
            discovery_control: self.discovery_control.unwrap_or(policy.discovery_control),
        }
    }
}

impl From<MachinePolicy> for MachinePolicyChange {
    /// The change that makes any policy this one.
    fn from(policy: MachinePolicy) -> Self {
        let MachinePolicy { hold, loader, discovery_control } = policy;
        Self { hold: Some(hold), loader: Some(loader), discovery_control: Some(discovery_control) }
    }
}
