//! Nodes of one cluster in one process: each with a log, a store, a peer port over TLS, and an admin API without a socket.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use raft::cluster::{Timing, Tuning};
use raft::codec::Identity;
use raft::command::{Command, Edit};
use raft::peer::{Credentials, HttpPeer, PeerOptions, Pems, node_name};
use raft::state::{Announcement, NewMember, NodeKind};
use raft::types::{Digest, Timestamp};
use raft::{Cluster, EngineKind, Options};
use raftboot::admin::{self, Context};
use raftboot::assets::Store;
use raftboot::https;
use raftboot::peer_http::Peers;
use raftboot::replication::{self, Pace, Replicator};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::faults::{Faults, Wire};

/// How long a state may take to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A CA and what it signs.
pub(crate) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("the test's own set-up");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "cluster of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("the test's own set-up").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn credentials(&self, cluster: &[u8; 16], id: u64) -> Credentials {
        let key = KeyPair::generate().expect("the test's own set-up");
        let mut params = CertificateParams::new(vec![node_name(cluster, id)]).expect("the test's own set-up");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let chain = params.signed_by(&key, &self.issuer).expect("the test's own set-up").pem();
        let pems = Pems { ca: self.pem.clone(), chain, key: key.serialize_pem() };
        Credentials::new(&pems).expect("the test's own set-up")
    }
}

/// A node that is running.
pub(crate) struct Node {
    pub(crate) cluster: Cluster,
    pub(crate) store: Arc<Store>,
    pub(crate) replicator: Replicator,
    api: axum::Router,
    token: String,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

/// Some nodes of one cluster; gone on drop.
pub(crate) struct Rig {
    pub(crate) nodes: BTreeMap<u64, Node>,
    pub(crate) faults: Arc<Faults>,
    authority: Authority,
    dirs: BTreeMap<u64, tempfile::TempDir>,
    ports: BTreeMap<u64, u16>,
    identity: Option<Identity>,
    pace: Pace,
    tls: bool,
    _turn: MutexGuard<'static, ()>,
}

/// One cluster at a time: with several on a small machine each would elect leaders because of the others.
static TURN: Mutex<()> = Mutex::const_new(());

/// All nodes share the processors and the disk.
fn tuning() -> Tuning {
    Tuning { timing: Timing::VM, ..Tuning::default() }
}

fn bound(port: u16) -> TcpListener {
    let socket = TcpListener::bind(("127.0.0.1", port)).expect("the test's own set-up");
    socket.set_nonblocking(true).expect("the test's own set-up");
    socket
}

impl Rig {
    /// Nodes 1, 2 and so on of these kinds, all of them voters. With `tls` they reach each other as in production, else
    /// in the clear through `faults`.
    pub(crate) async fn start(kinds: &[NodeKind], pace: Pace, tls: bool) -> Self {
        let mut rig = Self {
            nodes: BTreeMap::new(),
            faults: Arc::default(),
            authority: Authority::new(),
            dirs: BTreeMap::new(),
            ports: BTreeMap::new(),
            identity: None,
            pace,
            tls,
            _turn: TURN.lock().await,
        };
        for (at, kind) in kinds.iter().enumerate() {
            rig.add(at as u64 + 1, *kind).await;
        }
        let ids: Vec<u64> = rig.nodes.keys().copied().collect();
        until("all nodes vote", || rig.nodes.values().all(|node| node.cluster.status().voters == ids)).await;
        rig
    }

    async fn add(&mut self, id: u64, kind: NodeKind) {
        let listener = bound(0);
        let port = listener.local_addr().expect("the test's own set-up").port();
        drop(listener);
        self.ports.insert(id, port);
        self.dirs.insert(id, tempfile::tempdir().expect("the test's own set-up"));
        let (name, peer) = (format!("node-{id}"), format!("127.0.0.1:{port}"));
        let boot = "http://127.0.0.1:8080".to_owned();
        if let Some(first) = self.nodes.values().next() {
            let mut instance = [0; 16];
            instance[0] = u8::try_from(id).expect("a few nodes");
            let member = NewMember { name, kind, peer, boot, instance };
            let member = first.cluster.join(member).await.expect("it may join");
            assert_eq!(member.id, id);
            let identity = Identity { node: id, ..self.identity.clone().expect("the first node is there") };
            let dir = self.raft_dir(id);
            let adopted = tokio::task::spawn_blocking(move || Cluster::adopt(&dir, &identity));
            adopted.await.expect("the test's own set-up").expect("an empty folder");
            self.run(id).await;
        } else {
            self.found(id).await;
            self.run(id).await;
            let cluster = self.nodes[&id].cluster.clone();
            propose(&cluster, Edit::AnnounceMember(Announcement { id, name, kind, peer, boot })).await;
        }
    }

    /// A data directory has to exist before certificates can name its cluster.
    async fn found(&mut self, id: u64) {
        let dir = self.raft_dir(id);
        let cluster = Cluster::open(Options::alone(dir, EngineKind::RocksDb)).expect("the test's own set-up");
        self.identity = Some(cluster.identity().clone());
        assert_eq!(cluster.identity().node, id);
        cluster.shutdown().await;
    }

    fn raft_dir(&self, id: u64) -> PathBuf {
        self.dirs[&id].path().join("raft")
    }

