//! Plays the recorded answers in `vectors/` against the real listener, through the import of a matchbox directory.
//!
//! Each file is one world: a data directory and what a matchbox answered to a list of requests, byte for byte.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

#[path = "vectors/client.rs"]
mod client;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::{Answer, Client};
use raft::command::{Command, Edit, GuardedEdit, Outcome};
use raft::state::{Asset, Kind, ScriptStyle, Settings, State};
use raft::types::{Digest, Timestamp};
use raft::{Cluster, EngineKind, Options};
use raftboot::boot::{self, BlobError, Loader, LoaderClient, Questions, Seen, Whereabouts};
use raftboot::import::matchbox;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

/// Requests whose recorded answer we do not give, and why.
const DEVIATIONS: &[(Which, &str)] = &[
    (
        Which::Tag("hollow-ignition"),
        "a config that cannot be read is refused (404, the log says why) or, if its spec is newer, served as stored: an \
         empty config with version \"\" brings a machine up without what it was meant to get",
    ),
    (Which::Request("ignition-failures-files", "HEAD", "/ignition?c=relpath"), "the same, asked by HEAD"),
    (Which::Request("ignition-failures-syntax", "HEAD", "/ignition?c=empty"), "the same, asked by HEAD"),
    (Which::Butane("butane-disks-boot-device"), BUTANE),
    (Which::Butane("butane-files"), BUTANE),
    (Which::Butane("butane-other-variants"), BUTANE),
    (Which::Butane("butane-templated"), BUTANE),
    (Which::Request("flatcar-cluster", "GET", "/ignition?uuid=u0&mac=66-00-00-00-00-00"), BUTANE),
    (Which::Request("flatcar-cluster", "GET", "/ignition?uuid=u1&mac=66-00-00-00-00-01"), BUTANE),
    (Which::Request("flatcar-cluster", "GET", "/ignition?uuid=u2&mac=66-00-00-00-00-02"), BUTANE),
    (Which::Request("flatcar-cluster", "GET", "/ignition?uuid=u3&mac=66-00-00-00-00-03"), BUTANE),
    (Which::Request("flatcar-cluster", "GET", "/ignition?uuid=u4&mac=66-00-00-00-00-04"), BUTANE),
    (Which::Request("flatcar-cluster", "GET", "/ignition?uuid=u0&mac=66-00-00-00-00-00&stage=done"), BUTANE),
    (Which::Request("flatcar-cluster", "GET", "/ignition?uuid=u1&mac=66-00-00-00-00-01&stage=done"), BUTANE),
    (Which::Request("netboot-layout-variables", "GET", "/ipxe?plan=newline"), LINE_BREAK),
    (Which::Request("netboot-layout-variables", "GET", "/grub?plan=newline"), LINE_BREAK),
    (Which::Request("profile-name-paths", "GET", "/ipxe?p=climb"), CLIMB),
    (Which::Request("profile-name-paths", "GET", "/ipxe?p=climb2"), CLIMB),
    (
        Which::Request("query-escapes", "GET", "/ipxe?tag=a+b/c#frag"),
        "a request target has no fragment (RFC 9112 section 3.2); what follows `#` is cut off instead of being a value",
    ),
];

const BUTANE: &str = "Butane is not translated yet, and such a template is refused";
const LINE_BREAK: &str =
    "a line break in a kernel argument would be a command of its own, so the import refuses the profile";
const CLIMB: &str = "a profile is named by its id; a name that climbs out of the folder of profiles is none";

#[derive(Clone, Copy)]
enum Which {
    /// Every request with that tag.
    Tag(&'static str),
    /// Every config of that world that was translated from Butane.
    Butane(&'static str),
    /// One request: world, method, target.
    Request(&'static str, &'static str, &'static str),
}

#[derive(Deserialize)]
struct World {
    name: String,
    topic: String,
    files: BTreeMap<String, Text>,
    requests: Vec<Recorded>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Plain(String),
    Binary { base64: String },
}

#[derive(Deserialize)]
struct Recorded {
    method: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<Text>,
    #[serde(default)]
    tags: Vec<String>,
    expect: Expected,
}

#[derive(Deserialize)]
struct Expected {
    status: u16,
    content_type: Option<String>,
    body: Option<Text>,
    #[serde(default)]
    headers: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    unordered_lines: bool,
}

impl Text {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Plain(text) => text.clone().into_bytes(),
            Self::Binary { base64 } => decode_base64(base64),
        }
    }
}

fn decode_base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("{other} in base64"),
    };
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'=').map(value).collect();
    let mut out = Vec::new();
    for group in digits.chunks(4) {
        let bits = group.iter().fold(0, |bits, digit| bits << 6 | u32::from(*digit)) << (6 * (4 - group.len()));
        out.extend(&bits.to_be_bytes()[1..group.len()]);
    }
    out
}

