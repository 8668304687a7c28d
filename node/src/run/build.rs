//! What a node is made of, before anything runs.

use std::sync::Arc;

use anyhow::Context as _;
use raft::peer::{HttpPeer, PeerOptions};
use raft::state::{self, Announcement, NodeKind, Role};
use raft::types::Digest;
use raft::{Cluster, EngineKind, Options};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::bind::Bound;
use super::certificates::{self, Addresses, Kept};
use super::own;
use super::seen;
use super::site::Site;
use crate::assets::Store;
use crate::callers::{self, Callers, Unsaid};
use crate::catalog::Catalog;
use crate::certs::{CA_FILE, CaFiles, Gate};
use crate::config::{Config, Timing};
use crate::loaders::Loaders;
use crate::membership::{DataDir, Own, Standing};
use crate::peer_http::Peers;
use crate::replication::{self, Replicator};
use crate::rotation::{self, Rotation};
use crate::{admin, boot, dhcp, grpc, observe, peers, sightings, tftp, timeline, vip};

/// Connections from other nodes that wait to be served; more are closed and come again.
const ARRIVING_MAX: usize = 64;

/// The floating address as it is before anything of this node listens: closed, and nothing of ours left of it.
pub(super) struct Held {
    pub(super) place: vip::Place,
    pub(super) vip: Option<netlink::vip::Vip>,
}

impl Held {
    /// The same where this node serves machines; an address that was on another interface is let go for good.
    pub(super) fn on(mut self, site: &Site) -> Self {
        let own = site.addresses.iter().filter_map(|address| match address {
            std::net::IpAddr::V4(address) => Some(*address),
            std::net::IpAddr::V6(_) => None,
        });
        if !self.place.serve_on(site.interface.clone(), own.collect())
            && let Some(Err(error)) = self.vip.take().map(netlink::vip::Vip::shutdown)
        {
            error!(%error, "the VIP cannot be cleared from the interface it was on before");
        }
        self
    }
}

/// Every part, none of them running.
pub(super) struct Built {
    pub(super) bound: Bound,
    pub(super) cluster: Cluster,
    pub(super) catalog: Arc<Catalog>,
    /// `None` on a witness, which holds no blobs.
    pub(super) replicator: Option<Replicator>,
    pub(super) admin: axum::Router,
    /// What clients of matchbox call, and who may.
    pub(super) grpc: (axum::Router, Arc<Gate>),
    /// Asks the other nodes how they are.
    pub(super) observe: observe::Reader,
    /// Clients' certificates that are seen for the first time.
    pub(super) seen: mpsc::Receiver<state::Certificate>,
    pub(super) peers: axum::Router,
    pub(super) arriving: mpsc::Receiver<HttpPeer>,
    pub(super) reporter: sightings::Reporter,
    pub(super) kept: Kept,
    pub(super) floating: vip::Floating,
    /// What TFTP shares with other nodes.
    pub(super) sharing: tftp::Sharing,
    /// What the node says of itself.
    pub(super) said: Announcement,
}

