//! The command line against a running admin API: what it does, what it prints, how it ends.

#[path = "cli/boot.rs"]
mod boot;
#[path = "cli/guide.rs"]
mod guide;
#[path = "cli/migration.rs"]
mod migration;
#[path = "cli/safety.rs"]
mod safety;
#[path = "api/server.rs"]
#[expect(dead_code, reason = "shared with the tests of the API, which use more of it")]
mod server;

use std::fs;
use std::path::Path;

use clap::{CommandFactory, Parser};
use raftboot::cli::{Cli, Command, Terminal, run_on};
use serde_json::Value;
use server::Server;

/// What a command printed, and how it ended.
#[derive(Debug)]
struct Said {
    code: u8,
    out: String,
    error: String,
}

impl Said {
    /// The result of a command that was done.
    fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// The complaint of a command that ended with this code.
    fn failed(self, code: u8) -> String {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.out, "", "a failed command has no result");
        self.error
    }
}

fn run(arguments: &[&str]) -> Said {
    let cli = Cli::try_parse_from([&["raftboot"], arguments].concat()).unwrap_or_else(|error| panic!("{error}"));
    let Command::Client(command) = cli.command else { panic!("no command of a client: {arguments:?}") };
    let (mut out, mut error) = (Vec::new(), Vec::new());
    let code = run_on(command, &mut Terminal { out: &mut out, error: &mut error });
    Said {
        code,
        out: String::from_utf8(out).expect("the test's own set-up"),
        error: String::from_utf8(error).expect("the test's own set-up"),
    }
}

/// A server and a folder for files.
struct Bench {
    server: Server,
    files: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { server: Server::start(), files: tempfile::tempdir().expect("the test's own set-up") }
    }

    fn run(&self, arguments: &[&str]) -> Said {
        let dir = self.server.dir.path().to_str().expect("the test's own set-up");
        run(&[arguments, &["--server", &self.server.url, "--data-dir", dir]].concat())
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[arguments, &["-o", "json"]].concat()).ok()).expect("the test's own set-up")
    }

    /// Writes a file and answers its path.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.files.path().join(name);
        fs::create_dir_all(path.parent().expect("the test's own set-up")).expect("the test's own set-up");
        fs::write(&path, content).expect("the test's own set-up");
        path.to_str().expect("the test's own set-up").to_owned()
    }
}

#[test]
fn a_port_that_speaks_no_tls_is_told_apart_from_a_foreign_certificate() {
    use std::io::{Read, Write};
    let bench = Bench::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", port.local_addr().unwrap());
    let plain = std::thread::spawn(move || {
        let (mut client, _) = port.accept().unwrap();
        let _hello = client.read(&mut [0; 512]).unwrap();
        client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        // Closing now could overtake what was said.
        let _until_it_leaves = client.read_to_end(&mut Vec::new());
    });
    let dir = bench.server.dir.path().to_str().unwrap();
    let said = run(&["status", "--server", &url, "--data-dir", dir]).failed(1);
    assert!(said.contains("it does not speak TLS") && said.contains("8443"), "{said}");
    plain.join().unwrap();
}

#[test]
fn what_belongs_to_one_command_stands_apart_from_what_belongs_to_all() {
    fn look(command: &clap::Command) {
        for argument in command.get_arguments() {
            let shared = argument.get_help_heading() == Some("Connection and output");
            assert_eq!(shared, argument.is_global_set(), "{} {}", command.get_name(), argument.get_id());
        }
        command.get_subcommands().for_each(look);
    }
    look(&Cli::command());
}

#[test]
fn the_command_line_contradicts_itself_nowhere() {
    Cli::command().debug_assert();
    for arguments in [&["raftboot"][..], &["raftboot", "asset", "put", "x"], &["raftboot", "status", "-o", "xml"]] {
        assert_eq!(Cli::try_parse_from(arguments).unwrap_err().exit_code(), 2, "{arguments:?}");
    }
    let script = run(&["completions", "bash"]).ok();
    assert!(script.contains("_raftboot()") && script.contains("machine"));
}

