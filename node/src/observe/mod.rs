//! What can be seen of a node from outside: its numbers, what it says of itself to the others, and what helps to find a fault.
//!
//! `about` is what a node tells of itself, `across` asks all of them at once, `serve` answers the others. `numbers` fills the
//! page for Prometheus. `support` collects the texts of one node, `host` those about its computer; `bundle` makes one file of
//! all nodes' with `archive`; `redact` takes out what nobody else should read.

mod about;
mod across;
mod archive;
mod bundle;
mod host;
mod last_backup;
mod numbers;
mod redact;
mod serve;
mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use raft::Cluster;

use crate::assets::Store;
use crate::replication::Replicator;
use crate::timeline;

pub use about::{About, Certificate, Disk, Rival, VipHere};
pub use across::{Reader, Told};
pub use last_backup::LastBackup;
pub use redact::line as redact_line;
pub use serve::router;
pub use support::{FileText, Support};

/// How one part of a node is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Health {
    /// Which part: `dhcp`.
    pub name: &'static str,
    /// `ok`, `off`, or what is wrong in one word.
    pub state: &'static str,
    /// For people: where it listens, what failed, what to do.
    pub detail: String,
}

/// How many DHCP packets came in, and what became of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DhcpCounts {
    /// Packets that came in.
    pub received: u64,
    /// By what became of them.
    pub outcomes: Vec<(&'static str, u64)>,
    /// Those that were not answered, by the reason.
    pub silent: Vec<(&'static str, u64)>,
}

/// Asks another part of the node.
pub type Ask<T> = Arc<dyn Fn() -> T + Send + Sync>;

/// Where a node's own facts come from; cheap to clone.
#[derive(Clone)]
pub struct Source {
    /// The replicated state.
    pub cluster: Cluster,
    /// The blobs of this node.
    pub store: Arc<Store>,
    /// Their copies on other nodes.
    pub replicator: Replicator,
    /// What machines did here.
    pub timeline: timeline::Record,
    /// When this process started.
    pub started: SystemTime,
    /// What this program is called.
    pub version: &'static str,
    /// How the parts of this node are.
    pub health: Ask<Vec<Health>>,
    /// How it stands with the VIP.
    pub vip: Ask<VipHere>,
    /// What DHCP has counted, where it runs.
    pub dhcp: Ask<Option<DhcpCounts>>,
    /// The certificates of this node with their ends.
    pub certificates: Ask<Vec<Certificate>>,
    /// When this node gave the last whole backup.
    pub last_backup: LastBackup,
    /// The last lines of the log.
    pub log: Ask<Vec<String>>,
    /// What this node was configured to be, without anything secret.
    pub config: Arc<str>,
    /// Where its files are, to say how much of the disk they take.
    pub data_dir: Option<PathBuf>,
}

impl Source {
    /// Of a node without other parts; the caller sets those.
    #[must_use]
    pub fn new(cluster: Cluster, store: Arc<Store>) -> Self {
        Self {
            replicator: Replicator::alone(cluster.clone(), store.clone()),
            cluster,
            store,
            timeline: timeline::Record::default(),
            started: SystemTime::now(),
            version: env!("CARGO_PKG_VERSION"),
            health: Arc::new(Vec::new),
            vip: Arc::new(VipHere::default),
            dhcp: Arc::new(|| None),
            certificates: Arc::new(Vec::new),
            last_backup: LastBackup::default(),
            log: Arc::new(Vec::new),
            config: Arc::from(""),
            data_dir: None,
        }
    }

    /// What the others call this node.
    #[must_use]
    pub fn name(&self) -> String {
        let own = self.cluster.identity().node;
        self.cluster.read().member(own).map_or_else(|| format!("node-{own}"), |member| member.name.clone())
    }
}

/// Milliseconds since 1970.
fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
