//! The settings and machine facts a DHCP decision rests on.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::architecture::Architecture;
use super::turn::Turn;

/// What the DHCP server does at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Another server hands out addresses; we add what to boot.
    Proxy,
    /// Every packet is ignored: the site's own DHCP points at us.
    Off,
}

/// What a machine nobody has registered gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownMachines {
    /// Answered like any other.
    Answer,
    /// Left to boot as if we were not there.
    Ignore,
}

/// An address machines are told, and where they find things there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The address: server identifier, next server, and where replies come from.
    pub address: Ipv4Addr,
    /// What iPXE is told to run. The host must be an address: firmware does not always hand DNS on to iPXE.
    pub script_url: String,
    /// Where loaders are found by HTTP; a loader's name is put behind it, after a slash.
    pub loader_url_base: String,
}

impl Place {
    /// An address that serves the script as `/boot.ipxe` and the loaders below `/loaders/` on `http_port`.
    #[must_use]
    pub fn new(address: Ipv4Addr, http_port: u16) -> Self {
        Self {
            address,
            script_url: format!("http://{address}:{http_port}/boot.ipxe"),
            loader_url_base: format!("http://{address}:{http_port}/loaders"),
        }
    }

    /// The URL of a loader; a name that is a URL already stays as it is.
    #[must_use]
    pub fn loader_url(&self, name: &str) -> String {
        if name.contains("://") {
            return name.to_owned();
        }
        let base = self.loader_url_base.trim_end_matches('/');
        format!("{base}/{}", name.trim_start_matches('/'))
    }
}

/// The settings a decision rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Whether we answer.
    pub mode: Mode,
    /// This node's own address. It must be one that the node really has.
    pub own: Place,
    /// The cluster's floating address, whoever holds it.
    pub floating: Option<Place>,
    /// Our part among the nodes that hear a packet.
    pub turn: Turn,
    /// The loader for each architecture, by the name TFTP serves it under. Only name what is really served: a
    /// machine that is offered nothing goes on to its next boot device, one that is offered a missing file may not.
    pub loaders: BTreeMap<Architecture, String>,
    /// Whether Raspberry Pi boot loaders are answered. They ask TFTP for their own files by name.
    pub raspberry_pi: bool,
    /// What machines get that [`super::Questions::machine`] does not know.
    pub unknown_machines: UnknownMachines,
}

impl Facts {
    /// Proxy mode as it is out of the box, on a node that is alone; see [`Place::new`].
    #[must_use]
    pub fn proxy(own: Ipv4Addr, http_port: u16) -> Self {
        Self {
            mode: Mode::Proxy,
            own: Place::new(own, http_port),
            floating: None,
            turn: Turn::Alone,
            loaders: Self::default_loaders(),
            raspberry_pi: true,
            unknown_machines: UnknownMachines::Answer,
        }
    }

    /// The usual loaders. Debian 12's `ipxe` package brings those for BIOS and x64; the others must be imported.
    #[must_use]
    pub fn default_loaders() -> BTreeMap<Architecture, String> {
        [
            (Architecture::Bios, "undionly.kpxe"),
            (Architecture::UefiIa32, "snponly-ia32.efi"),
            (Architecture::UefiX64, "snponly.efi"),
            (Architecture::UefiArm64, "snponly-arm64.efi"),
        ]
        .map(|(architecture, name)| (architecture, name.to_owned()))
        .into()
    }

    /// The loader for an architecture. U-Boot runs the UEFI one of its processor unless it has its own.
    #[must_use]
    pub fn loader(&self, architecture: Architecture) -> Option<&str> {
        let stand_in = match architecture {
            Architecture::UBootArm32 => Some(Architecture::UefiArm32),
            Architecture::UBootArm64 => Some(Architecture::UefiArm64),
            _ => None,
        };
        self.loaders.get(&architecture).or_else(|| self.loaders.get(&stand_in?)).map(String::as_str)
    }
}

/// What an operator wants of one machine, where it differs from the settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachineFacts {
    /// Do not answer: the machine goes on to its next boot device.
    pub hold: bool,
    /// The loader its firmware gets instead of the architecture's. iPXE still gets the script, or it would load
    /// itself for ever.
    pub boot_file: Option<String>,
    /// Whether the offer carries the boot file and PXE discovery control (option 43.6 = 8). By default BIOS gets
    /// it and UEFI does not: older UEFI drops such offers. Some firmware wants the opposite.
    pub discovery_control: Option<bool>,
}