/// Blobs are the files of the imported directory themselves.
struct Answers {
    cluster: Cluster,
    blobs: std::sync::Mutex<BTreeMap<Digest, PathBuf>>,
}

impl Questions for Answers {
    fn state(&self) -> Arc<State> {
        self.cluster.read()
    }

    fn whereabouts(&self) -> Whereabouts {
        Whereabouts::default()
    }

    fn open(&self, digest: &Digest) -> Result<File, BlobError> {
        let path = self.blobs.lock().unwrap().get(digest).cloned().ok_or(BlobError::Missing)?;
        File::open(path).map_err(|error| BlobError::Unreadable(error.to_string()))
    }

    fn loader(&self, _name: &str, _client: LoaderClient) -> Option<Loader> {
        None
    }

    fn seen(&self, _seen: Seen<'_>) {}
}

impl Answers {
    /// Replaces everything by what the import of `dir` gives.
    async fn load(&self, dir: &Path, at: u64) {
        let import = matchbox::read(dir).unwrap();
        let mut edits: Vec<Edit> = Vec::new();
        edits.extend(import.profiles.into_iter().map(Edit::PutProfile));
        edits.extend(import.groups.into_iter().map(Edit::PutGroup));
        edits.extend(import.templates.into_iter().map(Edit::PutTemplate));
        let settings = Settings { script_style: ScriptStyle::Matchbox, ..Settings::default() };
        edits.push(Edit::PutSettings(settings));
        let mut blobs = BTreeMap::new();
        for (name, path) in import.assets {
            let bytes = fs::read(&path).unwrap();
            let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
            blobs.insert(digest, path);
            edits.push(Edit::PutAsset(Asset { name, digest, size, media_type: String::new(), origin: String::new() }));
        }
        *self.blobs.lock().unwrap() = blobs;
        let command = Command {
            actor: "vectors".into(),
            at: Timestamp(at),
            idempotency_key: String::new(),
            fingerprint: Digest::of(b""),
            edits: edits.into_iter().map(GuardedEdit::from).collect(),
            replace: vec![Kind::Profile, Kind::Group, Kind::Template, Kind::Asset],
            allow_ties: true,
        };
        let outcome = self.cluster.propose(command).await.unwrap().outcome;
        assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
    }
}

fn differences(expected: &Expected, answer: &Answer) -> Vec<String> {
    let mut found = Vec::new();
    if expected.status != answer.status {
        found.push(format!("status {}, expected {}", answer.status, expected.status));
    }
    let media = answer.headers.get("content-type");
    if expected.content_type.as_ref().is_some_and(|want| media != Some(want)) {
        found.push(format!("content type {media:?}, expected {:?}", expected.content_type));
    }
    for (name, want) in &expected.headers {
        let got = answer.headers.get(&name.to_ascii_lowercase());
        let fits = match want {
            serde_json::Value::Bool(present) => got.is_some() == *present,
            serde_json::Value::String(value) => got == Some(value),
            other => panic!("{other} as an expected header"),
        };
        if !fits {
            found.push(format!("header {name} is {got:?}, expected {want}"));
        }
    }
    if let Some(want) = &expected.body {
        let (mut want, mut got) = (want.bytes(), answer.body.clone());
        if expected.unordered_lines {
            (want, got) = (sorted(&want), sorted(&got));
        }
        if want != got {
            let (want, got) = (String::from_utf8_lossy(&want), String::from_utf8_lossy(&got));
            found.push(format!("body differs\n      got      {got:?}\n      expected {want:?}"));
        }
    }
    found
}

fn sorted(text: &[u8]) -> Vec<u8> {
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    lines.sort_unstable();
    lines.join(&b'\n')
}

fn write_files(world: &World) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("assets")).unwrap();
    for (name, content) in &world.files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content.bytes()).unwrap();
    }
    dir
}

