//! Plays the recorded answers in `vectors/` against one real node and against a follower of three, through the import of a
//! matchbox directory.
//!
//! Each file is one world: a data directory and what a matchbox answered to a list of requests, byte for byte.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

#[path = "vectors/calls.rs"]
mod calls;
#[path = "vectors/client.rs"]
mod client;
#[path = "grpc/client.rs"]
#[allow(dead_code, reason = "the client of another test too")]
mod grpc;
#[path = "cluster/node.rs"]
#[allow(dead_code, reason = "the rig of another test too")]
mod node;
#[path = "grpc/wire.rs"]
mod wire;
#[path = "vectors/world.rs"]
mod world;

use std::path::Path;

use node::{Node, until};
use serde_json::{Value, json};
use world::Report;

/// Who is written to, and who is asked.
struct Site<'a> {
    written: &'a Node,
    asked: &'a Node,
    /// A data directory with nothing in it.
    empty: tempfile::TempDir,
}

impl<'a> Site<'a> {
    fn new(written: &'a Node, asked: &'a Node) -> Self {
        written.cli(written, &["settings", "set", "script_style=matchbox"]).ok();
        let empty = tempfile::tempdir().unwrap();
        std::fs::create_dir(empty.path().join("groups")).unwrap();
        Self { written, asked, empty }
    }

    /// Replaces everything by what `dir` holds; returns when the node that is asked has it.
    fn load(&self, dir: &Path) {
        for (dir, more) in [(self.empty.path(), &["--replace", "--allow-empty"][..]), (dir, &[])] {
            let dir = dir.display().to_string();
            let arguments = [&["import", "matchbox", &dir][..], more].concat();
            self.written.cli(self.written, &arguments).ok();
        }
        let applied = |node: &Node| node.status(self.written)["cluster"]["applied"].as_u64().unwrap();
        let wanted = applied(self.written);
        until("the node that is asked has it", || (applied(self.asked) >= wanted).then_some(()));
    }

    fn play(&self) {
        let mut report = Report::default();
        let worlds = world::worlds();
        assert!(worlds.len() >= 88, "only {} worlds", worlds.len());
        for world in &worlds {
            let dir = world::write_files(&world.files);
            self.load(dir.path());
            world::play(world, ([127, 0, 0, 1], self.asked.http).into(), &mut report);
        }
        let mut grpc = grpc::Client::new(([127, 0, 0, 1], self.asked.grpc).into(), grpc::tls(&self.certificates()));
        let mut http = client::Client { address: ([127, 0, 0, 1], self.asked.http).into(), connection: None };
        let scenarios = calls::scenarios();
        assert!(scenarios.len() >= 9, "only {} scenarios", scenarios.len());
        for scenario in &scenarios {
            let dir = world::write_files(&scenario.files);
            self.load(dir.path());
            calls::play(scenario, &mut grpc, &mut http, &mut report);
        }
        report.finish(world::deviations().chain(calls::deviations()));
    }

    fn certificates(&self) -> std::path::PathBuf {
        let dir = self.written.data().join("client");
        let out = dir.display().to_string();
        let mut command = self.written.command(&["cert", "client", "vectors", "--out", &out, "--config"]);
        node::Said::from(command.arg(self.written.config()).output().unwrap()).ok();
        dir
    }
}

#[test]
fn one_node_gives_the_recorded_answers() {
    let (node, _) = Node::found("a");
    Site::new(&node, &node).play();
}

#[test]
fn a_follower_of_three_gives_the_recorded_answers() {
    let (a, token) = Node::found("a");
    let [mut b, mut c] = ["b", "c"].map(Node::new);
    for node in [&mut b, &mut c] {
        node.join(&a, &token, &[]).ok();
        node.start();
    }
    until("these vote", || (a.status(&a)["cluster"]["voters"] == json!([1, 2, 3])).then_some(()));
    Site::new(&a, &b).play();
    assert_ne!(a.status(&a)["cluster"]["leader"], Value::Null);
}
