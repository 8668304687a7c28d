//! Backups of real nodes: made, verified, damaged, restored; and clusters that have lost most of their nodes.

#[path = "backup/lost.rs"]
mod lost;
#[path = "cluster/node.rs"]
#[allow(dead_code, reason = "the rig of other tests too")]
mod node;
#[path = "backup/restore.rs"]
mod restore;
#[path = "disk/small.rs"]
mod small;

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use node::Node;
use raftboot::backup::{BackupError, verify};
use serde_json::{Value, json};
use small::SmallDisk;

/// Bytes that are no whole number of blocks, and more than one piece.
const KERNEL_BYTES: usize = 300_001;

/// A node with some of everything; answers it and the file of its kernel.
fn filled() -> (Node, String) {
    let (node, _) = Node::found("a");
    let kernel = node.write("kernel", &"k".repeat(KERNEL_BYTES));
    let empty = node.write("empty", "");
    for (name, file) in [("talos/vmlinuz", &kernel), ("copy-of-it", &kernel), ("empty", &empty)] {
        node.cli(&node, &["asset", "put", name, file]).ok();
    }
    let documents = "kind: profile\nid: p\nboot: {kernel: /assets/talos/vmlinuz}\n---\nkind: group\nid: g\nprofile: p\nselector: {mac: \"52:54:00:12:34:56\"}\n---\nkind: template\ntype: generic\nname: t\ncontent: hello\n";
    let file = node.write("objects.yaml", documents);
    node.cli(&node, &["apply", "-f", &file]).ok();
    (node, kernel)
}

fn backup(node: &Node, to: &Path, more: &[&str]) -> Value {
    let place = to.display().to_string();
    node.cli(node, &[&["backup", &place, "-o", "json"], more].concat()).json()
}

/// Runs a command that needs no server.
fn offline(node: &Node, arguments: &[&str]) -> node::Said {
    node.command(arguments).output().expect("the binary runs").into()
}

#[test]
fn a_backup_holds_everything_and_says_so() {
    let (node, _) = filled();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("with.backup");
    let made = backup(&node, &file, &["--files"]);
    assert_eq!((&made["files"], &made["file_bytes"]), (&json!(2), &json!(KERNEL_BYTES)), "each once: {made}");
    assert_eq!(made["lacking"], json!([]));
    let counts = &made["manifest"]["counts"];
    let want = [("profiles", 1), ("groups", 1), ("templates", 1), ("assets", 3), ("tokens", 1), ("nodes", 1)];
    for (kind, count) in want {
        assert_eq!(counts[kind], json!(count), "{kind}: {made}");
    }
    let status = node.status(&node);
    assert_eq!(made["manifest"]["cluster_id"], status["cluster"]["cluster_id"]);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "the CA's key is in it");
    let place = file.display().to_string();
    let verified = offline(&node, &["verify-backup", &place, "-o", "json"]).json();
    assert_eq!(verified["sha256"], made["sha256"]);
    let said = offline(&node, &["verify-backup", &place]).ok();
    assert!(said.contains("1 profiles, 1 groups") && said.contains("verified  every byte"), "{said}");
    // Tools that everybody has can look inside.
    let listed = std::process::Command::new("tar").args(["-tf", &place]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.starts_with("manifest.json\nca.crt\nca.key\nstate\nfiles/"), "{listed}");
    assert!(listed.ends_with("end.json\n"), "{listed}");

    let without = backup(&node, &folder.path().join("without.backup"), &[]);
    assert_eq!((&without["files"], without["lacking"].as_array().unwrap().len()), (&json!(0), 2), "{without}");
    assert_eq!(
        without["lacking"][0]["names"].as_array().unwrap().len()
            + without["lacking"][1]["names"].as_array().unwrap().len(),
        3
    );
    let left: Vec<PathBuf> = fs::read_dir(folder.path()).unwrap().map(|item| item.unwrap().path()).collect();
    assert_eq!(left.len(), 2, "nothing else is left: {left:?}");
}

