//! What is done about the floating address outside of a running node: it is muted and removed.

use crate::config::Config;
use crate::vip::Place;

/// Mutes the address this node last held, or was about to hold, and removes it; nothing to do for one that never did.
///
/// # Errors
/// When the kernel does not do it, or the node still runs and holds it.
pub fn clear_vip(config: &Config) -> anyhow::Result<()> {
    Place::new(config).clear().map(drop)
}
