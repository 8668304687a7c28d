//! The admin API as its clients see it, over TLS on loopback: objects, guards, one atomic apply, and every error.

#[path = "api/auth.rs"]
mod auth;
#[path = "api/blobs.rs"]
mod blobs;
#[path = "api/certificates.rs"]
mod certificates;
#[path = "api/clients.rs"]
mod clients;
#[path = "api/cluster.rs"]
mod cluster;
#[path = "api/contract.rs"]
mod contract;
#[path = "api/errors.rs"]
mod errors;
#[path = "api/repeats.rs"]
mod repeats;
#[path = "api/selectors.rs"]
mod selectors;
#[path = "api/server.rs"]
mod server;
#[path = "api/silence.rs"]
mod silence;
#[path = "disk/small.rs"]
mod small;
#[path = "api/timeline.rs"]
mod timeline;

use serde_json::{Value, json};
use server::Server;

#[test]
fn a_profile_is_created_read_changed_and_removed() {
    let server = Server::start();
    let path = "/api/v1/profiles/worker";
    let created = server.put(path, r#"{"name":"Worker","boot":{"kernel":"http://x/k","initrd":["a"],"args":["b=c"]}}"#);
    assert_eq!(created.status, 201);
    let answer = created.ok();
    assert_eq!((&answer["effect"], &answer["warnings"]), (&json!("created"), &json!([])));
    assert_eq!(created.header("etag"), format!("\"{}\"", answer["index"]));

    let read = server.get(path);
    assert_eq!(read.header("etag"), created.header("etag"));
    let object = read.ok();
    assert_eq!(
        (&object["kind"], &object["id"], &object["updated_by"]),
        (&json!("profile"), &json!("worker"), &json!("admin"))
    );
    assert_eq!(object["boot"], json!({"kernel": "http://x/k", "initrd": ["a"], "args": ["b=c"]}));
    assert!(object["created_at"].as_str().unwrap().ends_with('Z'));

    assert_eq!(server.put(path, &object.to_string()).ok()["effect"], "unchanged", "what was read may be sent back");
    assert_eq!(server.put(path, r#"{"boot":{"kernel":"k2"}}"#).ok()["effect"], "updated");
    assert_eq!(server.call("DELETE", path, b"").ok()["effect"], "deleted");
    assert_eq!(server.get(path).error(), (404, "not_found".into(), String::new()));
    assert_eq!(server.call("DELETE", path, b"").error().0, 404);
}

#[test]
fn names_with_slashes_blanks_and_umlauts_are_names_like_others() {
    let server = Server::start();
    for (path, id) in
        [("a%2Fb", "a/b"), ("a/c", "a/c"), ("%C3%BC%20x%3F%23", "ü x?#"), ("..%2fup", "../up"), ("100%25", "100%")]
    {
        let path = format!("/api/v1/groups/{path}");
        assert_eq!(server.put(&path, &json!({"profile": "p", "selector": {"n": id}}).to_string()).status, 201, "{id}");
        assert_eq!(server.get(&path).ok()["id"], id);
    }
    assert_eq!(server.get("/api/v1/groups/%FF").error(), (400, "invalid_path".into(), String::new()));
    let path = "/api/v1/templates/generic/talos/rack%201/n.yaml";
    assert_eq!(server.put(path, "a: {{.b}}\n").status, 201);
    assert_eq!(server.get(path).ok()["name"], "talos/rack 1/n.yaml");
    assert_eq!(server.put("/api/v1/templates/generic/..%2fx", "y").error(), (422, "invalid".into(), "name".into()));
}

#[test]
fn a_groups_metadata_is_kept_byte_for_byte() {
    let server = Server::start();
    let metadata = r#"{"z":1.0,"a":[1e3,  18446744073709551616],"ü":"\u0041"}"#;
    let body = format!(r#"{{"profile":"p","metadata":{metadata}}}"#);
    assert!(server.put("/api/v1/groups/g", &body).status == 201);
    assert!(String::from_utf8(server.get("/api/v1/groups/g").bytes).unwrap().contains(metadata));
    let applied = format!(r#"{{"items":[{{"kind":"group","id":"h","selector":{{"a":"b"}},"metadata":{metadata}}}]}}"#);
    server.call("POST", "/api/v1/apply", applied.as_bytes()).ok();
    assert!(String::from_utf8(server.get("/api/v1/groups/h").bytes).unwrap().contains(metadata));
}

#[test]
fn templates_are_stored_as_bytes() {
    let server = Server::start();
    let binary = [0xff, 0x00, b'{', 0xfe];
    server.call("PUT", "/api/v1/templates/generic/blob", &binary).ok();
    let read = server.get("/api/v1/templates/generic/blob").ok();
    assert_eq!((&read["size"], &read["content"]), (&json!(4), &Value::Null));
    assert_eq!(server.get("/api/v1/templates/generic/blob?content=true").bytes, binary);
    server
        .apply(&json!({"items": [{"kind": "template", "type": "cloud", "name": "b", "content_base64": "/wB7/g=="}]}))
        .ok();
    assert_eq!(server.get("/api/v1/templates/cloud/b?content=true").bytes, binary);
    let listed = server.get("/api/v1/templates?type=cloud").ok();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(listed["items"][0]["content"], Value::Null, "lists do not carry contents");
    let bad = server.put("/api/v1/templates/generic/bad?allow_unusable=true", "{{bad").ok();
    assert_eq!(
        (&bad["warnings"][0]["field"], &bad["warnings"][0]["message"]),
        (&json!("content"), &json!("unclosed action"))
    );
}

#[test]
fn guards_keep_writers_from_overwriting_each_other() {
    let server = Server::start();
    let (path, body) = ("/api/v1/profiles/p", br#"{"name":"x"}"#);
    assert_eq!(server.call_and("PUT", path, &[("if-match", "*")], body).error().1, "conflict");
    let first = server.call_and("PUT", path, &[("if-none-match", "*")], body);
    assert_eq!(first.status, 201);
    assert_eq!(
        server.call_and("PUT", path, &[("if-none-match", "*")], br#"{}"#).error(),
        (412, "conflict".into(), String::new())
    );
    let tag = first.header("etag").to_owned();
    assert_eq!(server.call_and("PUT", path, &[("if-match", &tag)], br#"{"name":"y"}"#).status, 200);
    assert_eq!(server.call_and("PUT", path, &[("if-match", &tag)], br#"{"name":"z"}"#).error().0, 412);
    assert_eq!(server.call_and("DELETE", path, &[("if-match", &tag)], b"").error().0, 412);
    assert_eq!(server.get(path).ok()["name"], "y");
    assert_eq!(server.call_and("DELETE", path, &[("if-match", "*")], b"").status, 200);
    for headers in
        [&[("if-match", "W/\"1\"")][..], &[("if-none-match", "\"1\"")], &[("if-match", "1"), ("if-none-match", "*")]]
    {
        assert_eq!(server.call_and("PUT", path, headers, body).error().1, "invalid_guard", "{headers:?}");
    }
}

#[test]
fn a_repeated_request_is_done_once_and_a_reused_key_is_noticed() {
    let server = Server::start();
    let key = [("idempotency-key", "5c0e1d2a")];
    let first = server.call_and("PUT", "/api/v1/profiles/p", &key, br#"{"name":"x"}"#).ok();
    server.put("/api/v1/profiles/p", r#"{"name":"later"}"#).ok();
    let again = server.call_and("PUT", "/api/v1/profiles/p", &key, br#"{"name":"x"}"#).ok();
    assert_eq!((&first["effect"], &again["effect"]), (&json!("created"), &json!("created")));
    assert_eq!(server.get("/api/v1/profiles/p").ok()["name"], "later", "it was not done again");
    let other = server.call_and("PUT", "/api/v1/profiles/p", &key, br#"{"name":"y"}"#);
    assert_eq!(other.error(), (409, "key_reused".into(), "idempotency_key".into()));
    let bad = server.call_and("PUT", "/api/v1/profiles/p", &[("idempotency-key", "a b")], b"{}");
    assert_eq!(bad.error().1, "invalid_idempotency_key");
    let unsupported = server.call_and("POST", "/api/v1/tokens", &key, br#"{"name":"x","role":"read"}"#);
    assert_eq!(unsupported.error().1, "idempotency_unsupported");
}

fn machine(id: &str, mac: &str) -> Value {
    json!({"kind": "group", "id": id, "profile": "p", "selector": {"mac": mac}})
}

#[test]
fn apply_is_all_or_nothing_and_lists_every_mistake() {
    let server = Server::start();
    let wrong = json!({"items": [
        {"kind": "profile", "id": "p", "boot": {"kernel": "k"}},
        machine("g1", "52:54:00:12:34:zz"),
        {"kind": "group", "id": "g2", "profil": "p"},
        {"kind": "grup", "id": "g3"},
        {"id": "g4"},
        {"kind": "group", "id": "g5", "selector": {"rack": 7}},
        {"kind": "profile", "id": "p"},
        {"kind": "asset", "name": "a", "digest": "abc"},
        {"kind": "asset", "name": "a", "digest": "0".repeat(64)},
    ]});
    let reply = server.apply(&wrong);
    assert_eq!(reply.error().0, 422);
    let errors = reply.json()["errors"].clone();
    let found: Vec<(String, String)> = errors
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["code"].as_str().unwrap().into(), error["field"].as_str().unwrap().into()))
        .collect();
    let want = [
        ("invalid", "items[2].profil"),
        ("invalid", "items[3].kind"),
        ("invalid", "items[4].kind"),
        ("invalid", "items[5].selector.rack"),
        ("duplicate", "items[6]"),
        ("invalid", "items[7].digest"),
        ("blob_missing", "items[8].digest"),
    ];
    assert_eq!(found, want.map(|(code, field)| (code.to_owned(), field.to_owned())));
    assert_eq!(errors[3]["hint"], "write the value in quotes");

    let wrong = json!({"items": [{"kind": "profile", "id": "p"}, machine("g1", "52:54:00:12:34:zz"), machine("", "52:54:00:12:34:56")]});
    let reply = server.apply(&wrong);
    assert_eq!(reply.error(), (422, "invalid".into(), "items[1].selector.mac".into()));
    assert_eq!(reply.json()["errors"][1]["field"], "items[2].id");
    assert_eq!(server.get("/api/v1/profiles").ok()["items"], json!([]), "nothing was half-written");
}

#[test]
fn apply_says_what_it_did_and_what_looks_wrong() {
    let server = Server::start();
    let change = json!({"items": [
        {"kind": "profile", "id": "p", "boot": {"kernel": "/assets/k", "initrd": ["--name i /assets/i"]}, "generic_id": "c.yaml"},
        machine("g", "52:54:00:12:34:56"),
        {"kind": "group", "id": "lost", "profile": "nowhere", "selector": {"a": "b"}},
        {"kind": "settings", "dhcp_mode": "off"},
    ]});
    let done = server.apply(&change).ok();
    assert_eq!((&done["created"], &done["pruned"], &done["dry_run"]), (&json!(4), &json!(0), &json!(false)));
    assert_eq!(done["effects"][1], json!({"object": "group/g", "effect": "created"}));
    let warned: Vec<&str> =
        done["warnings"].as_array().unwrap().iter().map(|warning| warning["field"].as_str().unwrap()).collect();
    assert_eq!(warned, ["generic_id", "boot.kernel", "boot.initrd[0]", "profile"]);
    let again = server.apply(&change).ok();
    assert_eq!((&again["unchanged"], &again["created"]), (&json!(4), &json!(0)));
    assert_eq!(server.get("/api/v1/settings").ok()["dhcp_mode"], "off");
}

#[test]
fn replace_removes_what_is_not_there_and_a_dry_run_only_says_so() {
    let server = Server::start();
    server.apply(&json!({"items": [machine("a", "52:54:00:12:34:01"), machine("b", "52:54:00:12:34:02"), {"kind": "profile", "id": "p"}]})).ok();
    let mut change = json!({"items": [machine("b", "52:54:00:12:34:03")], "replace": ["group"], "dry_run": true});
    let rehearsed = server.apply(&change).ok();
    assert_eq!(
        (&rehearsed["updated"], &rehearsed["pruned"], &rehearsed["index"]),
        (&json!(1), &json!(1), &Value::Null)
    );
    assert_eq!(rehearsed["effects"][1], json!({"object": "group/a", "effect": "deleted"}));
    assert_eq!(server.get("/api/v1/groups/b").ok()["selector"]["mac"], "52:54:00:12:34:02", "nothing was done");
    change["dry_run"] = json!(false);
    server.apply(&change).ok();
    assert_eq!(server.get("/api/v1/groups/a").status, 404);
    assert_eq!(server.get("/api/v1/groups/b").ok()["selector"]["mac"], "52:54:00:12:34:03");
    assert_eq!(server.get("/api/v1/profiles/p").status, 200, "other kinds are left alone");
    assert_eq!(
        server.apply(&json!({"items": [], "replace": ["token"]})).error(),
        (422, "invalid".into(), "replace[0]".into())
    );
}

#[test]
fn groups_that_tie_are_refused_unless_asked_for() {
    let server = Server::start();
    server.apply(&json!({"items": [machine("a", "52:54:00:12:34:56")]})).ok();
    let tie = json!({"items": [machine("b", "52-54-00-12-34-56")]});
    assert_eq!(server.apply(&tie).error(), (409, "selector_tie".into(), "items[0].selector".into()));
    let rehearsal = json!({"items": [machine("b", "52-54-00-12-34-56")], "dry_run": true});
    assert_eq!(server.apply(&rehearsal).error().1, "selector_tie");
    assert_eq!(server.put("/api/v1/groups/b", &machine("b", "52-54-00-12-34-56").to_string()).error().2, "selector");
    server.apply(&json!({"items": [machine("b", "52-54-00-12-34-56")], "allow_ties": true})).ok();
}

#[test]
fn pages_are_complete_while_the_list_changes() {
    let server = Server::start();
    let many: Vec<Value> =
        (0..250).map(|at| machine(&format!("g{at:03}"), &format!("52:54:00:00:00:{at:02x}"))).collect();
    server.apply(&json!({"items": many})).ok();
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("/api/v1/groups?limit=100&prefix=g&cursor={cursor}")).ok();
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        // One that has been given goes, one before the cursor comes: neither moves the rest.
        server.call("DELETE", "/api/v1/groups/g000", b"");
        server.put("/api/v1/groups/a-new-one", r#"{"selector":{"new":"one"}}"#).ok();
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(seen.len(), 250);
    assert!(seen.is_sorted());
    let by_profile = server.get("/api/v1/groups?profile=p&selector=mac%3D52:54:00:00:00:07").ok();
    assert_eq!(by_profile["items"].as_array().unwrap().len(), 1);
    assert_eq!(server.get("/api/v1/groups?limit=1").ok()["items"][0]["id"], "a-new-one");
}

#[test]
fn settings_are_replaced_as_a_whole_or_changed_in_part() {
    let server = Server::start();
    let path = "/api/v1/settings";
    assert_eq!(server.get(path).ok()["dhcp_mode"], "proxy");
    server.put(path, r#"{"dhcp_mode":"off","extra_kernel_args":["a"],"loaders":{"bios":"x.0"}}"#).ok();
    server.call("PATCH", path, br#"{"loaders":{"bios":null,"uefi-x64":"y.efi"},"script_style":"matchbox"}"#).ok();
    let now = server.get(path).ok();
    assert_eq!((&now["dhcp_mode"], &now["loaders"]), (&json!("off"), &json!({"uefi-x64": "y.efi"})));
    assert_eq!((&now["script_style"], &now["extra_kernel_args"]), (&json!("matchbox"), &json!(["a"])));
    assert_eq!(server.call("PATCH", path, br#"{"dhcp_mode":null}"#).status, 200);
    assert_eq!(server.get(path).ok()["dhcp_mode"], "proxy", "null is the default again");
    assert_eq!(
        server.call("PATCH", path, br#"{"dhcp_mod":"off"}"#).error(),
        (422, "invalid".into(), "dhcp_mod".into())
    );
    assert_eq!(server.call("PATCH", path, br#"{"dhcp_mode":"server"}"#).error().2, "dhcp_mode");
    assert_eq!(server.call("PATCH", path, br#"{"loaders":{"efi-x65":"y"}}"#).error().2, "loaders.efi-x65");
    assert_eq!(server.call("PATCH", path, br#"{"loaders":{"bios":"../y"}}"#).error().2, "loaders.bios");
    assert_eq!(server.call("PATCH", path, br#"{"extra_kernel_args":["a\nb"]}"#).error().2, "extra_kernel_args[0]");
    assert_eq!(server.call("PATCH", path, br#"[1]"#).error().0, 422);
    server.put(path, "{}").ok();
    assert_eq!(server.get(path).ok()["extra_kernel_args"], json!([]));
}

#[test]
fn machines_are_found_by_mac_or_uuid_and_told_what_to_do() {
    use raft::command::Edit;
    use raft::state::Sighting;
    use raft::types::Timestamp;
    let server = Server::start();
    let uuid = "4c4c4544-0042-3510-8054-b4c04f4d5931";
    let seen = |mac: &str, uuid: &str, arch: &str, at| Sighting {
        mac: mac.parse().unwrap(),
        uuid: uuid.into(),
        serial: String::new(),
        arch: arch.into(),
        address: "10.0.0.9".into(),
        at: Timestamp(at),
    };
    server.propose(Edit::Sightings(vec![
        seen("52:54:00:00:00:01", uuid, "x86_64", 1_700_000_000_000),
        seen("52:54:00:00:00:02", "", "arm64", 5),
    ]));
    for id in ["52-54-00-00-00-01", "5254.0000.0001", uuid, &uuid.to_uppercase()] {
        assert_eq!(server.get(&format!("/api/v1/machines/{id}")).ok()["mac"], "52:54:00:00:00:01", "{id}");
    }
    let policy = format!("/api/v1/machines/{uuid}/policy");
    assert_eq!(server.put(&policy, r#"{"hold":true,"loader":"snponly.efi"}"#).ok()["effect"], "updated");
    server.call("PATCH", &policy, br#"{"loader":null}"#).ok();
    let now = server.get(&format!("/api/v1/machines/{uuid}")).ok();
    assert_eq!(now["policy"], json!({"hold": true, "loader": "", "discovery_control": false}));
    assert_eq!(now["last_seen"], "2023-11-14T22:13:20Z");
    for (query, count) in [
        ("hold=true", 1),
        ("arch=arm64", 1),
        ("prefix=52:54:00", 2),
        ("uuid=x", 0),
        ("seen_within=60", 0),
        ("limit=1", 1),
    ] {
        let found = server.get(&format!("/api/v1/machines?{query}")).ok();
        assert_eq!(found["items"].as_array().unwrap().len(), count, "{query}");
    }
    assert_eq!(
        server.put("/api/v1/machines/52:54:00:00:00:99/policy", r#"{"hold":true}"#).status,
        201,
        "before it was ever seen"
    );
    assert_eq!(server.put("/api/v1/machines/nobody/policy", "{}").error().0, 404);
    assert_eq!(server.put(&policy, r#"{"hold":"yes"}"#).error(), (422, "invalid".into(), "hold".into()));
    assert_eq!(server.call_and("PUT", &policy, &[("if-match", "1")], b"{}").error().1, "guard_unsupported");
    server.call("DELETE", &format!("/api/v1/machines/{uuid}"), b"").ok();
    assert_eq!(server.get(&format!("/api/v1/machines/{uuid}")).error().0, 404);
}

#[test]
fn status_counts_what_there_is() {
    let server = Server::start();
    server.apply(&json!({"items": [machine("a", "52:54:00:12:34:56"), {"kind": "profile", "id": "p"}]})).ok();
    let status = server.get("/api/v1/status").ok();
    assert_eq!((&status["objects"]["groups"], &status["objects"]["profiles"]), (&json!(1), &json!(1)));
    assert_eq!((&status["ready"], &status["cluster"]["role"]), (&json!(true), &json!("leader")));
    assert!(status["blobs"]["free_bytes"].as_u64().unwrap() > 0);
}
