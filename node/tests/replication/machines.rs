//! What machines get from a node whose disk holds nothing and stays so.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use raftboot::assets::Store;
use raftboot::boot;
use raftboot::catalog::{Catalog, Site};
use raftboot::loaders::Loaders;
use raftboot::peer_http::Peers;
use raftboot::replication::{Pace, Replicator};
use raftboot::tftp::{Client, Lookup, Name, Questions as _, Signature};
use raftboot::vip::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::faults::Wire;
use crate::rig::Rig;

/// Boot HTTP and TFTP of such a node.
pub(crate) struct Machines {
    catalog: Arc<Catalog>,
    url: String,
    stop: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
    _dir: tempfile::TempDir,
}

/// What came back.
pub(crate) struct Got {
    pub(crate) status: u16,
    /// As announced.
    pub(crate) length: u64,
    pub(crate) range: String,
    pub(crate) retry_after: String,
    pub(crate) bytes: Vec<u8>,
}

impl Machines {
    /// The state is that of node `id`; nothing is ever fetched to its store.
    pub(crate) async fn of_an_empty_store(rig: &Rig, id: u64) -> Self {
        let dir = tempfile::tempdir().expect("the test's own set-up");
        let cluster = rig.node(id).cluster.clone();
        let store = Arc::new(Store::open(dir.path()).expect("a store opens"));
        let wire = Peers::new(Arc::new(Wire::new(rig.faults.clone())));
        let replicator = Replicator::with(cluster.clone(), store.clone(), Some(wire), Pace::default());
        let site = Site { address: Ipv4Addr::LOCALHOST, http_port: 8080 };
        let (sightings, _reporter) = raftboot::sightings::channel();
        let none: [&str; 0] = [];
        let catalog = Catalog::new(cluster, site, Handle::default(), Arc::new(Loaders::find(&none)), store, sightings);
        let catalog = Arc::new(catalog.with_copies(replicator));
        let server = boot::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let url = format!("http://{}/assets/kernel", server.local_addr().expect("it is bound"));
        let stop = CancellationToken::new();
        let server = tokio::spawn(server.serve(catalog.clone(), stop.clone()));
        Self { catalog, url, stop, server, _dir: dir }
    }

    /// Fetches the asset `kernel`, or a part of it.
    pub(crate) async fn get(&self, range: &str) -> Got {
        let (url, range) = (self.url.clone(), range.to_owned());
        let ask = move || {
            let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build();
            let mut request = config.new_agent().get(&url);
            if !range.is_empty() {
                request = request.header("range", &range);
            }
            let mut answer = request.call().expect("an answer");
            let text = |name: &str| {
                answer.headers().get(name).map_or(String::new(), |value| value.to_str().expect("text").to_owned())
            };
            let (range, retry_after) = (text("content-range"), text("retry-after"));
            let length = text("content-length").parse().expect("every answer says how long it is");
            let status = answer.status().as_u16();
            let bytes = answer.body_mut().with_config().limit(1 << 30).read_to_vec().expect("as long as was said");
            Got { status, length, range, retry_after, bytes }
        };
        tokio::task::spawn_blocking(ask).await.expect("the client does not panic")
    }

    /// What TFTP is told about the same asset.
    pub(crate) fn tftp(&self) -> Lookup {
        let name = Name::parse(b"kernel").expect("a name");
        let address: SocketAddr = "10.0.0.99:2070".parse().expect("an address");
        let local = Ipv4Addr::LOCALHOST.into();
        self.catalog.open(&name, &Client { address, local, interface: None, signature: Signature::Other })
    }

    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.server.await.expect("it does not panic").expect("it ends in order");
    }
}
