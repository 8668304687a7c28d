//! Where the VIP would be on this computer, remembered so that a node that starts can clear its own leftovers before
//! anything of it listens.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use netlink::vip::{FenceKind, Vip, VipConfig, VipError};

use crate::config::{Config, Fence};

/// The file in the data directory that names the address this node was last prepared to hold, and on which interface.
const FILE: &str = "vip";
/// The folder in the data directory for marks that must not survive the address.
const RUN_DIR: &str = "run";

/// What the configuration calls a fence, as the kernel's side of it is called.
#[must_use]
pub fn fence_kind(fence: Fence) -> FenceKind {
    match fence {
        Fence::Nftables => FenceKind::Nftables,
        Fence::Lifetime => FenceKind::Lifetime,
    }
}

/// The interface and how it is fenced.
#[derive(Debug, Clone)]
pub struct Place {
    interface: Option<String>,
    /// Addresses that are this computer's own.
    own: Vec<Ipv4Addr>,
    fence: FenceKind,
    data_dir: PathBuf,
    address: Option<Ipv4Addr>,
}

impl Place {
    /// By the configuration; on no interface yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let fence = fence_kind(config.fence);
        Self { interface: None, own: Vec::new(), fence, data_dir: config.data_dir.clone(), address: None }
    }

    /// On the interface that machines are served on, if that is one; `own` are this computer's addresses, read after
    /// leftovers were removed. Answers whether what `reopen` opened is where it should be.
    pub fn serve_on(&mut self, interface: Option<String>, own: Vec<Ipv4Addr>) -> bool {
        let same = self.interface.is_none() || self.interface == interface;
        if !same {
            self.address = None;
        }
        (self.interface, self.own) = (interface, own);
        same
    }

    /// The address that is open, if one is.
    #[must_use]
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.address
    }

    /// What mutes a holder that is dead or frozen.
    #[must_use]
    pub fn fence(&self) -> FenceKind {
        self.fence
    }

    /// The interface, for messages.
    #[must_use]
    pub fn interface(&self) -> &str {
        self.interface.as_deref().unwrap_or("none")
    }

    /// Prepares to hold what was held before this process began: closes the fence and removes our own leftover.
    ///
    /// # Errors
    /// When a leftover may be there and cannot be looked for.
    pub fn reopen(&mut self) -> anyhow::Result<Option<Vip>> {
        let Some((address, interface)) = remembered(&self.file())? else { return Ok(None) };
        self.interface = Some(interface);
        match Vip::open(self.config(address)) {
            Ok(vip) => {
                self.address = Some(address);
                Ok(Some(vip))
            }
            // Without the interface there is no address on it either.
            Err(VipError::NoInterface { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Clears what this node may have left of its VIP, without keeping anything open (`raftboot vip clear`).
    ///
    /// # Errors
    /// When the kernel does not let go of it.
    pub fn clear(&mut self) -> anyhow::Result<Option<Ipv4Addr>> {
        let Some((address, interface)) = remembered(&self.file())? else { return Ok(None) };
        self.interface = Some(interface);
        netlink::vip::clear(&self.config(address))
            .with_context(|| format!("the VIP {address} cannot be cleared away"))?;
        Ok(Some(address))
    }

    /// Prepares to hold an address on the interface; nothing answers for it yet.
    ///
    /// # Errors
    /// What is wrong with the address, the interface or the fence, and what to do.
    pub fn open(&mut self, address: Ipv4Addr) -> anyhow::Result<Vip> {
        if self.interface.is_none() {
            bail!("no one interface serves machines here: set `interface` in the configuration");
        }
        if self.own.contains(&address) {
            bail!("{address} is an address of this computer itself: a VIP must be free to move");
        }
        self.remember(address)?;
        let vip = Vip::open(self.config(address))?;
        self.address = Some(address);
        Ok(vip)
    }

    fn config(&self, address: Ipv4Addr) -> VipConfig {
        VipConfig {
            interface: self.interface.clone().unwrap_or_default(),
            address,
            fence: self.fence,
            run_dir: self.data_dir.join(RUN_DIR),
        }
    }

    fn file(&self) -> PathBuf {
        self.data_dir.join(FILE)
    }

    fn remember(&self, address: Ipv4Addr) -> anyhow::Result<()> {
        let (file, interface) = (self.file(), self.interface.clone().unwrap_or_default());
        if remembered(&file)?.is_some_and(|known| known == (address, interface.clone())) {
            return Ok(());
        }
        std::fs::write(&file, format!("{address} {interface}\n"))
            .with_context(|| format!("{} cannot be written", file.display()))
    }
}

fn remembered(file: &Path) -> anyhow::Result<Option<(Ipv4Addr, String)>> {
    match std::fs::read_to_string(file) {
        // What cannot be read was cut short by a crash, before the address was ever used.
        Ok(text) => {
            Ok(text.trim().split_once(' ').and_then(|(address, name)| Some((address.parse().ok()?, name.to_owned()))))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", file.display())),
    }
}
