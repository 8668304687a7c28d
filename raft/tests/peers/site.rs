//! A cluster on loopback: nodes that are founded, joined, stopped and started again.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use raft::cluster::{Cluster, EngineKind, Options, Tuning};
use raft::codec::Identity;
use raft::command::{Command, Edit, GuardedEdit};
use raft::peer::{Credentials, HttpPeer, PeerOptions, Pems, node_name};
use raft::state::{Announcement, Group, NewMember, NodeKind};
use raft::types::{Digest, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// A state is awaited for at most so long; machines that test are slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A CA with the PEM text of its certificate.
pub(crate) struct Authority {
    params: CertificateParams,
    key: KeyPair,
    pem: String,
}

pub(crate) static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::new);

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("the test's own set-up");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let pem = params.self_signed(&key).expect("the test's own set-up").pem();
        Self { params, key, pem }
    }

    /// What the node of that id in that cluster shows to others.
    pub(crate) fn credentials(&self, cluster: &[u8; 16], id: u64) -> Credentials {
        let key = KeyPair::generate().expect("the test's own set-up");
        let mut params = CertificateParams::new([node_name(cluster, id)]).expect("the test's own set-up");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let chain =
            params.signed_by(&key, &Issuer::from_params(&self.params, &self.key)).expect("the test's own set-up").pem();
        Credentials::new(&Pems { ca: self.pem.clone(), chain, key: key.serialize_pem() })
            .expect("the test's own set-up")
    }
}

/// One node; its directory outlives its process.
pub(crate) struct Node {
    pub(crate) dir: TempDir,
    pub(crate) port: u16,
    cluster: Option<Cluster>,
    _http: Option<mpsc::Receiver<HttpPeer>>,
}

impl Node {
    /// Founds a cluster, on its own at first.
    pub(crate) async fn found() -> Self {
        let mut node = Self::empty();
        // The identity is made by the first start; the certificate needs it.
        let first = open(Options::alone(node.home(), EngineKind::RocksDb)).await;
        first.shutdown().await;
        drop(first);
        node.start().await;
        let said =
            Announcement { id: 1, name: "n1".into(), kind: NodeKind::Data, peer: node.address(), boot: String::new() };
        node.cluster().propose(command([Edit::AnnounceMember(said)])).await.expect("the test's own set-up");
        node
    }

    fn empty() -> Self {
        let dir = tempfile::tempdir().expect("the test's own set-up");
        Self { dir, port: free_port(), cluster: None, _http: None }
    }

    /// Lets a new node in through `through` and starts it.
    pub(crate) async fn join(through: &Cluster, name: &str, kind: NodeKind) -> Self {
        let mut node = Self::empty();
        let new = NewMember { name: name.into(), kind, peer: node.address(), boot: String::new(), instance: rand16() };
        let member = through.join(new).await.expect("the test's own set-up");
        let identity = Identity { node: member.id, ..through.identity().clone() };
        Cluster::adopt(&node.home(), &identity).expect("the test's own set-up");
        node.start().await;
        node
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("raft")
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it on its old directory and on `port`. On another one than it was let in with nobody finds it: it reaches the
    /// others, they do not reach it.
    pub(crate) async fn start(&mut self) {
        let identity: Identity =
            raft::codec::decode(&std::fs::read(self.home().join("identity")).expect("the test's own set-up"))
                .expect("the test's own set-up");
        let credentials = AUTHORITY.credentials(&identity.cluster, identity.node);
        self.start_with(credentials, Tuning::default()).await;
    }

    pub(crate) async fn start_with(&mut self, credentials: Credentials, tuning: Tuning) {
        let (http, received) = mpsc::channel(16);
        let listener = TcpListener::bind(("127.0.0.1", self.port)).expect("the test's own set-up");
        let peers = Some(PeerOptions { listener, credentials, http });
        let options = Options { dir: self.home(), engine: EngineKind::RocksDb, peers };
        let opened = tokio::task::spawn_blocking(move || Cluster::open_tuned(options, tuning))
            .await
            .expect("the test's own set-up");
        self.cluster = Some(opened.expect("the test's own set-up"));
        self._http = Some(received);
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        self.cluster.as_ref().expect("the node runs")
    }

    pub(crate) fn id(&self) -> u64 {
        self.cluster().identity().node
    }

    /// Ends it without a word to anybody.
    pub(crate) async fn stop(&mut self) {
        self.cluster.take().expect("the node runs").shutdown().await;
    }
}

/// A port of loopback that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the test's own set-up");
    listener.local_addr().expect("the test's own set-up").port()
}

async fn open(options: Options) -> Cluster {
    tokio::task::spawn_blocking(|| Cluster::open(options))
        .await
        .expect("the test's own set-up")
        .expect("the test's own set-up")
}

fn rand16() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the test's own set-up");
    bytes
}

/// Three data nodes that all vote.
pub(crate) async fn three() -> Vec<Node> {
    let first = Node::found().await;
    let second = Node::join(first.cluster(), "n2", NodeKind::Data).await;
    let third = Node::join(second.cluster(), "n3", NodeKind::Data).await;
    let nodes = vec![first, second, third];
    voters(&nodes, &[1, 2, 3]).await;
    nodes
}

/// Waits until every running node sees exactly these voters and one of them as leader.
pub(crate) async fn voters(nodes: &[Node], ids: &[u64]) {
    for node in nodes.iter().filter(|node| node.cluster.is_some()) {
        eventually(&format!("node {} sees the voters {ids:?}", node.id()), || {
            let status = node.cluster().status();
            status.voters == ids && status.leader.is_some_and(|leader| ids.contains(&leader))
        })
        .await;
    }
}

/// The running node that leads.
pub(crate) async fn leader(nodes: &[Node]) -> usize {
    let found =
        || nodes.iter().position(|node| node.cluster.as_ref().is_some_and(|cluster| cluster.lease().leading.is_some()));
    eventually("somebody leads", || found().is_some()).await;
    found().expect("somebody leads")
}

/// Waits for a state.
pub(crate) async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn command(edits: impl IntoIterator<Item = Edit>) -> Command {
    Command {
        actor: "test".into(),
        at: Timestamp(1_700_000_000_000),
        idempotency_key: String::new(),
        fingerprint: Digest::of(b""),
        edits: edits.into_iter().map(GuardedEdit::from).collect(),
        replace: Vec::new(),
        allow_ties: true,
    }
}

pub(crate) fn group(id: &str) -> Edit {
    Edit::PutGroup(Group { id: id.into(), ..Group::default() })
}