pub(super) async fn build(
    config: &Config,
    site: &Site,
    own: &Own,
    home: &DataDir,
    bound: Bound,
    held: Held,
) -> anyhow::Result<Built> {
    let (http, arriving) = mpsc::channel(ARRIVING_MAX);
    let listener = bound.peers.try_clone().context("the port for other nodes cannot be handed on")?;
    let (cluster, store, credentials) = open(config, home, listener, http).await?;
    let data_dir = &config.data_dir;
    let loaders = Arc::new(Loaders::find(&config.loader_dirs));
    if own.kind == NodeKind::Data {
        report(&loaders);
    }
    check_vip(&cluster, site);
    let tls = open_tls(config, site, own, &cluster)?;
    // Only a node that is alone may make itself an administrator; one that joined is administered already.
    if cluster.status().voters == [cluster.identity().node] && !home.has_joined() {
        admin::bootstrap::first_token(&cluster, data_dir).await?;
    }
    let (noticed, first_seen) = callers::noticed();
    let grpc = grpc_service(config, &tls, &cluster, noticed.clone())?;
    let (sightings, reporter) = sightings::channel();
    let place = crate::catalog::Site { address: site.address, http_port: site.http_port };
    let view = vip::Handle::default();
    let sharing = super::handoff::sharing(&cluster, view.clone());
    let floating = vip::Floating::new(cluster.clone(), held.place, held.vip, view.clone());
    let others = Peers::of(&cluster, credentials.clone());
    let replicator = Replicator::new(cluster.clone(), store.clone(), others.clone());
    let record = timeline::Record::default();
    let timeline = timeline::Reader::new(cluster.clone(), record.clone(), others.clone());
    let rotation = Rotation::new(cluster.clone(), CaFiles::new(data_dir), Some(others.clone()));
    let kept = Kept::of(config, site, own, tls.clone(), grpc.1.clone(), credentials, rotation.clone());
    let seen = observe::Source::new(cluster.clone(), store.clone());
    let seen = observe::Source { replicator: replicator.clone(), timeline: record.clone(), ..seen };
    let observe =
        observe::Reader::new(seen::source(seen, config, &bound, &floating.reporter(), kept.inventory.clone()), others);
    let catalog = Catalog::new(cluster.clone(), place, view, loaders.clone(), store.clone(), sightings);
    let catalog = Arc::new(catalog.with_copies(replicator.clone()).with_timeline(record));
    let context = admin::Context {
        health: observe.source().health.clone(),
        observe: observe.clone(),
        checks: checks(loaders, kept.addresses.clone()),
        replicator: replicator.clone(),
        timeline: timeline.clone(),
        ca: issuing(&rotation),
        callers: Some(Callers::new(cluster.clone(), tls.gate(), unsaid(config).0, noticed)),
        certificates: kept.inventory.clone(),
        rotation: Some(rotation.clone()),
        ..admin::Context::new(cluster.clone(), store.clone()).in_dir(data_dir)
    };
    let for_members = replication::router(replicator.clone())
        .merge(timeline::router(timeline))
        .merge(observe::router(observe.clone()));
    let for_members = for_members.merge(rotation::router(rotation));
    let peers = peers::router(peers::Context::new(cluster.clone(), data_dir.clone()), for_members);
    Ok(Built {
        said: own::announcement(config, site, own, cluster.identity()),
        replicator: (own.kind == NodeKind::Data).then_some(replicator),
        admin: admin::router(context),
        bound,
        cluster,
        catalog,
        grpc,
        observe,
        seen: first_seen,
        peers,
        arriving,
        reporter,
        kept,
        floating,
        sharing,
    })
}

fn open_tls(config: &Config, site: &Site, own: &Own, cluster: &Cluster) -> anyhow::Result<admin::tls::Tls> {
    let certificate = config.certificate.as_ref().map(|own| (own.chain.as_path(), own.key.as_path()));
    let client_ca = config.client_ca.as_ref().map(|ca| ca.file.as_path());
    let names = certificates::names(&site.names, &own.name, &cluster.read());
    Ok(admin::tls::Tls::open(&config.data_dir, certificate, client_ca, &names)?)
}

/// What clients of matchbox call, and who may.
fn grpc_service(
    config: &Config,
    tls: &admin::tls::Tls,
    cluster: &Cluster,
    noticed: mpsc::Sender<state::Certificate>,
) -> anyhow::Result<(axum::Router, Arc<Gate>)> {
    let gate = grpc_gate(config, tls)?;
    let callers = Callers::new(cluster.clone(), gate.clone(), unsaid(config).1, noticed);
    let context = grpc::Context::new(cluster.clone(), callers, Arc::new(boot::check_template));
    Ok((grpc::router(context), gate))
}

