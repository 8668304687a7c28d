//! Brings every blob to every data node, and keeps it there.
//!
//! Level-triggered: what the nodes have agreed on says which bytes this node should hold (`plan`), the disk says which it
//! does. `pull` fetches the difference (`queue` in which order, `fetch` from whom),
//! `books` compares, reports, withdraws and removes (`book`, one thing after the other), `garbage` decides what may go,
//! `scrub` reads everything again at leisure. `uploads` lets others copy an upload while it comes in, `wait` holds its
//! name back until they have, `serve` gives bytes to other nodes, `summary` counts copies.

mod book;
mod books;
mod fetch;
mod garbage;
mod plan;
mod pull;
mod queue;
mod scrub;
mod serve;
mod status;
mod summary;
mod uploads;
mod wait;

use std::collections::BTreeSet;
use std::future::Future;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use raft::peer::PeerView;
use raft::types::Digest;
use raft::{Cluster, ProposeError};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use fetch::FetchError;
pub use serve::router;
pub use status::Status;
pub use summary::{Copies, Summary, copies, summary};
pub use wait::CopiesError;

use crate::assets::Store;
use crate::peer_http::Peers;
use book::Book;
use fetch::Fetch;
use uploads::Uploads;

/// How long bytes stay after they were first seen without a name, so that a name taken away by mistake can be given again
/// without the bytes.
pub const GRACE: Duration = Duration::from_hours(24);
/// How long a machine that asks for bytes waits for another node to begin.
const SERVE_PATIENCE: Duration = Duration::from_secs(4);

/// How often the background work does what.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// See [`GRACE`].
    pub grace: Duration,
    /// How often the leader looks for what may go.
    pub garbage_every: Duration,
    /// How often disk and state are compared as a whole.
    pub compare_every: Duration,
    /// How long reading everything again takes.
    pub scrub_over: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            grace: GRACE,
            garbage_every: Duration::from_hours(1),
            compare_every: Duration::from_mins(5),
            scrub_over: Duration::from_hours(14 * 24),
        }
    }
}

/// The copies of one node; cheap to clone.
#[derive(Clone)]
pub struct Replicator {
    core: Arc<Core>,
}

