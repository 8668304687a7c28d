//! Who may do what, and what the others are told.

use raft::state::Role;
use raft::types::Timestamp;
use serde_json::json;

use crate::server::Server;

#[test]
fn health_is_open_and_everything_else_needs_a_token() {
    let server = Server::start();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.call_with("GET", path, &[], b"").status, 200, "{path}");
    }
    for path in ["/api/v1/status", "/api/v1/profiles", "/api/v1/assets/x", "/api/v1/settings", "/api/v1/tokens"] {
        let reply = server.call_with("GET", path, &[], b"");
        assert_eq!(reply.error(), (401, "unauthenticated".into(), String::new()), "{path}");
        assert_eq!(reply.header("www-authenticate"), "Bearer");
    }
}

#[test]
fn a_token_that_is_none_unknown_or_expired_is_told_apart() {
    let server = Server::start();
    let (unknown, other) = (raftboot::admin::Secret::generate().unwrap(), server.token(Role::Admin, None));
    // The right id with the secret of another token.
    let (id, secret) = (&other[..21], &server.token[21..]);
    let forged = format!("{id}{secret}");
    let expired = server.token(Role::Admin, Some(Timestamp(1)));
    for (header, code) in [
        ("Bearer", "token_invalid"),
        ("Bearer rbt_x_y", "token_invalid"),
        ("Basic YTpi", "token_invalid"),
        (&format!("Bearer {}", unknown.reveal()), "token_invalid"),
        (&format!("Bearer {forged}"), "token_invalid"),
        (&format!("Bearer {expired}"), "token_expired"),
    ] {
        let reply = server.call_with("GET", "/api/v1/status", &[("authorization", header)], b"");
        assert_eq!(reply.error(), (401, code.into(), String::new()), "{header}");
    }
    let header = format!("bearer  {other}");
    assert_eq!(server.call_with("GET", "/api/v1/status", &[("authorization", &header)], b"").status, 200);
}

#[test]
fn each_role_reaches_what_is_its_own() {
    let server = Server::start();
    let digest = "0".repeat(64);
    let blob = format!("/api/v1/blobs/{digest}");
    let requests: &[(Role, &str, &str)] = &[
        (Role::Read, "GET", "/api/v1/status"),
        (Role::Read, "GET", "/api/v1/profiles"),
        (Role::Read, "GET", "/api/v1/groups/g"),
        (Role::Read, "GET", "/api/v1/templates"),
        (Role::Read, "GET", "/api/v1/assets"),
        (Role::Read, "GET", "/api/v1/machines"),
        (Role::Read, "GET", "/api/v1/settings"),
        (Role::Read, "HEAD", &blob),
        (Role::Operate, "PUT", "/api/v1/profiles/p"),
        (Role::Operate, "DELETE", "/api/v1/profiles/p"),
        (Role::Operate, "PUT", "/api/v1/groups/g"),
        (Role::Operate, "DELETE", "/api/v1/groups/g"),
        (Role::Operate, "PUT", "/api/v1/templates/generic/t"),
        (Role::Operate, "DELETE", "/api/v1/templates/generic/t"),
        (Role::Operate, "PUT", "/api/v1/assets/a"),
        (Role::Operate, "DELETE", "/api/v1/assets/a"),
        (Role::Operate, "PUT", &blob),
        (Role::Operate, "PUT", "/api/v1/machines/52:54:00:00:00:01/policy"),
        (Role::Operate, "PATCH", "/api/v1/machines/52:54:00:00:00:01/policy"),
        (Role::Operate, "DELETE", "/api/v1/machines/52:54:00:00:00:01"),
        (Role::Operate, "POST", "/api/v1/apply"),
        (Role::Admin, "PUT", "/api/v1/settings"),
        (Role::Admin, "PATCH", "/api/v1/settings"),
        (Role::Admin, "GET", "/api/v1/tokens"),
        (Role::Admin, "POST", "/api/v1/tokens"),
        (Role::Admin, "DELETE", "/api/v1/tokens/t"),
    ];
    for role in [Role::Read, Role::Operate, Role::Admin] {
        let header = format!("Bearer {}", server.token(role, None));
        for (needed, method, path) in requests {
            let body: &[u8] = if matches!(*method, "GET" | "HEAD" | "DELETE") { b"" } else { b"{}" };
            let reply = server.call_with(method, path, &[("authorization", &header)], body);
            assert_eq!(reply.status == 403, role < *needed, "{role:?} {method} {path}: {}", reply.status);
            assert_ne!(reply.status, 401);
        }
    }
}

