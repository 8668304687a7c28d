//! Moving over from matchbox, and back: what is said beforehand, what is compared, what is written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clap::Parser;
use raft::state::ScriptStyle;
use raft::types::Digest;
use raftboot::cli::Cli;
use raftboot::config::Config;
use raftboot::export::{folder, matchbox as export};
use raftboot::import::matchbox;
use serde_json::{Value, json};

use super::boot::Boot;
use super::{Bench, run};

/// A management node of a pair as its administrators have it, mistakes included.
fn pair(bench: &Bench) -> String {
    bench.file(
        "m/profiles/control-plane.json",
        r#"{"id":"talos-control-plane","boot":{"kernel":"/assets/vmlinuz","initrd":["/assets/initramfs.xz"],
        "args":["initrd=initramfs.xz","talos.config=http://10.0.20.5:8080/assets/controlplane.yaml"]}}"#,
    );
    bench.file(
        "m/profiles/worker.json",
        r#"{"id":"worker","boot":{"kernel":"/assets/vmlinuz","initrd":["/assets/initramfs.xz"],"args":["quiet"]},"generic_id":"w.yaml"}"#,
    );
    bench.file("m/groups/cp-01.json", r#"{"profile":"talos-control-plane","selector":{"mac":"aa:bb:cc:dd:ee:01"}}"#);
    bench.file("m/groups/w-01.json", r#"{"profile":"worker","selector":{"mac":"AA-BB-CC-DD-EE-11"},"metadata":{"name":"w-01","n":1.0,"big":12345678901234567890123}}"#);
    bench.file(
        "m/groups/w-02.json",
        r#"{"profile":"worker","selector":{"mac":"aa:bb:cc:dd:ee:12"},"metadata":{"name":"w-02"}}"#,
    );
    bench.file("m/generic/w.yaml", "name: {{.name}}\n");
    bench.file("m/assets/vmlinuz", "kernel");
    bench.file("m/assets/initramfs.xz", "initrd");
    bench.file("m/assets/controlplane.yaml", "secret\n");
    path(bench, "m")
}

fn path(bench: &Bench, name: &str) -> String {
    bench.files.path().join(name).to_str().expect("the test's own set-up").to_owned()
}

#[test]
fn a_check_needs_no_server_and_says_what_will_be_different() {
    let bench = Bench::new();
    let dir = pair(&bench);
    let said = run(&["import", "matchbox", &dir, "--check"]).ok();
    for want in [
        "look at   group/cp-01: profile: there is no profile `talos-control-plane`",
        "profiles/control-plane.json calls itself so, but the file's name counts",
        "profile/control-plane: boot.args[1]: it names http://10.0.20.5:8080 (/assets/controlplane.yaml)",
        "http://10.0.20.5:8080 is written out in 1 places",
        "2 profiles, 3 groups, 1 templates and 3 assets would be taken over: 0 left out, 0 different",
    ] {
        assert!(said.contains(want), "{want}\nin\n{said}");
    }
    bench.file("m/profiles/lines.json", r#"{"id":"lines","boot":{"args":["a\nshell"]}}"#);
    bench.file("m/groups/w-03.json", r#"{"profile":"worker","selector":{"mac":"aa:bb:cc:dd:ee:11"}}"#);
    bench.file("m/groups/notes.txt", "");
    let said = run(&["import", "matchbox", &dir, "--check"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.starts_with("left out  profiles/lines.json: boot.args[0]: "), "{}", said.out);
    assert!(
        said.out.contains("differs   group/w-01: selector: its selector equals that of group/w-03"),
        "{}",
        said.out
    );
    assert!(said.out.contains("groups/notes.txt: used neither there nor here"), "{}", said.out);
    assert!(said.error.contains("1 would be left out, 1 would be different"), "{}", said.error);
    let said = run(&["import", "matchbox", &dir, "--check", "-o", "json"]);
    let value: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&value["counts"]["left_out"], &value["objects"]["groups"]), (&1.into(), &4.into()));
    assert_eq!(value["findings"][0]["verdict"], "left_out");
    assert_eq!(bench.json(&["group", "list"]), json!([]), "nothing was changed");
    let gone = run(&["import", "matchbox", &path(&bench, "gone"), "--check"]).failed(1);
    assert!(gone.contains("gone cannot be read as a directory"), "{gone}");
}

#[test]
fn an_asset_that_cannot_be_opened_is_found_beforehand() {
    // root may read everything.
    let bench = Bench::new();
    let dir = pair(&bench);
    let locked = bench.file("m/assets/locked", "x");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    let is_root = fs::read(&locked).is_ok();
    let said = run(&["import", "matchbox", &dir, "--check"]);
    assert_eq!(said.out.contains("left out  assets/locked: it cannot be read"), !is_root, "{}", said.out);
    assert_eq!(said.code, u8::from(!is_root));
}

#[test]
fn certificates_are_looked_at_and_stay_where_they_are() {
    let bench = Bench::new();
    let dir = pair(&bench);
    // What a node makes for itself is laid out as matchbox's.
    let certificates = bench.server.dir.path().to_str().unwrap();
    let arguments = ["import", "matchbox", &dir, "--certificates", certificates, "--endpoint", "localhost:8081"];
    let said = run(&[&arguments[..], &["--check"]].concat()).ok();
    for want in [
        "usable    ",
        "server.crt: for ",
        "install -D -m 0600 ",
        "  [grpc]\n  cert = \"/etc/raftboot/grpc/server.crt\"\n",
        "client_ca = \"/etc/raftboot/grpc/ca.crt\"",
    ] {
        assert!(said.contains(want), "{want}\nin\n{said}");
    }
    let value: Value = serde_json::from_str(&run(&[&arguments[..], &["--check", "-o", "json"]].concat()).out).unwrap();
    let lines: Vec<&str> =
        value["certificates"]["config"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    let config = Config::parse(&lines.join("\n")).expect("the lines are those of a configuration");
    assert_eq!(config.grpc_certificates.unwrap().client_ca.file.to_str(), Some("/etc/raftboot/grpc/ca.crt"));
    let said = run(&[&arguments[..6], &["matchbox.example.com", "--check", "-o", "json"]].concat());
    assert_eq!(said.code, 1);
    let value: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&value["certificates"]["config"], &value["counts"]["unusable_certificates"]), (&json!([]), &1.into()));
    let said = bench.run(&arguments);
    assert!(said.error.contains("nothing is copied. To go on with them"), "{}", said.error);
    said.ok();
    let everything =
        bench.run(&["asset", "list", "-o", "json"]).ok() + &bench.run(&["template", "list", "-o", "json"]).ok();
    assert!(!everything.contains("server.key") && !everything.contains("ca.crt"));
}

#[test]
fn the_old_and_the_new_service_are_compared_group_by_group() {
    let bench = Bench::new();
    let dir = pair(&bench);
    bench.file("m/groups/default.json", r#"{"profile":"gone"}"#);
    let files = bench.files.path().join("m");
    let old = Boot::start(&files, ScriptStyle::Matchbox);
    let new = Boot::start(&files, ScriptStyle::Robust);
    let compare = |new: &Boot| run(&["import", "matchbox", &dir, "--compare", &old.url, "--with", &new.url]);
    let said = compare(&new);
    assert!(said.out.contains("meant    group/w-01: this one adds initrd=initramfs.xz"), "{}", said.out);
    assert!(said.out.contains("the machines of 4 groups and 3 assets were compared"), "{}", said.out);
    let differs: Vec<&str> = said.out.lines().filter(|line| line.starts_with("differs")).collect();
    assert!(differs.is_empty() && said.code == 0, "{differs:?}");
    assert_eq!((old.seen(), new.seen()), (0, 0), "whoever compares is no machine");
    let address = new.url.strip_prefix("http://").unwrap();
    let mut machine = TcpStream::connect(address).unwrap();
    machine.write_all(b"GET /ipxe?mac=aa-bb-cc-dd-ee-11 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    machine.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("/assets/vmlinuz") && new.seen() == 1, "{answer}");

    fs::create_dir(bench.files.path().join("n")).unwrap();
    for entry in ["profiles", "groups", "generic"] {
        for file in fs::read_dir(files.join(entry)).unwrap() {
            let file = file.unwrap();
            let text = fs::read_to_string(file.path()).unwrap().replace("w-01", "w-99").replace("name: ", "hostname: ");
            bench.file(&format!("n/{entry}/{}", file.file_name().to_str().unwrap()), text);
        }
    }
    bench.file("n/assets/vmlinuz", "another kernel");
    // As large as the other one.
    bench.file("n/assets/initramfs.xz", "lnitrd");
    let said = compare(&Boot::start(&bench.files.path().join("n"), ScriptStyle::Robust));
    assert_eq!(said.code, 1);
    for want in [
        "differs  group/w-01: line 1: it was 11 bytes, is 15",
        "/generic?mac=aa-bb-cc-dd-ee-11\n",
        "line 5: it was `NAME=w-01`, is `NAME=w-99`",
        "differs  asset/vmlinuz: it had 6 bytes, has 14",
        format!(
            "differs  asset/initramfs.xz: it has as many bytes and others: sha256 was {}, is {}\n",
            Digest::of(b"initrd"),
            Digest::of(b"lnitrd")
        )
        .as_str(),
        "differs  asset/controlplane.yaml: the old one answers 200, this one 404",
    ] {
        assert!(said.out.contains(want), "{want}\nin\n{}", said.out);
    }
    assert!(!said.out.contains("secret") && !said.out.contains("hostname:"), "configs stay off the terminal");
    let gone = run(&["import", "matchbox", &dir, "--compare", "http://127.0.0.1:1", "--with", &new.url]).failed(1);
    assert!(gone.contains("http://127.0.0.1:1") && gone.contains("hint: "), "{gone}");
}

#[test]
fn a_dnsmasq_configuration_is_told_line_by_line() {
    let bench = Bench::new();
    bench.file(
        "d/10-pxe.conf",
        "port=0\ndhcp-range=10.0.20.0,proxy\ndhcp-boot=tag:ipxe,http://10.0.20.5:8080/boot.ipxe\n",
    );
    bench.file("d/20-more.conf", "interface=eth1\ndhcp-boot=ipxe.efi\nfrobnicate\ntftp-root=/srv/tftp\nlog-dhcp\n\
         dhcp-boot=tag:ipxe,http://boot.lab:80/boot.ipxe\naddress=/boot.lab/10.0.20.5\ndhcp-host=52:54:00:00:00:01,ignore\n");
    let dir = path(&bench, "d");
    let main = bench.file("dnsmasq.conf", format!("conf-dir={dir},*.conf\n"));
    for named in [&dir, &main] {
        let said = run(&["import", "dnsmasq", named]).ok();
        for want in [
            "10-pxe.conf:1: port=0\n  already so: there is no DNS server here",
            "20-more.conf:2: dhcp-boot=ipxe.efi\n  set this: ",
            "20-more.conf:3: frobnicate\n  not understood: ",
            "once, on any node:\n  raftboot cluster set dns_names=boot.lab\n",
            "  raftboot settings set loaders.uefi-x64=ipxe.efi\n",
            "  interface = \"eth1\"\n",
            "raftboot cluster set vip=10.0.20.5",
        ] {
            assert!(said.contains(want), "{want}\nin\n{said}");
        }
    }
    let value: Value = serde_json::from_str(&run(&["import", "dnsmasq", &dir, "-o", "json"]).ok()).unwrap();
    assert_eq!((&value["findings"][3]["verdict"], &value["findings"][3]["line"]), (&"set".into(), &1.into()));
    for command in value["commands"].as_array().unwrap() {
        Cli::try_parse_from(command.as_str().unwrap().split(' ')).unwrap();
    }
    let config: Vec<&str> = value["config"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert!(config.len() >= 4, "{config:?}");
    assert!(config.contains(&"[listen]") && config.contains(&"boot_http = \"0.0.0.0:80\""), "{config:?}");
    let read = Config::parse(&config.join("\n")).unwrap();
    assert_eq!((read.boot_http.port(), read.interface.as_deref()), (80, Some("eth1")));
    // Together with what a node has anyway.
    Config::parse(&format!("name = \"n1\"\n{}\n[tls]\nnames = [\"boot.lab\"]\n", config.join("\n"))).unwrap();
    // Not /nonexistent: some hosts have a folder of that name.
    let gone = run(&["import", "dnsmasq", &path(&bench, "gone")]).failed(1);
    assert!(gone.contains("gone cannot be read: No such file"), "{gone}");
    assert!(run(&["import", "dnsmasq", &bench.file("empty", "# nothing\n")]).failed(1).contains("no option"));
}

/// Every file below a directory, by its path.
fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the test's own set-up") {
            let path = entry.expect("the test's own set-up").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(dir).expect("the test's own set-up").to_string_lossy().into_owned();
                found.insert(name, fs::read(path).expect("the test's own set-up"));
            }
        }
    }
    found
}

