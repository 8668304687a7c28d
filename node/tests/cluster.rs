//! Several real nodes on loopback: founding, joining, writing through any of them, moving, leaving, and every refusal.

#[path = "cluster/ca.rs"]
mod ca;
#[path = "cluster/join.rs"]
mod join;
#[path = "cluster/node.rs"]
#[allow(dead_code, reason = "the rig of other tests too")]
mod node;

use std::sync::Arc;
use std::time::{Duration, Instant};

use node::{Node, until};
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

/// Three nodes, all of them voters.
fn three() -> (Node, Node, Node) {
    let (a, token) = Node::found("a");
    let [mut b, mut c] = ["b", "c"].map(Node::new);
    for node in [&mut b, &mut c] {
        node.join(&a, &token, &[]).ok();
        node.start();
    }
    voters(&a, &a, &[1, 2, 3]);
    (a, b, c)
}

/// Waits until the node says that these vote.
fn voters(asked: &Node, founder: &Node, want: &[u64]) {
    until("these vote", || (asked.status(founder)["cluster"]["voters"] == json!(want)).then_some(()));
}

fn member<'a>(status: &'a Value, name: &str) -> &'a Value {
    let members = status["members"].as_array().expect("a list");
    members.iter().find(|member| member["name"] == name).unwrap_or(&Value::Null)
}

#[test]
fn three_nodes_act_as_one() {
    let (a, b, c) = three();
    let file = a.write("p.yaml", "id: p\n");
    c.cli(&a, &["profile", "put", "-f", &file]).ok();
    until("what was written through one node is read from another", || {
        b.cli(&a, &["profile", "list"]).ok().contains('p').then_some(())
    });
    let status = b.status(&a);
    for name in ["a", "b", "c"] {
        let member = member(&status, name);
        assert_eq!((&member["role"], &member["reachable"]), (&json!("voter"), &json!(true)), "{status}");
    }
    assert_eq!(status["problems"], json!([]), "{status}");
    assert_eq!(member(&status, "b")["boot"], format!("http://127.0.0.1:{}", b.http));

    // Any node takes the call; the one named leads then.
    assert!(c.cli(&a, &["transfer", "b"]).ok().contains("b (2)"));
    until("all agree who leads", || {
        [&a, &b, &c].iter().all(|node| node.status(&a)["cluster"]["leader"] == 2).then_some(())
    });
    let said = c.cli(&a, &["transfer", "nobody"]).failed();
    assert!(said.contains("there is no node `nobody`") && said.contains("a (1), b (2), c (3)"), "{said}");
}

#[test]
fn a_leader_that_stops_in_order_hands_over_first() {
    let (mut a, b, c) = three();
    assert_eq!(a.stop("TERM"), Some(0));
    assert!(a.log().contains("another node leads now"), "{}", a.log());
    let next = until("another one leads", || b.status(&a)["cluster"]["leader"].as_u64());
    assert!([2, 3].contains(&next));
    let file = b.write("p.yaml", "id: p\n");
    c.cli(&a, &["profile", "put", "-f", &file]).ok();
    a.start();
    until("it has what was written meanwhile", || a.cli(&a, &["profile", "list"]).ok().contains('p').then_some(()));
}

#[test]
fn a_removed_node_ends_and_says_so_and_its_place_can_be_taken() {
    let (a, b, mut c) = three();
    let refused = b.cli(&a, &["remove", "c"]).failed();
    assert!(refused.contains("--force"), "{refused}");
    b.cli(&a, &["remove", "c", "--force"]).ok();
    assert_eq!(c.ended(), Some(64), "{}", c.log());
    assert!(c.log().contains("was removed from cluster"), "{}", c.log());
    voters(&a, &a, &[1, 2]);
    assert!(b.cli(&a, &["remove", "3"]).ok().contains("had been removed before"), "repeated");
    c.spawn();
    assert_eq!(c.ended(), Some(64), "it stays out");
    assert!(c.log().contains("--wipe"), "{}", c.log());

    let line = a.cli(&a, &["join-token"]).ok();
    let token = line.trim().rsplit(' ').next().expect("the token ends the line").to_owned();
    assert!(c.join(&a, &token, &[]).failed().contains("--wipe"));
    let joined = c.join(&a, &token, &["--wipe", "-o", "json"]).json();
    assert_eq!(joined["node_id"], 4, "ids are never given twice");
    c.start();
    voters(&b, &a, &[1, 2, 4]);
}

