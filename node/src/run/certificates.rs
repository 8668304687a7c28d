//! Keeps this node's certificates fitting while it runs: names that change, addresses that come, ends that draw near.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use raft::Cluster;
use raft::codec::Identity;
use raft::peer::{Credentials, Pems, node_name};
use raft::state::{CaRecord, State};
use raft::types::LogIndex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::site::{self, Site};
use crate::admin::tls::Tls;
use crate::certs::{Authority, CA_FILE, Gate, Inventory, PEER, Place, SERVER};
use crate::config::Config;
use crate::membership::Own;
use crate::rotation::{Progress, Rotation};

/// How often this host's addresses are read again.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often files are looked at that operators change.
const FILES_EVERY: Duration = Duration::from_secs(10);
/// How often a change of the CA is tried again that could not be followed.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);
/// How often certificates are looked at although no name has changed.
const RENEW_EVERY: Duration = Duration::from_secs(3600);

/// Who this node is to its peers.
pub(super) fn credentials(data_dir: &Path, identity: &Identity) -> anyhow::Result<Credentials> {
    Ok(Credentials::new(&pems(data_dir, identity)?.0)?)
}

fn pems(data_dir: &Path, identity: &Identity) -> anyhow::Result<(Pems, bool)> {
    let now = SystemTime::now();
    let authority = Authority::open(data_dir, now)?;
    let name = node_name(&identity.cluster, identity.node);
    let issued = PEER.ensure(&authority, data_dir, &[name], now)?;
    Ok((Pems { ca: authority.certificate()?, chain: issued.chain, key: issued.key }, issued.is_new))
}

/// The names under which operators may reach this node, its cluster's included.
pub(super) fn names(host: &[String], own: &str, state: &State) -> Vec<String> {
    let mut names = host.to_vec();
    names.push(own.to_owned());
    if let Some(cluster) = state.cluster() {
        names.extend(cluster.value.vip.map(|vip| vip.to_string()));
        names.extend(cluster.value.dns_names.iter().cloned());
    }
    names.sort();
    names.dedup();
    names
}

/// This host's addresses as last read, for those who must not take one of them for something else.
#[derive(Debug, Clone, Default)]
pub(super) struct Addresses(Arc<Mutex<Vec<IpAddr>>>);

impl Addresses {
    pub(super) fn new(list: Vec<IpAddr>) -> Self {
        Self(Arc::new(Mutex::new(list)))
    }

    pub(super) fn list(&self) -> Vec<IpAddr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, list: Vec<IpAddr>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = list;
    }
}

/// The certificates a node with this configuration lives by.
fn places(config: &Config) -> Vec<Place> {
    let dir = &config.data_dir;
    let admin = config.certificate.as_ref().map_or_else(|| dir.join(SERVER.file()), |own| own.chain.clone());
    let mut places = vec![
        Place::leaf("admin", &admin),
        Place::leaf("peer", &dir.join(PEER.file())),
        Place::cas("ca", &dir.join(CA_FILE)),
    ];
    if let Some(own) = &config.grpc_certificates {
        places.push(Place::leaf("grpc", &own.server.chain));
        places.push(Place::cas("grpc-client-ca", &own.client_ca.file));
    }
    if let Some(ca) = &config.client_ca {
        places.push(Place::cas("admin-client-ca", &ca.file));
    }
    places
}

/// The CAs that are trusted, as a file has them.
fn bundle(data_dir: &Path) -> Vec<u8> {
    std::fs::read(data_dir.join(CA_FILE)).unwrap_or_default()
}

/// What is kept.
pub(super) struct Kept {
    config: Config,
    /// The address machines are told.
    address: Ipv4Addr,
    /// This node's name.
    own: String,
    /// Names of this host.
    host: Vec<String>,
    pub(super) addresses: Addresses,
    pub(super) tls: Tls,
    /// What the gRPC service shows, and whom it lets in.
    grpc: Arc<Gate>,
    credentials: Credentials,
    rotation: Rotation,
    pub(super) inventory: Inventory,
    /// The CAs that `credentials` trust.
    bundle: Vec<u8>,
}

/// What of the state certificates depend on.
fn basis(state: &State) -> (Option<LogIndex>, Option<Arc<CaRecord>>) {
    (state.cluster().map(|stored| stored.revision), state.ca().cloned())
}

impl Kept {
    /// What a node with this configuration keeps.
    pub(super) fn of(
        config: &Config,
        site: &Site,
        own: &Own,
        tls: Tls,
        grpc: Arc<Gate>,
        credentials: Credentials,
        rotation: Rotation,
    ) -> Self {
        Self {
            config: config.clone(),
            address: site.address,
            own: own.name.clone(),
            host: site.names.clone(),
            addresses: Addresses::new(site.addresses.clone()),
            tls,
            grpc,
            credentials,
            rotation,
            inventory: Inventory::of(places(config)),
            bundle: bundle(&config.data_dir),
        }
    }

