//! The cluster in the API of a node that is alone: settings, join tokens, members, and what each role may do.

use raft::command::Edit;
use raft::state::{Announcement, NodeKind, Role};
use serde_json::json;

use crate::server::Server;

fn with_a_member() -> Server {
    let server = Server::start();
    server.propose(Edit::AnnounceMember(Announcement {
        id: 1,
        name: "node-a".into(),
        kind: NodeKind::Data,
        peer: "10.0.0.1:7443".into(),
        boot: "http://10.0.0.2:8080".into(),
    }));
    server
}

#[test]
fn cluster_settings_are_replaced_as_a_whole_or_changed_in_part() {
    let server = with_a_member();
    let path = "/api/v1/cluster/settings";
    assert_eq!(server.get(path).ok()["two_node"], "none");
    server.put(path, r#"{"vip":"10.0.0.9","dns_names":["boot.lab"],"two_node":"survivor","preferred":"node-a"}"#).ok();
    let now = server.get(path).ok();
    assert_eq!((&now["vip"], &now["preferred"]), (&json!("10.0.0.9"), &json!(1)));
    assert_eq!(server.put(path, &now.to_string()).ok()["effect"], "unchanged", "what was read may be sent back");
    server.call("PATCH", path, br#"{"vip":"10.0.0.8"}"#).ok();
    let now = server.get(path).ok();
    assert_eq!((&now["vip"], &now["dns_names"]), (&json!("10.0.0.8"), &json!(["boot.lab"])));
    let tag = server.get(path).header("etag").to_owned();
    server.call("PATCH", path, br#"{"preferred":null}"#).ok();
    let late = server.call_and("PATCH", path, &[("if-match", &tag)], br#"{"two_node":"none"}"#);
    assert_eq!(late.error().0, 412, "somebody else has changed it");
    server.put(path, "{}").ok();
    assert_eq!(server.get(path).ok()["dns_names"], json!([]));
}

#[test]
fn a_vip_that_belongs_to_a_node_is_refused() {
    let server = with_a_member();
    let path = "/api/v1/cluster/settings";
    for (body, field) in [
        (r#"{"vip":"10.0.0.1"}"#, "vip"),
        (r#"{"vip":"10.0.0.2"}"#, "vip"),
        (r#"{"vip":"0.0.0.0"}"#, "vip"),
        (r#"{"vip":"boot"}"#, "vip"),
        (r#"{"dns_names":["a b"]}"#, "dns_names[0]"),
        (r#"{"preferred":7}"#, "preferred"),
        (r#"{"vipp":null}"#, "vipp"),
    ] {
        let said = server.call("PATCH", path, body.as_bytes());
        assert!(said.status >= 400, "{body}");
        assert_eq!(said.error().2, field, "{body}");
    }
    assert_eq!(server.get(path).ok()["vip"], json!(null), "nothing was changed");
}

#[test]
fn join_tokens_are_shown_once_listed_without_their_secret_and_revoked() {
    let server = with_a_member();
    let path = "/api/v1/cluster/join-tokens";
    let made = server.call("POST", path, br#"{"expires_in_seconds":60}"#).ok();
    let token = made["token"].as_str().unwrap();
    assert_eq!(made["join"], format!("raftboot join 10.0.0.1:7443 --token {token}"));
    let listed = server.get(path);
    assert!(!String::from_utf8_lossy(&listed.bytes).contains(&token[21..85]), "the secret is not shown again");
    assert_eq!(listed.ok()["items"][0]["id"], made["id"]);
    let id = made["id"].as_str().unwrap();
    assert_eq!(server.call("DELETE", &format!("{path}/{id}"), b"").ok()["effect"], "deleted");
    assert_eq!(server.call("POST", path, br#"{"expires_in_seconds":0}"#).error().2, "expires_in_seconds");
    assert_eq!(server.call("POST", path, b"").status, 201, "an hour, unless somebody says");
    let full =
        (0..80).map(|_| server.call("POST", path, b"")).find(|reply| reply.status != 201).expect("there is an end");
    assert_eq!(full.error(), (409, "refused".into(), String::new()), "nobody asked for anything to be as before");
}

#[test]
fn the_last_node_stays_and_nobody_else_can_lead() {
    let server = with_a_member();
    let read = server.get("/api/v1/cluster").ok();
    assert_eq!((&read["leader"], &read["members"][0]["name"]), (&json!(1), &json!("node-a")));
    let status = server.get("/api/v1/status").ok();
    assert_eq!((&status["members"][0]["role"], &status["vip"]), (&json!("voter"), &json!(null)));
    assert_eq!(server.call("DELETE", "/api/v1/cluster/members/zoe", b"").error().0, 404);
    let last = server.call("POST", "/api/v1/cluster/leave?force=true", b"").json();
    assert!(last["message"].as_str().unwrap().contains("the only one that votes"), "{last}");
    for (method, path) in [("DELETE", "members/node-a"), ("POST", "leave"), ("POST", "transfer")] {
        let said = server.call(method, &format!("/api/v1/cluster/{path}"), b"").error();
        assert_eq!((said.0, said.1.as_str()), (409, "refused"), "{method} {path}");
    }
}

#[test]
fn only_administrators_change_the_cluster() {
    let server = with_a_member();
    let operator = format!("Bearer {}", server.token(Role::Operate, None));
    let status = |method: &str, path: &str| {
        server.call_with(method, &format!("/api/v1/cluster{path}"), &[("authorization", &operator)], b"{}").status
    };
    assert_eq!((status("GET", ""), status("GET", "/settings")), (200, 200));
    for (method, path) in [
        ("PUT", "/settings"),
        ("PATCH", "/settings"),
        ("GET", "/join-tokens"),
        ("POST", "/join-tokens"),
        ("POST", "/transfer"),
        ("POST", "/leave"),
        ("DELETE", "/members/1"),
    ] {
        assert_eq!(status(method, path), 403, "{method} {path}");
    }
}
