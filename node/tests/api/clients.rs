//! Callers with a client certificate instead of a token: what they may do, and when they may not any more.

use std::fs;
use std::time::{Duration, SystemTime};

use raft::command::Edit;
use raft::state::{Certificate, Role};
use raft::types::Timestamp;
use raftboot::certs::{self, Authority, ClientWish, Facts, Lifetime, PEER};
use serde_json::{Value, json};

use crate::server::Server;

const DAY: Duration = Duration::from_secs(86_400);

fn authority(server: &Server) -> Authority {
    Authority::open(server.dir.path(), SystemTime::now()).expect("the test's own set-up")
}

fn pair(authority: &Authority, name: &str, role: impl Into<Option<Role>>) -> (String, String) {
    let role = role.into();
    let wish = ClientWish { name, role, lifetime: Lifetime::Days(30) };
    certs::client(authority, wish, SystemTime::now()).expect("the test's own set-up")
}

fn facts(pair: &(String, String)) -> Facts {
    let dir = tempfile::tempdir().expect("the test's own set-up");
    let file = dir.path().join("client.crt");
    fs::write(&file, &pair.0).expect("the test's own set-up");
    Facts::of_file(&file).expect("the test's own set-up")
}

#[test]
fn a_certificate_may_do_what_its_role_says_and_the_log_names_it() {
    let server = Server::start();
    let authority = authority(&server);
    let [read, operate, admin] = [Role::Read, Role::Operate, Role::Admin].map(|role| pair(&authority, "ops", role));
    let allowed = |pair: &(String, String)| {
        let shown = server.with_certificate(pair);
        [
            shown.call("GET", "/api/v1/status", b"").status,
            shown.call("PUT", "/api/v1/profiles/p", b"{}").status,
            shown.call("GET", "/api/v1/tokens", b"").status,
        ]
    };
    assert_eq!(allowed(&read), [200, 403, 403]);
    assert_eq!(allowed(&operate), [200, 201, 403]);
    assert_eq!(allowed(&admin), [200, 200, 200]);
    let refused = server.with_certificate(&read).call("PUT", "/api/v1/profiles/p", b"{}");
    assert_eq!(refused.error().1, "forbidden");
    let message = refused.json()["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("certificate ops/") && message.contains("role read") && message.contains("operate"),
        "{message}"
    );
    let actor = format!("cert:ops/{}", facts(&operate).serial);
    assert_eq!(server.get("/api/v1/profiles/p").ok()["updated_by"], actor);
    // A token that is sent counts, whatever the certificate may do.
    let token = server.token(Role::Read, None);
    let refused =
        server.call_with("PUT", "/api/v1/profiles/p", &[("authorization", &format!("Bearer {token}"))], b"{}");
    assert_eq!(refused.status, 403);
}

#[test]
fn nodes_and_strangers_are_no_clients() {
    let server = Server::start();
    let names = ["node-1.0.raftboot.internal".to_owned()];
    let issued = PEER.ensure(&authority(&server), server.dir.path(), &names, SystemTime::now()).unwrap();
    let node = server.with_certificate(&(issued.chain, issued.key)).call("GET", "/api/v1/status", b"");
    assert_eq!(node.error().1, "certificate_unfit", "a node's own certificate must not administer");
    let other = tempfile::tempdir().unwrap();
    let stranger = pair(&Authority::open(other.path(), SystemTime::now()).unwrap(), "ops", Role::Admin);
    assert!(server.with_certificate(&stranger).try_call("GET", "/api/v1/status", b"").is_err(), "another CA");
}

