//! Founding and joining: what is repeated changes nothing, what is wrong is said, and a crash can be mended.

use std::fs;

use serde_json::json;

use crate::node::{Node, exists, until};
use crate::voters;

#[test]
fn founding_twice_is_founding_once() {
    let node = Node::new("a");
    let first = node.init(&["-o", "json", "--survivor", "--vip", "10.255.0.9"]).json();
    assert_eq!((&first["founded"], &first["node_id"], &first["name"]), (&json!(true), &json!(1), &json!("a")));
    let again = node.init(&["-o", "json"]).json();
    assert_eq!((&again["founded"], &again["join"]), (&json!(false), &json!(null)));
    assert_eq!(again["cluster_id"], first["cluster_id"]);
    assert!(!exists(&node.data(), "founding"), "it is finished");
}

#[test]
fn what_init_was_told_is_in_force_and_founding_that_was_cut_short_is_finished_by_serve() {
    let mut node = Node::new("a");
    fs::create_dir(node.data()).unwrap();
    fs::write(node.data().join("founding"), r#"{"name":null,"vip":"10.255.0.9","two_node":"survivor"}"#).unwrap();
    node.start();
    let settings = node.cli(&node, &["cluster", "get", "-o", "json"]).json();
    assert_eq!(
        (&settings["vip"], &settings["two_node"], &settings["preferred"]),
        (&json!("10.255.0.9"), &json!("survivor"), &json!(1))
    );
}

#[test]
fn a_vip_that_is_the_nodes_own_address_is_refused_and_nothing_is_founded() {
    let node = Node::new("a");
    let said = node.init(&["--vip", "127.0.0.1"]).failed();
    assert!(said.contains("own address"), "{said}");
    assert!(!exists(&node.data(), "raft"));
}

#[test]
fn joining_twice_is_joining_once_even_when_the_first_time_was_cut_short() {
    let (a, token) = Node::found("a");
    let mut b = Node::new("b");
    let first = b.join(&a, &token, &["-o", "json"]).json();
    assert_eq!((&first["joined"], &first["node_id"]), (&json!(true), &json!(2)));
    // As if power had failed before the directory became that of a member.
    fs::remove_dir_all(b.data().join("raft")).unwrap();
    fs::remove_file(b.data().join("ca.crt")).unwrap();
    b.spawn();
    assert_eq!(b.ended(), Some(64), "a node that has not finished joining must not found a cluster: {}", b.log());
    assert!(b.log().contains("raftboot join"), "{}", b.log());
    let again = b.join(&a, &token, &["-o", "json"]).json();
    assert_eq!((&again["joined"], &again["node_id"]), (&json!(true), &json!(2)));
    let third = b.join(&a, &token, &["-o", "json"]).json();
    assert_eq!((&third["joined"], &third["node_id"]), (&json!(false), &json!(2)));
    b.start();
    voters(&a, &a, &[1, 2]);
    assert!(b.join(&a, &token, &[]).ok().contains("already"), "while the service runs");
    assert!(!exists(&b.data(), "admin.token"), "only the founder makes itself an administrator");
}

#[test]
fn whoever_may_not_join_is_told_why() {
    let (a, token) = Node::found("a");
    let (stranger, _) = Node::found("stranger");
    let b = Node::new("b");
    let said = b.join(&stranger, &token, &[]).failed();
    assert!(said.contains("is not a node of the cluster that made this token"), "{said}");

    let mut parts: Vec<&str> = token.split('_').collect();
    let wrong = "0".repeat(64);
    parts[2] = &wrong;
    let said = b.join(&a, &parts.join("_"), &[]).failed();
    assert!(said.contains("does not know this join token") && said.contains("raftboot join-token"), "{said}");

    let short = a.cli(&a, &["join-token", "--ttl", "1s", "-o", "json"]).json();
    let admin = fs::read_to_string(a.data().join("admin.token")).unwrap();
    assert!(!short["token"].as_str().unwrap().contains(admin.trim()));
    until("the token is over", || {
        // Which of the two comes first does not matter: an expired one is forgotten when the next is made.
        let said = a.cli(&a, &["join-token", "--ttl", "1h"]);
        assert_eq!(said.code, Some(0));
        let said = Node::new("late").join(&a, short["token"].as_str().unwrap(), &[]);
        (said.code != Some(0) && !said.error.contains("alive")).then_some(said.error)
    });

    let nobody = Node::new("nobody");
    let said = b.join(&nobody, &token, &[]).failed();
    assert!(said.contains("does not answer") && said.contains("7443"), "{said}");
    assert_eq!(b.join(&a, "rbj_x", &[]).code, Some(2), "a token that is none is a usage error");
    assert!(!exists(&b.data(), "raft"), "nothing was adopted");
}

#[test]
fn a_data_directory_with_a_cluster_of_its_own_is_wiped_only_when_asked() {
    let (a, token) = Node::found("a");
    let (mut b, _) = Node::found("b");
    let said = b.join(&a, &token, &[]).failed();
    assert!(said.contains("belongs to another cluster") && said.contains("--wipe"), "{said}");
    let said = b.join(&a, &token, &["--wipe"]).failed();
    assert!(said.contains("stop that process first"), "a running service keeps its data: {said}");
    b.stop("TERM");
    b.join(&a, &token, &["--wipe"]).ok();
    b.start();
    voters(&a, &a, &[1, 2]);
}

#[test]
fn a_name_in_use_is_refused_and_a_wiped_disk_takes_its_own_place() {
    let (a, token) = Node::found("a");
    let [mut b, mut c] = ["b", "c"].map(Node::new);
    for node in [&mut b, &mut c] {
        node.join(&a, &token, &[]).ok();
        node.start();
    }
    voters(&a, &a, &[1, 2, 3]);
    let said = Node::new("b").join(&a, &token, &[]).failed();
    assert!(said.contains("is called `b` already and is alive"), "{said}");

    b.stop("KILL");
    b.wipe_disk();
    let joined = until("the node that is gone counts as gone", || {
        let said = b.join(&a, &token, &["-o", "json"]);
        (said.code == Some(0)).then(|| said.json())
    });
    assert_eq!((&joined["node_id"], &joined["replaces"]), (&json!(4), &json!(2)));
    b.start();
    voters(&c, &a, &[1, 3, 4]);
    until("the old one is forgotten", || {
        let status = c.status(&a);
        let ids: Vec<u64> = status["members"].as_array()?.iter().filter_map(|member| member["id"].as_u64()).collect();
        (ids == [1, 3, 4]).then_some(())
    });
}
