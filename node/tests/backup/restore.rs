//! From a backup to a node that serves: the same objects and tokens, another generation, and every step repeatable.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::node::{Node, Said, exists, until};
use crate::{backup, filled};

fn restore(node: &Node, file: &Path, more: &[&str]) -> Said {
    let mut command = node.command(&["restore"]);
    command.arg(file).arg("--config").arg(node.config()).args(more);
    command.output().expect("the binary runs").into()
}

fn objects(asked: &Node, founder: &Node) -> Vec<Value> {
    let list = |kind: &str| asked.cli(founder, &[kind, "list", "-o", "json"]).json();
    ["profile", "group", "template", "token"].map(list).to_vec()
}

fn fetch(node: &Node, name: &str) -> (u16, Vec<u8>) {
    let url = format!("http://127.0.0.1:{}/assets/{name}", node.http);
    let answer = ureq::get(&url).config().http_status_as_error(false).build().call().expect("an answer");
    let status = answer.status().as_u16();
    (status, answer.into_body().read_to_vec().expect("a body"))
}

/// The restored node is asked with the token that the lost one had.
fn token_of(lost: &Node, restored: &Node) {
    fs::copy(lost.data().join("admin.token"), restored.data().join("admin.token")).expect("a readable token");
}

#[test]
fn a_restored_node_serves_what_the_lost_one_did() {
    let (mut lost, _) = filled();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.backup");
    let made = backup(&lost, &file, &["--files"]);
    let before = objects(&lost, &lost);
    let kernel = fetch(&lost, "talos/vmlinuz");
    lost.stop("KILL");

    let mut node = Node::new("new");
    let planned = restore(&node, &file, &["--dry-run", "-o", "json"]).json();
    assert_eq!(
        (&planned["restored"], &planned["node_id"], &planned["generation"]),
        (&json!(false), &json!(2), &Value::Null)
    );
    assert!(!node.data().exists(), "nothing was done");
    let done = restore(&node, &file, &["-o", "json"]).json();
    assert_eq!((&done["restored"], &done["node_id"], &done["name"]), (&json!(true), &json!(2), &json!("new")));
    assert_eq!((&done["files"], &done["lacking"]), (&json!(2), &json!([])));
    let generation = done["generation"].as_u64().unwrap();
    assert_eq!(generation / 1_000_000_000, 1, "counted once");
    let again = restore(&node, &file, &["-o", "json"]).json();
    assert_eq!((&again["restored"], &again["generation"]), (&json!(false), &json!(generation)), "it is done already");

    node.start();
    token_of(&lost, &node);
    let status = node.status(&node);
    assert_eq!(status["cluster"]["cluster_id"], made["manifest"]["cluster_id"]);
    assert_eq!((&status["cluster"]["generation"], &status["cluster"]["voters"]), (&json!(generation), &json!([2])));
    assert_eq!(status["problems"], json!([]), "{status}");
    assert_eq!(objects(&node, &node), before, "the token of the lost node opens it, and all is as it was");
    assert_eq!(fetch(&node, "talos/vmlinuz"), kernel);
    let another = node.write("q.yaml", "id: q\n");
    node.cli(&node, &["profile", "put", "-f", &another]).ok();
    // Who trusted the old node's certificate trusts this one.
    assert_eq!(fs::read(lost.data().join("ca.crt")).unwrap(), fs::read(node.data().join("ca.crt")).unwrap());
    let said = restore(&node, &file, &[]).ok();
    assert!(said.contains("already"), "{said}");
}

#[test]
fn a_restore_is_refused_where_something_is_and_finished_where_it_was_cut_short() {
    let (lost, _) = filled();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.backup");
    backup(&lost, &file, &["--files"]);
    let said = restore(&lost, &file, &[]).failed();
    assert!(said.contains("belongs to node 1") && said.contains("move this one away"), "{said}");

    let mut node = Node::new("new");
    fs::create_dir(node.data()).unwrap();
    fs::write(node.data().join("notes"), "mine").unwrap();
    let said = restore(&node, &file, &[]).failed();
    assert!(said.contains("not empty, there is notes"), "{said}");
    fs::remove_file(node.data().join("notes")).unwrap();
    fs::create_dir(node.data().join("lost+found")).unwrap();

    // As if power had failed at the end: all is there but the owner's name.
    restore(&node, &file, &[]).ok();
    fs::write(node.data().join("restoring"), "").unwrap();
    fs::remove_file(node.data().join("raft/identity")).unwrap();
    node.spawn();
    assert_eq!(node.ended(), Some(64), "what is not whole must not found a cluster: {}", node.log());
    assert!(node.log().contains("raftboot restore"), "{}", node.log());
    let done = restore(&node, &file, &["-o", "json"]).json();
    assert_eq!(done["restored"], true);
    assert!(!exists(&node.data(), "restoring"));
    // Somewhere in the middle.
    for file_gone in ["raft/mark", "ca.key", "member.json"] {
        fs::write(node.data().join("restoring"), "").unwrap();
        let _ = fs::remove_file(node.data().join("raft/identity"));
        fs::remove_file(node.data().join(file_gone)).unwrap();
        restore(&node, &file, &[]).ok();
    }
    node.start();
    token_of(&lost, &node);
    assert_eq!(objects(&node, &node), objects(&lost, &lost));
}

#[test]
fn files_that_are_not_in_the_backup_are_named_refused_and_mended() {
    let (lost, kernel) = filled();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.backup");
    backup(&lost, &file, &[]);
    let mut node = Node::new("new");
    let said = restore(&node, &file, &[]).ok();
    assert!(said.contains("talos/vmlinuz") && said.contains("asset put"), "{said}");
    node.start();
    token_of(&lost, &node);
    let status = node.status(&node);
    let codes: Vec<&str> =
        status["problems"].as_array().unwrap().iter().map(|it| it["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["no_copy"], "{status}");
    assert_eq!(fetch(&node, "talos/vmlinuz").0, 503);
    node.cli(&node, &["asset", "put", "talos/vmlinuz", &kernel]).ok();
    until("its bytes are served", || (fetch(&node, "talos/vmlinuz").0 == 200).then_some(()));
    assert_eq!(fetch(&node, "copy-of-it").0, 200, "they are the bytes of both names");
    let empty = node.write("empty", "");
    node.cli(&node, &["asset", "put", "empty", &empty]).ok();
    until("all is well", || (node.status(&node)["problems"] == json!([])).then_some(()));
}

#[test]
fn files_that_lie_there_from_before_count_if_they_are_whole() {
    let (lost, _) = filled();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.backup");
    backup(&lost, &file, &[]);
    let node = Node::new("new");
    let (from, to) = (lost.data().join("blobs/sha256"), node.data().join("blobs/sha256"));
    for shelf in fs::read_dir(from).unwrap() {
        let shelf = shelf.unwrap();
        fs::create_dir_all(to.join(shelf.file_name())).unwrap();
        for blob in fs::read_dir(shelf.path()).unwrap() {
            let blob = blob.unwrap();
            fs::copy(blob.path(), to.join(shelf.file_name()).join(blob.file_name())).unwrap();
        }
    }
    let done = restore(&node, &file, &["-o", "json"]).json();
    assert_eq!(done["lacking"], json!([]), "{done}");
}

#[test]
fn two_restores_of_one_backup_are_two_generations() {
    let (lost, _) = filled();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.backup");
    backup(&lost, &file, &[]);
    let [one, two] = ["one", "two"].map(|name| restore(&Node::new(name), &file, &["-o", "json"]).json());
    assert_eq!(one["cluster_id"], two["cluster_id"]);
    assert_ne!(one["generation"], two["generation"]);
}