struct Core {
    cluster: Cluster,
    store: Arc<Store>,
    node: u64,
    pace: Pace,
    peers: Option<Arc<Peers>>,
    book: Book,
    uploads: Arc<Uploads>,
    sessions: AtomicU64,
    sends: Arc<Semaphore>,
    /// Blobs that somebody waits for.
    urged: Mutex<BTreeSet<Digest>>,
    woken: Notify,
    /// The disk and the state are to be compared as a whole.
    compare: Notify,
    progress: Mutex<status::Progress>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Replicator {
    /// Without other nodes.
    #[must_use]
    pub fn alone(cluster: Cluster, store: Arc<Store>) -> Self {
        Self::with(cluster, store, None, Pace::default())
    }

    /// With these ways to the other nodes, which it closes when it stops.
    #[must_use]
    pub fn new(cluster: Cluster, store: Arc<Store>, peers: Arc<Peers>) -> Self {
        Self::with(cluster, store, Some(peers), Pace::default())
    }

    /// At another pace.
    #[must_use]
    pub fn with(cluster: Cluster, store: Arc<Store>, peers: Option<Arc<Peers>>, pace: Pace) -> Self {
        let node = cluster.identity().node;
        // Sessions of an earlier process are not mistaken for those of this one.
        let mut first = [0; 8];
        let seeded = getrandom::fill(&mut first);
        let first = seeded.map_or_else(|_| u64::from(std::process::id()) << 32, |()| u64::from_le_bytes(first));
        Self {
            core: Arc::new(Core {
                book: Book::new(cluster.clone(), store.clone(), node),
                cluster,
                store,
                node,
                pace,
                peers,
                uploads: Arc::default(),
                sessions: AtomicU64::new(first),
                sends: Arc::new(Semaphore::new(serve::SENDS_MAX)),
                urged: Mutex::default(),
                woken: Notify::new(),
                compare: Notify::new(),
                progress: Mutex::default(),
                tasks: TaskTracker::new(),
                stop: CancellationToken::new(),
            }),
        }
    }

    /// Works until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        tokio::join!(
            pull::run(self.clone(), stop.clone()),
            books::run(self.clone(), stop.clone()),
            garbage_rounds(self.clone(), stop.clone()),
            scrub::run(self.clone(), stop.clone()),
        );
        self.core.stop.cancel();
        self.core.tasks.close();
        self.core.tasks.wait().await;
        if let Some(peers) = &self.core.peers {
            peers.close().await;
        }
    }

    fn cluster(&self) -> &Cluster {
        &self.core.cluster
    }

    fn store(&self) -> &Arc<Store> {
        &self.core.store
    }

    fn node(&self) -> u64 {
        self.core.node
    }

    fn peers(&self) -> Option<&Arc<Peers>> {
        self.core.peers.as_ref()
    }

    fn next_session(&self) -> u64 {
        self.core.sessions.fetch_add(1, Ordering::Relaxed)
    }

    /// Work that ends when this node stops.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.core.stop.clone();
        self.core.tasks.spawn(async move {
            stop.run_until_cancelled(work).await;
        });
    }

    fn wake(&self) {
        self.core.woken.notify_one();
    }

    /// Says what verified copies this node holds. It goes on if the caller goes away: what was begun must not be overtaken.
    ///
    /// # Errors
    /// Why the cluster could not be told; it may know nevertheless.
    pub async fn report(&self, held: impl IntoIterator<Item = (Digest, u64)>) -> Result<(), ProposeError> {
        let (core, held) = (self.core.clone(), held.into_iter().collect::<Vec<_>>());
        let reported = self.core.tasks.spawn(async move { core.book.report(held).await });
        reported.await.unwrap_or(Err(ProposeError::Unavailable))
    }

    /// The size in bytes of a blob that some node holds.
    #[must_use]
    pub fn size_anywhere(&self, digest: &Digest) -> Option<u64> {
        let state = self.cluster().read();
        let blob = state.blob(digest).filter(|blob| blob.condemned.is_none() && !blob.replicas.is_empty());
        blob.map(|blob| blob.size)
    }

    /// Whether the cluster has copies that this node could fetch.
    #[must_use]
    pub fn is_elsewhere(&self, digest: &Digest) -> bool {
        self.peers().is_some() && self.cluster().read().holders(digest).any(|holder| holder != self.node())
    }

    /// Somebody asked this node for bytes that it lacks: they are fetched before all others.
    pub fn missing(&self, digest: Digest) {
        self.core.urged.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
        self.store().lose(digest);
        self.wake();
    }

    /// A part of a blob from another node, once its first bytes are here; the blob itself is fetched meanwhile.
    ///
    /// # Errors
    /// Why no other node gives it; then nothing was promised to anybody.
    pub async fn fetch(
        &self,
        digest: Digest,
        part: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, FetchError>>, FetchError> {
        let peers = self.peers().ok_or(FetchError::NoHolder)?.clone();
        let mut fetch = Fetch::new(peers, self.cluster().clone(), self.node(), digest, part).within(SERVE_PATIENCE);
        fetch.begin().await?;
        self.missing(digest);
        Ok(fetch.into_stream())
    }

    /// The data nodes, with where their peers reach them: for callers that have asked a node without bytes.
    #[must_use]
    pub fn data_nodes(&self) -> Vec<String> {
        let state = self.cluster().read();
        state.data_nodes().map(|node| format!("{} ({})", node.name, node.peer)).collect()
    }

    /// Whether this node stores bytes; a witness does not.
    #[must_use]
    pub fn stores_bytes(&self) -> bool {
        let state = self.cluster().read();
        state.members().len() == 0 || plan::holds_bytes(&state, self.node())
    }

    /// The nodes that the leader has not heard for a while.
    async fn away(&self) -> BTreeSet<u64> {
        let overview = self.cluster().overview().await;
        let silent = |peer: &PeerView| peer.id != self.node() && Some(peer.id) != overview.leader && !peer.is_alive();
        overview.peers.iter().filter(|peer| silent(peer)).map(|peer| peer.id).collect()
    }
}

/// The leader's rounds through everything that has no name.
async fn garbage_rounds(replicator: Replicator, stop: CancellationToken) {
    let mut unnamed = garbage::Unnamed::default();
    let pace = replicator.core.pace;
    while stop.run_until_cancelled(tokio::time::sleep(pace.garbage_every)).await.is_some() {
        if replicator.cluster().status().role != "leader" {
            unnamed.forget();
            continue;
        }
        let state = replicator.cluster().read();
        let doomed = unnamed.look(&state, std::time::Instant::now(), pace.grace);
        if doomed.is_empty() {
            continue;
        }
        tracing::info!(blobs = doomed.len(), "blobs that nothing has named for long are to be removed");
        let edit = raft::command::Edit::CondemnBlobs(doomed);
        if let Err(error) = book::propose(replicator.cluster(), edit).await {
            tracing::warn!(%error, "blobs that nothing names could not be condemned");
        }
    }
}
