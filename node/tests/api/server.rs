//! One node's admin API on a loopback port, with TLS, and a client for it that shows everything.

pub(crate) mod described;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use raft::command::{Command, Edit};
use raft::state::{Role, Token};
use raft::types::{Digest, Timestamp};
use raft::{Cluster, EngineKind, Options};
use raftboot::admin::{self, Checks, Context, Secret};
use raftboot::assets::Store;
use raftboot::callers::{self, Callers, Unsaid};
use raftboot::certs::{CaFiles, Inventory, Place};
use raftboot::https;
use raftboot::rotation::Rotation;
use raftboot::timeline::{Reader, Record};
use rustls::crypto::ring;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use ureq::http::{HeaderMap, Request};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use described::{Contract, contract};

/// A running API; gone on drop.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) cluster: Cluster,
    pub(crate) store: Arc<Store>,
    /// Where this node's events go.
    pub(crate) record: Record,
    /// The first token.
    pub(crate) token: String,
    pub(crate) tls: admin::tls::Tls,
    agent: ureq::Agent,
    stop: CancellationToken,
    runtime: Option<tokio::runtime::Runtime>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("the test's own set-up"))
    }

    /// The answer to a request that was done.
    pub(crate) fn ok(&self) -> Value {
        assert!(self.status < 300, "{} {}", self.status, String::from_utf8_lossy(&self.bytes));
        self.json()
    }

    /// The code and field of an error, after checking that it has the shape all errors have.
    pub(crate) fn error(&self) -> (u16, String, String) {
        let value = self.json();
        for name in ["code", "message", "field", "hint", "request_id"] {
            assert!(value[name].is_string(), "`{name}` is missing: {value}");
        }
        for name in ["code", "message", "hint", "request_id"] {
            assert_ne!(value[name], "", "{value}");
        }
        assert_eq!(self.header("content-type"), "application/json");
        assert_eq!(self.header("x-request-id"), value["request_id"]);
        let text = |name: &str| value[name].as_str().expect("the test's own set-up").to_owned();
        (self.status, text("code"), text("field"))
    }
}

