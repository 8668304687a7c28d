//! The admin API: REST below `/api/v1`, for operators, for programs and for the command line.
//!
//! `routes` is the table of everything that can be asked, and by whom. A write becomes edits (`document`), is proposed
//! as one command (`write`) and answered with the log index. `error` turns what goes wrong into an answer. `tls` holds
//! the certificates, `bootstrap` the first token.

mod apply;
mod assets;
mod auth;
mod backup;
mod blobs;
mod body;
pub mod bootstrap;
mod browser;
mod ca;
mod certificates;
mod clock;
mod cluster;
mod cluster_settings;
mod concerns;
mod document;
mod drain;
mod error;
mod expiry;
mod explain;
mod json;
mod list;
mod machines;
mod objects;
mod openapi;
mod picture;
mod request_id;
mod routes;
mod secret;
mod settings;
mod status;
mod support;
mod templates;
pub mod tls;
mod tokens;
mod versions;
mod view;
mod warnings;
mod write;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use raft::Cluster;
use raft::state::TemplateKind;
use raft::types::Digest;

use crate::assets::Store;
use crate::callers::Callers;
use crate::certs;
use crate::https::Service;
use crate::metrics::counted;
use crate::observe;
use crate::replication::Replicator;
use crate::rotation::Rotation;
use crate::timeline;

pub use crate::observe::Health;
pub use auth::RefusedCallers;
pub use routes::router;
pub use secret::{NotAToken, Secret};

/// What `https` calls the API.
pub static SERVICE: Service = Service {
    name: "admin API",
    key: "listen.admin",
    label: "admin",
    count: |answer| counted::admin_request(answer.status.as_u16()),
    tells_failures: false,
};

/// What the API works with; cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The replicated state.
    pub cluster: Cluster,
    /// The blobs of this node.
    pub store: Arc<Store>,
    /// Their copies on other nodes.
    pub replicator: Replicator,
    /// What machines did, here and on other nodes.
    pub timeline: timeline::Reader,
    /// What is seen of this node and the others from outside.
    pub observe: observe::Reader,
    /// When this process started.
    pub started: SystemTime,
    /// What `status` calls this program.
    pub version: &'static str,
    /// How the parts of this node are, asked for every `status`.
    pub health: Arc<dyn Fn() -> Vec<Health> + Send + Sync>,
    /// What other modules know better.
    pub checks: Checks,
    /// sha256 of the cluster's CA, which join tokens name, as it is now; without it none can be made.
    pub ca: Arc<dyn Fn() -> Option<Digest> + Send + Sync>,
    /// Where the CA's files are; without it no backup can be made.
    pub data_dir: Option<PathBuf>,
    /// Held while a backup is sent.
    pub(crate) backups: Arc<tokio::sync::Semaphore>,
    /// Callers turned away.
    pub refused: Arc<RefusedCallers>,
    /// Who may call with a client certificate; nobody if it is left out.
    pub callers: Option<Callers>,
    /// When this node's certificates end.
    pub certificates: certs::Inventory,
    /// The change of the cluster's CA on this node; without it none can be made.
    pub rotation: Option<Rotation>,
    /// Held while a token is revoked.
    pub(crate) revoking: Arc<tokio::sync::Mutex<()>>,
}

impl Context {
    /// A context without other nodes, health reports and further checks; the caller sets those.
    #[must_use]
    pub fn new(cluster: Cluster, store: Arc<Store>) -> Self {
        Self {
            replicator: Replicator::alone(cluster.clone(), store.clone()),
            timeline: timeline::Reader::alone(cluster.clone(), timeline::Record::default()),
            observe: observe::Reader::alone(observe::Source::new(cluster.clone(), store.clone())),
            cluster,
            store,
            started: SystemTime::now(),
            version: env!("CARGO_PKG_VERSION"),
            health: Arc::new(Vec::new),
            checks: Checks::default(),
            ca: Arc::new(|| None),
            data_dir: None,
            backups: Arc::new(tokio::sync::Semaphore::new(backup::BACKUPS_MAX)),
            refused: Arc::default(),
            callers: None,
            certificates: certs::Inventory::default(),
            rotation: None,
            revoking: Arc::default(),
        }
    }

    /// The same for a node whose CA is in `data_dir`, so that backups can be made.
    #[must_use]
    pub fn in_dir(self, data_dir: &Path) -> Self {
        Self { data_dir: Some(data_dir.to_owned()), ..self }
    }

    /// The same for templates that have been judged already: translating one twice would take twice as long.
    fn without_template_check(self) -> Self {
        let checks = Checks { template: Checks::default().template, ..self.checks };
        Self { checks, ..self }
    }
}

/// Says what is wrong with a template, by its kind, its name and its text.
pub type CheckTemplate = Arc<dyn Fn(TemplateKind, &str, &[u8]) -> Result<(), String> + Send + Sync>;

/// Checks of content that other modules can do and the replicated state does not.
#[derive(Clone)]
pub struct Checks {
    /// Says why a template will be refused to machines. It is stored all the same, with a warning.
    pub template: CheckTemplate,
    /// Whether this node serves a boot loader of that name; others are stored all the same, with a warning.
    pub loader_served: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// The firmware classes that settings may name a loader for; empty: any.
    pub loader_classes: Arc<[String]>,
    /// The addresses of this host, none of which can be the floating one.
    pub own_addresses: Arc<dyn Fn() -> Vec<IpAddr> + Send + Sync>,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            template: Arc::new(|_, _, _| Ok(())),
            loader_served: Arc::new(|_| true),
            loader_classes: Arc::from([]),
            own_addresses: Arc::new(Vec::new),
        }
    }
}
