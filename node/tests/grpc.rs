//! gRPC against real processes: who is let in, what matchbox's Terraform provider does, and failures in between.

#[path = "grpc/client.rs"]
mod client;
#[path = "cluster/node.rs"]
#[allow(dead_code, reason = "the rig of another test too")]
mod node;
#[path = "grpc/provider.rs"]
mod provider;
#[path = "grpc/wire.rs"]
mod wire;

use std::fs;
use std::path::{Path, PathBuf};

use client::{Client, tls};
use node::{Node, until};
use provider::example;
use serde_json::{Value, json};
use wire::{from_base64, to_base64};

/// A client's files, made on that node.
fn certificates(node: &Node) -> PathBuf {
    let dir = node.data().join("terraform");
    if dir.join("client.crt").exists() {
        return dir;
    }
    let out = dir.display().to_string();
    let mut command = node.command(&["cert", "client", "terraform", "--out", &out, "--config"]);
    let said: node::Said = command.arg(node.config()).output().expect("the binary runs").into();
    assert!(said.ok().contains("client.crt"));
    dir
}

fn client(node: &Node, certificates: &Path) -> Client {
    Client::new(([127, 0, 0, 1], node.grpc).into(), tls(certificates))
}

fn one() -> (Node, Client) {
    let (node, _) = Node::found("a");
    let client = client(&node, &certificates(&node));
    (node, client)
}

/// Three nodes, all of them voters; the first leads.
fn three() -> [Node; 3] {
    let (a, token) = Node::found("a");
    let [mut b, mut c] = ["b", "c"].map(Node::new);
    for node in [&mut b, &mut c] {
        node.join(&a, &token, &[]).ok();
        node.start();
    }
    until("these vote", || (a.status(&a)["cluster"]["voters"] == json!([1, 2, 3])).then_some(()));
    [a, b, c]
}

#[test]
fn the_provider_creates_reads_replaces_and_destroys() {
    let (_node, mut client) = one();
    example().iter().for_each(|(profile, group)| {
        profile.create(&mut client);
        group.create(&mut client);
    });
    for (profile, group) in &example() {
        assert_eq!(profile.read(&mut client).as_ref(), Some(profile), "no difference to plan");
        assert_eq!(group.read(&mut client).as_ref(), Some(group), "no difference to plan");
    }
    // Every argument forces a replacement: destroy, then create.
    let (mut profile, mut group) = example().remove(0);
    group.destroy(&mut client);
    profile.destroy(&mut client);
    assert_eq!((group.read(&mut client), profile.read(&mut client)), (None, None));
    profile.args.push("console=ttyS0".into());
    group.metadata.insert("rack".into(), "7".into());
    profile.create(&mut client);
    group.create(&mut client);
    assert_eq!((group.read(&mut client), profile.read(&mut client)), (Some(group), Some(profile)));
    for (profile, group) in &example() {
        group.destroy(&mut client);
        profile.destroy(&mut client);
        assert_eq!((group.read(&mut client), profile.read(&mut client)), (None, None));
    }
    assert_eq!(client.call("rpcpb.Groups/GroupList", &json!({})).ok(), json!({}));
    assert_eq!(client.call("rpcpb.Profiles/ProfileList", &json!({})).ok(), json!({}));
}

#[test]
fn any_node_takes_the_calls_of_the_provider_and_a_failover_between_them_loses_nothing() {
    let [mut a, b, c] = three();
    let files = certificates(&a);
    let (mut through_b, mut through_c) = (client(&b, &files), client(&c, &files));
    let resources = example();
    let (profile, group) = &resources[0];
    profile.create(&mut through_b);
    group.create(&mut through_b);
    assert_eq!(profile.read(&mut through_b).as_ref(), Some(profile), "who wrote through a node reads it there");
    // The leader dies between two calls; the next one finds nobody who leads, and waits.
    let (profile, group) = &resources[1];
    profile.create(&mut through_b);
    a.stop("KILL");
    group.create(&mut through_b);
    for (profile, group) in &resources[..2] {
        assert_eq!(profile.read(&mut through_b).as_ref(), Some(profile));
        assert_eq!(group.read(&mut through_b).as_ref(), Some(group));
        assert_eq!(group.read(&mut through_c).as_ref(), Some(group), "at once, through whichever node");
    }
    let leads = until("another one leads", || b.status(&a)["cluster"]["leader"].as_u64());
    assert!([2, 3].contains(&leads), "{leads}");
    for (profile, group) in &resources[..2] {
        group.destroy(&mut through_c);
        profile.destroy(&mut through_c);
    }
    assert_eq!(through_b.call("rpcpb.Profiles/ProfileList", &json!({})).ok(), json!({}));
}