    /// The folder of a node's blobs.
    pub(crate) fn blob(&self, id: u64, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.dirs[&id].path().join("blobs/sha256").join(&name[..2]).join(name)
    }

    /// Starts a node that is not running.
    pub(crate) async fn run(&mut self, id: u64) {
        let identity = self.identity.clone().expect("there is a cluster");
        let credentials = self.authority.credentials(&identity.cluster, id);
        let (http, streams) = mpsc::channel(16);
        let peers = PeerOptions { listener: bound(self.ports[&id]), credentials: credentials.clone(), http };
        let options = Options { dir: self.raft_dir(id), engine: EngineKind::RocksDb, peers: Some(peers) };
        let cluster = Cluster::open_tuned(options, tuning()).expect("a node opens");
        let store = Arc::new(Store::open(self.dirs[&id].path()).expect("a store opens"));
        let replicator = if self.tls {
            Replicator::new(cluster.clone(), store.clone(), Peers::of(&cluster, credentials))
        } else {
            let wire = Wire::new(self.faults.clone());
            Replicator::with(cluster.clone(), store.clone(), Some(Peers::new(Arc::new(wire))), self.pace)
        };
        let stop = CancellationToken::new();
        let router = replication::router(replicator.clone());
        let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("the test's own set-up");
        self.faults.set_port(id, plain.local_addr().expect("the test's own set-up"));
        let tasks = vec![
            tokio::spawn(serve_peers(streams, router.clone(), stop.clone())),
            tokio::spawn(serve_plain(plain, router, stop.clone())),
            tokio::spawn(replicator.clone().run(stop.clone())),
        ];
        let mut context = Context::new(cluster.clone(), store.clone());
        context.replicator = replicator.clone();
        let token_dir = self.dirs[&1].path().to_owned();
        if id == 1 {
            until("a leader is there", || cluster.status().leader.is_some()).await;
            admin::bootstrap::first_token(&cluster, &token_dir).await.expect("a first token");
        }
        let token = std::fs::read_to_string(token_dir.join("admin.token")).expect("a first token").trim().to_owned();
        let api = admin::router(context);
        self.nodes.insert(id, Node { cluster, store, replicator, api, token, stop, tasks });
    }

    /// Stops a node as if its power failed, as far as the others can tell.
    pub(crate) async fn stop(&mut self, id: u64) {
        self.faults.unset_port(id);
        let node = self.nodes.remove(&id).expect("it runs");
        node.stop.cancel();
        node.cluster.shutdown().await;
        for task in node.tasks {
            task.await.expect("no task panics");
        }
    }

    pub(crate) fn node(&self, id: u64) -> &Node {
        &self.nodes[&id]
    }

    /// Stops everything; a rig that is only dropped leaves its tasks to the runtime.
    pub(crate) async fn end(mut self) {
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        for id in ids {
            self.stop(id).await;
        }
    }
}

async fn serve_peers(mut streams: mpsc::Receiver<HttpPeer>, router: axum::Router, stop: CancellationToken) {
    while let Some(Some(peer)) = stop.run_until_cancelled(streams.recv()).await {
        assert!(peer.node.is_some(), "nodes show their certificates");
        converse(peer.stream, router.clone(), stop.clone());
    }
}

async fn serve_plain(listener: tokio::net::TcpListener, router: axum::Router, stop: CancellationToken) {
    while let Some(Ok((stream, _))) = stop.run_until_cancelled(listener.accept()).await {
        converse(stream, router.clone(), stop.clone());
    }
}

fn converse<S>(stream: S, router: axum::Router, stop: CancellationToken)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    tokio::spawn(async move {
        let service = TowerToHyperService::new(router);
        let http = hyper::server::conn::http1::Builder::new();
        let _ = stop.run_until_cancelled(http.serve_connection(TokioIo::new(stream), service)).await;
    });
}

/// Makes a change behind the API's back.
pub(crate) async fn propose(cluster: &Cluster, edit: Edit) {
    let command = Command {
        actor: "test".into(),
        at: Timestamp(1_700_000_000_000),
        idempotency_key: String::new(),
        fingerprint: Digest([0; 32]),
        edits: vec![edit.into()],
        replace: Vec::new(),
        allow_ties: false,
    };
    cluster.propose(command).await.expect("the cluster takes changes");
}

impl Node {
    /// One request to this node's admin API.
    pub(crate) async fn call(&self, method: &str, path: &str, body: impl Into<Body>) -> (StatusCode, Vec<u8>) {
        let peer: SocketAddr = "127.0.0.1:1".parse().expect("the test's own set-up");
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header("authorization", format!("Bearer {}", self.token))
            .body(body.into())
            .expect("the test's own set-up");
        request.extensions_mut().insert(https::Peer(peer));
        let answer = self.api.clone().oneshot(request).await.expect("the router always answers");
        let status = answer.status();
        let bytes = answer.into_body().collect().await.expect("a whole answer").to_bytes().to_vec();
        (status, bytes)
    }

    pub(crate) async fn json(&self, method: &str, path: &str, body: impl Into<Body>) -> (u16, Value) {
        let (status, bytes) = self.call(method, path, body).await;
        (status.as_u16(), serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// Which nodes hold a blob, as this node knows it.
    pub(crate) fn holders(&self, digest: &Digest) -> Vec<u64> {
        self.cluster.read().holders(digest).collect()
    }
}

/// Waits for a state.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let limit = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < limit, "this did not come: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
