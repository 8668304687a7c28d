//! The support bundle of two real nodes: what is in it, and what must never be.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::node::{Node, until};

/// Part of everything that nobody else may read.
const MARK: &str = "S3CRETMARK";

/// Everything below a folder by its name.
fn unpacked(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        for entry in fs::read_dir(&path).expect("a readable folder") {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                left.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).expect("below it").to_string_lossy().into_owned();
            // Without the folder that carries the time.
            let name = name.split_once('/').map_or(name.clone(), |(_, rest)| rest.to_owned());
            found.insert(name, fs::read_to_string(&path).expect("text"));
        }
    }
    found
}

/// Puts the mark wherever something secret can be.
fn hide(a: &Node, b: &Node) {
    let config = fs::read_to_string(b.config()).expect("it was written");
    fs::write(b.config(), format!("# {MARK} in a comment\n{config}")).expect("a writable folder");
    let objects = format!(
        "kind: profile\nid: p\nboot: {{kernel: /assets/k, args: [\"password={MARK}\"]}}\ngeneric_id: t\n---\n\
         kind: group\nid: g\nprofile: p\nselector: {{hostname: \"{MARK}\"}}\nmetadata: {{secret: \"{MARK}\"}}\n---\n\
         kind: template\ntype: generic\nname: t\ncontent: \"{MARK} {{{{.none}}}}\"\n"
    );
    a.cli(a, &["apply", "-f", &a.write("objects.yaml", &objects)]).ok();
    a.cli(a, &["settings", "set", &format!("extra_kernel_args=token={MARK}")]).ok();
    a.cli(a, &["asset", "put", "k", &a.write("kernel", MARK)]).ok();
    for node in [a, b] {
        until("it has what was written", || node.cli(a, &["template", "list"]).ok().contains('t').then_some(()));
        for path in ["/generic", "/ipxe", "/metadata", "/ignition"] {
            let url =
                format!("http://127.0.0.1:{}{path}?hostname={MARK}&mac=52-54-00-12-34-56&token={MARK}", node.http);
            let answer = ureq::get(&url).config().http_status_as_error(false).build().call().expect("it answers");
            drop(answer.into_body().read_to_vec());
        }
    }
}

#[test]
fn a_support_bundle_is_of_all_nodes_and_holds_no_secret() {
    let (a, join_token) = Node::found("a");
    let [mut b, mut c] = ["b", "c"].map(Node::new);
    for node in [&mut b, &mut c] {
        node.join(&a, &join_token, &[]).ok();
        node.start();
    }
    hide(&a, &b);
    let token = a.cli(&a, &["token", "create", "--role", "operate", "ci", "-o", "json"]).json();
    let token = token["token"].as_str().expect("a secret").to_owned();
    let admin = fs::read_to_string(a.data().join("admin.token")).expect("a token").trim().to_owned();
    let key = fs::read_to_string(a.data().join("ca.key")).expect("a key");
    let key_line = key.lines().nth(1).expect("a line of the key").to_owned();
    c.signal("KILL");

    let out = a.data().join("../bundle.tar.gz");
    let said = a.cli(&a, &["support-bundle", "--out", &out.to_string_lossy()]).ok();
    assert!(said.contains("look through it"), "{said}");
    assert_eq!(fs::metadata(&out).expect("it was written").permissions().mode() & 0o777, 0o600);
    let again = a.cli(&a, &["support-bundle", "--out", &out.to_string_lossy()]).failed();
    assert!(again.contains("cannot be written"), "nothing is written over: {again}");

    let folder = tempfile::tempdir().expect("a temporary folder");
    let tar = Command::new("tar").arg("-xzf").arg(&out).arg("-C").arg(folder.path()).status();
    assert!(tar.expect("tar is there").success());
    let files = unpacked(folder.path());
    for node in ["a", "b"] {
        for name in [
            "about.json",
            "metrics.txt",
            "log.txt",
            "config.txt",
            "host.txt",
            "network.txt",
            "disk.txt",
            "timelines.json",
        ] {
            let text =
                files.get(&format!("{node}/{name}")).unwrap_or_else(|| panic!("{node}/{name}: {:?}", files.keys()));
            assert!(text.len() > 30, "{node}/{name}: {text}");
        }
        assert!(files[&format!("{node}/log.txt")].contains(" ready "), "{}", files[&format!("{node}/log.txt")]);
        assert!(files[&format!("{node}/timelines.json")].contains("52:54:00:12:34:56"));
        assert!(files[&format!("{node}/config.txt")].contains(&format!("name = {node}\n")));
    }
    assert!(files["did-not-answer.txt"].starts_with("c: "), "{}", files["did-not-answer.txt"]);
    assert!(files["status.json"].contains("\"node_silent\"") || files["status.json"].contains("\"members\""));
    assert!(files["README.txt"].contains("Left out on purpose") && files["members.json"].contains("\"a\""));

    let secret = |text: &str| text.rsplit('_').next().expect("a secret part").to_owned();
    for (name, text) in &files {
        for (what, found) in [
            ("something that was hidden", MARK.to_owned()),
            ("a token", secret(&token)),
            ("the first token", secret(&admin)),
            ("the join token", secret(&join_token)),
            ("the CA's key", key_line.clone()),
            ("a private key", "PRIVATE KEY".to_owned()),
        ] {
            assert!(!text.contains(&found), "{name} holds {what}");
        }
    }
    // What is looked for would be found: the log itself has it.
    assert!(a.log().contains(MARK), "{}", a.log());
}
