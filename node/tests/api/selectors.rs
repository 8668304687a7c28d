//! Groups with `match`: written, read back, refused with the place, explained.

use raft::state::{Settings, Sighting};
use raft::types::{Mac, Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::server::Reply;

fn groups(items: &[Value]) -> Value {
    let kind = |item: &Value| {
        let mut item = item.clone();
        item["kind"] = "group".into();
        item
    };
    json!({"items": items.iter().map(kind).collect::<Vec<_>>()})
}

#[test]
fn a_group_with_match_goes_there_and_back() {
    let server = Server::start();
    let written = json!({
        "profile": "p", "selector": {"os": "talos"},
        "match": [
            {"mac": ["52-54-00-12-34-56", "52:54:00:12:34:57"], "serial": {"not_glob": "X*", "glob": ["A*", "B*"]}},
            {"address": {"subnet": ["10.0.0.0/8"]}, "asset": {"present": true}, "arch": {"in": ["arm64"]}},
        ],
    });
    let done = server.put("/api/v1/groups/g", &written.to_string());
    assert_eq!((done.status, done.header("etag")), (201, server.get("/api/v1/groups/g").header("etag")));
    let read = server.get("/api/v1/groups/g").ok();
    let shown = json!([
        {"mac": ["52-54-00-12-34-56", "52:54:00:12:34:57"], "serial": {"glob": ["A*", "B*"], "not_glob": "X*"}},
        {"address": {"subnet": "10.0.0.0/8"}, "arch": "arm64", "asset": {"present": true}},
    ]);
    assert_eq!((&read["match"], &read["selector"]), (&shown, &json!({"os": "talos"})));
    // Sent back as it was read, and as it was written, it changes nothing.
    assert_eq!(server.put("/api/v1/groups/g", &read.to_string()).ok()["effect"], "unchanged");
    assert_eq!(server.put("/api/v1/groups/g", &written.to_string()).ok()["effect"], "unchanged");
    for (filter, found) in
        [("os%3Dtalos", 1), ("mac%3D52%3A54%3A00%3A12%3A34%3A57", 1), ("arch%3Darm64", 1), ("serial%3DA*", 0)]
    {
        let listed = server.get(&format!("/api/v1/groups?selector={filter}")).ok();
        assert_eq!(listed["items"].as_array().unwrap().len(), found, "{filter}");
    }
    // Without `match` it is a plain group again.
    let stale = server.call_and("PUT", "/api/v1/groups/g", &[("if-match", "1")], b"{}");
    assert_eq!(stale.error().0, 412);
    assert_eq!(server.put("/api/v1/groups/g", "{}").ok()["effect"], "updated");
    assert_eq!(server.get("/api/v1/groups/g").ok().get("match"), None);
}

#[test]
fn mistakes_in_match_are_named_by_their_path() {
    let server = Server::start();
    for (rules, field) in [
        (json!([]), "match"),
        (json!({}), "match"),
        (json!([{}]), "match[0]"),
        (json!([{"os": "x"}, {"os": 7}]), "match[1].os"),
        (json!([{"os": "x"}, {"serial": {"glob": 7}}]), "match[1].serial.glob"),
        (json!([{"os": "x"}, {"serial": {"glob": ["a", 7]}}]), "match[1].serial.glob[1]"),
        (json!([{"os": ["x", null]}]), "match[0].os[1]"),
        (json!([{"serial": {"globs": "a"}}]), "match[0].serial.globs"),
        (json!([{"serial": {"present": "yes"}}]), "match[0].serial.present"),
        (json!([{"serial": {}}]), "match[0].serial"),
        (json!([{"serial": []}]), "match[0].serial.in"),
        (json!([{"serial": {"glob": []}}]), "match[0].serial.glob"),
        (json!([{"os": "x"}, {"mac": ["52:54:00:12:34:56", "zz"]}]), "match[1].mac.in[1]"),
        (json!([{"address": {"subnet": "10.0.0.1/8"}}]), "match[0].address.subnet[0]"),
        (json!([{"address": "here"}]), "match[0].address.in[0]"),
    ] {
        let refused = server.put("/api/v1/groups/g", &json!({"match": rules}).to_string());
        assert_eq!(refused.error(), (422, "invalid".into(), field.into()), "{rules}: {}", refused.json());
        let refused = server.apply(&groups(&[json!({"id": "g", "match": rules})]));
        assert_eq!(refused.error().2, format!("items[0].{field}"), "{rules}");
    }
    assert_eq!(server.get("/api/v1/groups").ok()["items"], json!([]));
}

#[test]
fn a_value_that_two_groups_list_is_a_tie() {
    let server = Server::start();
    let (one, other) =
        (json!({"id": "one", "selector": {"os": "b"}}), json!({"id": "other", "match": [{"os": ["a", "b"]}]}));
    server.apply(&groups(&[one])).ok();
    let refused = server.apply(&groups(std::slice::from_ref(&other)));
    assert_eq!(refused.error(), (409, "selector_tie".into(), "items[0].match[0]".into()));
    let mut allowed = groups(&[other]);
    allowed["allow_ties"] = true.into();
    let warnings = server.apply(&allowed).ok()["warnings"].clone();
    let tied = warnings.as_array().unwrap().iter().find(|warning| warning["field"] == "match").unwrap();
    assert!(tied["message"].as_str().unwrap().contains("group/one"), "{tied}");
}

#[test]
fn conditions_that_machines_cannot_meet_are_warned_of() {
    let server = Server::start();
    let group = json!({"id": "g", "profile": "p", "match": [{"manufacturer": {"glob": "Dell*"}, "ip": {"subnet": "10.0.0.0/8"}}]});
    let fields = |warnings: &Value| {
        let warnings = warnings["warnings"].as_array().unwrap().iter();
        warnings.map(|warning| warning["field"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(fields(&server.apply(&groups(std::slice::from_ref(&group))).ok()), ["profile", "match[0].ip"]);
    let script_style = raft::state::ScriptStyle::Matchbox;
    server.propose(raft::command::Edit::PutSettings(Settings { script_style, ..Settings::default() }));
    let warned = fields(&server.apply(&groups(&[group])).ok());
    assert_eq!(warned, ["profile", "match[0].ip", "match[0].manufacturer"]);
}

fn explain(server: &Server, body: &Value) -> Reply {
    server.call("POST", "/api/v1/explain", body.to_string().as_bytes())
}

fn site() -> Server {
    let server = Server::start();
    let mac: Mac = "52:54:00:12:34:56".parse().expect("the test's own set-up");
    server.propose(raft::command::Edit::Sightings(vec![Sighting {
        mac: mac.clone(),
        uuid: "4c4c4544-0000-1000-8000-000000000001".into(),
        serial: "A1".into(),
        arch: "x86_64".into(),
        address: "10.0.0.7".into(),
        at: Timestamp(1_700_000_000_000),
    }]));
    let mut items = groups(&[
        json!({"id": "default", "profile": "p"}),
        json!({"id": "rack", "profile": "p", "match": [{"serial": {"glob": "B*"}}, {"serial": {"glob": "A*"}, "address": {"subnet": "10.0.0.0/24"}}]}),
        json!({"id": "dell", "profile": "gone", "match": [{"manufacturer": {"glob": "Dell*"}, "arch": ["x86_64", "arm64"]}]}),
        json!({"id": "elsewhere", "profile": "p", "selector": {"mac": "52:54:00:00:00:01"}}),
    ]);
    items["items"].as_array_mut().expect("the test's own set-up").push(json!({"kind": "profile", "id": "p"}));
    server.apply(&items).ok();
    server
}

#[test]
fn explain_says_who_wins_by_what_and_what_fails() {
    let server = site();
    let said = explain(&server, &json!({"machine": "52-54-00-12-34-56"})).ok();
    assert_eq!((&said["group"], &said["by"], &said["profile"]), (&json!("rack"), &json!("match[1]"), &json!("p")));
    assert_eq!((&said["known"], &said["hold"], &said["profile_exists"]), (&json!(true), &json!(false), &json!(true)));
    assert_eq!(
        said["labels"],
        json!({"mac": "52:54:00:12:34:56", "uuid": "4c4c4544-0000-1000-8000-000000000001", "serial": "A1", "arch": "x86_64"})
    );
    assert_eq!((&said["address"], &said["not_known"]), (&json!("10.0.0.7"), &json!(["manufacturer"])));
    let matching = said["matching"].as_array().unwrap();
    let lost: Vec<_> = matching.iter().map(|one| (one["group"].as_str().unwrap(), one["lost"].as_str())).collect();
    assert_eq!(lost, [("rack", None), ("default", Some("fewer_labels"))]);
    assert_eq!(matching[1]["why"], "it asks for 0 labels, the winner for 2");
    assert_eq!((&said["failing_total"], &said["failing"][0]["group"]), (&json!(1), &json!("dell")));
    let failed =
        json!([{"field": "match[0].manufacturer.glob", "label": "manufacturer", "asked": ["Dell*"], "found": null}]);
    assert_eq!(said["failing"][0]["failed"], failed);

    let held = raft::state::MachinePolicy { hold: true, ..raft::state::MachinePolicy::default() };
    let mac = "52:54:00:12:34:56".parse().unwrap();
    server.propose(raft::command::Edit::SetMachinePolicy(mac, held.into()));
    let said = explain(&server, &json!({"machine": "52-54-00-12-34-56"})).ok();
    assert_eq!((&said["hold"], &said["group"]), (&json!(true), &json!("rack")));

    // What is not recorded can be said; now two groups ask for as many labels, and one for an exact value.
    let more = json!({"machine": "4C4C4544-0000-1000-8000-000000000001", "labels": {"manufacturer": "Dell Inc."}});
    let said = explain(&server, &more).ok();
    assert_eq!((&said["group"], &said["profile_exists"]), (&json!("dell"), &json!(false)));
    assert_eq!(said["matching"][1]["lost"], "fewer_exact");

    // A recorded label is taken away, the machine moves, and a group is asked about by name.
    let other = json!({"machine": "52:54:00:12:34:56", "labels": {"serial": null}, "address": "::ffff:192.0.2.9", "group": "elsewhere", "limit": 1});
    let said = explain(&server, &other).ok();
    assert_eq!((&said["group"], &said["address"]), (&json!("default"), &json!("192.0.2.9")));
    let failing: Vec<_> =
        said["failing"].as_array().unwrap().iter().map(|one| one["group"].as_str().unwrap()).collect();
    assert_eq!(failing, ["dell", "elsewhere"]);
}

#[test]
fn explain_takes_a_machine_that_nobody_has_seen_and_refuses_what_is_none() {
    let server = site();
    let said = explain(&server, &json!({"machine": "52:54:00:00:00:01"})).ok();
    assert_eq!((&said["group"], &said["known"], &said["by"]), (&json!("elsewhere"), &json!(false), &json!("selector")));
    assert_eq!(explain(&server, &json!({})).ok()["group"], "default");
    for (body, want) in [
        (json!({"machine": "nobody"}), (404, "not_found", "machine")),
        (json!({"group": "nobody"}), (404, "not_found", "group")),
        (json!({"labels": {"MAC": "zz"}}), (422, "invalid", "labels.MAC")),
        (json!({"address": "here"}), (422, "invalid", "address")),
        (json!({"limit": 101}), (422, "invalid", "limit")),
        (json!({"macine": "x"}), (422, "invalid", "macine")),
    ] {
        let (status, code, field) = explain(&server, &body).error();
        assert_eq!((status, code.as_str(), field.as_str()), want, "{body}");
    }
    server.call("DELETE", "/api/v1/groups/default", b"").ok();
    let said = explain(&server, &json!({})).ok();
    assert_eq!((&said["group"], &said["matching_total"]), (&Value::Null, &json!(0)));
}