#[test]
fn a_node_leaves_by_itself() {
    let (a, mut b, _c) = three();
    b.cli(&a, &["leave", "--force"]).ok();
    assert_eq!(b.ended(), Some(64), "{}", b.log());
    voters(&a, &a, &[1, 3]);
}

#[test]
fn a_restarted_node_serves_machines_although_nobody_leads() {
    let (mut a, mut b, mut c) = three();
    let machine = "kind: profile\nid: p\nboot: {kernel: /assets/k}\n---\nkind: group\nid: g\nprofile: p\nselector: {mac: \"52:54:00:12:34:56\"}\n";
    let file = a.write("machine.yaml", machine);
    a.cli(&a, &["apply", "-f", &file]).ok();
    until("the last node has it", || c.cli(&a, &["group", "list"]).ok().contains('g').then_some(()));
    for node in [&mut a, &mut b, &mut c] {
        node.stop("KILL");
    }
    c.start();
    let url = format!("http://127.0.0.1:{}/ipxe?mac=52-54-00-12-34-56", c.http);
    let script = ureq::get(&url).call().expect("it answers at once").into_body().read_to_string().expect("a script");
    assert!(script.contains("/assets/k"), "{script}");
    let status = c.status(&a);
    assert_eq!((&status["ready"], &status["cluster"]["leader"]), (&json!(false), &Value::Null));
    assert_eq!(status["problems"][0]["code"], "no_leader", "{status}");
    let refused = c.cli(&a, &["profile", "put", "-f", &a.write("q.yaml", "id: q\n")]).failed();
    assert!(refused.contains("no leader can take changes"), "{refused}");
}

/// What each node tells of a machine, as `NODE: WHAT …`, and who does not answer.
fn timeline(asked: &Node, founder: &Node, machine: &str) -> (Vec<String>, Value) {
    let told = asked.cli(founder, &["machine", "timeline", machine, "-o", "json"]).json();
    let words = |node: &Value| {
        let events = node["events"].as_array().expect("a list").iter();
        let what: Vec<&str> = events.map(|event| event["what"].as_str().expect("a word")).collect();
        format!("{}: {}", node["node"].as_str().expect("a name"), what.join(" "))
    };
    (told["nodes"].as_array().expect("a list").iter().map(words).collect(), told["missing"].clone())
}

#[test]
fn the_timeline_of_a_machine_is_told_by_all_nodes() {
    let (a, b, c) = three();
    let machine = "52:54:00:12:34:56";
    let ask = |node: &Node, path: &str| {
        let url = format!("http://127.0.0.1:{}{path}mac=52-54-00-12-34-56", node.http);
        ureq::get(&url).config().http_status_as_error(false).build().call().expect("an answer").status().as_u16()
    };
    let file = a.write("machine.yaml", "kind: profile\nid: p\nboot: {kernel: /assets/k}\ngeneric_id: t\n---\nkind: group\nid: g\nprofile: p\n---\nkind: template\ntype: generic\nname: t\ncontent: \"{{.missing}}\"\n");
    a.cli(&a, &["apply", "-f", &file]).ok();
    for node in [&b, &c] {
        until("it has what was written", || node.cli(&a, &["template", "list"]).ok().contains('t').then_some(()));
    }
    assert_eq!((ask(&b, "/ipxe?"), ask(&c, "/generic?")), (200, 404));
    let all = |first: &str, others: [&str; 2]| vec![first.to_owned(), others[0].to_owned(), others[1].to_owned()];
    assert_eq!(timeline(&a, &a, machine), (all("a: ", ["b: script", "c: refused"]), json!([])));
    assert_eq!(timeline(&c, &a, machine), (all("c: refused", ["a: ", "b: script"]), json!([])));
    let table = a.cli(&a, &["machine", "timeline", machine]);
    assert_eq!(table.error, "", "{table:?}");
    let rows: Vec<&str> = table.out.lines().collect();
    assert!(rows.len() == 3 && rows[1].contains("Z  b     script   group g, profile p"), "{rows:?}");
    assert!(rows[2].contains("Z  c     refused  generic template `t`: "), "{rows:?}");

    // A node that is there and says nothing is waited for, but not long.
    c.signal("STOP");
    let start = Instant::now();
    let (told, missing) = timeline(&a, &a, machine);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!((told, missing), (vec!["a: ".to_owned(), "b: script".to_owned()], json!(["c"])));
    let warned = a.cli(&a, &["machine", "timeline", machine]);
    assert!(warned.error.contains("no answer from c") && warned.out.contains("script"), "{warned:?}");
}