impl Server {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().expect("the test's own set-up");
        let store = dir.path().join("assets");
        Self::start_in(dir, &store)
    }

    /// With the blobs in a folder of their own.
    pub(crate) fn start_in(dir: tempfile::TempDir, blobs: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("the test's own set-up");
        let cluster =
            Cluster::open(Options::alone(dir.path().join("raft"), EngineKind::Memory)).expect("the test's own set-up");
        let store = Arc::new(Store::open(blobs).expect("the test's own set-up"));
        let foreign = dir.path().join("foreign.crt");
        let client_ca = foreign.exists().then_some(foreign.as_path());
        let tls = admin::tls::Tls::open(dir.path(), None, client_ca, &[]).expect("the test's own set-up");
        runtime.block_on(admin::bootstrap::first_token(&cluster, dir.path())).expect("the test's own set-up");
        let token =
            std::fs::read_to_string(dir.path().join("admin.token")).expect("the test's own set-up").trim().to_owned();
        let listener = https::bind("127.0.0.1:0".parse().expect("the test's own set-up"), &admin::SERVICE)
            .expect("the test's own set-up");
        let url = format!("https://localhost:{}", listener.local_addr().expect("the test's own set-up").port());
        let mut context = Context::new(cluster.clone(), store.clone());
        let ca = raftboot::certs::Authority::open(dir.path(), std::time::SystemTime::now())
            .and_then(|authority| authority.digest())
            .ok();
        context.ca = Arc::new(move || ca);
        let (noticed, seen) = callers::noticed();
        let unsaid = Unsaid { cluster: Some(Role::Operate), other: None };
        context.callers = Some(Callers::new(cluster.clone(), tls.gate(), unsaid, noticed));
        context.certificates = Inventory::of(vec![Place::cas("ca", &dir.path().join("ca.crt"))]);
        context.rotation = Some(Rotation::new(cluster.clone(), CaFiles::new(dir.path()), None));
        context.checks = Checks {
            template: Arc::new(|kind, name, text| match kind {
                _ if text.starts_with(b"{{bad") => Err("unclosed action".into()),
                raft::state::TemplateKind::Ignition if !name.ends_with(".ign") => {
                    Err("Butane is not translated".into())
                }
                _ => Ok(()),
            }),
            loader_served: Arc::new(|name| !name.starts_with("gone")),
            loader_classes: Arc::from(["bios".to_owned(), "uefi-x64".to_owned()]),
            own_addresses: Arc::new(|| vec![std::net::IpAddr::from([10, 0, 0, 1])]),
        };
        let record = Record::default();
        context.timeline = Reader::alone(cluster.clone(), record.clone());
        let stop = CancellationToken::new();
        runtime.spawn(callers::remember_all(seen, cluster.clone(), async || true, stop.clone()));
        runtime.spawn(https::serve(listener, tls.gate(), admin::router(context), stop.clone().cancelled_owned()));
        let agent = agent(&std::fs::read(dir.path().join("ca.crt")).expect("the test's own set-up"));
        Self { url, dir, cluster, store, record, token, tls, agent, stop, runtime: Some(runtime) }
    }

    /// One request, as the first token's bearer.
    pub(crate) fn call(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        let bearer = format!("Bearer {}", self.token);
        self.call_with(method, path, &[("authorization", &bearer)], body)
    }

    /// One request with further headers, as the first token's bearer.
    pub(crate) fn call_and(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let bearer = format!("Bearer {}", self.token);
        let headers: Vec<(&str, &str)> = headers.iter().copied().chain([("authorization", bearer.as_str())]).collect();
        self.call_with(method, path, &headers, body)
    }

    /// Who shows a certificate, PEM; connections are kept from one request to the next.
    pub(crate) fn with_certificate(&self, (chain, key): &(String, String)) -> Shown<'_> {
        let ca = std::fs::read(self.dir.path().join("ca.crt")).expect("the test's own set-up");
        Shown { server: self, agent: agent_with(&ca, Some((chain, key))) }
    }

    /// What the API says it does.
    pub(crate) fn contract(&self) -> &'static Contract {
        contract(|| self.send("GET", "/api/v1/openapi.json", &[], b"").bytes)
    }

    /// One request with these headers and no others. Whatever the answer is, the API must have said that it may be so.
    pub(crate) fn call_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let reply = self.send(method, path, headers, body);
        self.contract().check(method, path, body, &reply);
        reply
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.call_by(&self.agent, method, path, headers, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn call_by(
        &self,
        agent: &ureq::Agent,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Reply, ureq::Error> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut answer = if body.is_empty() && matches!(method, "GET" | "HEAD" | "DELETE") {
            agent.run(request.body(()).expect("the test's own set-up"))
        } else {
            agent.run(request.body(body).expect("the test's own set-up"))
        }?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let bytes = answer.body_mut().with_config().limit(1 << 30).read_to_vec().expect("the test's own set-up");
        Ok(Reply { status, headers, bytes })
    }

    /// What a TLS client needs to talk to this server.
    pub(crate) fn trust(&self) -> Arc<rustls::ClientConfig> {
        use rustls::pki_types::pem::PemObject;
        let mut roots = rustls::RootCertStore::empty();
        let ca = rustls::pki_types::CertificateDer::from_pem_file(self.dir.path().join("ca.crt"));
        roots.add(ca.expect("a certificate")).expect("a CA");
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().expect("ring has them");
        Arc::new(config.with_root_certificates(roots).with_no_client_auth())
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.call("GET", path, b"")
    }

    pub(crate) fn put(&self, path: &str, body: &str) -> Reply {
        self.call("PUT", path, body.as_bytes())
    }

    pub(crate) fn apply(&self, body: &Value) -> Reply {
        self.call("POST", "/api/v1/apply", body.to_string().as_bytes())
    }

    /// Makes a change behind the API's back.
    pub(crate) fn propose(&self, edit: Edit) {
        let command = Command {
            actor: "test".into(),
            at: Timestamp(1_700_000_000_000),
            idempotency_key: String::new(),
            fingerprint: Digest([0; 32]),
            edits: vec![edit.into()],
            replace: Vec::new(),
            allow_ties: false,
        };
        let runtime = self.runtime.as_ref().expect("the test's own set-up");
        runtime.block_on(self.cluster.propose(command)).expect("the test's own set-up");
    }

    /// A token of that role, with its secret.
    pub(crate) fn token(&self, role: Role, expires: Option<Timestamp>) -> String {
        let secret = Secret::generate().expect("the test's own set-up");
        let (id, secret_sha256) = (secret.id().to_owned(), secret.sha256());
        self.propose(Edit::PutToken(Token { id, name: "other".into(), secret_sha256, role, expires }));
        secret.reveal()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.block_on(self.cluster.shutdown());
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

/// Somebody with a certificate.
pub(crate) struct Shown<'a> {
    server: &'a Server,
    agent: ureq::Agent,
}

impl Shown<'_> {
    /// One request without a token.
    pub(crate) fn call(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        self.try_call(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// The same where the connection may be refused.
    pub(crate) fn try_call(&self, method: &str, path: &str, body: &[u8]) -> Result<Reply, ureq::Error> {
        self.server.call_by(&self.agent, method, path, &[], body)
    }
}

/// An HTTP client that trusts one CA.
pub(crate) fn agent(ca: &[u8]) -> ureq::Agent {
    agent_with(ca, None)
}

fn agent_with(ca: &[u8], pair: Option<(&String, &String)>) -> ureq::Agent {
    let shown = pair.map(|(chain, key)| {
        let chain = ureq::tls::Certificate::from_pem(chain.as_bytes()).expect("the test's own set-up");
        let key = ureq::tls::PrivateKey::from_pem(key.as_bytes()).expect("the test's own set-up");
        ureq::tls::ClientCert::new_with_certs(&[chain], key)
    });
    let roots: Vec<_> = parse_pem(ca)
        .map(|item| match item.expect("the test's own set-up") {
            PemItem::Certificate(certificate) => certificate,
            _ => panic!("the CA file holds something else"),
        })
        .collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots))
        .client_cert(shown)
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .build();
    ureq::Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .proxy(None)
        .timeout_global(Some(Duration::from_secs(60)))
        .build()
        .new_agent()
}