#[test]
fn nobody_changes_settings_by_way_of_apply_without_being_an_administrator() {
    let server = Server::start();
    let body = json!({"items": [{"kind": "settings", "dhcp_mode": "off"}]}).to_string();
    let header = format!("Bearer {}", server.token(Role::Operate, None));
    let reply = server.call_with("POST", "/api/v1/apply", &[("authorization", &header)], body.as_bytes());
    assert_eq!(reply.error(), (403, "forbidden".into(), "items[0].kind".into()));
    server.call("POST", "/api/v1/apply", body.as_bytes()).ok();
}

#[test]
fn a_token_is_shown_once_works_and_can_be_revoked() {
    let server = Server::start();
    let made = server.call("POST", "/api/v1/tokens", br#"{"name":"ci","role":"operate","expires_in_seconds":3600}"#);
    assert_eq!(made.status, 201);
    let made = made.ok();
    let token = made["token"].as_str().unwrap();
    assert!(made["expires_at"].is_string());
    let header = format!("Bearer {token}");
    let put = server.call_with("PUT", "/api/v1/profiles/p", &[("authorization", &header)], b"{}");
    assert_eq!(put.status, 201);
    assert_eq!(server.get("/api/v1/profiles/p").ok()["updated_by"], "ci");
    let listed = String::from_utf8(server.get("/api/v1/tokens").bytes).unwrap();
    assert!(listed.contains(made["id"].as_str().unwrap()));
    assert!(!listed.contains(&token[21..]) && !listed.contains("sha256"), "neither secret nor hash");
    server.call("DELETE", &format!("/api/v1/tokens/{}", made["id"].as_str().unwrap()), b"").ok();
    assert_eq!(server.call_with("GET", "/api/v1/status", &[("authorization", &header)], b"").status, 401);
}

#[test]
fn the_last_administrator_cannot_be_removed() {
    let server = Server::start();
    let path = format!("/api/v1/tokens/{}", &server.token[4..20]);
    server.token(Role::Operate, None);
    server.token(Role::Admin, Some(Timestamp(1)));
    server.token(Role::Admin, Some(Timestamp(u64::MAX)));
    assert_eq!(server.call("DELETE", &path, b"").error(), (409, "last_admin_token".into(), String::new()));
    server.token(Role::Admin, None);
    assert_eq!(server.call("DELETE", &path, b"").status, 200);
}

#[test]
fn tokens_that_make_no_sense_are_refused() {
    let server = Server::start();
    for (body, field) in [
        (r#"{"role":"read"}"#, "name"),
        (r#"{"name":"","role":"read"}"#, "name"),
        (r#"{"name":"node","role":"read"}"#, "name"),
        (r#"{"name":"x","role":"read","expires_in_seconds":3153600001}"#, "expires_in_seconds"),
        (r#"{"name":"x","role":"root"}"#, "role"),
        (r#"{"name":"x","role":"read","expires_in_seconds":0}"#, "expires_in_seconds"),
        (r#"{"name":"x","role":"read","expires_in_seconds":-1}"#, "expires_in_seconds"),
        (r#"{"name":"x","role":"read","secret":"mine"}"#, "secret"),
    ] {
        let reply = server.call("POST", "/api/v1/tokens", body.as_bytes());
        assert_eq!(reply.error(), (422, "invalid".into(), field.into()), "{body}");
    }
}