#[test]
fn a_revoked_certificate_is_refused_at_the_next_request_of_an_open_connection() {
    let server = Server::start();
    let (one, other) =
        (pair(&authority(&server), "one", Role::Operate), pair(&authority(&server), "other", Role::Operate));
    let (shown, spared) = (server.with_certificate(&one), server.with_certificate(&other));
    assert_eq!(
        [shown.call("GET", "/api/v1/status", b"").status, spared.call("GET", "/api/v1/status", b"").status],
        [200; 2]
    );
    let serial = facts(&one).serial;
    let path = format!("/api/v1/certificates/{serial}/revocation");
    let body = json!({"certificate": one.0, "reason": "lost"}).to_string();
    server.put(&path, &body).ok();
    assert_eq!(shown.call("GET", "/api/v1/status", b"").error().1, "certificate_revoked");
    assert_eq!(spared.call("GET", "/api/v1/status", b"").status, 200);
    let listed = server.get("/api/v1/certificates?revoked=true").ok();
    let item = &listed["items"][0];
    assert_eq!((&item["serial"], &item["name"], &item["reason"]), (&json!(serial), &json!("one"), &json!("lost")));
    assert_eq!(item["role"], "operate");
    let wrong = json!({"certificate": other.0}).to_string();
    assert_eq!(server.put(&path, &wrong).error(), (422, "invalid".into(), "certificate".into()));
    assert_eq!(server.put("/api/v1/certificates/hello/revocation", "").error().0, 400);
    server.call("DELETE", &path, b"").ok();
    assert_eq!(shown.call("GET", "/api/v1/status", b"").status, 200, "accepted again");
}

#[test]
fn a_certificate_that_is_used_is_listed_and_one_that_is_issued_too() {
    let server = Server::start();
    let used = pair(&authority(&server), "used", Role::Read);
    let minutes = ClientWish { name: "root@here", role: Some(Role::Admin), lifetime: Lifetime::Minutes(10) };
    let minutes = certs::client(&authority(&server), minutes, SystemTime::now()).unwrap();
    assert_eq!(server.with_certificate(&minutes).call("GET", "/api/v1/tokens", b"").status, 200);
    assert_eq!(server.with_certificate(&used).call("GET", "/api/v1/status", b"").status, 200);
    let (key, public_key) = certs::key_pair().unwrap();
    let body = json!({"name": "asked for", "role": "read", "public_key": public_key, "days": 7}).to_string();
    let issued = server.call("POST", "/api/v1/certificates", body.as_bytes());
    assert_eq!(issued.status, 201);
    let issued = issued.ok();
    let got = (issued["certificate"].as_str().unwrap().to_owned(), key);
    let shown = server.with_certificate(&got);
    assert_eq!(
        [shown.call("GET", "/api/v1/status", b"").status, shown.call("PUT", "/api/v1/profiles/p", b"{}").status],
        [200, 403]
    );
    let deadline = SystemTime::now() + Duration::from_secs(20);
    let names = loop {
        let items = server.get("/api/v1/certificates").ok()["items"].as_array().unwrap().clone();
        let mut names: Vec<String> = items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        if names.len() == 2 || SystemTime::now() > deadline {
            break names;
        }
        std::thread::yield_now();
    };
    assert_eq!(names, ["asked for", "used"], "what is made for minutes is not remembered");
    let bad = json!({"name": "x", "role": "read", "public_key": "hello"}).to_string();
    let refused = server.call("POST", "/api/v1/certificates", bad.as_bytes());
    assert_eq!(refused.error(), (422, "invalid".into(), "public_key".into()));
}

#[test]
fn a_certificate_that_has_ended_is_refused() {
    let server = Server::start();
    let wish = ClientWish { name: "root@here", role: Some(Role::Admin), lifetime: Lifetime::Minutes(10) };
    let ended = certs::client(&authority(&server), wish, SystemTime::now() - Duration::from_secs(660)).unwrap();
    assert!(facts(&ended).lifetime() < DAY);
    // When the connection is made; on one that was open before, `Gate::know` is asked again, which has its own test.
    assert!(server.with_certificate(&ended).try_call("GET", "/api/v1/status", b"").is_err());
}

