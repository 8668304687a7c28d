//! Taste as a test: who may import whom, how long a file may be, and that each says what it is for.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules of `node` and the sibling modules each may name. Protocol servers never name each other; they state what
/// they ask as traits, which `catalog` answers. Adding a line here needs a line in `docs/decisions/`.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("template", &[]),
    ("config", &[]),
    ("metrics", &[]),
    ("request_id", &[]),
    ("log", &["config", "metrics"]),
    ("tasks", &[]),
    ("loaders", &["tftp"]),
    ("assets", &[]),
    ("rendezvous", &[]),
    ("dhcp", &["rendezvous"]),
    ("tftp", &["loaders", "metrics"]),
    ("idle", &[]),
    ("boot", &["go_json", "idle", "metrics", "rendezvous", "request_id", "template"]),
    ("go_json", &[]),
    ("https", &["certs", "idle", "metrics", "request_id"]),
    ("callers", &["certs", "https"]),
    ("grpc", &["callers", "certs", "go_json", "https", "metrics"]),
    ("matchbox_json", &["go_json", "match_json"]),
    ("match_json", &[]),
    ("import", &["boot", "certs", "dhcp", "go_json", "matchbox_json", "template"]),
    ("export", &["go_json"]),
    ("sightings", &[]),
    ("times", &[]),
    ("peer_http", &["request_id"]),
    ("timeline", &["peer_http"]),
    ("vip", &["config", "metrics"]),
    (
        "catalog",
        &[
            "assets",
            "boot",
            "config",
            "dhcp",
            "loaders",
            "metrics",
            "rendezvous",
            "replication",
            "sightings",
            "tftp",
            "timeline",
            "vip",
        ],
    ),
    ("certs", &[]),
    ("membership", &["certs"]),
    ("peers", &["certs", "idle", "membership", "request_id"]),
    ("replication", &["assets", "metrics", "peer_http"]),
    ("rotation", &["certs", "peer_http"]),
    ("backup", &["times"]),
    ("observe", &["assets", "metrics", "peer_http", "replication", "timeline"]),
    (
        "admin",
        &[
            "assets",
            "backup",
            "callers",
            "certs",
            "https",
            "matchbox_json",
            "membership",
            "metrics",
            "observe",
            "replication",
            "request_id",
            "rotation",
            "timeline",
            "times",
        ],
    ),
    ("client", &[]),
    (
        "cli",
        &[
            "backup",
            "certs",
            "client",
            "config",
            "export",
            "go_json",
            "import",
            "matchbox_json",
            "membership",
            "run",
            "times",
        ],
    ),
    (
        "run",
        &[
            "admin",
            "assets",
            "backup",
            "boot",
            "callers",
            "catalog",
            "certs",
            "config",
            "dhcp",
            "grpc",
            "https",
            "loaders",
            "log",
            "membership",
            "observe",
            "peer_http",
            "peers",
            "replication",
            "rotation",
            "sightings",
            "tasks",
            "tftp",
            "timeline",
            "vip",
        ],
    ),
];

/// Crates that may be named in one member of the workspace only.
const ONLY_IN: &[(&str, &str)] = &[
    ("openraft", "raft"),
    ("rocksdb", "raft"),
    ("bincode", "raft"),
    ("rtnetlink", "netlink"),
    ("netlink_packet_core", "netlink"),
    ("netlink_packet_netfilter", "netlink"),
    ("netlink_packet_route", "netlink"),
    ("netlink_sys", "netlink"),
    ("dhcproto", "node/src/dhcp"),
];

/// Files that decide: no sockets, no clock, no runtime.
const PURE: &[&str] = &[
    "raft/src/state/",
    "raft/src/command.rs",
    "raft/src/types.rs",
    "node/src/template/",
    "node/src/dhcp/decide.rs",
    "node/src/dhcp/reply.rs",
    "node/src/dhcp/client.rs",
    "node/src/dhcp/turn.rs",
    "node/src/dhcp/repeats.rs",
    "node/src/rendezvous.rs",
    "node/src/tftp/packet.rs",
    "node/src/tftp/transfer.rs",
    "node/src/backup/archive.rs",
    "node/src/boot/line.rs",
    "node/src/boot/nodes.rs",
    "node/src/boot/script.rs",
    "node/src/boot/labels.rs",
    "node/src/boot/path.rs",
    "node/src/boot/sniff.rs",
    "node/src/boot/listing.rs",
    "node/src/boot/butane/",
    "node/src/boot/ignition/",
    "node/src/export/matchbox.rs",
    "node/src/import/check/",
    "node/src/import/compare.rs",
    "node/src/import/dnsmasq/judge.rs",
    "node/src/import/dnsmasq/line.rs",
    "node/src/import/dnsmasq/tags.rs",
    "node/src/replication/garbage.rs",
    "node/src/replication/plan.rs",
    "node/src/replication/queue.rs",
    "node/src/replication/summary.rs",
    "node/src/times.rs",
    "node/src/admin/concerns.rs",
    "node/src/admin/picture.rs",
    "node/src/metrics/page.rs",
    "node/src/observe/redact.rs",
    "node/src/timeline/book.rs",
];
const IMPURE: &[&str] =
    &["tokio", "std::net::UdpSocket", "std::net::Tcp", "Instant::now", "SystemTime::now", ".await", "async fn"];

/// House rule 2: 350 lines is where to stop, 600 is where this test stops you.
const FILE_LINES_MAX: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("node is a member of the workspace").to_owned()
}

