//! Commands that could destroy something: what they refuse, and what they leave alone.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::process::Command as Process;

use super::Bench;

fn path(bench: &Bench, name: &str) -> String {
    bench.files.path().join(name).to_str().expect("the test's own set-up").to_owned()
}

#[test]
fn a_download_into_a_pipe_leaves_the_pipe() {
    let bench = Bench::new();
    bench.run(&["asset", "put", "k", &bench.file("k", "kernel")]).ok();
    let pipe = path(&bench, "pipe");
    assert!(Process::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read(pipe).unwrap()
    });
    bench.run(&["asset", "get", "k", &pipe]).ok();
    assert_eq!(reader.join().unwrap(), b"kernel");
    assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
}

#[test]
fn a_download_through_a_link_replaces_what_the_link_leads_to() {
    let bench = Bench::new();
    bench.run(&["asset", "put", "k", &bench.file("k", "kernel")]).ok();
    let (target, link) = (bench.file("elsewhere/target", "old"), path(&bench, "link"));
    std::os::unix::fs::symlink(&target, &link).unwrap();
    bench.run(&["asset", "get", "k", &link]).ok();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&target).unwrap(), b"kernel");
    let folder = path(&bench, "elsewhere");
    let error = bench.run(&["asset", "get", "k", &folder]).failed(1);
    assert!(error.contains("it is a directory: name a file in it"), "{error}");
    let dangling = path(&bench, "dangling");
    std::os::unix::fs::symlink(path(&bench, "nowhere"), &dangling).unwrap();
    assert!(bench.run(&["asset", "get", "k", &dangling]).failed(1).contains("leads to nothing"));
    assert!(fs::symlink_metadata(&dangling).unwrap().is_symlink());
}

#[test]
fn an_empty_input_removes_nothing() {
    let bench = Bench::new();
    bench.run(&["profile", "put", "-f", &bench.file("p.yaml", "id: p\n")]).ok();
    let empty = bench.file("empty.yaml", "# nothing\n");
    for arguments in [&["apply", "-f", &empty][..], &["apply", "-f", &empty, "--replace", "profile"]] {
        let error = bench.run(arguments).failed(1);
        assert!(error.contains("no object in the input") && error.contains("hint: "), "{error}");
    }
    let other = bench.file("g.yaml", "kind: group\nid: g\nprofile: p\n");
    let error = bench.run(&["apply", "-f", &other, "--replace", "profile,group"]).failed(1);
    assert!(error.contains("every profile") && error.contains("--allow-empty"), "{error}");
    assert_eq!(bench.json(&["profile", "list"]).as_array().unwrap().len(), 1);
    let said = bench.run(&["apply", "-f", &other, "--replace", "profile,group", "--allow-empty"]);
    assert!(said.error.contains("profile/p") && said.error.contains("still used by group/g"), "{}", said.error);
    assert!(said.ok().contains("profile/p deleted"));
}

#[test]
fn a_matchbox_directory_with_nothing_usable_replaces_nothing() {
    let bench = Bench::new();
    bench.run(&["profile", "put", "-f", &bench.file("p.yaml", "id: p\n")]).ok();
    fs::create_dir_all(bench.files.path().join("m/groups")).unwrap();
    let dir = path(&bench, "m");
    let error = bench.run(&["import", "matchbox", &dir, "--replace"]).failed(1);
    assert!(error.contains("nothing in it that can be used"), "{error}");
    bench.file("m/generic/t", "x");
    let error = bench.run(&["import", "matchbox", &dir, "--replace"]).failed(1);
    assert!(error.contains("every profile"), "{error}");
    assert_eq!(bench.json(&["profile", "list"]).as_array().unwrap().len(), 1);
    let done = bench.run(&["import", "matchbox", &dir, "--replace", "--allow-empty"]).ok();
    assert!(done.contains("profile/p deleted"), "{done}");
}

#[test]
fn a_broken_file_does_not_remove_what_it_stood_for() {
    let bench = Bench::new();
    bench.file("m/profiles/a.json", r#"{"id":"a","name":"live"}"#);
    bench.file("m/profiles/b.json", r#"{"id":"b"}"#);
    bench.file("m/groups/g.json", r#"{"profile":"a","metadata":{"n": 1.0}}"#);
    bench.file("m/generic/t", "x");
    bench.file("m/assets/k", "kernel");
    let dir = path(&bench, "m");
    bench.run(&["import", "matchbox", &dir, "--replace"]).ok();
    bench.file("m/profiles/a.json", r#"{"id":"#);
    bench.file("m/groups/g.json", "no json");
    fs::remove_file(bench.files.path().join("m/profiles/b.json")).unwrap();
    bench.file("m/profiles/c.json", r#"{"id":"c"}"#);
    for more in [&[][..], &["--dry-run"]] {
        let error = bench.run(&[&["import", "matchbox", &dir, "--replace"], more].concat()).failed(1);
        assert!(
            error.contains("profiles/a.json") && error.contains("2 files") && error.contains("--skip-unusable"),
            "{error}"
        );
    }
    let said = bench.run(&["import", "matchbox", &dir, "--replace", "--skip-unusable"]);
    assert!(said.error.contains("kept as it is on the server: profiles/a"), "{}", said.error);
    let done = said.ok();
    assert!(
        done.contains("profile/b deleted") && done.contains("1 created, 0 updated, 4 unchanged, 1 deleted"),
        "{done}"
    );
    assert_eq!(bench.json(&["profile", "get", "a"])["name"], "live");
    assert!(bench.run(&["group", "get", "g", "-o", "json"]).ok().contains("1.0"));
}

#[test]
fn a_rehearsed_import_shows_which_assets_would_go() {
    let bench = Bench::new();
    bench.run(&["asset", "put", "old", &bench.file("old", "old")]).ok();
    bench.file("m/profiles/a.json", r#"{"id":"a","boot":{"kernel":"/assets/k"}}"#);
    bench.file("m/assets/k", "kernel");
    let said = bench.run(&["import", "matchbox", &path(&bench, "m"), "--replace", "--dry-run"]);
    assert!(said.error.contains("1 assets would be sent") && !said.error.contains("warning"), "{}", said.error);
    let done = said.ok();
    assert!(done.contains("asset/old deleted") && done.contains("asset/k created"), "{done}");
    assert_eq!(bench.json(&["asset", "list"]).as_array().unwrap().len(), 1);
    assert_eq!(fs::read_dir(bench.server.dir.path().join("assets/tmp")).unwrap().count(), 0);
}

#[test]
fn a_name_that_cannot_be_is_refused_before_a_byte_is_sent() {
    let bench = Bench::new();
    let error = bench.run(&["asset", "put", "../k", &bench.file("k", "kernel")]).failed(1);
    assert!(error.contains("../k") && !error.contains("items["), "{error}");
    let digest = raft::types::Digest::of(b"kernel");
    assert_eq!(bench.server.store.size(&digest), None, "nothing was sent");
}
