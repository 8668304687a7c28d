//! The certificate, the first token and the port: what a node sees to before it serves.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use raftboot::admin::{self, tls::Tls};
use raftboot::https;

use crate::server::Server;

fn text(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).expect("the test's own set-up")
}

#[test]
fn the_ca_stays_and_the_certificate_is_renewed_when_names_change() {
    let dir = tempfile::tempdir().unwrap();
    let names = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    Tls::open(dir.path(), None, None, &names(&["10.0.0.7"])).unwrap();
    let (ca, first) = (text(dir.path(), "ca.crt"), text(dir.path(), "server.crt"));
    for key in ["ca.key", "server.key"] {
        assert_eq!(fs::metadata(dir.path().join(key)).unwrap().permissions().mode() & 0o777, 0o600, "{key}");
    }
    Tls::open(dir.path(), None, None, &names(&["10.0.0.7"])).unwrap();
    assert_eq!(text(dir.path(), "server.crt"), first, "kept while it fits");
    Tls::open(dir.path(), None, None, &names(&["10.0.0.7", "boot.example", "fd00::7", "not a name"])).unwrap();
    assert_ne!(text(dir.path(), "server.crt"), first);
    assert_eq!(text(dir.path(), "ca.crt"), ca);
    fs::remove_file(dir.path().join("server.key")).unwrap();
    Tls::open(dir.path(), None, None, &[]).unwrap();
}

#[test]
fn certificates_that_cannot_be_used_are_said_by_file() {
    let dir = tempfile::tempdir().unwrap();
    Tls::open(dir.path(), None, None, &[]).unwrap();
    let (chain, ca_key) = (dir.path().join("server.crt"), dir.path().join("ca.key"));
    let error =
        |chain: &Path, key: &Path| Tls::open(dir.path(), Some((chain, key)), None, &[]).unwrap_err().to_string();
    assert!(error(&chain, &ca_key).contains("ca.key: it does not fit"), "{}", error(&chain, &ca_key));
    assert!(error(&dir.path().join("none"), &ca_key).contains("none: no certificate can be read"));
    assert!(error(&ca_key, &ca_key).contains("ca.key: there is no certificate in it"));
    assert!(error(&chain, &chain).contains("no private key"));

    fs::remove_file(&ca_key).unwrap();
    let lost = Tls::open(dir.path(), None, None, &[]).unwrap_err().to_string();
    assert!(lost.contains("ca.key: it cannot be read") && lost.contains("remove ca.crt, ca.key"), "{lost}");
    fs::write(&ca_key, "nonsense").unwrap();
    assert!(Tls::open(dir.path(), None, None, &[]).unwrap_err().to_string().contains("holds no private key"));
    // The key of another CA: what it signs would not be trusted.
    let other = tempfile::tempdir().unwrap();
    Tls::open(other.path(), None, None, &[]).unwrap();
    fs::copy(other.path().join("ca.key"), &ca_key).unwrap();
    fs::remove_file(dir.path().join("server.key")).unwrap();
    let mixed = Tls::open(dir.path(), None, None, &[]).unwrap_err().to_string();
    assert!(mixed.contains("not valid under it"), "{mixed}");
}

#[test]
fn a_port_in_use_is_said_with_what_to_do() {
    let server = Server::start();
    let port: u16 = server.url.rsplit(':').next().unwrap().parse().unwrap();
    let error = https::bind(([127, 0, 0, 1], port).into(), &admin::SERVICE).unwrap_err().to_string();
    assert!(
        error.contains(&format!("127.0.0.1:{port}")) && error.contains("ss -ltnp") && error.contains("listen.admin"),
        "{error}"
    );
}

fn first_token(server: &Server) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("the test's own set-up");
    runtime
        .block_on(admin::bootstrap::first_token(&server.cluster, server.dir.path()))
        .map_err(|error| error.to_string())
}

#[test]
fn the_first_token_is_made_once() {
    let server = Server::start();
    let file = server.dir.path().join("admin.token");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    first_token(&server).unwrap();
    assert_eq!(text(server.dir.path(), "admin.token").trim(), server.token);
    fs::remove_file(&file).unwrap();
    first_token(&server).unwrap();
    assert!(!file.exists(), "a lost file is no reason for a second administrator");
    assert_eq!(server.get("/api/v1/tokens").ok()["items"].as_array().unwrap().len(), 1);
}

#[test]
fn a_revoked_token_does_not_come_back_with_its_file() {
    let server = Server::start();
    server.propose(raft::command::Edit::DeleteToken(server.token[4..20].into()));
    server.token(raft::state::Role::Operate, None);
    first_token(&server).unwrap();
    let made = text(server.dir.path(), "admin.token").trim().to_owned();
    assert_ne!(made, server.token);
    let status = |token: &str| {
        let header = format!("Bearer {token}");
        server.call_with("GET", "/api/v1/tokens", &[("authorization", &header)], b"").status
    };
    assert_eq!((status(&server.token), status(&made)), (401, 200));
    first_token(&server).unwrap();
    assert_eq!(text(server.dir.path(), "admin.token").trim(), made, "only once");
}

#[test]
fn a_token_file_that_cannot_be_used_is_said() {
    let server = Server::start();
    let file = server.dir.path().join("admin.token");
    fs::write(&file, "hello\n").unwrap();
    let error = first_token(&server).unwrap_err();
    assert!(error.contains("admin.token") && error.contains("not a token"), "{error}");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(first_token(&server).unwrap_err().contains("cannot be read"));
}

#[test]
fn a_token_put_there_beforehand_becomes_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let mine = admin::Secret::generate().unwrap().reveal();
    fs::write(dir.path().join("admin.token"), &mine).unwrap();
    let blobs = dir.path().join("assets");
    let server = Server::start_in(dir, &blobs);
    assert_eq!(server.token, mine);
    assert_eq!(server.get("/api/v1/status").status, 200);
}
