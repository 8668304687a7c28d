//! The read side: answers, from the state held in memory, what the protocol servers ask.
//!
//! One file a protocol; each implements that protocol's own trait of questions. Nothing here waits.

mod boot;
mod dhcp;
mod gate;
mod tftp;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use raft::Cluster;
use raft::types::LogIndex;

use crate::assets::Store;
use crate::boot::{Whereabouts, autoexec, for_questions};
use crate::dhcp::Facts;
use crate::loaders::{Loader, Loaders};
use crate::replication::Replicator;
use crate::sightings::Sightings;
use crate::tftp::{Give, LoopBreaker, Signature};
use crate::timeline::Record;
use crate::vip::{self, View};

use gate::Gate;

/// Where machines are told to find this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Site {
    /// The address named in DHCP answers.
    pub address: Ipv4Addr,
    /// The port of boot HTTP.
    pub http_port: u16,
}

impl Site {
    /// `http://ADDRESS:PORT` for whoever asked us at `local`, without a slash at the end.
    #[must_use]
    pub fn base_url(self, local: IpAddr) -> String {
        let address = match local.to_canonical() {
            IpAddr::V4(address) if !address.is_unspecified() => IpAddr::V4(address),
            IpAddr::V4(_) => IpAddr::V4(self.address),
            IpAddr::V6(address) => return format!("http://[{address}]:{}", self.http_port),
        };
        format!("http://{address}:{}", self.http_port)
    }
}

/// Answers the questions of DHCP, TFTP and boot HTTP.
pub struct Catalog {
    cluster: Cluster,
    node: u64,
    site: Site,
    loaders: Arc<Loaders>,
    store: Arc<Store>,
    replicator: Replicator,
    sightings: Sightings,
    timeline: Record,
    vip: vip::Handle,
    /// DHCP's settings as of a log index and a view of the floating address: built once per change, not per packet.
    dhcp_facts: ArcSwapOption<(LogIndex, View, Arc<Facts>)>,
    loops: Mutex<LoopBreaker>,
    dhcp_log: Mutex<Gate>,
    refusal_log: Mutex<Gate>,
}

impl Catalog {
    /// A catalog over the state of `cluster`, the blobs of `store` and the boot loaders found on this host.
    #[must_use]
    pub fn new(
        cluster: Cluster,
        site: Site,
        vip: vip::Handle,
        loaders: Arc<Loaders>,
        store: Arc<Store>,
        sightings: Sightings,
    ) -> Self {
        Self {
            node: cluster.status().node_id,
            replicator: Replicator::alone(cluster.clone(), store.clone()),
            cluster,
            vip,
            site,
            loaders,
            store,
            sightings,
            timeline: Record::default(),
            dhcp_facts: ArcSwapOption::empty(),
            loops: Mutex::new(LoopBreaker::default()),
            dhcp_log: Mutex::new(Gate::new(gate::LINES_MAX)),
            refusal_log: Mutex::new(Gate::new(gate::REFUSALS_MAX)),
        }
    }

    /// With other nodes to have bytes from that are not here.
    #[must_use]
    pub fn with_copies(self, replicator: Replicator) -> Self {
        Self { replicator, ..self }
    }

    /// With a record that others read.
    #[must_use]
    pub fn with_timeline(self, timeline: Record) -> Self {
        Self { timeline, ..self }
    }

    /// A boot loader found on this host, whatever the case of its name. BIOS loaders are found below any folder, as
    /// site DHCP servers name them (`ipxe/undionly.kpxe`); UEFI ones are not, because a folder may name the processor.
    fn packaged(&self, name: &str) -> Option<&Loader> {
        let lower = name.to_ascii_lowercase();
        let last = lower.rsplit('/').next().filter(|last| !last.ends_with(".efi"));
        self.loaders.get(name).or_else(|| self.loaders.get(&lower)).or_else(|| self.loaders.get(last?))
    }

    /// Whether a name is a boot loader's: a packaged one, or an imported file that looks like iPXE.
    fn is_loader(&self, name: &str) -> bool {
        let extension = name.rsplit('.').next().unwrap_or_default();
        let like_ipxe = ["kpxe", "kkpxe", "pxe", "efi"].iter().any(|known| extension.eq_ignore_ascii_case(known));
        like_ipxe || self.packaged(name).is_some()
    }

    /// Whether this is an iPXE that loads iPXE again, because a site's DHCP always names the same file.
    fn is_loop(&self, loader: &str, client: IpAddr, signature: Signature) -> bool {
        if !self.is_loader(loader) {
            return false;
        }
        let mut loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        loops.decide(client.to_canonical(), loader, signature, Instant::now()) == Give::Script
    }

    /// Remembers that a client was given the boot loader itself; the script given in its place does not count.
    fn note_loaded(&self, loader: &str, client: IpAddr) {
        if self.is_loader(loader) {
            let mut loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
            loops.loaded(client.to_canonical(), loader, Instant::now());
        }
    }

    /// The script that takes the place of a boot loader, naming the address that was asked and where else to go.
    fn script(&self, local: IpAddr) -> String {
        let asked = self.site.base_url(local);
        autoexec(&asked, &for_questions(&self.cluster.read(), &self.whereabouts(), &asked))
    }

    /// Where machines find the cluster. All nodes serve boot HTTP on one port, or the floating address could not move.
    fn whereabouts(&self) -> Whereabouts {
        let view = self.vip.get();
        Whereabouts {
            node: self.node,
            floating: view.address.map(|address| self.site.base_url(address.into())),
            holder_known: view.reachable().is_some(),
        }
    }
}
