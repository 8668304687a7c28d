//! Most nodes are lost: what is left goes on alone, or is refused where it need not.

use std::fs;

use serde_json::json;

use crate::node::{Node, Said, until};
use crate::offline;

/// Three nodes, all of them voters, with something in them.
fn three() -> (Node, Node, Node) {
    let (a, token) = Node::found("a");
    let [mut b, mut c] = ["b", "c"].map(Node::new);
    for node in [&mut b, &mut c] {
        node.join(&a, &token, &[]).ok();
        node.start();
    }
    let file = a.write("p.yaml", "id: before\n");
    a.cli(&a, &["profile", "put", "-f", &file]).ok();
    until("all vote and have it", || {
        let whole = |node: &Node| {
            node.status(&a)["cluster"]["voters"] == json!([1, 2, 3])
                && node.cli(&a, &["profile", "list"]).ok().contains("before")
        };
        [&a, &b, &c].into_iter().all(whole).then_some(())
    });
    (a, b, c)
}

fn recover(node: &Node, more: &[&str]) -> Said {
    let mut command = node.command(&["recover", "--force-new-generation", "--config"]);
    command.arg(node.config()).args(more).stdin(std::process::Stdio::null());
    command.output().expect("the binary runs").into()
}

fn join_token(node: &Node, founder: &Node) -> String {
    let line = node.cli(founder, &["join-token"]).ok();
    line.trim().rsplit(' ').next().expect("the token ends the line").to_owned()
}

#[test]
fn one_of_three_goes_on_alone_and_the_others_join_it_wiped() {
    let (mut a, mut b, mut c) = three();
    for node in [&mut a, &mut b, &mut c] {
        node.stop("KILL");
    }
    let looked = recover(&c, &["--dry-run", "-o", "json"]).json();
    assert_eq!((&looked["node_id"], &looked["generation"], &looked["against"]), (&json!(3), &json!(1), &json!(null)));
    let answering: Vec<&str> =
        looked["others"].as_array().unwrap().iter().map(|other| other["answering"].as_str().unwrap()).collect();
    assert_eq!(answering, ["no", "no"], "{looked}");
    let cluster = looked["cluster_id"].as_str().unwrap();

    let said = recover(&c, &[]);
    assert_eq!(said.code, Some(2), "nobody has agreed: {said:?}");
    assert!(said.error.contains(&format!("--confirm {cluster}")) && said.error.contains("left behind"), "{said:?}");
    let said = recover(&c, &["--confirm", "another"]).failed();
    assert!(said.contains("does not name this cluster"), "{said}");
    let done = recover(&c, &["--confirm", &cluster[..8], "-o", "json"]).json();
    assert_eq!(done["recovered"], true);
    let generation = done["generation"].as_u64().unwrap();
    let again = recover(&c, &["--confirm", cluster, "-o", "json"]).json();
    assert_eq!((&again["recovered"], &again["generation"]), (&json!(false), &json!(generation)), "it is done already");

    c.start();
    let status = c.status(&a);
    assert_eq!((&status["cluster"]["voters"], &status["cluster"]["generation"]), (&json!([3]), &json!(generation)));
    assert_eq!(status["problems"], json!([]), "{status}");
    assert!(c.cli(&a, &["profile", "list"]).ok().contains("before"));
    let file = c.write("q.yaml", "id: after\n");
    c.cli(&a, &["profile", "put", "-f", &file]).ok();

    // The founder comes back as it was: it is turned away, told why, and let in once it is wiped.
    let token = join_token(&c, &a);
    b.start();
    a.start();
    until("the old one is turned away", || a.log().contains("a peer refuses").then_some(()));
    assert!(a.log().contains("--wipe") || b.log().contains("--wipe"), "{}", a.log());
    assert_eq!(c.status(&a)["cluster"]["voters"], json!([3]));
    // Both old ones at once are a majority of their generation, and a cluster of their own; nothing of it is mixed.
    let file = a.write("r.yaml", "id: elsewhere\n");
    let _maybe = a.cli(&a, &["profile", "put", "-f", &file]);
    assert!(!c.cli(&a, &["profile", "list"]).ok().contains("elsewhere"));
    // A survivor of the old generation that asks is told where the cluster went.
    b.stop("TERM");
    a.stop("TERM");
    let said = recover(&b, &["--dry-run", "-o", "json"]).json();
    assert!(said["against"].as_str().unwrap().contains(&generation.to_string()), "{said}");

    let admin = fs::read(a.data().join("admin.token")).unwrap();
    let said = a.join(&c, &token, &[]).failed();
    assert!(said.contains("gone on as generation") && said.contains("--wipe"), "{said}");
    for (node, id) in [(&mut a, 4), (&mut b, 5)] {
        let joined = node.join(&c, &token, &["--wipe", "-o", "json"]).json();
        assert_eq!((&joined["joined"], &joined["node_id"]), (&json!(true), &json!(id)));
        let again = node.join(&c, &token, &["--wipe", "-o", "json"]).json();
        assert_eq!((&again["joined"], &again["node_id"]), (&json!(false), &json!(id)), "repeated");
        node.start();
    }
    fs::write(a.data().join("admin.token"), admin).unwrap();
    until("all vote", || (a.status(&a)["cluster"]["voters"] == json!([3, 4, 5])).then_some(()));
    let list = b.cli(&a, &["profile", "list"]).ok();
    assert!(list.contains("before") && list.contains("after") && !list.contains("elsewhere"), "{list}");
}

