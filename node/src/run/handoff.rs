//! Carries what TFTP servers tell each other of their transfers, so that another node can go on with one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use raft::Cluster;
use tracing::debug;

use crate::tftp::{Handoff, Inherited, Shared, Sharing};
use crate::vip;

/// Tells the other nodes over their own connections.
struct Whispered {
    cluster: Cluster,
    view: vip::Handle,
}

impl Handoff for Whispered {
    fn concerns(&self, local: IpAddr) -> bool {
        self.view.get().address.is_some_and(|address| IpAddr::V4(address) == local)
    }

    fn publish(&self, transfer: &Shared) {
        self.cluster.whisper(&transfer.encode());
    }
}

/// What this node's TFTP server shares with the others.
pub(super) fn sharing(cluster: &Cluster, view: vip::Handle) -> Sharing {
    let inherited = Inherited::default();
    let adopting = inherited.clone();
    cluster.on_whisper(Arc::new(move |bytes| match Shared::decode(bytes) {
        Ok(transfer) => adopting.adopt(transfer, Instant::now()),
        Err(error) => debug!(%error, bytes = bytes.len(), "a word from another node is not understood"),
    }));
    Sharing { handoff: Arc::new(Whispered { cluster: cluster.clone(), view }), inherited }
}