#[test]
fn a_backup_that_differs_in_any_byte_is_refused() {
    let (node, _) = filled();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("small.backup");
    node.cli(&node, &["asset", "rm", "talos/vmlinuz"]).ok();
    node.cli(&node, &["asset", "rm", "copy-of-it"]).ok();
    backup(&node, &file, &["--files"]);
    let whole = fs::read(&file).unwrap();
    let read = |bytes: &[u8]| verify(&mut &*bytes, &|_| ());
    read(&whole).unwrap();
    for at in 0..whole.len() {
        let mut other = whole.clone();
        other[at] ^= 1 << (at % 8);
        assert!(read(&other).is_err(), "byte {at} of {}", whole.len());
    }
    for length in (0..whole.len()).step_by(37).chain(whole.len() - 1500..whole.len()) {
        let short = read(&whole[..length]).unwrap_err();
        let told = matches!(short, BackupError::Short(_)) || length < 512 && matches!(short, BackupError::Foreign);
        assert!(told, "cut to {length}: {short:?}");
    }
    let longer = [&whole[..], b"x"].concat();
    assert!(read(&longer).is_err(), "something follows");
    // Blocks that were exchanged are all there, and in the wrong order.
    let mut exchanged = whole.clone();
    exchanged.copy_within(512..1024, 0);
    assert!(read(&exchanged).is_err());

    let damaged = folder.path().join("damaged.backup");
    let mut bytes = whole.clone();
    bytes[whole.len() / 2] ^= 1;
    fs::write(&damaged, &bytes).unwrap();
    for arguments in [&["verify-backup"][..], &["restore", "--config", &Node::new("b").config().display().to_string()]]
    {
        let place = damaged.display().to_string();
        let said = offline(&node, &[arguments, &[&place]].concat()).failed();
        assert!(said.contains("damaged.backup"), "{said}");
    }
    fs::write(&damaged, "no backup at all, but long enough to be looked at: ".repeat(40)).unwrap();
    let said = offline(&node, &["verify-backup", &damaged.display().to_string()]).failed();
    assert!(said.contains("not a backup of raftboot"), "{said}");
}

#[test]
fn a_backup_goes_down_a_pipe_and_only_an_administrator_gets_one() {
    let (node, _) = filled();
    let piped = node
        .command(&["backup", "-", "--files", "--data-dir"])
        .arg(node.data())
        .env("RAFTBOOT_SERVER", format!("https://127.0.0.1:{}", node.admin))
        .output()
        .unwrap();
    assert!(piped.status.success(), "{}", String::from_utf8_lossy(&piped.stderr));
    let contents = verify(&mut &*piped.stdout, &|_| ()).unwrap();
    assert_eq!(contents.files.len(), 2);
    assert!(String::from_utf8_lossy(&piped.stderr).contains("1 profiles"), "what it is goes to standard error");

    let made = node.cli(&node, &["token", "create", "reader", "--role", "operate", "-o", "json"]).json();
    let refused = node
        .command(&["backup", "-", "--data-dir"])
        .arg(node.data())
        .env("RAFTBOOT_SERVER", format!("https://127.0.0.1:{}", node.admin))
        .env("RAFTBOOT_TOKEN", made["token"].as_str().unwrap())
        .output()
        .unwrap();
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0), "{refused:?}");
}

