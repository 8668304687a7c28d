//! What this node tells the others about its copies, one thing after the other: a report can never overtake a removal.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use raft::command::{Command, Edit, Outcome};
use raft::state::{BLOBS_PER_COMMAND_MAX, State};
use raft::types::{Digest, Timestamp};
use raft::{Cluster, ProposeError};
use tracing::{info, warn};

use crate::assets::Store;

/// The one place through which this node reports, withdraws and removes copies.
pub(super) struct Book {
    cluster: Cluster,
    store: Arc<Store>,
    node: u64,
    /// Copies to be reported; whoever has the turn reports those of all who wait.
    waiting: Mutex<BTreeMap<Digest, u64>>,
    turn: tokio::sync::Mutex<()>,
}

impl Book {
    pub(super) fn new(cluster: Cluster, store: Arc<Store>, node: u64) -> Self {
        Self { cluster, store, node, waiting: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Says that this node holds verified and synced copies. Returns when the cluster knows; what is gone from the disk
    /// meanwhile is left out.
    pub(super) async fn report(&self, held: impl IntoIterator<Item = (Digest, u64)>) -> Result<(), ProposeError> {
        let held: Vec<(Digest, u64)> = held.into_iter().collect();
        self.lock_waiting().extend(held.iter().copied());
        let _turn = self.turn.lock().await;
        // Those whose report failed in somebody else's turn are still unknown to the state.
        let mut batch = std::mem::take(&mut *self.lock_waiting());
        batch.extend(held);
        let state = self.cluster.read();
        if state.member(self.node).is_none() {
            return Ok(());
        }
        let (store, node) = (self.store.clone(), self.node);
        let news = move || -> Vec<(Digest, u64)> {
            let is_news =
                |(digest, size): &(Digest, u64)| !claims(&state, node, digest) && store.size(digest) == Some(*size);
            batch.into_iter().filter(is_news).collect()
        };
        let news = tokio::task::spawn_blocking(news).await.unwrap_or_default();
        for batch in news.chunks(BLOBS_PER_COMMAND_MAX) {
            propose(&self.cluster, Edit::ReportBlobs(self.node, batch.to_vec())).await?;
        }
        Ok(())
    }

    /// Says that this node's copies are gone; those that are there after all stay claimed.
    pub(super) async fn withdraw(&self, lost: Vec<Digest>) -> Result<usize, ProposeError> {
        let _turn = self.turn.lock().await;
        let state = self.cluster.read();
        let (store, node) = (self.store.clone(), self.node);
        let gone = move || -> Vec<Digest> {
            let is_gone = |digest: &Digest| {
                state
                    .blob(digest)
                    .is_some_and(|blob| blob.replicas.contains(&node) && store.size(digest) != Some(blob.size))
            };
            lost.into_iter().filter(is_gone).collect()
        };
        let gone = tokio::task::spawn_blocking(gone).await.unwrap_or_default();
        self.forget(&gone).await?;
        Ok(gone.len())
    }

    async fn forget(&self, gone: &[Digest]) -> Result<(), ProposeError> {
        for batch in gone.chunks(BLOBS_PER_COMMAND_MAX) {
            propose(&self.cluster, Edit::WithdrawBlobs(self.node, batch.to_vec())).await?;
        }
        Ok(())
    }

    /// Removes what was condemned, and then says so. What is named or wanted again meanwhile stays.
    pub(super) async fn remove(&self, condemned: Vec<Digest>) -> Result<usize, ProposeError> {
        let _turn = self.turn.lock().await;
        let (store, cluster) = (self.store.clone(), self.cluster.clone());
        let remove = move || -> Vec<Digest> {
            let goes = |digest: &Digest| match store.remove(digest, || is_condemned(&cluster.read(), digest)) {
                Ok(gone) => gone,
                Err(error) => {
                    warn!(%digest, %error, "a blob that nothing names cannot be removed");
                    false
                }
            };
            condemned.into_iter().filter(goes).collect()
        };
        let gone = tokio::task::spawn_blocking(remove).await.unwrap_or_default();
        if !gone.is_empty() {
            info!(blobs = gone.len(), "removed blobs that nothing names");
        }
        self.forget(&gone).await?;
        Ok(gone.len())
    }

    fn lock_waiting(&self) -> std::sync::MutexGuard<'_, BTreeMap<Digest, u64>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the cluster counts on that node's copy.
pub(super) fn claims(state: &State, node: u64, digest: &Digest) -> bool {
    state.holders(digest).any(|holder| holder == node)
}

fn is_condemned(state: &State, digest: &Digest) -> bool {
    !state.is_named(digest) && state.blob(digest).is_some_and(|blob| blob.condemned.is_some())
}

/// Makes one change in the node's own name.
pub(super) async fn propose(cluster: &Cluster, edit: Edit) -> Result<(), ProposeError> {
    let command = Command {
        actor: "node".into(),
        at: now(),
        idempotency_key: String::new(),
        fingerprint: Digest([0; 32]),
        edits: vec![edit.into()],
        replace: Vec::new(),
        allow_ties: false,
    };
    match cluster.propose(command).await?.outcome {
        Outcome::Applied { .. } => {}
        // This node is no member any more; there is nobody it could tell.
        Outcome::Refused(refusals) => warn!(?refusals, "what this node holds could not be recorded"),
    }
    Ok(())
}

/// The wall clock, in milliseconds since 1970.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
