//! The cluster's CA changes under three nodes that are written to all the time; and whoever is root on a node needs no token.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::node::{Node, Said, exists, until};
use crate::{three, voters};

/// A client's files, made on that node.
fn client(node: &Node, name: &str) -> Vec<String> {
    let out = node.data().join(name).display().to_string();
    let mut command = node.command(&["cert", "client", name, "--role", "admin", "--out", &out, "--config"]);
    Said::from(command.arg(node.config()).output().expect("the binary runs")).ok();
    vec!["--cert".into(), format!("{out}/client.crt"), "--key".into(), format!("{out}/client.key")]
}

/// A command with such files, and nothing else that gives a right; `ca` is what it trusts.
fn with(asked: &Node, files: &[String], ca: &str, arguments: &[&str]) -> Said {
    let mut command = asked.command(arguments);
    command.args(files).args(["--ca-file", ca, "--data-dir", "/nonexistent"]);
    command.env("RAFTBOOT_SERVER", format!("https://127.0.0.1:{}", asked.admin));
    command.output().expect("the binary runs").into()
}

fn ca(node: &Node, step: &[&str]) -> Said {
    node.cli(node, &[&["ca"], step].concat())
}

fn status(node: &Node) -> Value {
    ca(node, &["status", "-o", "json"]).json()
}

/// Waits until every node has followed, as `key` says.
fn followed(node: &Node, key: &str, how: bool) {
    until("every node has followed", || {
        let status = status(node);
        status["members"].as_array().expect("a list").iter().all(|member| member[key] == how).then_some(())
    });
}

#[test]
fn root_on_any_node_needs_no_token() {
    let (a, b, _c) = three();
    assert!(!exists(&b.data(), "admin.token"));
    // Only what b itself has.
    b.cli(&b, &["settings", "set", "dhcp_mode=off"]).ok();
    let shown = a.cli(&a, &["settings", "get", "-o", "json"]).json();
    let actor = shown["updated_by"].as_str().expect("a text");
    assert!(actor.starts_with("cert:") && actor.contains('@'), "{shown}");
    assert_eq!(b.cli(&b, &["cert", "list", "-o", "json"]).json(), json!([]), "such certificates are not kept");
    fs::rename(b.data().join("ca.key"), b.data().join("away")).expect("a writable folder");
    let refused = b.cli(&b, &["status"]);
    assert_eq!(refused.code, Some(64), "{refused:?}");
    assert!(refused.error.contains("root") && refused.error.contains("--cert"), "{refused:?}");
    fs::rename(b.data().join("away"), b.data().join("ca.key")).expect("a writable folder");
    // Nor where the first token lies and is good no more.
    let tokens = a.cli(&a, &["token", "list", "-o", "json"]).json();
    let first = tokens.as_array().expect("a list").iter().find(|token| token["role"] == "admin").expect("the first");
    a.cli(&a, &["token", "rotate", first["id"].as_str().expect("an id")]).ok();
    let stale = a.data().join("admin.token").display().to_string();
    assert_eq!(a.cli(&a, &["--token-file", &stale, "status"]).code, Some(2), "it is refused");
    a.cli(&a, &["settings", "set", "dhcp_mode=proxy"]).ok();
}

/// Writes through each node in turn until told to stop; answers how many writes there were, none of which failed.
fn writes(nodes: [&Node; 3], stop: &AtomicBool, done: &AtomicU32) {
    let mut at = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        let node = nodes[(at % 3) as usize];
        let file = node.write("p.yaml", &format!("id: p\nname: \"{at}\"\n"));
        // Each with the files of its own node, which change under it.
        node.cli(node, &["profile", "put", "-f", &file]).ok();
        at += 1;
        done.store(at, Ordering::Relaxed);
    }
}

/// Waits until that many more writes have been made.
fn more(done: &AtomicU32) {
    let before = done.load(Ordering::Relaxed);
    until("writes go on", || (done.load(Ordering::Relaxed) >= before + 3).then_some(()));
}