#[test]
fn what_is_exported_and_imported_again_is_the_same() {
    let (bench, other) = (Bench::new(), Bench::new());
    let dir = pair(&bench);
    bench.file("m/cloud/sub/binary", [0xff, 0x00]);
    bench.file("m/groups/w-01.json", r#"{"profile":"worker","selector":{"mac":"AA-BB-CC-DD-EE-11"},"metadata":{"name":"w-01","n":1.0,"big":12345678901234567890}}"#);
    bench.run(&["import", "matchbox", &dir]).ok();
    let (first, second) = (path(&bench, "first"), path(&other, "second"));
    let said = bench.run(&["export", "matchbox", &first, "--assets"]);
    assert!(!said.error.contains("left out"), "{}", said.error);
    assert!(said.ok().contains("2 profiles, 3 groups, 2 templates and 3 assets written"));
    let files = tree(Path::new(&first));
    let group = "{\n\t\"id\": \"w-01\",\n\t\"profile\": \"worker\",\n\t\"selector\": {\n\t\t\"mac\": \"AA-BB-CC-DD-EE-11\"\n\t},\n\t\"metadata\": {\n\t\t\"big\": 12345678901234567890,\n\t\t\"n\": 1.0,\n\t\t\"name\": \"w-01\"\n\t}\n}";
    assert_eq!(String::from_utf8_lossy(&files["groups/w-01.json"]), group);
    assert_eq!(
        (files["assets/vmlinuz"].as_slice(), files["cloud/sub/binary"].as_slice()),
        (&b"kernel"[..], &[0xff, 0][..])
    );
    assert_eq!(files.len(), 10, "{:?}", files.keys());

    other.run(&["import", "matchbox", &first, "--strict"]).ok();
    for kind in ["profile", "group", "template", "asset"] {
        let list = |bench: &Bench| {
            let mut items = bench.json(&[kind, "list"]);
            for item in items.as_array_mut().expect("the test's own set-up") {
                for own in ["revision", "created_at", "updated_at", "updated_by", "origin"] {
                    item[own].take();
                }
            }
            items
        };
        assert_eq!(list(&bench), list(&other), "{kind}");
    }
    other.run(&["export", "matchbox", &second, "--assets"]).ok();
    assert_eq!(files, tree(Path::new(&second)));
}

#[test]
fn an_export_destroys_nothing_and_says_what_it_leaves() {
    let bench = Bench::new();
    let dir = pair(&bench);
    let target = path(&bench, "target");
    bench.run(&["import", "matchbox", &dir]).ok();
    bench.file("target/groups/old.json", "{}");
    let refused = bench.run(&["export", "matchbox", &target]).failed(1);
    assert!(refused.contains("not empty") && refused.contains("--force"), "{refused}");
    assert_eq!(tree(Path::new(&target)).len(), 1, "nothing was written");
    bench.run(&["settings", "set", "extra_kernel_args=console=ttyS0"]).ok();
    bench.run(&["machine", "set", "aa:bb:cc:dd:ee:01", "hold=true"]).ok();
    let said = bench.run(&["export", "matchbox", &target, "--force"]);
    for want in [
        "left as it is, and matchbox reads it: groups/old.json",
        "stays behind: settings.extra_kernel_args: console=ttyS0",
        "stays behind: 1 machines are held",
    ] {
        assert!(said.error.contains(want), "{want}\nin\n{}", said.error);
    }
    assert!(said.ok().contains("0 assets written"));
    assert!(!Path::new(&target).join("assets").exists());
    let before = tree(Path::new(&target));
    bench.run(&["export", "matchbox", &target, "--force"]).ok();
    assert_eq!(before, tree(Path::new(&target)));

    bench.run(&["profile", "put", "-f", &bench.file("p.yaml", "id: url\nboot: {args: ['u=${base_url}/x']}\n")]).ok();
    bench.run(&["group", "put", "-f", &bench.file("g.yaml", "id: team/g\nprofile: url\nselector: {a: b}\n")]).ok();
    let said = bench.run(&["export", "matchbox", &target, "--force"]);
    assert_eq!(said.code, 1);
    assert!(said.error.contains("changed: profile/url: it names `${base_url}`"), "{}", said.error);
    assert!(said.error.contains("left out: group/team/g: matchbox does not look into sub-folders"), "{}", said.error);
    assert!(said.error.contains("give these other names here"), "{}", said.error);
    bench.run(&["group", "delete", "team/g"]).ok();
    bench.run(&["export", "matchbox", &target, "--force", "--base-url", "http://10.0.20.5:8080"]).ok();
    let profile = tree(Path::new(&target)).remove("profiles/url.json").unwrap();
    assert!(String::from_utf8_lossy(&profile).contains("u=http://10.0.20.5:8080/x"));
    let in_the_way = bench.file("file", "");
    assert!(bench.run(&["export", "matchbox", &in_the_way]).failed(1).contains("cannot be written"));
}

#[test]
fn recorded_directories_survive_an_export() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let (mut worlds, mut objects) = (0, 0);
    for entry in fs::read_dir(vectors).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "json") {
            continue;
        }
        let world: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        // Calls, not a directory.
        let Some(files) = world["files"].as_object() else { continue };
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(first.path().join("groups")).unwrap();
        for (name, content) in files {
            // Files that are no text are assets, or files that matchbox cannot read either.
            let Some(text) = content.as_str().filter(|_| !name.starts_with("assets/")) else { continue };
            let file = first.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let read = |dir: &Path| matchbox::read(dir).unwrap();
        let before = read(first.path());
        let plan = export::plan(
            &export::Objects {
                profiles: before.profiles.clone(),
                groups: before.groups.clone(),
                templates: before.templates.clone(),
                assets: Vec::new(),
            },
            None,
        );
        assert_eq!(plan.left_out, [], "{}", path.display());
        fs::create_dir(second.path().join("groups")).unwrap();
        for (name, content) in &plan.files {
            folder::write(second.path(), name, content).unwrap();
        }
        let after = read(second.path());
        assert_eq!(after.problems, [], "{}", path.display());
        assert_eq!((&before.profiles, &before.templates), (&after.profiles, &after.templates), "{}", path.display());
        assert_eq!(before.groups.len(), after.groups.len(), "{}", path.display());
        for (before, after) in before.groups.iter().zip(&after.groups) {
            let value = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
            assert_eq!(value(&before.metadata), value(&after.metadata), "{}", path.display());
            let plain = |group: &raft::state::Group| raft::state::Group { metadata: String::new(), ..group.clone() };
            assert_eq!(plain(before), plain(after), "{}", path.display());
        }
        worlds += 1;
        objects += plan.files.iter().map(|(name, _)| name).collect::<BTreeSet<_>>().len();
    }
    assert!(worlds >= 88 && objects > 500, "{worlds} {objects}");
}