#[test]
fn a_witness_votes_and_serves_no_machines() {
    let (a, token) = Node::found("a");
    let [mut b, mut w] = ["b", "w"].map(Node::new);
    b.join(&a, &token, &[]).ok();
    b.start();
    w.join(&a, &token, &["--witness"]).ok();
    w.start();
    voters(&a, &a, &[1, 2, 3]);
    assert!(!node::is_open(w.http) && node::is_open(b.http));
    assert_eq!(member(&w.status(&a), "w")["kind"], "witness");
    let refused = a.cli(&a, &["transfer", "w"]).failed();
    assert!(refused.contains("witness"), "{refused}");
    let refused = a.cli(&a, &["cluster", "set", "preferred=w"]).failed();
    assert!(refused.contains("never holds the VIP"), "{refused}");
}

/// Whether the admin API of a node can be reached by that name, by whoever trusts the cluster's CA.
fn answers_as(node: &Node, founder: &Node, name: &str) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    let ca = rustls::pki_types::CertificateDer::from_pem_file(founder.data().join("ca.crt")).expect("a certificate");
    roots.add(ca).expect("a CA");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("ring has them").with_root_certificates(roots).with_no_client_auth();
    let name = name.to_owned().try_into().expect("a name");
    let mut session = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut socket = std::net::TcpStream::connect(("127.0.0.1", node.admin)).expect("it listens");
    session.complete_io(&mut socket).is_ok()
}

#[test]
fn certificates_follow_the_clusters_names_without_a_restart() {
    let (a, token) = Node::found("a");
    let mut b = Node::new("b");
    b.join(&a, &token, &[]).ok();
    b.start();
    voters(&a, &a, &[1, 2]);
    assert!(answers_as(&b, &a, "b") && !answers_as(&b, &a, "boot.lab") && !answers_as(&b, &a, "10.255.0.9"));
    a.cli(&a, &["cluster", "set", "dns_names=boot.lab", "vip=10.255.0.9"]).ok();
    for node in [&a, &b] {
        until("the certificate has the new names", || {
            (answers_as(node, &a, "boot.lab") && answers_as(node, &a, "10.255.0.9")).then_some(())
        });
    }
    let settings = a.cli(&a, &["cluster", "get", "-o", "json"]).json();
    assert_eq!((&settings["dns_names"], &settings["vip"]), (&json!(["boot.lab"]), &json!("10.255.0.9")));
    for (setting, why) in [
        ("vip=127.0.0.1", "own address"),
        ("vip=224.0.0.1", "cannot be an address"),
        ("dns_names=a b", "no DNS name"),
        ("two_node=maybe", "two_node"),
        ("preferred=zoe", "there is no node `zoe`"),
        ("vipp=1.2.3.4", "unknown field"),
    ] {
        let said = b.cli(&a, &["cluster", "set", setting]).failed();
        assert!(said.contains(why), "{setting}: {said}");
    }
}