#[test]
fn a_node_is_not_recovered_while_others_answer_or_it_runs() {
    let (a, b, mut c) = three();
    let said = recover(&a, &["--dry-run"]).failed();
    assert!(said.contains("is using it") && said.contains("stop that process"), "{said}");
    c.stop("TERM");
    let cluster = a.status(&a)["cluster"]["cluster_id"].as_str().unwrap().to_owned();
    let said = recover(&c, &["--confirm", &cluster]).failed();
    assert!(said.contains("2 of 3 voters are enough"), "{said}");
    assert!(said.contains("a (127.0.0.1:") && said.contains("b (127.0.0.1:"), "it says who: {said}");
    // A process that is frozen may wake up.
    a.signal("STOP");
    b.signal("STOP");
    let looked = recover(&c, &["--dry-run", "-o", "json"]).json();
    assert!(looked["against"].is_string(), "{looked}");
    a.signal("CONT");
    b.signal("CONT");
    c.start();
    until("it is one of them again", || (c.status(&a)["cluster"]["voters"] == json!([1, 2, 3])).then_some(()));
}

#[test]
fn a_witness_gives_a_backup_and_is_not_recovered_from() {
    let (mut a, token) = Node::found("a");
    let [mut b, mut w] = ["b", "w"].map(Node::new);
    b.join(&a, &token, &[]).ok();
    b.start();
    w.join(&a, &token, &["--witness"]).ok();
    w.start();
    until("all vote", || (a.status(&a)["cluster"]["voters"] == json!([1, 2, 3])).then_some(()));
    let file = a.write("p.yaml", "id: before\n");
    a.cli(&a, &["profile", "put", "-f", &file]).ok();
    let kernel = a.write("kernel", "bytes of a kernel");
    a.cli(&a, &["asset", "put", "kernel", &kernel]).ok();
    until("the witness has it", || w.cli(&a, &["asset", "list"]).ok().contains("kernel").then_some(()));
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).display().to_string();
    // While the others live, it hands on what they hold.
    let made = w.cli(&a, &["backup", &place("whole"), "--files", "-o", "json"]).json();
    assert_eq!((&made["files"], &made["lacking"]), (&json!(1), &json!([])));

    a.stop("KILL");
    b.stop("KILL");
    let said = w.cli(&a, &["backup", &place("none")]).failed();
    assert!(said.contains("--stale"), "{said}");
    w.cli(&a, &["backup", &place("stale"), "--stale"]).ok();
    let verified = offline(&w, &["verify-backup", &place("stale"), "-o", "json"]).json();
    assert_eq!(
        (&verified["manifest"]["stale"], &verified["manifest"]["counts"]["profiles"]),
        (&json!(true), &json!(1))
    );
    w.stop("TERM");
    let looked = recover(&w, &["--dry-run"]).ok();
    assert!(looked.contains("is a witness") && looked.contains("raftboot restore"), "{looked}");
    let said = recover(&w, &["--confirm", verified["manifest"]["cluster_id"].as_str().unwrap()]).failed();
    assert!(said.contains("is a witness"), "{said}");
}
