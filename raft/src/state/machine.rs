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