#[test]
fn clients_of_a_foreign_ca_need_a_role_in_their_certificate() {
    let (dir, foreign) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let other = Authority::open(foreign.path(), SystemTime::now()).unwrap();
    fs::copy(foreign.path().join("ca.crt"), dir.path().join("foreign.crt")).unwrap();
    let blobs = dir.path().join("assets");
    let server = Server::start_in(dir, &blobs);
    let said = server.with_certificate(&pair(&other, "corp", Role::Operate));
    assert_eq!(said.call("PUT", "/api/v1/profiles/p", b"{}").status, 201);
    let unsaid = pair(&other, "corp", None);
    let refused = server.with_certificate(&unsaid).call("GET", "/api/v1/status", b"");
    assert_eq!(refused.error().1, "certificate_without_role");
    // One of the cluster's CA from before there were roles goes on doing what it could.
    let old = pair(&authority(&server), "old", None);
    let old = server.with_certificate(&old);
    assert_eq!(
        [old.call("PUT", "/api/v1/profiles/q", b"{}").status, old.call("GET", "/api/v1/tokens", b"").status],
        [201, 403]
    );
    // The CA that is not trusted any more: what it signed is refused on open connections as well.
    assert_eq!(said.call("GET", "/api/v1/status", b"").status, 200);
    let third = tempfile::tempdir().unwrap();
    Authority::open(third.path(), SystemTime::now()).unwrap();
    fs::copy(third.path().join("ca.crt"), server.dir.path().join("foreign.crt")).unwrap();
    server.tls.gate().refresh();
    assert_eq!(said.call("GET", "/api/v1/status", b"").error().1, "certificate_untrusted");
    fs::write(server.dir.path().join("foreign.crt"), "nonsense").unwrap();
    server.tls.gate().refresh();
    assert_eq!(old.call("PUT", "/api/v1/profiles/q", b"{}").status, 200, "a broken file changes nothing");
}

#[test]
fn a_rotated_token_has_two_secrets_for_as_long_as_was_said() {
    let server = Server::start();
    let token = server.token(Role::Read, None);
    let id = &token[4..20];
    let status = |token: &str| {
        server.call_with("GET", "/api/v1/status", &[("authorization", &format!("Bearer {token}"))], b"").status
    };
    let rotate = |grace: u64| {
        let body = json!({ "grace_seconds": grace }).to_string();
        let path = format!("/api/v1/tokens/{id}/rotate");
        server.call("POST", &path, body.as_bytes()).ok()["token"].as_str().unwrap().to_owned()
    };
    let second = rotate(3600);
    assert_eq!([status(&token), status(&second)], [200, 200], "the one before is good for an hour");
    let shown = server.get("/api/v1/tokens").ok();
    let items: Vec<&Value> = shown["items"].as_array().unwrap().iter().filter(|item| item["id"] == id).collect();
    assert!(items[0]["former_until"].is_string(), "{shown}");
    let third = rotate(0);
    assert_eq!([status(&token), status(&second), status(&third)], [401, 401, 200]);
    let nobody = server.call("POST", "/api/v1/tokens/0000000000000000/rotate", b"");
    assert_eq!(nobody.error().0, 404);
}

#[test]
fn what_comes_to_its_end_is_in_the_status() {
    let server = Server::start();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let in_days = |days: u32| Timestamp(u64::try_from((now + DAY * days).as_millis()).unwrap());
    let certificate = Certificate {
        serial: "7f".into(),
        name: "terraform".into(),
        role: Some(Role::Operate),
        expires: in_days(20),
        issuer: None,
        revoked: false,
        reason: String::new(),
    };
    server.propose(Edit::PutCertificate(certificate));
    server.token(Role::Read, Some(in_days(3)));
    let status = server.get("/api/v1/status").ok();
    let codes: Vec<&str> =
        status["problems"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["client_certificate_expires", "token_expires"], "{status}");
    let own = server.get("/api/v1/certificates/node").ok();
    assert_eq!((&own["items"][0]["certificate"], &own["items"][0]["state"]), (&json!("ca"), &json!("ok")));
    assert!(own["items"][0]["days_left"].as_i64().unwrap() > 10_000);
}