#[test]
fn a_node_that_lags_or_is_alone_never_says_that_something_is_gone() {
    let [mut a, mut b, c] = three();
    let files = certificates(&a);
    let (mut through_b, mut through_c) = (client(&b, &files), client(&c, &files));
    let resources = example();
    resources[0].0.create(&mut through_b);
    assert_eq!(resources[0].0.read(&mut through_c).as_ref(), Some(&resources[0].0));
    // Acknowledged by the other two, and unknown to this one, which then is alone.
    c.signal("STOP");
    // Until then what is sent to it waits in its sockets, and it has that as soon as it goes on.
    until("the others have given it up", || {
        let status = a.status(&a);
        let members = status["members"].as_array().expect("a list");
        members.iter().any(|member| member["name"] == "c" && member["reachable"] == false).then_some(())
    });
    resources[1].0.create(&mut through_b);
    a.stop("KILL");
    b.stop("KILL");
    c.signal("CONT");
    let id = |at: usize| json!({"id": resources[at].0.name});
    let unknown = through_c.call("rpcpb.Profiles/ProfileGet", &id(1));
    assert_eq!(unknown.code, UNAVAILABLE, "{unknown:?}");
    assert_eq!(through_c.call("rpcpb.Profiles/ProfileGet", &id(0)).code, 0, "what it has it shows");
    a.start();
    let found = until("it is there", || {
        Some(through_c.call("rpcpb.Profiles/ProfileGet", &id(1))).filter(|answer| answer.code != UNAVAILABLE)
    });
    assert_eq!(found.code, 0, "{found:?}");
}

#[test]
fn a_write_whose_fate_is_unknown_is_not_called_unwritten() {
    let [a, b, c] = three();
    let mut through_a = client(&a, &certificates(&a));
    let (profile, _) = &example()[0];
    profile.create(&mut through_a);
    for node in [&b, &c] {
        node.signal("STOP");
    }
    let put = json!({"profile": {"id": "late", "boot": {}}});
    let answer = through_a.call("rpcpb.Profiles/ProfilePut", &put);
    assert_eq!(answer.code, DEADLINE_EXCEEDED, "{answer:?}");
    for node in [&b, &c] {
        node.signal("CONT");
    }
    until("the cluster is whole again", || (through_a.call("rpcpb.Profiles/ProfilePut", &put).code == 0).then_some(()));
}

#[test]
fn only_holders_of_a_client_certificate_of_the_cluster_are_let_in_and_others_are_told_why_in_the_log() {
    let (node, _client) = one();
    let (stranger, _) = Node::found("stranger");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let own = certificates(&node);
    let ca = fs::read(own.join("ca.crt")).expect("it was written");
    let case = |name: &str, pair: Option<(PathBuf, PathBuf)>| {
        let case = dir.path().join(name);
        fs::create_dir(&case).expect("a writable folder");
        fs::write(case.join("ca.crt"), &ca).expect("a writable folder");
        if let Some((chain, key)) = pair {
            fs::copy(chain, case.join("client.crt")).expect("a readable file");
            fs::copy(key, case.join("client.key")).expect("a readable file");
        }
        case
    };
    let foreign = certificates(&stranger);
    let cases = [
        (case("nothing", None), "the client sent no certificate"),
        (case("foreign", Some((foreign.join("client.crt"), foreign.join("client.key")))), "of another CA"),
        // What the node itself shows is for servers only.
        (case("server", Some((node.data().join("server.crt"), node.data().join("server.key")))), "not for clients"),
    ];
    for (files, remedy) in &cases {
        let refused = client(&node, files).try_call("rpcpb.Groups/GroupList", &json!({}));
        assert!(refused.is_err(), "{refused:?}");
        until("the log says why", || {
            let log = node.log();
            let told = log.lines().any(|line| line.contains("a TLS handshake failed") && line.contains(remedy));
            told.then_some(())
        });
    }
    assert_eq!(client(&node, &own).call("rpcpb.Groups/GroupList", &json!({})).code, 0);
    let foreign_server = case("distrust", Some((own.join("client.crt"), own.join("client.key"))));
    fs::copy(foreign.join("ca.crt"), foreign_server.join("ca.crt")).expect("a readable file");
    assert!(client(&node, &foreign_server).try_call("rpcpb.Groups/GroupList", &json!({})).is_err());
    until("a client that does not trust us is told of", || {
        node.log().contains("does not trust this server").then_some(())
    });
}