/// Who may call the gRPC service, and what they are shown.
fn grpc_gate(config: &Config, tls: &admin::tls::Tls) -> anyhow::Result<Arc<Gate>> {
    let Some(own) = &config.grpc_certificates else {
        return Ok(grpc::tls::of_cluster(&config.data_dir.join(CA_FILE), tls.gate().shown())?);
    };
    Ok(grpc::tls::own(&grpc::tls::OwnFiles {
        chain: own.server.chain.clone(),
        key: own.server.key.clone(),
        client_ca: own.client_ca.file.clone(),
    })?)
}

/// What clients may do whose certificates do not say: of the admin API, and over gRPC.
fn unsaid(config: &Config) -> (Unsaid, Unsaid) {
    // There were no roles once, and what was issued then is good for what it was good for: gRPC, and nothing else.
    let before = Some(Role::Operate);
    let admin = config.client_ca.as_ref().and_then(|ca| ca.role);
    let grpc = config.grpc_certificates.as_ref().and_then(|own| own.client_ca.role);
    (Unsaid { cluster: None, other: admin }, Unsaid { cluster: before, other: grpc })
}

/// The CA that join tokens name, as it is when one is made.
fn issuing(rotation: &Rotation) -> Arc<dyn Fn() -> Option<Digest> + Send + Sync> {
    let files = rotation.files().clone();
    Arc::new(move || files.authority().and_then(|authority| authority.digest()).ok())
}

async fn open(
    config: &Config,
    home: &DataDir,
    listener: std::net::TcpListener,
    http: mpsc::Sender<HttpPeer>,
) -> anyhow::Result<(Cluster, Arc<Store>, raft::peer::Credentials)> {
    let (home, data_dir) = (home.clone(), config.data_dir.clone());
    let timing = match config.timing {
        Timing::Lan => raft::cluster::Timing::LAN,
        Timing::Vm => raft::cluster::Timing::VM,
    };
    let fence = vip::fence_kind(config.fence);
    tokio::task::spawn_blocking(move || {
        let Standing::Member(identity) = home.standing()? else {
            anyhow::bail!("{} is no longer the directory of a member", home.path().display());
        };
        let credentials = certificates::credentials(&data_dir, &identity)?;
        let peers = PeerOptions { listener, credentials: credentials.clone(), http };
        let options = Options { dir: home.raft(), engine: EngineKind::RocksDb, peers: Some(peers) };
        // The log first: its lock keeps a second process from sweeping away the uploads of the one that runs.
        let vip_wait = vip::timing::LeaseTiming::of(timing, fence).wait;
        let tuning =
            raft::cluster::Tuning { timing, vip_wait, expect_cluster: Some(identity.cluster), ..Default::default() };
        let cluster = Cluster::open_tuned(options, tuning)?;
        let store = Store::open(&data_dir).context("the asset store cannot be opened")?;
        anyhow::Ok((cluster, Arc::new(store), credentials))
    })
    .await?
}

/// The floating address moves; machines told to boot from it must not be told so as if it were this node's own.
fn check_vip(cluster: &Cluster, site: &Site) {
    if cluster.read().vip() == Some(site.address) {
        error!(
            address = %site.address,
            "the address this node takes for its own is the cluster's VIP: set `advertise` to one that stays here, or change the VIP"
        );
    }
}

/// What the admin API cannot know by itself and warns about.
fn checks(loaders: Arc<Loaders>, addresses: Addresses) -> admin::Checks {
    admin::Checks {
        template: Arc::new(boot::check_template),
        loader_served: Arc::new(move |name| loaders.get(name).is_some()),
        loader_classes: dhcp::Architecture::names().map(str::to_owned).collect(),
        own_addresses: Arc::new(move || addresses.list()),
    }
}

fn report(loaders: &Loaders) {
    for loader in loaders.list() {
        info!(name = loader.name, firmware = %loader.firmware, path = %loader.path.display(), "boot loader found");
    }
    for missing in loaders.missing().iter().filter(|missing| missing.essential) {
        warn!(name = missing.name, firmware = %missing.firmware, remedy = missing.remedy, "a boot loader is missing: such machines cannot boot");
    }
    for unusable in loaders.unusable() {
        warn!(problem = %unusable, "a boot loader cannot be used");
    }
}