    /// Runs until told to stop. What fails is said and tried again; the certificates in use stay.
    pub(super) async fn keep(mut self, cluster: Cluster, stop: CancellationToken) {
        let mut seen = basis(&cluster.read());
        let mut covered = names(&self.host, &self.own, &cluster.read());
        let mut applied = cluster.applied();
        let mut looked = Instant::now();
        let mut renewed = looked;
        let pause = |follows: bool| Instant::now() + if follows { FILES_EVERY } else { FOLLOW_EVERY };
        let mut next = pause(self.follow().await);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = applied.changed() => {
                    if changed.is_err() {
                        return stop.cancelled().await;
                    }
                    let now = basis(&cluster.read());
                    if std::mem::replace(&mut seen, now.clone()) == now {
                        continue;
                    }
                }
                () = tokio::time::sleep_until(next) => {}
            }
            if looked.elapsed() >= LOOK_EVERY {
                looked = Instant::now();
                self.look().await;
            }
            next = pause(self.follow().await);
            let wanted = names(&self.host, &self.own, &cluster.read());
            if wanted != covered || renewed.elapsed() >= RENEW_EVERY {
                renewed = Instant::now();
                if self.renew(wanted.clone()).await {
                    covered = wanted;
                }
            }
            self.refresh().await;
        }
    }

    /// Follows a change of the cluster's CA; says whether there is nothing left to do.
    async fn follow(&mut self) -> bool {
        match self.rotation.follow().await {
            Ok(Progress::Settled { changed }) => {
                let names = names(&self.host, &self.own, &self.rotation.state());
                // After a start too: whoever stopped in between has followed with its files alone.
                if (changed || self.bundle != bundle(&self.config.data_dir)) && !self.renew(names).await {
                    return false;
                }
                self.rotation.report().await;
                true
            }
            Ok(Progress::Waiting) => false,
            Err(error) => {
                warn!(
                    error = format!("{error:#}"),
                    "a change of the cluster's CA cannot be followed; it is tried again"
                );
                false
            }
        }
    }

    /// Makes certificates fit; says whether they do.
    async fn renew(&mut self, names: Vec<String>) -> bool {
        let work = self.renewal(names, self.rotation.identity());
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(bundle)) => {
                self.bundle = bundle;
                return true;
            }
            Ok(Err(error)) => {
                warn!(error = format!("{error:#}"), "a certificate could not be renewed; the old one stays in use");
            }
            Err(error) => warn!(%error, "a certificate could not be renewed; the old one stays in use"),
        }
        false
    }

    /// Answers the CAs that are trusted now.
    fn renewal(
        &self,
        names: Vec<String>,
        identity: Identity,
    ) -> impl FnOnce() -> anyhow::Result<Vec<u8>> + Send + 'static {
        let (tls, grpc, credentials) = (self.tls.clone(), self.grpc.clone(), self.credentials.clone());
        let (data_dir, known) = (self.config.data_dir.clone(), self.bundle.clone());
        move || {
            let now = bundle(&data_dir);
            let (pems, is_new) = pems(&data_dir, &identity)?;
            if is_new || known != now {
                credentials.replace(&pems)?;
            }
            if is_new {
                info!("made a new certificate for the other nodes");
            }
            tls.renew(&names)?;
            grpc.refresh();
            Ok(now)
        }
    }

    /// Looks at files that operators change.
    async fn refresh(&self) {
        let (tls, grpc, inventory) = (self.tls.gate(), self.grpc.clone(), self.inventory.clone());
        let looked = tokio::task::spawn_blocking(move || {
            tls.refresh();
            grpc.refresh();
            inventory.look();
        });
        if let Err(error) = looked.await {
            warn!(%error, "the certificates on disk could not be looked at");
        }
    }

    async fn look(&mut self) {
        match site::host(&self.config, self.address).await {
            Ok((names, addresses)) => {
                self.host = names;
                self.addresses.set(addresses);
            }
            Err(error) => warn!(error = format!("{error:#}"), "the addresses of this host could not be read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use raft::command::Edit;
    use raft::state::ClusterSettings;

    use super::*;

    #[test]
    fn the_cluster_adds_its_names_to_those_of_the_host() {
        let host = ["10.0.0.2".to_owned(), "localhost".to_owned()];
        let mut state = State::default();
        assert_eq!(names(&host, "node-a", &state), ["10.0.0.2", "localhost", "node-a"]);
        let settings = ClusterSettings {
            vip: Some(Ipv4Addr::new(10, 0, 0, 9)),
            dns_names: vec!["boot.lab".into()],
            ..ClusterSettings::default()
        };
        state.apply(LogIndex(1), &super::super::own::command(vec![Edit::PutCluster(settings)]));
        assert_eq!(names(&host, "node-a", &state), ["10.0.0.2", "10.0.0.9", "boot.lab", "localhost", "node-a"]);
    }
}