fn rust_files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ["netlink", "raft", "node", "ha-tests"].map(|member| root().join(member)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable source tree") {
            let path = entry.expect("a readable source tree").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).expect("inside the root").to_string_lossy().into_owned();
                found.push((name, fs::read_to_string(&path).expect("UTF-8 source")));
            }
        }
    }
    found.sort();
    assert!(found.len() > 40, "the walk lost its way: only {} files", found.len());
    found
}

fn check(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

/// The code of a file without its comments, so that prose may name anything.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn word_followed_by<'a>(code: &'a str, prefix: &str) -> impl Iterator<Item = &'a str> {
    code.match_indices(prefix).filter_map(move |(at, _)| {
        let rest = &code[at + prefix.len()..];
        let before = code[..at].chars().next_back();
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        (!before.is_some_and(|c| c.is_alphanumeric() || c == '_')).then_some(&rest[..end])
    })
}

#[test]
fn modules_import_only_what_the_table_allows() {
    let table: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let mut problems = Vec::new();
    for (name, text) in rust_files() {
        let Some(path) = name.strip_prefix("node/src/") else { continue };
        let module = path.split(['/', '.']).next().unwrap_or_default();
        let module = module.strip_suffix("_tests").unwrap_or(module);
        if matches!(module, "lib" | "main") {
            continue;
        }
        let Some(allowed) = table.get(module) else {
            problems.push(format!("{name}: module `{module}` is not in the import table"));
            continue;
        };
        for other in word_followed_by(&code(&text), "crate::") {
            if table.contains_key(other) && other != module && !allowed.contains(&other) {
                problems.push(format!("{name}: `{module}` may not import `{other}`"));
            }
        }
    }
    check(&problems);
}

#[test]
fn some_crates_are_named_in_one_place_only() {
    let mut problems = Vec::new();
    for (name, text) in rust_files() {
        if name.ends_with("tests/architecture.rs") {
            continue;
        }
        let code = code(&text);
        for (krate, home) in ONLY_IN {
            if word_followed_by(&code, &format!("{krate}::")).next().is_some() && !name.starts_with(home) {
                problems.push(format!("{name}: `{krate}` belongs to {home}"));
            }
        }
    }
    check(&problems);
}

#[test]
fn deciding_files_touch_no_clock_and_no_socket() {
    let mut problems = Vec::new();
    for (name, text) in rust_files() {
        if !PURE.iter().any(|pure| name.starts_with(pure)) {
            continue;
        }
        let code = code(&text);
        let deciding = code.split("#[cfg(test)]").next().unwrap_or_default();
        for word in IMPURE.iter().filter(|word| deciding.contains(*word)) {
            problems.push(format!("{name}: `{word}` in a file that only decides"));
        }
    }
    for pure in PURE {
        assert!(rust_files().iter().any(|(name, _)| name.starts_with(pure)), "no such file any more: {pure}");
    }
    check(&problems);
}

#[test]
fn every_file_says_what_it_is_for_and_stays_short() {
    let mut problems = Vec::new();
    for (name, text) in rust_files() {
        let head = text.lines().next().unwrap_or_default();
        if !head.starts_with("//! ") || head.len() < 20 {
            problems.push(format!("{name}: the first line must be a `//! ` sentence saying what the file is for"));
        }
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            problems.push(format!("{name}: {lines} lines, at most {FILE_LINES_MAX}; probably two rooms"));
        }
    }
    check(&problems);
}

#[test]
fn unsafe_code_and_open_ends_are_absent() {
    let mut problems = Vec::new();
    for (name, text) in rust_files() {
        let code = code(&text);
        // Some tests start themselves again as the process that will be killed; cargo must not run that part alone.
        let child = ["raft/tests/crash/child.rs", "netlink/tests/vip/holder.rs"].contains(&name.as_str());
        if name.ends_with("tests/architecture.rs") || child {
            continue;
        }
        // Deployments from fresh hosts take minutes each; there is one command that runs them, and each says so.
        let elsewhere = text.matches("#[ignore = \"minutes long: ha-tests/verify --deploy\"]").count();
        let left_out =
            code.matches("#[ignore").count() > if name == "ha-tests/tests/deploy.rs" { elsewhere } else { 0 };
        if left_out {
            problems.push(format!("{name}: `#[ignore`"));
        }
        for word in ["unsafe {", "unsafe fn", "todo!(", "unimplemented!("] {
            if code.contains(word) && !(word.starts_with("unsafe") && name.starts_with("netlink/src/")) {
                problems.push(format!("{name}: `{word}`"));
            }
        }
    }
    check(&problems);
}

#[test]
fn the_root_holds_what_the_design_names() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "LICENSE",
        "netlink",
        "raft",
        "node",
        "ha-tests",
        "ansible",
        "terraform",
        "docs",
    ];
    let mut problems = Vec::new();
    for entry in fs::read_dir(root()).expect("a readable root") {
        let name = entry.expect("a readable root").file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && !allowed.contains(&name.as_str()) && name != "target" {
            problems.push(format!("the root holds `{name}`"));
        }
    }
    check(&problems);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut problems = Vec::new();
    let mut files = vec![root().join("README.md")];
    let mut folders = ["docs", "ansible", "terraform", "ha-tests"].map(|folder| root().join(folder)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path);
            }
        }
    }
    for file in files {
        let text = fs::read_to_string(&file).expect("a readable document");
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', '#', ' ']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            if !file.parent().expect("a file has a folder").join(target).exists() {
                problems.push(format!("{}: no such file: {target}", file.display()));
            }
        }
    }
    check(&problems);
}