const UNAUTHENTICATED: i32 = 16;
const PERMISSION_DENIED: i32 = 7;

#[test]
fn a_certificate_may_do_what_its_role_says_until_it_is_revoked() {
    let (node, mut operator) = one();
    let out = node.data().join("reader");
    let mut command = node.command(&["cert", "client", "reader", "--role", "read", "--out"]);
    node::Said::from(command.arg(&out).arg("--config").arg(node.config()).output().expect("the binary runs")).ok();
    let mut reader = client(&node, &out);
    assert_eq!(reader.call("rpcpb.Groups/GroupList", &json!({})).code, 0);
    let select = reader.call("rpcpb.Select/SelectGroup", &json!({"labels": {"a": "b"}}));
    assert_eq!(select.code, NOT_FOUND, "it may ask: {select:?}");
    let denied = reader.call("rpcpb.Profiles/ProfilePut", &json!({"profile": {"id": "p"}}));
    assert_eq!(denied.code, PERMISSION_DENIED, "{denied:?}");
    assert!(denied.message.contains("reader/") && denied.message.contains("role read"), "{denied:?}");
    assert_eq!(operator.call("rpcpb.Profiles/ProfileList", &json!({})).ok(), json!({}), "nothing was stored");
    // On the connection there is, at the next call.
    node.cli(&node, &["cert", "revoke", &out.join("client.crt").display().to_string()]).ok();
    let revoked = reader.call("rpcpb.Groups/GroupList", &json!({}));
    assert_eq!(revoked.code, UNAUTHENTICATED, "{revoked:?}");
    assert!(revoked.message.contains("has been revoked"), "{revoked:?}");
    assert_eq!(operator.call("rpcpb.Groups/GroupList", &json!({})).code, 0, "the other one is not");
    let listed = node.cli(&node, &["cert", "list"]).ok();
    assert!(listed.contains("reader") && listed.contains("revoked"), "{listed}");
    node.cli(&node, &["cert", "unrevoke", &out.join("client.crt").display().to_string()]).ok();
    assert_eq!(reader.call("rpcpb.Groups/GroupList", &json!({})).code, 0);
}

#[test]
fn a_node_is_no_client() {
    let (node, _) = one();
    let dir = node.data().join("as-a-node");
    fs::create_dir(&dir).expect("a writable folder");
    for (from, to) in [("peer.crt", "client.crt"), ("peer.key", "client.key"), ("ca.crt", "ca.crt")] {
        fs::copy(node.data().join(from), dir.join(to)).expect("a readable file");
    }
    let refused = client(&node, &dir).call("rpcpb.Groups/GroupList", &json!({}));
    assert_eq!(refused.code, UNAUTHENTICATED, "{refused:?}");
    assert!(refused.message.contains("certificate of a node"), "{refused:?}");
}

