//! Holds the OpenAPI document to what the API does. Beside these tests, every answer that any test of the API gets is checked
//! against it (`described.rs`).

use std::collections::{BTreeMap, BTreeSet};

use raft::state::Role;
use serde_json::Value;

use crate::server::Server;
use crate::server::described::Contract;

/// Every operation: method, path, what is described.
fn operations(contract: &Contract) -> Vec<(String, String, &Value)> {
    let mut found = Vec::new();
    for (path, item) in contract.document["paths"].as_object().expect("there are paths") {
        let methods = item.as_object().expect("a path is an object").iter().filter(|(name, _)| *name != "parameters");
        found.extend(methods.map(|(method, described)| (method.to_uppercase(), path.clone(), described)));
    }
    assert!(found.len() > 40, "the document lost its operations");
    found
}

/// A path with a name in each place that does not exist.
fn filled(path: &str) -> String {
    let path = path.replace("{type}", "generic").replace("{digest}", &"0".repeat(64));
    let parts = path.split('/').map(|part| if part.starts_with('{') { "52:54:00:00:00:01" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

#[test]
fn the_document_is_open_and_says_which_version_it_is() {
    let server = Server::start();
    let reply = server.call_with("GET", "/api/v1/openapi.json", &[], b"");
    let document = reply.ok();
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document["info"]["version"], server.get("/api/v1/status").ok()["version"]);
    assert_eq!(document.get("x-shared"), None, "what YAML shares is in its places");
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
}

#[test]
fn methods_of_every_path_are_those_of_the_document() {
    let server = Server::start();
    let contract = server.contract();
    let mut described: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (method, path, _) in operations(contract) {
        described.entry(path).or_default().insert(method);
    }
    for (path, methods) in described {
        let reply = server.call("TRACE", &filled(&path), b"");
        assert_eq!(reply.status, 405, "{path}");
        let allowed: BTreeSet<String> =
            reply.header("allow").split(',').map(|method| method.trim().to_owned()).filter(|it| it != "HEAD").collect();
        assert_eq!(allowed, methods, "{path}");
    }
}

#[test]
fn roles_of_every_operation_are_those_of_the_document() {
    let server = Server::start();
    let tokens = [Role::Read, Role::Operate, Role::Admin].map(|role| (role, server.token(role, None)));
    for (method, path, described) in operations(server.contract()) {
        let path = filled(&path);
        let body: &[u8] = if matches!(method.as_str(), "GET" | "DELETE") { b"" } else { b"{}" };
        let said = described["security"].as_array().unwrap_or_else(|| panic!("{method} {path} says nothing of roles"));
        let anonymous = server.call_with(&method, &path, &[], body);
        let ways = said.as_slice();
        if ways.is_empty() {
            assert!(anonymous.status < 400, "{method} {path}");
            continue;
        }
        assert_eq!(anonymous.status, 401, "{method} {path}");
        let needed: Role = serde_json::from_value(said[0]["token"][0].clone()).unwrap();
        for way in ways {
            let roles: Vec<&Value> = way.as_object().unwrap().values().collect();
            assert_eq!(roles, [&said[0]["token"]], "{method} {path}: the same role, whatever proves it");
        }
        for (role, token) in &tokens {
            let header = format!("Bearer {token}");
            let status = server.call_with(&method, &path, &[("authorization", &header)], body).status;
            assert_eq!(status == 403, *role < needed, "{role:?} {method} {path}: {status}");
            assert_ne!(status, 401);
        }
    }
}

#[test]
fn every_example_is_what_its_schema_says() {
    let server = Server::start();
    let contract = server.contract();
    let mut seen = 0;
    let mut places = vec![(String::new(), &contract.document)];
    while let Some((place, value)) = places.pop() {
        if let (Some(schema), true) = (value.get("schema"), value.get("example").or(value.get("examples")).is_some()) {
            let listed = value["examples"].as_object().into_iter().flatten().map(|(_, example)| &example["value"]);
            for example in value.get("example").into_iter().chain(listed) {
                let mistakes = contract.mistakes(schema, example, false);
                assert!(mistakes.is_empty(), "{place}: {example}\n{}", mistakes.join("\n"));
                seen += 1;
            }
        }
        match value {
            Value::Object(members) => {
                places.extend(members.iter().map(|(name, value)| (format!("{place}/{name}"), value)));
            }
            Value::Array(items) => places.extend(items.iter().map(|item| (place.clone(), item))),
            _ => {}
        }
    }
    assert!(seen > 20, "only {seen} examples");
}

#[test]
fn a_body_that_is_no_json_by_its_type_is_refused() {
    let server = Server::start();
    let put =
        |media_type: &str| server.call_and("PUT", "/api/v1/profiles/p", &[("content-type", media_type)], b"{}").status;
    for media_type in
        ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/merge-patch+json"]
    {
        assert!(put(media_type) < 300, "{media_type}");
    }
    for media_type in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "+json", ""]
    {
        assert_eq!(put(media_type), 415, "{media_type}");
    }
    let reply = server.call_and("POST", "/api/v1/apply", &[("content-type", "text/plain")], b"{\"items\":[]}");
    assert_eq!(reply.error(), (415, "unsupported_media_type".into(), String::new()));
    let template = server.call_and("PUT", "/api/v1/templates/generic/t", &[("content-type", "text/plain")], b"x");
    assert_eq!(template.status, 201, "a template is taken as it is");
}

#[test]
fn web_pages_of_others_cannot_have_a_browser_write() {
    let server = Server::start();
    let foreign = [("sec-fetch-site", "cross-site"), ("origin", "https://elsewhere.example")];
    for (method, path) in [("POST", "cluster/leave?force=true"), ("PUT", "profiles/p"), ("DELETE", "profiles/p")] {
        let reply = server.call_and(method, &format!("/api/v1/{path}"), &foreign, b"{}");
        assert_eq!(reply.error(), (403, "cross_site".into(), String::new()), "{method} {path}");
    }
    assert_eq!(
        server.call_and("GET", "/api/v1/status", &foreign, b"").status,
        200,
        "the browser does not show it to them"
    );
    let own = [("sec-fetch-site", "same-origin"), ("origin", &*server.url)];
    assert_eq!(server.call_and("PUT", "/api/v1/profiles/p", &own, b"{}").status, 201);
}
