//! Fetches what this node lacks, a few blobs at a time.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use http::Method;
use raft::types::Digest;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::fetch::Fetch;
use super::queue::Queue;
use super::{Replicator, plan};
use crate::assets::{Declared, Origin, ReadError, ReceiveError, Reception};

/// How many blobs are fetched at once.
const PULLS_MAX: usize = 3;
/// How long to gather changes of the state before looking at it again.
const GATHER: Duration = Duration::from_millis(20);
/// How often to look again although nothing has happened.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// From so many failures of one blob in a row on, an operator is told.
const FAILURES_TOLD: u32 = 5;

/// What became of one fetch.
type Ended = (Digest, Result<(), String>);

/// Fetches until told to stop.
pub(super) async fn run(replicator: Replicator, stop: CancellationToken) {
    if replicator.peers().is_none() {
        return stop.cancelled().await;
    }
    let mut applied = replicator.cluster().applied();
    let mut queue = Queue::default();
    let mut running: JoinSet<Ended> = JoinSet::new();
    let mut members = Vec::new();
    loop {
        applied.borrow_and_update();
        refresh(&replicator, &mut queue, &mut members);
        while running.len() < PULLS_MAX {
            let Some((digest, size)) = queue.next(Instant::now()) else { break };
            replicator.note(|progress| progress.pulling.extend([(digest, size)]));
            let replicator = replicator.clone();
            running.spawn(async move { (digest, obtain(&replicator, digest, size).await) });
        }
        replicator.note(|progress| progress.waiting = queue.waiting());
        let wake = queue.wake_at().map_or(Instant::now() + LOOK_EVERY, |at| at.min(Instant::now() + LOOK_EVERY));
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = running.join_next() => match ended {
                Ok(ended) => note(&replicator, &mut queue, ended),
                Err(error) => warn!(%error, "fetching a blob ended early"),
            },
            changed = applied.changed() => {
                if changed.is_err() {
                    return stop.cancelled().await;
                }
                tokio::time::sleep(GATHER).await;
            }
            () = replicator.core.woken.notified() => {}
            () = tokio::time::sleep_until(wake.into()) => {}
        }
    }
    running.shutdown().await;
}

fn refresh(replicator: &Replicator, queue: &mut Queue, members: &mut Vec<u64>) {
    let state = replicator.cluster().read();
    if !plan::holds_bytes(&state, replicator.node()) {
        return queue.set(&[]);
    }
    let mut wanted = plan::wanted(&state, replicator.node());
    let uploads = &replicator.core.uploads;
    // What is being copied as it comes in is there in a moment; if that fails, this is asked again.
    wanted.retain(|wanted| !(wanted.urgent && uploads.may_be_coming(&wanted.digest, wanted.size)));
    queue.set(&wanted);
    let now: Vec<u64> = state.data_nodes().map(|node| node.id).collect();
    if *members != now {
        *members = now;
        queue.encourage();
    }
    let urged = std::mem::take(&mut *replicator.core.urged.lock().unwrap_or_else(PoisonError::into_inner));
    urged.iter().for_each(|digest| queue.urge(digest));
}

fn note(replicator: &Replicator, queue: &mut Queue, (digest, ended): Ended) {
    match ended {
        Ok(()) => {
            queue.done(&digest);
            replicator.note(|progress| {
                progress.pulling.remove(&digest);
                (progress.failures_in_row, progress.last_error) = (0, String::new());
            });
        }
        Err(error) => {
            let failures = queue.failed(&digest, Instant::now());
            if failures == FAILURES_TOLD {
                warn!(%digest, error, "a blob cannot be fetched from any other node; it is tried again and again");
            } else {
                debug!(%digest, error, failures, "a blob could not be fetched");
            }
            replicator.note(|progress| {
                progress.pulling.remove(&digest);
                progress.failures_in_row += 1;
                progress.last_error = format!("{digest}: {error}");
            });
        }
    }
}

/// Sees to it that a blob is here, verified, synced and reported.
async fn obtain(replicator: &Replicator, digest: Digest, size: u64) -> Result<(), String> {
    if !is_here(replicator, digest, size).await? {
        pull(replicator, digest, size).await?;
    }
    replicator.report([(digest, size)]).await.map_err(|error| format!("it could not be reported: {error}"))
}

/// It may be here although nobody knows: from before a restart, or condemned and wanted again.
async fn is_here(replicator: &Replicator, digest: Digest, size: u64) -> Result<bool, String> {
    let store = replicator.store().clone();
    let opened = tokio::task::spawn_blocking(move || {
        let file = store.open_blob(&digest)?;
        file.metadata().map(|meta| meta.len()).map_err(|error| ReadError::Unreadable(error.to_string()))
    });
    match opened.await.map_err(|error| error.to_string())? {
        Ok(found) if found == size => Ok(true),
        Ok(found) => Err(format!("it has {found} bytes, and the nodes have agreed on {size}")),
        Err(ReadError::Missing | ReadError::Damaged) => Ok(false),
        Err(error) => Err(error.to_string()),
    }
}

async fn pull(replicator: &Replicator, digest: Digest, size: u64) -> Result<(), String> {
    let Some(peers) = replicator.peers() else { return Err("this node has no peers".into()) };
    let mut fetch = Fetch::new(peers.clone(), replicator.cluster().clone(), replicator.node(), digest, 0..size);
    // Nothing is set aside on the disk before some node gives it.
    fetch.begin().await.map_err(|error| error.to_string())?;
    let sources = fetch.sources();
    let declared = Declared { size: Some(size), digest: Some(digest) };
    let received =
        replicator.store().receive_as(&mut fetch.into_stream(), Reception::new(Origin::Node, declared)).await;
    match received {
        Ok(_) => {
            debug!(%digest, size, "a blob was fetched from another node");
            replicator.note(|progress| {
                progress.pulled_blobs += 1;
                progress.pulled_bytes += size;
            });
            Ok(())
        }
        Err(error @ ReceiveError::Mismatch { .. }) => {
            let nodes = sources.lock().unwrap_or_else(PoisonError::into_inner).clone();
            info!(%digest, ?nodes, "other nodes sent bytes that are not what their digest says; they are told to look");
            for node in nodes {
                doubt(replicator, node, digest).await;
            }
            Err(error.to_string())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Asks a node to read its copy again.
async fn doubt(replicator: &Replicator, node: u64, digest: Digest) {
    let (Some(peers), Some(member)) = (replicator.peers(), replicator.cluster().read().member(node).cloned()) else {
        return;
    };
    match peers.ask(&member, Method::POST, &format!("/v1/blobs/{digest}/doubt"), None).await {
        Ok(reply) => reply.dismiss().await,
        Err(error) => debug!(node, %digest, %error, "a node could not be told that its copy is in doubt"),
    }
}