#[test]
fn certificates_in_matchboxs_way_work() {
    let (mut node, _) = Node::found("a");
    let (authority, _) = Node::found("another-ca");
    let etc = node.data().join("etc-matchbox");
    let out = etc.display().to_string();
    let mut command =
        authority.command(&["cert", "server", "--san", "127.0.0.1", "--san", "boot.lab", "--out", &out, "--config"]);
    node::Said::from(command.arg(authority.config()).output().expect("the binary runs")).ok();
    let files = certificates(&authority);
    assert!(client(&node, &files).try_call("rpcpb.Groups/GroupList", &json!({})).is_err(), "another CA, as yet");
    node.stop("TERM");
    let config = fs::read_to_string(node.config()).expect("its configuration");
    let keys =
        format!("[grpc]\ncert = \"{out}/server.crt\"\nkey = \"{out}/server.key\"\nclient_ca = \"{out}/ca.crt\"\n");
    fs::write(node.config(), format!("{config}{keys}")).expect("a writable folder");
    node.start();
    let mut connected = client(&node, &files);
    assert_eq!(connected.call("rpcpb.Groups/GroupList", &json!({})).ok(), json!({}));
    // Another server's certificate, while that connection is there.
    let other = node.data().join("renewed");
    let mut command = authority.command(&["cert", "server", "--san", "127.0.0.1", "--out"]);
    node::Said::from(command.arg(&other).arg("--config").arg(authority.config()).output().expect("the binary runs"))
        .ok();
    let before = node.log().matches("is used from now on").count();
    for name in ["server.crt", "server.key"] {
        fs::copy(other.join(name), etc.join(name)).expect("a readable file");
    }
    until("it is shown", || (node.log().matches("is used from now on").count() > before).then_some(()));
    assert_eq!(connected.call("rpcpb.Groups/GroupList", &json!({})).code, 0, "no connection was dropped");
    assert_eq!(client(&node, &files).call("rpcpb.Groups/GroupList", &json!({})).code, 0);
}

#[test]
fn certificates_are_not_written_over_and_names_are_checked() {
    let (node, _) = Node::found("a");
    let files = certificates(&node);
    let before = fs::read(files.join("client.key")).expect("it was written");
    let run = |arguments: &[&str]| -> node::Said {
        let mut command = node.command(arguments);
        command.arg("--config").arg(node.config()).output().expect("the binary runs").into()
    };
    let out = files.display().to_string();
    let refused = run(&["cert", "client", "terraform", "--out", &out]).failed();
    assert!(refused.contains("is there already") && refused.contains("--force"), "{refused}");
    assert_eq!(fs::read(files.join("client.key")).expect("it is still there"), before);
    run(&["cert", "client", "terraform", "--out", &out, "--force"]).ok();
    assert_ne!(fs::read(files.join("client.key")).expect("it was written"), before);
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(files.join("client.key")).expect("it is there").permissions().mode() & 0o777, 0o600);
    assert!(run(&["cert", "server", "--san", "a b", "--out", &out]).failed().contains("neither a DNS name"));
    assert!(run(&["cert", "client", "", "--out", &out]).failed().contains("cannot be a client's name"));
    let empty = Node::new("empty");
    let mut command = empty.command(&["cert", "client", "x", "--config"]);
    let said: node::Said = command.arg(empty.config()).output().expect("the binary runs").into();
    assert!(said.failed().contains("there is no CA"), "no CA is made by asking for a certificate");
    assert!(!empty.data().join("ca.key").exists());
}

const INVALID_ARGUMENT: i32 = 3;
const DEADLINE_EXCEEDED: i32 = 4;
const UNAVAILABLE: i32 = 14;
const NOT_FOUND: i32 = 5;
const RESOURCE_EXHAUSTED: i32 = 8;
const UNIMPLEMENTED: i32 = 12;