fn worlds() -> Vec<World> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let read = |path: &PathBuf| serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    paths.iter().map(read).collect()
}

/// What became of the requests of one topic.
#[derive(Default)]
struct Tally {
    passed: usize,
    deviating: usize,
    failed: usize,
}

fn deviation(world: &World, request: &Recorded) -> Option<usize> {
    DEVIATIONS.iter().position(|(which, _)| match which {
        Which::Tag(tag) => request.tags.iter().any(|have| have == tag),
        Which::Butane(name) => {
            world.name == *name && request.path.starts_with("/ignition") && request.expect.status == 200
        }
        Which::Request(name, method, path) => world.name == *name && request.method == *method && request.path == *path,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_answers_are_given_again() {
    let home = tempfile::tempdir().unwrap();
    let options = Options::alone(home.path().join("raft"), EngineKind::Memory);
    let cluster = Cluster::open(options).unwrap();
    let answers = Arc::new(Answers { cluster, blobs: std::sync::Mutex::default() });
    let server = boot::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = server.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(server.serve(answers.clone(), stop.clone()));

    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    let mut failures = Vec::new();
    let mut used = BTreeSet::new();
    let worlds = worlds();
    assert!(worlds.len() >= 88, "only {} worlds", worlds.len());
    for (at, world) in worlds.into_iter().enumerate() {
        let dir = write_files(&world);
        answers.load(dir.path(), 1_700_000_000_000 + 60_000 * at as u64).await;
        let play = move || play(&world, address, dir);
        let (topic, results) = tokio::task::spawn_blocking(play).await.unwrap();
        let tally = tallies.entry(topic).or_default();
        for Played { name, deviation, differences } in results {
            match (deviation, differences.is_empty()) {
                (None, true) => tally.passed += 1,
                (Some(at), false) => {
                    tally.deviating += 1;
                    used.insert(at);
                }
                (None, false) => {
                    tally.failed += 1;
                    failures.push(format!("{name}\n    {}", differences.join("\n    ")));
                }
                (Some(at), true) => {
                    tally.failed += 1;
                    failures.push(format!("{name}\n    passes, though listed: {}", DEVIATIONS[at].1));
                }
            }
        }
    }
    stop.cancel();
    serving.await.unwrap().unwrap();

    println!("{:<24} {:>7} {:>9} {:>7}", "topic", "passed", "deviates", "failed");
    for (topic, Tally { passed, deviating, failed }) in &tallies {
        println!("{topic:<24} {passed:>7} {deviating:>9} {failed:>7}");
    }
    let total = |count: fn(&Tally) -> usize| tallies.values().map(count).sum::<usize>();
    println!("{:<24} {:>7} {:>9} {:>7}", "", total(|t| t.passed), total(|t| t.deviating), total(|t| t.failed));
    for (at, (_, reason)) in DEVIATIONS.iter().enumerate() {
        assert!(used.contains(&at), "this deviation is never seen: {reason}");
    }
    assert!(failures.is_empty(), "{} answers differ:\n{}", failures.len(), failures.join("\n"));
}

struct Played {
    name: String,
    deviation: Option<usize>,
    differences: Vec<String>,
}

fn play(world: &World, address: SocketAddr, _files: tempfile::TempDir) -> (String, Vec<Played>) {
    let mut client = Client { address, connection: None };
    let mut results = Vec::new();
    for request in &world.requests {
        let mut headers = request.headers.clone();
        for value in headers.values_mut().filter(|value| *value == "@last-modified") {
            let plain = client.send("GET", &request.path, &BTreeMap::new(), None);
            *value = plain.headers.get("last-modified").cloned().unwrap_or_default();
        }
        let body = request.body.as_ref().map(Text::bytes);
        let answer = client.send(&request.method, &request.path, &headers, body.as_deref());
        results.push(Played {
            name: format!("{} {}: {} {} {:?}", world.topic, world.name, request.method, request.path, request.tags),
            deviation: deviation(world, request),
            differences: differences(&request.expect, &answer),
        });
    }
    (world.topic.clone(), results)
}
