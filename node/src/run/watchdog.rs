//! Tells systemd that the node is alive, as long as the parts that must not stand still do not.
//!
//! A process that hangs is worse than one that died: the VIP has moved on, but its ports are taken and nobody restarts it.

use std::time::Duration;

use raft::Cluster;
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::vip;

/// How many signs of life fit into the time systemd waits for one.
const SIGNS: u32 = 4;

/// Gives signs of life until told to stop; at once nothing to do where systemd does not wait for any (`WatchdogSec=`).
///
/// The main runtime gives one by running this, the consensus by answering, the thread that holds the VIP by having looked.
pub(super) async fn watch(cluster: Cluster, vip: Option<vip::Reporter>, stop: CancellationToken) {
    let Some(patience) = sd_notify::watchdog_enabled() else { return stop.cancelled().await };
    let every = patience / SIGNS;
    loop {
        match stuck(&cluster, vip.as_ref(), every).await {
            None => super::notify(NotifyState::Watchdog),
            Some(part) => {
                error!(part, ?patience, "a part of this node stands still; systemd will end it if this lasts")
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// Which part has not moved for so long.
async fn stuck(cluster: &Cluster, vip: Option<&vip::Reporter>, within: Duration) -> Option<&'static str> {
    if !cluster.answers(within).await {
        return Some("consensus");
    }
    vip.is_some_and(|vip| vip.still_for() > within).then_some("vip")
}