#[test]
fn an_asset_goes_there_and_back() {
    let bench = Bench::new();
    let bytes: Vec<u8> = (0..500_000_u32).flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let file = bench.file("vmlinuz", &bytes);
    assert!(bench.run(&["asset", "put", "talos/vmlinuz", &file]).ok().contains("asset/talos/vmlinuz created"));
    assert!(bench.run(&["asset", "put", "talos/vmlinuz", &file]).ok().contains("1 unchanged"));
    let listed = bench.run(&["asset", "list"]).ok();
    assert!(listed.contains("talos/vmlinuz") && listed.contains("1.9 MiB"), "{listed}");
    assert_eq!(bench.json(&["asset", "list", "--prefix", "x"]), serde_json::json!([]));

    let back = bench.files.path().join("back");
    bench.run(&["asset", "get", "talos/vmlinuz", back.to_str().unwrap()]).ok();
    assert_eq!(fs::read(&back).unwrap(), bytes);
    bench.run(&["asset", "put", "hello", &bench.file("hello", "hello\n")]).ok();
    assert_eq!(bench.run(&["asset", "get", "hello", "-"]).ok(), "hello\n");
    assert!(bench.run(&["asset", "rm", "hello"]).ok().contains("asset/hello deleted"));
    assert!(bench.run(&["asset", "get", "hello", "-"]).failed(1).contains("there is no asset `hello`"));
}

#[test]
fn a_file_with_another_digest_is_not_sent() {
    let bench = Bench::new();
    let file = bench.file("k", "kernfl");
    let digest = raft::types::Digest::of(b"kernel").to_string();
    let error = bench.run(&["asset", "put", "k", &file, "--digest", &digest]).failed(1);
    assert!(error.contains("has sha256") && error.contains(&digest), "{error}");
    assert_eq!(bench.json(&["asset", "list"]), serde_json::json!([]));
    assert!(bench.run(&["asset", "put", "k", "/nonexistent"]).failed(1).contains("/nonexistent cannot be read"));
    assert!(bench.run(&["asset", "put", "../k", &file]).failed(1).contains("name"));
}

#[test]
fn damaged_bytes_do_not_replace_a_good_file() {
    let bench = Bench::new();
    bench.run(&["asset", "put", "k", &bench.file("k", "kernel")]).ok();
    let digest = raft::types::Digest::of(b"kernel").to_string();
    let blob = bench.server.dir.path().join("assets/blobs/sha256").join(&digest[..2]).join(&digest);
    fs::write(blob, "kernfl").unwrap();
    let mine = bench.file("mine", "as it was");
    let error = bench.run(&["asset", "get", "k", &mine]).failed(1);
    assert!(error.contains("damaged"), "{error}");
    assert_eq!(fs::read_to_string(&mine).unwrap(), "as it was");
    assert_eq!(fs::read_dir(bench.files.path()).unwrap().count(), 2, "no half file is left behind");
}

#[test]
fn bytes_with_another_digest_than_wanted_are_not_kept() {
    let bench = Bench::new();
    let put = bench.server.call("PUT", "/api/v1/assets/k", b"kernfl");
    assert_eq!(put.status, 201);
    let ca = fs::read(bench.server.dir.path().join("ca.crt")).unwrap();
    let client = raftboot::client::Client::new(&bench.server.url, &bench.server.token, &ca).unwrap();
    let (sent, wanted) = (raft::types::Digest::of(b"kernfl"), raft::types::Digest::of(b"kernel"));
    let file = bench.files.path().join("k");
    let error = client.download_file(&format!("/blobs/{sent}"), wanted, &file, &|_| ()).unwrap_err();
    assert!(matches!(error, raftboot::client::ClientError::Corrupt(_)), "{error}");
    assert_eq!(fs::read_dir(bench.files.path()).unwrap().count(), 0, "neither the file nor a part of it");
    assert!(client.download_file(&format!("/blobs/{sent}"), sent, &file, &|_| ()).is_ok());
}

const SITE: &str = r#"
# A site.
kind: profile
id: worker
boot:
  kernel: /assets/k
  args: [console=tty0]
generic_id: worker.yaml
---
kind: group
id: rack1-n1
profile: worker
selector: {mac: "52:54:00:12:34:56"}
metadata: {hostname: rack1-n1, cpus: 4}
---
kind: settings
extra_kernel_args: [quiet]
"#;