#[test]
fn a_directory_keeps_as_many_backups_as_it_should() {
    let (node, kernel) = filled();
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().display().to_string();
    for day in 1..=4 {
        fs::write(folder.path().join(format!("raftboot-2020010{day}T030000Z.backup")), "old").unwrap();
    }
    fs::write(folder.path().join(".raftboot-20200104T030000Z.backup.part"), "killed").unwrap();
    fs::write(folder.path().join("before-upgrade.backup"), "somebody's own").unwrap();
    let arguments = ["backup", "--dir", &dir, "--files", "--keep", "3", "-o", "json"];
    let made = node.cli(&node, &arguments).json();
    assert_eq!(made["removed"].as_array().unwrap().len(), 2, "{made}");
    let names = || {
        let mut names: Vec<String> =
            fs::read_dir(folder.path()).unwrap().map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let kept = names();
    assert_eq!(kept.len(), 4, "{kept:?}");
    assert_eq!(
        kept[..3],
        ["before-upgrade.backup", "raftboot-20200103T030000Z.backup", "raftboot-20200104T030000Z.backup"]
    );
    offline(&node, &["verify-backup", made["file"].as_str().unwrap()]).ok();

    // Without the bytes of a file it is kept, called what it is, and takes no older one's place.
    let digest = raft::types::Digest::of(&fs::read(&kernel).unwrap()).to_string();
    fs::remove_file(node.data().join("blobs/sha256").join(&digest[..2]).join(&digest)).unwrap();
    let said = node.cli(&node, &["backup", "--dir", &dir, "--files", "--keep", "1"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.error.contains("talos/vmlinuz"), "{said:?}");
    assert!(names().contains(&"raftboot-20200103T030000Z.backup".to_owned()), "{:?}", names());
    // Without files nothing is missing; those are counted apart, and take no place of one with files.
    let before = names().len();
    for _ in 0..2 {
        let made = node.cli(&node, &["backup", "--dir", &dir, "--keep", "1", "-o", "json"]).json();
        assert!(made["file"].as_str().unwrap().ends_with(".state.backup"), "{made}");
        assert_eq!(names().len(), before + 1, "{:?}", names());
    }
}

#[test]
fn where_there_is_no_room_the_oldest_backups_go_first_but_never_the_last() {
    let (node, _) = filled();
    let disk = SmallDisk::new(2);
    let dir = disk.0.path().display().to_string();
    let put = |name: &str, bytes: usize| fs::write(disk.0.path().join(name), vec![0; bytes]).unwrap();
    // What is free is less than one like the newest.
    put("raftboot-20200101T030000Z.backup", 700_000);
    put("raftboot-20200102T030000Z.backup", 700_000);
    put("raftboot-20200103T030000Z.backup", 500_000);
    let arguments = ["backup", "--dir", &dir, "--files", "-o", "json"];
    let made = node.cli(&node, &arguments).json();
    let removed = |made: &Value| {
        made["removed"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one.as_str().unwrap()[dir.len()..].to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(removed(&made), ["/raftboot-20200101T030000Z.backup"]);
    offline(&node, &["verify-backup", made["file"].as_str().unwrap()]).ok();
    // The newest is small, the next will not be.
    let large = node.write("large", &"x".repeat(600_000));
    node.cli(&node, &["asset", "put", "large", &large]).ok();
    let made = node.cli(&node, &arguments).json();
    assert_eq!(removed(&made), ["/raftboot-20200102T030000Z.backup"]);
    offline(&node, &["verify-backup", made["file"].as_str().unwrap()]).ok();
    // No room even so: all stay.
    let huge = node.write("huge", &"y".repeat(3_000_000));
    node.cli(&node, &["asset", "put", "huge", &huge]).ok();
    let said = node.cli(&node, &arguments);
    assert!(said.code == Some(1) && said.error.contains("nothing was removed"), "{said:?}");
    assert!(disk.0.path().join("raftboot-20200103T030000Z.backup").exists());
    offline(&node, &["verify-backup", made["file"].as_str().unwrap()]).ok();
}

#[test]
fn a_backup_that_breaks_off_is_noticed_and_not_kept() {
    let (mut node, _) = filled();
    // More than all the buffers between the disk and whoever reads.
    let large = node.write("large", &"0123456789abcdef".repeat(8 << 20));
    node.cli(&node, &["asset", "put", "large", &large]).ok();
    let mut piped = node
        .command(&["backup", "-", "--files", "--data-dir"])
        .arg(node.data())
        .env("RAFTBOOT_SERVER", format!("https://127.0.0.1:{}", node.admin))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = piped.stdout.take().unwrap();
    let mut came = vec![0; 1 << 20];
    out.read_exact(&mut came).unwrap();
    node.stop("KILL");
    out.read_to_end(&mut came).unwrap();
    let ended = piped.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("no whole backup") && said.contains("nothing was kept"), "{said}");
    assert!(matches!(verify(&mut &*came, &|_| ()), Err(BackupError::Short(_))), "what came says so too");

    // Into a file there is nothing afterwards, not even a part.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("none.backup").display().to_string();
    node.cli(&node, &["backup", &file]).failed();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
