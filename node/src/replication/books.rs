//! Compares this node's disk with what it has said, and puts either right.

use std::sync::Arc;
use std::time::{Duration, Instant};

use raft::types::Digest;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Replicator, plan};
use crate::assets::ReadError;

/// How long to gather changes of the state before looking at it again.
const GATHER: Duration = Duration::from_millis(200);
/// How long verified copies are gathered before they are reported together.
const REPORT_EVERY: Duration = Duration::from_secs(2);
/// How many are reported together at most.
const REPORT_MAX: usize = 1024;
/// How long to wait after a change could not be made.
const PAUSE: Duration = Duration::from_secs(2);

/// Keeps the books until told to stop.
pub(super) async fn run(replicator: Replicator, stop: CancellationToken) {
    let mut applied = replicator.cluster().applied();
    let mut members: Vec<u64> = Vec::new();
    let mut due = Instant::now();
    loop {
        applied.borrow_and_update();
        let state = replicator.cluster().read();
        let now: Vec<u64> = state.data_nodes().map(|node| node.id).collect();
        if now != members {
            (members, due) = (now, Instant::now());
        }
        if !plan::holds_bytes(&state, replicator.node()) {
            due = Instant::now() + replicator.core.pace.compare_every;
        } else if !step(&replicator, &mut due, &stop).await {
            let _ = stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = applied.changed() => {
                if changed.is_err() {
                    return stop.cancelled().await;
                }
                let _ = stop.run_until_cancelled(tokio::time::sleep(GATHER)).await;
            }
            () = replicator.store().losing() => {}
            () = replicator.core.compare.notified() => due = Instant::now(),
            () = tokio::time::sleep_until(due.max(Instant::now() + GATHER).into()) => {}
        }
    }
}

/// One look; `false` if something could not be done and is to be tried again soon.
async fn step(replicator: &Replicator, due: &mut Instant, stop: &CancellationToken) -> bool {
    let mut fine = withdraw(replicator, replicator.store().take_lost()).await;
    // What an old state condemned may have been named since.
    if replicator.cluster().status().caught_up {
        let condemned = plan::condemned(&replicator.cluster().read(), replicator.node());
        fine &= remove(replicator, condemned).await;
        if Instant::now() >= *due {
            let compared = compare(replicator, stop).await;
            *due = Instant::now() + if compared { replicator.core.pace.compare_every } else { PAUSE };
            fine &= compared;
        }
    }
    fine
}

async fn withdraw(replicator: &Replicator, lost: Vec<Digest>) -> bool {
    if lost.is_empty() {
        return true;
    }
    match replicator.core.book.withdraw(lost.clone()).await {
        Ok(0) => true,
        Ok(gone) => {
            info!(
                blobs = gone,
                "copies on this node are damaged or gone; they are fetched again where another node has them"
            );
            replicator.note(|progress| progress.damaged_blobs += gone as u64);
            true
        }
        Err(error) => {
            warn!(%error, "lost copies could not be recorded; it is tried again");
            lost.into_iter().for_each(|digest| replicator.store().lose(digest));
            false
        }
    }
}

async fn remove(replicator: &Replicator, condemned: Vec<Digest>) -> bool {
    if condemned.is_empty() {
        return true;
    }
    let removed = replicator.core.book.remove(condemned).await;
    removed.inspect_err(|error| warn!(%error, "removed blobs could not be recorded; it is tried again")).is_ok()
}

/// Compares the whole disk with the whole state.
async fn compare(replicator: &Replicator, stop: &CancellationToken) -> bool {
    let (store, state, node) = (replicator.store().clone(), replicator.cluster().read(), replicator.node());
    let compared = tokio::task::spawn_blocking(move || {
        let disk = store.inventory()?;
        Ok::<_, std::io::Error>(plan::differences(&state, node, &disk))
    });
    let found = match compared.await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            warn!(%error, "the blob store cannot be listed");
            return false;
        }
        Err(error) => {
            warn!(%error, "listing the blob store ended early");
            return false;
        }
    };
    let fine = withdraw(replicator, found.gone).await & remove(replicator, found.condemned).await;
    fine & report(replicator, found.unsaid, stop).await
}

/// Verifies copies that nobody knows of, one after the other, and reports them in batches.
async fn report(replicator: &Replicator, unsaid: Vec<(Digest, u64)>, stop: &CancellationToken) -> bool {
    let mut batch = Vec::new();
    let mut since = Instant::now();
    let mut fine = true;
    for (digest, size) in unsaid {
        if stop.is_cancelled() {
            return true;
        }
        let store = Arc::clone(replicator.store());
        let verified = tokio::task::spawn_blocking(move || store.open_blob(&digest).map(drop));
        match verified.await {
            Ok(Ok(())) => batch.push((digest, size)),
            Ok(Err(ReadError::Missing | ReadError::Damaged)) => {}
            Ok(Err(_)) | Err(_) => fine = false,
        }
        if batch.len() >= REPORT_MAX || since.elapsed() >= REPORT_EVERY {
            fine &= replicator.report(batch.drain(..)).await.is_ok();
            since = Instant::now();
        }
    }
    fine & (batch.is_empty() || replicator.report(batch).await.is_ok())
}
