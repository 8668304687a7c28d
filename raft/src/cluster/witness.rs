//! When a node may stand for election: not just after a restart, and a witness only when no data node could win.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::rt::watch::WatchReceiver as _;

use super::desk::Desk;
use super::heard::Heard;
use crate::state::NodeKind;

/// How often a witness that leads looks for somebody to hand over to.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A restarted node has forgotten what it promised its leader, so it neither votes nor stands before `from`. From then
/// on it stands, unless it is a witness.
pub(super) async fn stand_from(desk: Desk, from: Instant) {
    tokio::time::sleep_until(from.into()).await;
    let mut applied = desk.model.applied();
    loop {
        desk.raft.runtime_config().elect(!is_witness(&desk));
        if applied.changed().await.is_err() {
            return;
        }
    }
}

fn is_witness(desk: &Desk) -> bool {
    desk.model.state().member(desk.node).is_some_and(|member| member.kind == NodeKind::Witness)
}

/// An entry acknowledged by a leader that died and by the witness alone keeps every data node from winning: then the
/// witness stands, brings a data node up to date, and hands over.
pub(super) async fn witness(desk: Desk, heard: Arc<Heard>, not_before: Instant) {
    let mut metrics = desk.metrics.clone();
    loop {
        tokio::select! {
            () = heard.shorter_log() => {
                if is_witness(&desk) && Instant::now() >= not_before && desk.raft.trigger().elect(true).await.is_err() {
                    return;
                }
            }
            changed = metrics.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
        while is_witness(&desk) && desk.leadership().is_some() {
            if desk
                .view()
                .iter()
                .any(|view| view.id != desk.node && view.voter && view.is_alive() && view.lag == Some(0))
            {
                match desk.hand_over(None).await {
                    Ok(next) => tracing::info!(next, "the witness led until a data node had the whole log"),
                    Err(error) => tracing::debug!(%error, "the witness cannot hand over yet"),
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        drop(metrics.borrow_watched());
    }
}
