//! Requests that are sent again or at the same moment, and what is warned about.

use raft::command::Edit;
use raft::state::{MachinePolicyChange, Role};
use raft::types::Timestamp;
use serde_json::{Value, json};

use crate::server::Server;

fn warnings(answer: &Value) -> Vec<String> {
    let all = answer["warnings"].as_array().expect("warnings");
    all.iter().map(|warning| format!("{} {}", warning["object"], warning["message"])).collect()
}

const MACHINE: &str = "/api/v1/machines/52:54:00:00:00:01/policy";

#[test]
fn changes_to_different_fields_of_a_policy_do_not_undo_each_other() {
    let server = Server::start();
    std::thread::scope(|scope| {
        for body in [r#"{"hold":true}"#, r#"{"loader":"a.efi"}"#, r#"{"discovery_control":true}"#] {
            let server = &server;
            scope.spawn(move || server.call("PATCH", MACHINE, body.as_bytes()).ok());
        }
    });
    let policy = server.get("/api/v1/machines/52:54:00:00:00:01").ok()["policy"].clone();
    assert_eq!(policy, json!({"hold": true, "loader": "a.efi", "discovery_control": true}));
    server.call("PATCH", MACHINE, br#"{"loader":null}"#).ok();
    let policy = server.get("/api/v1/machines/52:54:00:00:00:01").ok()["policy"].clone();
    assert_eq!(policy, json!({"hold": true, "loader": "", "discovery_control": true}), "null is the default again");
    assert_eq!(server.call("PATCH", MACHINE, br#"{"holt":true}"#).error(), (422, "invalid".into(), "holt".into()));
}

#[test]
fn a_repeated_delete_gives_the_first_answer_although_the_object_is_gone() {
    let server = Server::start();
    let mac = "52:54:00:00:00:01".parse().unwrap();
    let uuid = "4c4c4544-0000-1000-8000-000000000001";
    server.propose(Edit::Sightings(vec![raft::state::Sighting {
        mac,
        uuid: uuid.into(),
        serial: String::new(),
        arch: String::new(),
        address: String::new(),
        at: Timestamp(1),
    }]));
    server.put("/api/v1/profiles/p", "{}").ok();
    let other = server.token(Role::Admin, None);
    for path in
        [format!("/api/v1/machines/{uuid}"), "/api/v1/profiles/p".into(), format!("/api/v1/tokens/{}", &other[4..20])]
    {
        let key = [("idempotency-key", path.as_str())];
        let first = server.call_and("DELETE", &path, &key, b"").ok();
        server.put("/api/v1/profiles/between", &format!(r#"{{"name":"{path}"}}"#)).ok();
        let again = server.call_and("DELETE", &path, &key, b"").ok();
        assert_eq!((&again["index"], &again["effect"]), (&first["index"], &json!("deleted")), "{path}");
    }
}

#[test]
fn a_repeated_guarded_write_gives_the_first_answer() {
    let server = Server::start();
    server.put("/api/v1/profiles/p", "{}").ok();
    let headers = [("if-match", "*"), ("idempotency-key", "k1")];
    let first = server.call_and("PUT", "/api/v1/profiles/p", &headers, br#"{"name":"x"}"#).ok();
    server.call("DELETE", "/api/v1/profiles/p", b"").ok();
    let again = server.call_and("PUT", "/api/v1/profiles/p", &headers, br#"{"name":"x"}"#).ok();
    assert_eq!((&again["index"], &again["effect"]), (&first["index"], &json!("updated")));
    assert_eq!(server.get("/api/v1/profiles/p").status, 404, "nothing was done again");
}

#[test]
fn equal_selectors_are_said_once_with_the_winner() {
    let server = Server::start();
    server.put("/api/v1/profiles/p", "{}").ok();
    let group = |id: &str| json!({"kind": "group", "id": id, "profile": "p", "selector": {"os": "x"}});
    let body = json!({"items": [group("c"), group("a"), group("b")], "allow_ties": true});
    let said = warnings(&server.apply(&body).ok());
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("group/a") && said[0].contains("wins over group/b, group/c"), "{said:?}");
}

#[test]
fn what_no_machine_will_get_is_warned_about() {
    let server = Server::start();
    let path = "/api/v1/templates/ignition/node.yaml";
    let refused = server.call("PUT", path, b"variant: fcos");
    assert_eq!(refused.error(), (422, "unusable_template".into(), "content".into()));
    assert!(refused.json()["message"].as_str().is_some_and(|text| text.contains("Butane")), "{refused:?}");
    let item =
        json!({"items": [{"kind": "template", "type": "ignition", "name": "node.yaml", "content": "variant: fcos"}]});
    assert_eq!(server.apply(&item).error(), (422, "unusable_template".into(), "items[0].content".into()));
    assert_eq!(server.get(path).status, 404, "nothing was stored");
    let put = server.call("PUT", &format!("{path}?allow_unusable=true"), b"variant: fcos").ok();
    assert!(warnings(&put)[0].contains("Butane"), "{put}");
    assert!(warnings(&server.call("PUT", "/api/v1/templates/ignition/node.ign", b"{}").ok()).is_empty());
    let set = server.call("PATCH", "/api/v1/settings", br#"{"loaders":{"bios":"gone.0","uefi-x64":"here.efi"}}"#).ok();
    assert!(warnings(&set).len() == 1 && warnings(&set)[0].contains("`gone.0`"), "{set}");
    let held = server.call("PATCH", MACHINE, br#"{"loader":"gone.efi"}"#).ok();
    assert!(warnings(&held)[0].contains("`gone.efi`"), "{held}");

    server.put("/api/v1/profiles/p", r#"{"ignition_id":"node.ign"}"#).ok();
    server.put("/api/v1/groups/g", r#"{"profile":"p"}"#).ok();
    let gone = server.call("DELETE", "/api/v1/templates/ignition/node.ign", b"").ok();
    assert!(warnings(&gone)[0].contains("still used by profile/p"), "{gone}");
    let gone = server.call("DELETE", "/api/v1/profiles/p", b"").ok();
    assert!(warnings(&gone)[0].contains("still used by group/g"), "{gone}");
}

#[test]
fn the_policy_of_a_machine_set_as_a_whole_leaves_nothing_of_the_old_one() {
    let server = Server::start();
    let change = MachinePolicyChange { hold: Some(true), loader: Some("a".into()), discovery_control: None };
    server.propose(Edit::SetMachinePolicy("52:54:00:00:00:01".parse().unwrap(), change));
    server.call("PUT", MACHINE, br#"{"loader":"b"}"#).ok();
    let policy = server.get("/api/v1/machines/52:54:00:00:00:01").ok()["policy"].clone();
    assert_eq!(policy, json!({"hold": false, "loader": "b", "discovery_control": false}));
}
