//! What a node answers to others on the peer port: members pass, others do not, and a join needs a token that is good.

use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::routing::get;
use http::{Request, StatusCode};
use raft::command::{Command, Edit};
use raft::state::{self, Announcement, NodeKind};
use raft::types::{Digest, Timestamp};
use raft::{Cluster, EngineKind, Options};
use raftboot::certs::Authority;
use raftboot::membership::{JOIN_PATH, JoinAnswer, JoinRequest, JoinToken, Refusal, hex16};
use raftboot::peers::{Caller, Context, router};
use serde::de::DeserializeOwned;
use tower::ServiceExt;

struct Bench {
    cluster: Cluster,
    router: Router,
    token: JoinToken,
    _dir: tempfile::TempDir,
}

/// A node that is alone, with a join token that is good until `expires`.
async fn bench(expires: u64) -> Bench {
    let dir = tempfile::tempdir().expect("the test's own set-up");
    let cluster =
        Cluster::open(Options::alone(dir.path().join("raft"), EngineKind::Memory)).expect("the test's own set-up");
    let ca = Authority::open(dir.path(), std::time::SystemTime::now())
        .expect("the test's own set-up")
        .digest()
        .expect("the test's own set-up");
    let token = JoinToken::generate(ca).expect("the test's own set-up");
    let own = Announcement {
        id: 1,
        name: "a".into(),
        kind: NodeKind::Data,
        peer: "127.0.0.1:7443".into(),
        boot: "http://127.0.0.1:8080".into(),
    };
    let stored = state::JoinToken { id: token.id().into(), secret_sha256: token.sha256(), expires: Timestamp(expires) };
    let command = Command {
        actor: "test".into(),
        at: Timestamp(1),
        idempotency_key: String::new(),
        fingerprint: Digest([0; 32]),
        edits: vec![Edit::AnnounceMember(own).into(), Edit::PutJoinToken(stored).into()],
        replace: Vec::new(),
        allow_ties: false,
    };
    cluster.propose(command).await.expect("the test's own set-up");
    let members = Router::new().route("/v1/secret", get(async || "for members"));
    let router = router(Context::new(cluster.clone(), dir.path().to_owned()), members);
    Bench { cluster, router, token, _dir: dir }
}

async fn ask(bench: &Bench, request: Request<Body>, node: Option<u64>, address: &str) -> (StatusCode, Vec<u8>) {
    let mut request = request;
    let address: SocketAddr = address.parse().expect("the test's own set-up");
    request.extensions_mut().insert(Caller { node, address });
    let answer = bench.router.clone().oneshot(request).await.expect("the test's own set-up");
    (answer.status(), to_bytes(answer.into_body(), 1 << 20).await.expect("the test's own set-up").to_vec())
}

fn join(bearer: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(JOIN_PATH)
        .header("authorization", format!("Bearer {bearer}"))
        .body(body.into())
        .expect("the test's own set-up")
}

fn request(name: &str, instance: u8) -> String {
    let request = JoinRequest {
        name: name.into(),
        kind: NodeKind::Data,
        peer: "127.0.0.2:7443".into(),
        boot: "http://127.0.0.2:8080".into(),
        instance: hex16(&[instance; 16]),
    };
    serde_json::to_string(&request).expect("the test's own set-up")
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> T {
    serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}

const HERE: &str = "127.0.0.2:40000";

#[tokio::test]
async fn only_members_pass_and_a_removed_one_is_none() {
    let bench = bench(u64::MAX).await;
    let secret = || Request::get("/v1/secret").body(Body::empty()).unwrap();
    assert_eq!(ask(&bench, secret(), Some(1), HERE).await, (StatusCode::OK, b"for members".to_vec()));
    for (node, want, code) in
        [(None, StatusCode::UNAUTHORIZED, "no_certificate"), (Some(9), StatusCode::FORBIDDEN, "not_a_member")]
    {
        let (status, body) = ask(&bench, secret(), node, HERE).await;
        assert_eq!((status, read::<Refusal>(&body).code.as_str()), (want, code));
    }
    let elsewhere = Request::get("/elsewhere").body(Body::empty()).unwrap();
    assert_eq!(ask(&bench, elsewhere, Some(1), HERE).await.0, StatusCode::NOT_FOUND);
    bench.cluster.shutdown().await;
}

#[tokio::test]
async fn the_bearer_of_a_token_is_given_an_id_and_the_ca_and_a_repeat_is_the_same() {
    let bench = bench(u64::MAX).await;
    let (status, body) = ask(&bench, join(&bench.token.bearer(), request("b", 7)), None, HERE).await;
    assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
    let first: JoinAnswer = read(&body);
    assert_eq!((first.node, first.cluster), (2, hex16(&bench.cluster.identity().cluster)));
    assert!(first.ca_key.contains("PRIVATE KEY") && first.ca_certificate.contains("CERTIFICATE"));
    let (_, body) = ask(&bench, join(&bench.token.bearer(), request("b", 7)), None, HERE).await;
    assert_eq!(read::<JoinAnswer>(&body).node, 2);
    let (status, body) = ask(&bench, join(&bench.token.bearer(), request("a", 8)), None, HERE).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(read::<Refusal>(&body).message.contains("is called `a` already"));
    bench.cluster.shutdown().await;
}

#[tokio::test]
async fn tokens_that_are_not_good_are_refused_and_guessing_has_to_wait() {
    let bench = bench(5).await;
    let refused = async |bearer: &str, body: String, from: &str| {
        let (status, body) = ask(&bench, join(bearer, body), None, from).await;
        (status.as_u16(), read::<Refusal>(&body).code)
    };
    assert_eq!(refused(&bench.token.bearer(), request("b", 7), HERE).await, (401, "token_expired".into()));
    assert_eq!(refused("rbj_x", request("b", 7), HERE).await, (401, "token_invalid".into()));
    let other = JoinToken::generate(bench.token.ca()).unwrap();
    for _ in 0..8 {
        assert_eq!(refused(&other.bearer(), request("b", 7), HERE).await, (401, "token_invalid".into()));
    }
    assert_eq!(refused(&other.bearer(), request("b", 7), HERE).await, (429, "too_many_attempts".into()));
    assert_eq!(refused(&other.bearer(), request("b", 7), "127.0.0.3:1").await.0, 401, "others need not wait");
    assert_eq!(bench.cluster.read().members().len(), 1);
    bench.cluster.shutdown().await;
}

#[tokio::test]
async fn requests_that_are_none_are_refused_whole() {
    let bench = bench(u64::MAX).await;
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(20_000));
    let odd = request("b", 7).replace("\"instance\":\"07", "\"instance\":\"zz");
    for body in ["", "{}", "[1]", &large, &odd, &request("b", 0), &request("b", 7).replace("\"name\"", "\"nam\"")] {
        let (status, body) = ask(&bench, join(&bench.token.bearer(), body.to_owned()), None, HERE).await;
        assert_eq!((status, read::<Refusal>(&body).code.as_str()), (StatusCode::BAD_REQUEST, "invalid"));
    }
    // Understood, and not acceptable to the cluster.
    let (status, _) = ask(&bench, join(&bench.token.bearer(), request("7", 7)), None, "127.0.0.3:1").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(bench.cluster.read().members().len(), 1);
    bench.cluster.shutdown().await;
}
