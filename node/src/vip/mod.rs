//! The floating address: who holds it, decided by Raft's leases and enforced by the kernel.
//!
//! `timing` is the arithmetic of the lease, `decide` who may answer, `announce` when the link is told: all pure.
//! `thread` is the one thread that looks, decides and does; `claim` what it asks of the cluster; `place` where the address
//! would be; `health` whether this node is fit to be sent machines; `view` what everybody else sees of it.

mod announce;
mod claim;
pub mod decide;
mod health;
mod place;
mod thread;
pub mod timing;
mod view;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use netlink::vip::Vip;
use raft::Cluster;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use health::watch as watch_health;
pub use place::{Place, fence_kind};
pub use thread::{Rival, Status};
pub use view::{Handle, View};

use claim::Claims;
use decide::Decider;
use thread::{Keeper, Shared, lock};
use timing::LeaseTiming;

/// How long a hand-over keeps this node from taking the VIP again.
const HAND_OVER_PAUSE: Duration = Duration::from_secs(3);
/// How long the thread may take to let go when it is asked to.
const LET_GO_MAX: Duration = Duration::from_millis(300);

/// The VIP of this node, ready to be run.
pub struct Floating {
    keeper: Keeper,
    shared: Arc<Shared>,
    claims: Claims,
    cluster: Cluster,
}

/// Says how it stands; cheap to clone.
#[derive(Clone)]
pub struct Reporter(Arc<Shared>);

impl Reporter {
    /// How it stands with the VIP on this node.
    #[must_use]
    pub fn status(&self) -> Status {
        lock(&self.0.status).clone()
    }

    /// For how long the thread that holds the VIP has not looked. Before its first look: since it was made.
    #[must_use]
    pub fn still_for(&self) -> Duration {
        lock(&self.0.looked).elapsed()
    }

    /// Tells whether this node is fit to be sent machines.
    pub fn set_healthy(&self, healthy: bool) {
        self.0.healthy.store(healthy, Ordering::Release);
    }
}

impl Floating {
    /// Of a cluster that runs. `vip` is what was opened before anything of this node listened. Must be called in the
    /// node's runtime.
    #[must_use]
    pub fn new(cluster: Cluster, place: Place, vip: Option<Vip>, view: Handle) -> Self {
        let timing = LeaseTiming::of(cluster.timing(), place.fence());
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            let_go_until: Mutex::new(None),
            healthy: AtomicBool::new(true),
            held: watch::channel(false).0,
            status: Mutex::new(Status { state: "none", ..Status::default() }),
            looked: Mutex::new(Instant::now()),
        });
        let claims = Claims::new(cluster.clone(), tokio::runtime::Handle::current());
        let keeper = Keeper {
            cluster: cluster.clone(),
            place,
            timing,
            view,
            shared: shared.clone(),
            claims: claims.clone(),
            since: Instant::now(),
            vip,
            decider: Decider::new(timing),
            reopen_at: None,
            useless_since: None,
            held_since: None,
            renewed_at: None,
            claimed_by_other: None,
        };
        Self { keeper, shared, claims, cluster }
    }

    /// Says how it stands.
    #[must_use]
    pub fn reporter(&self) -> Reporter {
        Reporter(self.shared.clone())
    }

    /// Runs until told to stop; then the address is gone from this node.
    ///
    /// # Errors
    /// When the thread cannot be started or has panicked.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { keeper, shared, claims, cluster } = self;
        let (asked, state) = (shared.clone(), cluster.clone());
        cluster.on_hand_over(Arc::new(move || {
            let (shared, claims, cluster) = (asked.clone(), claims.clone(), state.clone());
            Box::pin(async move { let_go(&shared, &claims, &cluster).await })
        }));
        let (ended, over) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("vip".into()).spawn(move || {
            let _ended = ended;
            keeper.run();
        })?;
        tokio::select! {
            () = stop.cancelled() => {}
            _ = over => {}
        }
        shared.stop.store(true, Ordering::Release);
        let joined = tokio::task::spawn_blocking(move || thread.join()).await?;
        joined.map_err(|_| anyhow::anyhow!("the thread that holds the VIP has panicked"))?;
        if stop.is_cancelled() { Ok(()) } else { anyhow::bail!("the thread that holds the VIP has ended") }
    }
}

/// Lets go of the VIP and says so in the log, so that whoever leads next may take it at once.
async fn let_go(shared: &Shared, claims: &Claims, cluster: &Cluster) {
    let lease = cluster.lease();
    let record = cluster.read().vip_record().copied();
    let Some(leadership) = lease.leading else { return };
    *lock(&shared.let_go_until) = Some((leadership, Instant::now() + HAND_OVER_PAUSE));
    let mut held = shared.held.subscribe();
    if tokio::time::timeout(LET_GO_MAX, held.wait_for(|held| !held)).await.is_err() {
        tracing::warn!("the VIP was not let go in time; the next holder waits for the lease");
        return;
    }
    let own = cluster.identity().node;
    if let Some(record) = record.filter(|record| record.holder == own) {
        claims.released(leadership, record.epoch).await;
    }
}