#[test]
fn a_folder_of_files_becomes_one_change() {
    let bench = Bench::new();
    bench.file("site/10-site.yaml", SITE);
    bench.file(
        "site/templates/20-t.yml",
        "kind: template\ntype: generic\nname: worker.yaml\ncontent_file: worker.yaml.tmpl\n",
    );
    bench.file("site/templates/worker.yaml.tmpl", "name: {{.hostname}}\n");
    bench.file("site/30.json", r#"[{"kind": "profile", "id": "spare"}]"#);
    bench.file("site/.hidden.yaml", "kind: nonsense\n");
    let site = bench.files.path().join("site").to_str().unwrap().to_owned();

    let rehearsal = bench.run(&["apply", "-f", &site, "--dry-run"]).ok();
    assert!(rehearsal.contains("5 created") && rehearsal.contains("nothing was changed"), "{rehearsal}");
    assert_eq!(bench.json(&["profile", "list"]), serde_json::json!([]));

    let said = bench.run(&["apply", "-f", &site]);
    assert!(said.error.contains("warning: profile/worker: boot.kernel: there is no asset `k`"), "{}", said.error);
    let done = said.ok();
    assert!(done.contains("group/rack1-n1 created") && done.contains("5 created, 0 updated"), "{done}");
    assert_eq!(bench.run(&["template", "get", "generic", "worker.yaml"]).ok(), "name: {{.hostname}}\n");
    assert_eq!(bench.json(&["group", "get", "rack1-n1"])["metadata"]["cpus"], 4);
    assert_eq!(bench.json(&["settings", "get"])["extra_kernel_args"], serde_json::json!(["quiet"]));

    let only = bench.file("only.yaml", "kind: profile\nid: spare\n");
    let done = bench.run(&["apply", "-f", &only, "--replace", "profile,group", "--allow-empty"]).ok();
    assert!(done.contains("2 deleted") && done.contains("profile/worker deleted"), "{done}");
}

#[test]
fn a_mistake_is_said_by_file_line_and_field_and_changes_nothing() {
    let bench = Bench::new();
    let cases = [
        (
            "kind: profile\nid: a\n---\n\nkind: group\nid: g\nselector: {mac: 52:54:00}\n",
            "c.yaml:5: selector.mac: `52:54:00` is not a MAC address",
        ),
        ("kind: profile\nid: a\nboot: {kernal: k}\n", "c.yaml:1: boot.kernal: unknown field `kernal`"),
        (
            "kind: group\nid: g\nselector: {rack: 7}\n",
            "c.yaml:1: selector.rack: invalid type: integer `7`, expected a string",
        ),
        ("kind: profile\nid: a\nid: b\n", "c.yaml:3:1: duplicate"),
        ("kind: profile\nid: [a\n", "c.yaml:"),
        ("id: a\n", "c.yaml:1: kind: the object does not say what it is"),
        ("kind: template\ntype: generic\nname: t\ncontent_file: gone\n", "gone cannot be read"),
        ("kind: profile\nid: a\n---\nkind: profile\nid: a\n", "c.yaml:1 already"),
    ];
    for (text, want) in cases {
        let file = bench.file("c.yaml", text);
        let error = bench.run(&["apply", "-f", &file]).failed(1);
        assert!(error.contains(want), "{text}\n{error}");
        assert_eq!(error.matches("raftboot: ").count(), 1, "said once: {error}");
    }
    assert!(bench.run(&["apply", "-f", "/nonexistent"]).failed(1).contains("/nonexistent"));
    fs::create_dir(bench.files.path().join("empty")).unwrap();
    assert!(
        bench
            .run(&["apply", "-f", bench.files.path().join("empty").to_str().unwrap()])
            .failed(1)
            .contains("no such file")
    );
    assert_eq!(bench.json(&["profile", "list"]), serde_json::json!([]));
    assert_eq!(bench.json(&["group", "list"]), serde_json::json!([]));
}

#[test]
fn what_is_printed_as_yaml_can_be_applied_again() {
    let bench = Bench::new();
    bench.run(&["apply", "-f", &bench.file("site.yaml", SITE)]).ok();
    bench.run(&["template", "put", "cloud", "dir/t", "-f", &bench.file("t", "#cloud-config\na: \"{{.b}}\"\n")]).ok();
    for (kind, name) in
        [(&["profile"][..], "worker"), (&["group"], "rack1-n1"), (&["template", "cloud"], "dir/t"), (&["settings"], "")]
    {
        let mut arguments = vec![kind[0], "get"];
        arguments.extend(&kind[1..]);
        arguments.extend([name, "-o", "yaml"].iter().filter(|word| !word.is_empty()));
        let file = bench.file("back.yaml", bench.run(&arguments).ok());
        let done = bench.run(&["apply", "-f", &file]).ok();
        assert!(done.starts_with("0 created, 0 updated, 1 unchanged"), "{kind:?}: {done}");
    }
}

#[test]
fn objects_are_put_listed_and_removed_one_by_one() {
    let bench = Bench::new();
    bench.run(&["profile", "put", "-f", &bench.file("p.yaml", "id: p\nboot: {kernel: http://x/k}\n")]).ok();
    bench.run(&["group", "put", "-f", &bench.file("g.yaml", "id: g\nprofile: p\nselector: {os: x}\n")]).ok();
    let wrong = bench.run(&["profile", "put", "-f", &bench.file("w.yaml", "kind: group\nid: g\n")]).failed(1);
    assert!(wrong.contains("w.yaml:1: this is a group, not a profile"), "{wrong}");
    let tie = ["group", "put", "-f", &bench.file("h.yaml", "id: h\nprofile: p\nselector: {os: x}\n")];
    assert!(bench.run(&tie).failed(1).contains("equal selector"));
    bench.run(&[&tie[..], &["--allow-ties"]].concat()).ok();
    let table = bench.run(&["group", "list", "--profile", "p"]).ok();
    assert!(table.starts_with("ID  PROFILE  SELECTOR") && table.lines().count() == 3, "{table}");
    assert!(bench.run(&["profile", "list"]).ok().contains("http://x/k"));
    bench.run(&["group", "delete", "h"]).ok();
    assert!(bench.run(&["group", "delete", "h"]).failed(1).contains("hint: "));
}

#[test]
fn settings_machines_and_tokens_are_set_by_words() {
    let bench = Bench::new();
    bench.run(&["settings", "set", "dhcp_mode=off", "extra_kernel_args=console=ttyS0 quiet", "loaders.bios=x.0"]).ok();
    let now = bench.json(&["settings", "get"]);
    assert_eq!((&now["dhcp_mode"], &now["loaders"]["bios"]), (&"off".into(), &"x.0".into()));
    bench.run(&["settings", "unset", "dhcp_mode", "loaders.bios"]).ok();
    let now = bench.json(&["settings", "get"]);
    assert_eq!((&now["dhcp_mode"], &now["loaders"]), (&"proxy".into(), &serde_json::json!({})));
    assert!(bench.run(&["settings", "set", "dhcp_mode=maybe"]).failed(1).contains("dhcp_mode: unknown variant"));
    assert!(bench.run(&["settings", "set", "dhcp_mode"]).failed(2).contains("no KEY=VALUE"));
    assert!(bench.run(&["settings", "unset", "nope"]).failed(1).contains("unknown field `nope`"));
    assert!(bench.run(&["settings", "unset", "loaders.nope"]).failed(1).contains("no class of firmware"));
    assert!(bench.run(&["settings", "set", "dhcp_mode=off", "dhcp_mode=proxy"]).failed(2).contains("twice"));

    bench.run(&["machine", "set", "52:54:00:00:00:01", "hold=true", "loader=a.efi"]).ok();
    let listed = bench.run(&["machine", "list", "--held"]).ok();
    assert!(listed.contains("52:54:00:00:00:01") && listed.contains("hold=true loader=a.efi"), "{listed}");
    bench.run(&["machine", "delete", "52-54-00-00-00-01"]).ok();
    assert_eq!(bench.json(&["machine", "list"]), serde_json::json!([]));

    let token = bench.run(&["token", "create", "ci", "--role", "read", "--expires-in", "1h"]).ok();
    let file = bench.file("token", &token);
    assert!(bench.run(&["status", "--token-file", &file]).ok().contains("leader"));
    assert!(bench.run(&["settings", "set", "dhcp_mode=off", "--token-file", &file]).failed(1).contains("needs admin"));
    let id = &token[4..20];
    assert!(bench.run(&["token", "list"]).ok().contains(id));
    bench.run(&["token", "delete", id]).ok();
    assert!(bench.run(&["status", "--token-file", &file]).failed(1).contains("not known here"));
}

#[test]
fn a_matchbox_directory_is_taken_over_as_one_change() {
    let bench = Bench::new();
    bench.file("m/profiles/worker.json", r#"{"id":"worker","boot":{"kernel":"/assets/k","initrd":["/assets/sub/i"],"args":["a"]},"generic_id":"w.yaml"}"#);
    bench.file("m/profiles/broken.json", r#"{"id":"#);
    bench.file(
        "m/groups/n1.json",
        r#"{"profile":"worker","selector":{"mac":"52:54:00:12:34:56"},"metadata":{"n": 1.0}}"#,
    );
    bench.file("m/groups/n2.json", r#"{"profile":"worker","selector":{"mac":"52-54-00-12-34-56"}}"#);
    bench.file("m/generic/w.yaml", "a: {{.n}}\n");
    bench.file("m/cloud/binary", [0xff, 0x00]);
    bench.file("m/assets/k", "kernel");
    bench.file("m/assets/sub/i", "initrd");
    let dir = bench.files.path().join("m");
    let dir = dir.to_str().unwrap();
    bench.run(&["profile", "put", "-f", &bench.file("old.yaml", "id: old\n")]).ok();

    let rehearsal = bench.run(&["import", "matchbox", dir, "--dry-run"]);
    assert!(
        rehearsal.error.contains("2 assets would be sent") && !rehearsal.error.contains("no asset"),
        "{rehearsal:?}"
    );
    assert!(rehearsal.ok().contains("7 created"));
    let said = bench.run(&["import", "matchbox", dir]);
    assert!(said.error.contains("left out: ") && said.error.contains("broken.json"), "{}", said.error);
    assert!(said.error.contains("group/n1: selector: it wins over group/n2"), "{}", said.error);
    assert!(said.ok().contains("7 created"));
    assert!(bench.run(&["import", "matchbox", dir, "--strict"]).error.contains("1 files were left out"));
    assert_eq!(bench.run(&["import", "matchbox", dir, "--strict"]).code, 1);
    fs::remove_file(bench.files.path().join("m/profiles/broken.json")).unwrap();
    let done = bench.run(&["import", "matchbox", dir, "--replace"]).ok();
    assert!(done.contains("7 unchanged, 1 deleted") && done.contains("profile/old deleted"), "{done}");
    assert_eq!(bench.run(&["asset", "get", "sub/i", "-"]).ok(), "initrd");
    assert!(bench.run(&["group", "get", "n1", "-o", "json"]).ok().contains("1.0"));
    let binary = bench.server.get("/api/v1/templates/cloud/binary?content=true").bytes;
    assert_eq!(binary, [0xff, 0x00]);
    assert!(bench.run(&["import", "matchbox", dir, "--replace"]).ok().contains("7 unchanged, 0 deleted"));
    let nowhere = bench.files.path().join("nowhere");
    let gone = bench.run(&["import", "matchbox", nowhere.to_str().unwrap()]).failed(1);
    assert!(gone.contains("nowhere") && gone.contains("No such file"), "{gone}");
}

#[test]
fn who_cannot_be_reached_or_trusted_is_said_with_what_to_do() {
    let bench = Bench::new();
    let dir = bench.server.dir.path().to_str().unwrap();
    let gone = run(&["status", "--server", "https://127.0.0.1:1", "--data-dir", dir]).failed(1);
    assert!(gone.contains("https://127.0.0.1:1") && gone.contains("is `raftboot serve` running there"), "{gone}");
    let plain = run(&["status", "--server", "http://127.0.0.1:1", "--data-dir", dir]).failed(64);
    assert!(plain.contains("no https URL"), "{plain}");

    let other = tempfile::tempdir().unwrap();
    raftboot::admin::tls::Tls::open(other.path(), None, &[]).unwrap();
    let untrusted = bench.run(&["status", "--ca-file", other.path().join("ca.crt").to_str().unwrap()]).failed(1);
    assert!(untrusted.contains("certificate") && untrusted.contains("--ca-file"), "{untrusted}");

    let none = run(&["status", "--server", &bench.server.url, "--data-dir", "/nonexistent"]).failed(64);
    assert!(none.contains("/nonexistent/admin.token") && none.contains("--data-dir"), "{none}");
    let folder = bench.run(&["status", "--token-file", dir]).failed(64);
    assert!(folder.contains("token cannot be read"), "{folder}");
    let empty = bench.run(&["status", "--token-file", &bench.file("empty", "\n")]).failed(64);
    assert!(empty.contains("one line") && empty.contains("/empty: "), "{empty}");
    let unknown = bench.file("unknown", raftboot::admin::Secret::generate().unwrap().reveal());
    let refused = bench.run(&["status", "--token-file", &unknown]).failed(1);
    assert!(refused.contains(&format!("the token came from {unknown}")), "{refused}");
    let no_ca = bench.run(&["status", "--ca-file", &bench.file("ca", "hello")]).failed(64);
    assert!(no_ca.contains("/ca: ") && no_ca.contains("holds no PEM certificate"), "{no_ca}");
    assert!(Path::new(dir).join("admin.token").exists());
}

#[test]
fn a_group_with_match_is_applied_listed_and_explained() {
    let bench = Bench::new();
    let file = bench.file(
        "groups.yaml",
        "kind: profile\nid: p\n---\nkind: group\nid: default\nprofile: p\n---\n\
         kind: group\nid: pair\nprofile: p\nmatch:\n- mac: [52:54:00:00:00:01, 52:54:00:00:00:02]\n\
         - serial: {glob: AB*}\n  address: {subnet: 10.0.0.0/8}\n",
    );
    bench.run(&["apply", "-f", &file]).ok();
    assert!(bench.run(&["apply", "-f", &file]).ok().contains("3 unchanged"));
    let listed = bench.run(&["group", "list"]).ok();
    assert!(
        listed.contains("(mac=52:54:00:00:00:01|52:54:00:00:00:02) or (address subnet 10.0.0.0/8, serial glob AB*)"),
        "{listed}"
    );
    // As it is printed, so it can be applied.
    let printed = bench.file("again.yaml", bench.run(&["group", "get", "pair"]).ok());
    assert!(bench.run(&["group", "put", "-f", &printed]).ok().contains("1 unchanged"));

    let said = bench.run(&["explain", "52:54:00:00:00:02"]).ok();
    assert!(said.starts_with("52:54:00:00:00:02 belongs to group pair by its match[0]: profile p.\n"), "{said}");
    assert!(said.contains("it asks from an unknown address"), "{said}");
    let said = bench.run(&["explain", "--label", "serial=AB1", "--address", "192.0.2.1"]).ok();
    assert!(said.contains("belongs to group default by its selector"), "{said}");
    let row = said.lines().find(|line| line.starts_with("pair")).unwrap();
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(words, ["pair", "match[1].address.subnet", "10.0.0.0/8", "`192.0.2.1`"]);
    let said = bench.json(&["explain", "--label", "serial=AB1", "--address", "10.1.1.1", "--limit", "1"]);
    assert_eq!((said["group"].as_str(), said["matching_total"].as_u64()), (Some("pair"), Some(2)));

    assert!(bench.run(&["explain", "--label", "serial"]).failed(2).contains("no KEY=VALUE"));
    assert!(bench.run(&["explain", "nobody"]).failed(1).contains("there is no machine `nobody`"));
    let bad = bench.file("bad.yaml", "kind: group\nid: g\nmatch:\n- serial: {glob: [A, 7]}\n");
    let error = bench.run(&["apply", "-f", &bad]).failed(1);
    assert!(
        error.contains("bad.yaml:1") && error.contains("match[0].serial.glob[1]") && error.contains("in quotes"),
        "{error}"
    );
}