#[test]
fn the_ca_changes_under_writes_and_what_the_old_one_issued_ends_with_it() {
    let (a, b, c) = three();
    let old_ca = a.data().join("old-ca.crt").display().to_string();
    fs::copy(a.data().join("ca.crt"), &old_ca).expect("a readable file");
    let old = client(&a, "old");
    with(&b, &old, &old_ca, &["status"]).ok();
    let first = status(&a)["issuing"].clone();
    let (stop, done) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        scope.spawn(|| writes([&a, &b, &c], &stop, &done));
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            rotate(&a, &b, &c, &done);
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
    });
    let last = status(&c);
    assert_ne!(last["issuing"], first);
    for node in [&a, &b, &c] {
        let there = fs::read_to_string(node.data().join("ca.crt")).expect("a CA");
        assert_eq!(there.matches("BEGIN").count(), 1, "one CA");
        assert_eq!(there, fs::read_to_string(a.data().join("ca.crt")).expect("a CA"), "the same everywhere");
        for name in ["ca-old.key", "ca-new.key"] {
            until("no key stays behind", || (!exists(&node.data(), name)).then_some(()));
        }
    }
    let new_ca = a.data().join("ca.crt").display().to_string();
    let refused = with(&b, &old, &new_ca, &["status"]);
    assert_ne!(refused.code, Some(0), "a certificate of the old CA: {refused:?}");
    with(&b, &client(&a, "new"), &new_ca, &["status"]).ok();
    let stranger = with(&b, &client(&a, "other"), &old_ca, &["status"]);
    assert_ne!(stranger.code, Some(0), "the server's certificate is of the new one: {stranger:?}");
    // A node that joins now is given the new one, by a token that names it.
    let line = a.cli(&a, &["join-token"]).ok();
    let mut d = Node::new("d");
    d.join(&b, line.trim().rsplit(' ').next().expect("the token"), &[]).ok();
    d.start();
    voters(&a, &a, &[1, 2, 3, 4]);
    // What was backed up while it changed becomes a cluster with one CA, the one that issued then.
    let mut e = Node::new("e");
    let file = a.data().join("while-it-changes").display().to_string();
    let mut restore = e.command(&["restore", &file, "--config"]);
    Said::from(restore.arg(e.config()).output().expect("the binary runs")).ok();
    e.start();
    until("it has one CA", || {
        let said = ca(&e, &["status", "-o", "json"]);
        let status = (said.code == Some(0)).then(|| said.json())?;
        (status["trusted"] == json!([first]) && status["issuing"] == first && status["missed"] != true).then_some(())
    });
    e.cli(&e, &["settings", "set", "dhcp_mode=off"]).ok();
}

fn rotate(a: &Node, b: &Node, c: &Node, done: &AtomicU32) {
    more(done);
    assert!(ca(b, &["rotate", "--finish"]).error.contains("no change of the CA is under way"));
    ca(b, &["rotate"]).ok();
    followed(a, "trusts_new", true);
    more(done);
    // A backup holds the one that issues; said once more, the same step is none.
    a.cli(a, &["backup", &a.data().join("while-it-changes").display().to_string()]).ok();
    assert!(ca(b, &["rotate"]).ok().contains("is being trusted"));
    // There and back again.
    ca(a, &["rotate", "--issue"]).ok();
    followed(c, "issued_by_new", true);
    more(done);
    ca(c, &["rotate", "--back"]).ok();
    followed(a, "issued_by_new", false);
    assert_eq!(status(a)["stage"], "trust");
    more(done);
    ca(a, &["rotate", "--issue"]).ok();
    followed(b, "issued_by_new", true);
    assert!(ca(a, &["rotate"]).ok().contains("--finish"));
    let refused = ca(a, &["rotate", "--finish"]).failed();
    assert!(refused.contains("old (") && refused.contains("--force"), "a client would be locked out: {refused}");
    let problems = a.status(a)["problems"].clone();
    assert_eq!(problems[0]["code"], "ca_rotation", "{problems}");
    ca(a, &["rotate", "--finish", "--force"]).ok();
    until("all nodes are done", || {
        [a, b, c]
            .iter()
            .all(|node| status(node)["trusted"].as_array().is_some_and(|list| list.len() == 1))
            .then_some(())
    });
    more(done);
}

#[test]
fn a_change_of_the_ca_waits_for_a_node_that_is_away_and_can_be_given_up() {
    let (a, b, mut c) = three();
    let first = status(&a)["issuing"].clone();
    c.stop("TERM");
    ca(&a, &["rotate"]).ok();
    until("the others trust it", || {
        let members = status(&b)["members"].clone();
        let trusting = |at: usize| members[at]["trusts_new"] == true;
        (trusting(0) && trusting(1)).then_some(())
    });
    let refused = ca(&a, &["rotate", "--issue"]).failed();
    assert!(refused.contains("c (3) is missing"), "{refused}");
    c.start();
    followed(&a, "trusts_new", true);
    ca(&a, &["rotate", "--back"]).ok();
    until("one CA is left on every node", || {
        [&a, &b, &c].iter().all(|node| status(node)["trusted"] == json!([first])).then_some(())
    });
    assert_eq!((&status(&c)["stage"], &status(&c)["issuing"]), (&json!("none"), &first));
}
