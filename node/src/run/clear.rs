//! What is done about the floating address outside of a running node: it is muted and removed.

use std::path::PathBuf;

use netlink::vip::{FenceKind, VipConfig, VipError};

use crate::config::{Config, Fence};
use crate::membership::{DataDir, VipNote};

/// Where the record of an address that this node added is kept, for kernels that cannot mark addresses; it must not
/// outlive a restart of the host.
const RUN_DIR: &str = "/run/raftboot";

/// How the floating address is held on this host.
#[must_use]
pub fn vip_config(config: &Config, note: &VipNote) -> VipConfig {
    VipConfig {
        interface: note.interface.clone(),
        address: note.address,
        fence: match config.fence {
            Fence::Nftables => FenceKind::Nftables,
            Fence::Lifetime => FenceKind::Lifetime,
        },
        run_dir: PathBuf::from(RUN_DIR),
    }
}

/// Mutes the address this node last held, or was about to hold, and removes it; nothing to do for one that never did.
///
/// # Errors
/// When the kernel does not do it, or the node still runs and holds it.
pub async fn clear_vip(config: &Config) -> anyhow::Result<()> {
    let Some(note) = DataDir::new(&config.data_dir).vip_note()? else { return Ok(()) };
    match netlink::vip::clear(&vip_config(config, &note)) {
        Err(VipError::NoInterface { .. }) | Ok(()) => Ok(()),
        Err(error) => Err(anyhow::Error::new(error).context(format!("{} on {}", note.address, note.interface))),
    }
}