#[test]
fn bad_calls_get_a_status_that_says_what_is_wrong_and_change_nothing() {
    let (node, mut client) = one();
    let config = |text: &str| json!({"name": "a.ign", "config": to_base64(text.as_bytes())});
    for (method, request, code, said) in [
        ("rpcpb.Groups/GroupPut", json!({}), INVALID_ARGUMENT, "group"),
        ("rpcpb.Profiles/ProfilePut", json!({}), INVALID_ARGUMENT, "profile"),
        ("rpcpb.Groups/GroupGet", json!({"id": "none"}), NOT_FOUND, "`none`"),
        ("rpcpb.Profiles/ProfileGet", json!({"id": "none"}), NOT_FOUND, "`none`"),
        ("rpcpb.Ignition/IgnitionGet", json!({"name": "none"}), NOT_FOUND, "ignition template `none`"),
        ("rpcpb.Groups/GroupDelete", json!({"id": "none"}), NOT_FOUND, "group/none"),
        ("rpcpb.Ignition/IgnitionDelete", json!({"name": "none"}), 0, ""),
        ("rpcpb.Generic/GenericDelete", json!({"name": "none"}), 0, ""),
        ("rpcpb.Select/SelectGroup", json!({"labels": {"a": "b"}}), NOT_FOUND, "matchbox: No matching Group"),
        ("rpcpb.Groups/Nothing", json!({}), UNIMPLEMENTED, "no such method"),
        (
            "rpcpb.Groups/GroupPut",
            json!({"group": {"id": "g", "profile": "p", "selector": {"mac": "junk"}}}),
            INVALID_ARGUMENT,
            "selector.mac",
        ),
        (
            "rpcpb.Profiles/ProfilePut",
            json!({"profile": {"id": "p", "boot": {"args": ["a\nboot"]}}}),
            INVALID_ARGUMENT,
            "boot.args[0]",
        ),
        ("rpcpb.Ignition/IgnitionPut", config("{not json"), INVALID_ARGUMENT, "a.ign"),
        ("rpcpb.Ignition/IgnitionPut", config(r#"{"ignition":{}}"#), INVALID_ARGUMENT, "ignition.version"),
        (
            "rpcpb.Ignition/IgnitionPut",
            json!({"name": "../groups/x.ign", "config": to_base64(br#"{"ignition":{"version":"3.4.0"}}"#)}),
            INVALID_ARGUMENT,
            "name",
        ),
    ] {
        let answer = client.call(method, &request);
        assert_eq!(answer.code, code, "{method} {request}: {answer:?}");
        assert!(answer.message.contains(said), "{method} {request}: {answer:?}");
    }
    let large = json!({"name": "large", "config": to_base64(&vec![b'x'; 4 * 1024 * 1024 + 1])});
    let answer = client.call("rpcpb.Generic/GenericPut", &large);
    assert_eq!(answer.code, RESOURCE_EXHAUSTED, "{}", answer.message);
    let garbage = client.send("rpcpb.Groups/GroupPut", b"\xff\xff\xff").expect("an answer");
    assert_ne!(garbage.code, 0, "{garbage:?}");
    for list in ["rpcpb.Groups/GroupList", "rpcpb.Profiles/ProfileList"] {
        assert_eq!(client.call(list, &json!({})).ok(), json!({}), "nothing was stored");
    }
    let file = node.write("g.yaml", "id: richer\nprofile: p\nmatch: [{serial: {glob: \"AB*\"}}]\n");
    node.cli(&node, &["group", "put", "-f", &file]).ok();
    let plain = json!({"group": {"id": "richer", "profile": "q", "selector": {"a": "b"}}});
    let refused = client.call("rpcpb.Groups/GroupPut", &plain);
    assert_eq!(refused.code, 9, "{refused:?}");
    assert!(refused.message.contains("`match`"), "{refused:?}");
    client.call("rpcpb.Groups/GroupDelete", &json!({"id": "richer"})).ok();
    client.call("rpcpb.Groups/GroupPut", &plain).ok();
    // Who wants matchbox to the byte gets that too: it stores what no machine can be given.
    node.cli(&node, &["settings", "set", "script_style=matchbox"]).ok();
    client.call("rpcpb.Ignition/IgnitionPut", &config("{not json")).ok();
    let stored = client.call("rpcpb.Ignition/IgnitionGet", &json!({"name": "a.ign"})).ok();
    assert_eq!(from_base64(stored["config"].as_str().expect("bytes")), b"{not json");
}

#[test]
fn the_log_names_who_changed_something() {
    let (node, mut client) = one();
    let resources = example();
    resources[0].0.create(&mut client);
    let shown: Value = node.cli(&node, &["profile", "get", &resources[0].0.name, "-o", "json"]).json();
    let actor = shown["updated_by"].as_str().expect("a text");
    let serial = actor.strip_prefix("grpc:terraform/").expect("its name");
    assert_eq!(
        serial,
        raftboot::certs::Facts::of_file(&certificates(&node).join("client.crt")).expect("a certificate").serial
    );
}
