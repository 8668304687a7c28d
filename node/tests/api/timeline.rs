//! What a machine did, by its MAC or its UUID, for those who may read.

use raft::command::Edit;
use raft::state::{Role, Sighting};
use raft::types::{Mac, Timestamp};
use raftboot::timeline::Who;
use serde_json::json;

use crate::server::Server;

const PATH: &str = "/api/v1/machines/52:54:00:12:34:56/timeline";

#[test]
fn what_a_machine_did_is_told_by_its_mac_and_by_its_uuid() {
    let server = Server::start();
    let nothing = json!({
        "machine": "52:54:00:12:34:56",
        "nodes": [{"node": format!("node-{}", server.cluster.identity().node), "events": []}],
        "missing": [],
    });
    assert_eq!(server.get(PATH).ok(), nothing, "a machine that nobody has seen yet can be asked about");

    let mac: Mac = "52:54:00:12:34:56".parse().unwrap();
    let address = "10.0.0.9".parse().unwrap();
    let who = Who { mac: Some(&mac), address: Some(address) };
    for at in [1_795_254_847_001, 1_795_254_847_500] {
        server.record.note(who, "dhcp_answered", "DISCOVER of firmware, uefi-x64: snponly.efi", Timestamp(at));
    }
    server.record.note(Who { mac: None, ..who }, "tftp_sent", "snponly.efi, 9 bytes", Timestamp(1_795_254_848_000));
    let want = json!([
        {"at": 1_795_254_847_001_u64, "last": 1_795_254_847_500_u64, "times": 2, "what": "dhcp_answered",
         "detail": "DISCOVER of firmware, uefi-x64: snponly.efi"},
        {"at": 1_795_254_848_000_u64, "last": 1_795_254_848_000_u64, "times": 1, "what": "tftp_sent",
         "detail": "snponly.efi, 9 bytes"},
    ]);
    assert_eq!(server.get(PATH).ok()["nodes"][0]["events"], want);

    let by_uuid = "/api/v1/machines/4C4C4544-0042/timeline";
    assert_eq!(server.get(by_uuid).error().1, "not_found");
    let other: Mac = "52:54:00:12:34:57".parse().unwrap();
    let seen = |mac: &Mac, at| Sighting {
        mac: mac.clone(),
        uuid: "4c4c4544-0042".into(),
        serial: String::new(),
        arch: String::new(),
        address: "10.0.0.10".into(),
        at: Timestamp(at),
    };
    server.propose(Edit::Sightings(vec![seen(&other, 1), seen(&mac, 2)]));
    let stranger = Who { mac: None, address: Some("10.0.0.10".parse().unwrap()) };
    server.record.note(stranger, "asset", "kernel", Timestamp(1_795_254_849_000));
    let told = server.get(by_uuid).ok();
    assert_eq!(told["machine"], "52:54:00:12:34:57", "the first of its cards");
    let what: Vec<_> = told["nodes"][0]["events"].as_array().unwrap().iter().map(|event| &event["what"]).collect();
    assert_eq!(what, ["dhcp_answered", "tftp_sent", "asset"], "under all its cards and at its address");
}

#[test]
fn only_those_who_may_read_are_told() {
    let server = Server::start();
    assert_eq!(server.call_with("GET", PATH, &[], b"").status, 401);
    let bearer = format!("Bearer {}", server.token(Role::Read, None));
    assert_eq!(server.call_with("GET", PATH, &[("authorization", &bearer)], b"").status, 200);
    assert_eq!(server.call("DELETE", PATH, b"").error().0, 405);
}
