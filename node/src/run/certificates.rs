//! Keeps this node's certificates fitting while it runs: names that change, addresses that come, ends that draw near.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use raft::Cluster;
use raft::codec::Identity;
use raft::peer::{Credentials, Pems, node_name};
use raft::state::State;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::site;
use crate::admin::tls::Tls;
use crate::certs::{Authority, PEER};
use crate::config::Config;

/// How often this host's addresses are read again.
const LOOK_EVERY: Duration = Duration::from_secs(60);
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

/// What is kept.
pub(super) struct Kept {
    pub(super) config: Config,
    /// The address machines are told.
    pub(super) address: Ipv4Addr,
    /// This node's name.
    pub(super) own: String,
    /// Names of this host.
    pub(super) host: Vec<String>,
    pub(super) addresses: Addresses,
    pub(super) tls: Tls,
    pub(super) credentials: Credentials,
}

impl Kept {
    /// Runs until told to stop. What fails is said and tried again; the certificates in use stay.
    pub(super) async fn keep(mut self, cluster: Cluster, stop: CancellationToken) {
        let revision = |state: &State| state.cluster().map(|stored| stored.revision);
        let mut seen = revision(&cluster.read());
        let mut covered = names(&self.host, &self.own, &cluster.read());
        let mut applied = cluster.applied();
        let mut looked = tokio::time::Instant::now();
        let mut renewed = looked;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = applied.changed() => {
                    if changed.is_err() {
                        return stop.cancelled().await;
                    }
                    let now = revision(&cluster.read());
                    if std::mem::replace(&mut seen, now) == now {
                        continue;
                    }
                }
                () = tokio::time::sleep_until(looked + LOOK_EVERY) => {
                    looked = tokio::time::Instant::now();
                    self.look().await;
                }
            }
            let wanted = names(&self.host, &self.own, &cluster.read());
            let due = renewed.elapsed() >= RENEW_EVERY;
            if wanted == covered && !due {
                continue;
            }
            renewed = tokio::time::Instant::now();
            let work = self.renewal(wanted.clone(), cluster.identity().clone());
            match tokio::task::spawn_blocking(work).await {
                Ok(Ok(())) => covered = wanted,
                Ok(Err(error)) => {
                    warn!(error = format!("{error:#}"), "a certificate could not be renewed; the old one stays in use")
                }
                Err(error) => warn!(%error, "a certificate could not be renewed; the old one stays in use"),
            }
        }
    }

    fn renewal(&self, names: Vec<String>, identity: Identity) -> impl FnOnce() -> anyhow::Result<()> + Send + 'static {
        let (tls, credentials, data_dir) = (self.tls.clone(), self.credentials.clone(), self.config.data_dir.clone());
        move || {
            tls.renew(&names)?;
            let (pems, is_new) = pems(&data_dir, &identity)?;
            if is_new {
                credentials.replace(&pems)?;
                info!("made a new certificate for the other nodes");
            }
            Ok(())
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
    use raft::types::LogIndex;

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
