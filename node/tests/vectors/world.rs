//! Recorded answers: reading them, asking the same again, and what we answer differently on purpose.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::client::{Answer, Client};
use super::wire::from_base64;

/// Requests whose recorded answer we do not give, and why.
const DEVIATIONS: &[(Which, &str)] = &[
    (
        Which::Tag("hollow-ignition"),
        "a config that cannot be read is refused (404, the log says why) or, if its spec is newer, served as stored: an \
         empty config with version \"\" brings a machine up without what it was meant to get",
    ),
    (Which::Request("ignition-failures-files", "HEAD", "/ignition?c=relpath"), "the same, asked by HEAD"),
    (Which::Request("ignition-failures-syntax", "HEAD", "/ignition?c=empty"), "the same, asked by HEAD"),
    (Which::Request("netboot-layout-variables", "GET", "/ipxe?plan=newline"), LINE_BREAK),
    (Which::Request("netboot-layout-variables", "GET", "/grub?plan=newline"), LINE_BREAK),
    (Which::Request("profile-name-paths", "GET", "/ipxe?p=climb"), CLIMB),
    (Which::Request("profile-name-paths", "GET", "/ipxe?p=climb2"), CLIMB),
    (
        Which::Request("query-escapes", "GET", "/ipxe?tag=a+b/c#frag"),
        "a request target has no fragment (RFC 9112 section 3.2); what follows `#` is cut off instead of being a value",
    ),
];

const LINE_BREAK: &str =
    "a line break in a kernel argument would be a command of its own, so the import refuses the profile";
const CLIMB: &str = "a profile is named by its id; a name that climbs out of the folder of profiles is none";

#[derive(Clone, Copy)]
enum Which {
    /// Every request with that tag.
    Tag(&'static str),
    /// One request: world, method, target.
    Request(&'static str, &'static str, &'static str),
}

/// A data directory and what was answered from it.
#[derive(Deserialize)]
pub(crate) struct World {
    pub(crate) name: String,
    topic: String,
    pub(crate) files: BTreeMap<String, Text>,
    requests: Vec<Recorded>,
}

/// The content of a file or a body.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Text {
    Plain(String),
    Binary { base64: String },
}

/// One request and its answer.
#[derive(Deserialize)]
pub(crate) struct Recorded {
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
            Self::Binary { base64 } => from_base64(base64),
        }
    }
}

fn differences(expected: &Expected, answer: &Answer, packed: bool) -> Vec<String> {
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
        if packed {
            (want, got) = (unpacked(&want), unpacked(&got));
        }
        if want != got {
            let (want, got) = (String::from_utf8_lossy(&want), String::from_utf8_lossy(&got));
            found.push(format!("body differs\n      got      {got:?}\n      expected {want:?}"));
        }
    }
    found
}

/// The text with what is packed in it unpacked: compressors differ.
fn unpacked(text: &[u8]) -> Vec<u8> {
    const BEGIN: &str = r#""compression":"gzip","source":"data:;base64,"#;
    let text = std::str::from_utf8(text).expect("an Ignition config is text");
    let mut parts = text.split(BEGIN);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (data, rest) = part.split_once('"').expect("a text ends");
        let mut plain = Vec::new();
        let bytes = from_base64(data);
        flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut plain).expect("gzip");
        out.push_str(&format!("unpacked: {plain:?}{rest}"));
    }
    out.into_bytes()
}

fn sorted(text: &[u8]) -> Vec<u8> {
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    lines.sort_unstable();
    lines.join(&b'\n')
}

/// The data directory of a world.
pub(crate) fn write_files(files: &BTreeMap<String, Text>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("assets")).unwrap();
    for (name, content) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content.bytes()).unwrap();
    }
    dir
}

/// All worlds, by name.
pub(crate) fn worlds() -> Vec<World> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let is_world = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "json") && !path.ends_with("grpc.json");
    paths.retain(is_world);
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

/// What became of all requests.
#[derive(Default)]
pub(crate) struct Report {
    tallies: BTreeMap<String, Tally>,
    failures: Vec<String>,
    used: BTreeSet<&'static str>,
}

impl Report {
    /// Takes note of one comparison; `deviation` is why it is meant to differ.
    pub(crate) fn note(&mut self, topic: &str, name: &str, deviation: Option<&'static str>, differences: &[String]) {
        let tally = self.tallies.entry(topic.to_owned()).or_default();
        match (deviation, differences) {
            (None, []) => tally.passed += 1,
            (Some(reason), [_, ..]) => {
                tally.deviating += 1;
                self.used.insert(reason);
            }
            (None, _) => {
                tally.failed += 1;
                self.failures.push(format!("{name}\n    {}", differences.join("\n    ")));
            }
            (Some(reason), _) => {
                tally.failed += 1;
                self.failures.push(format!("{name}\n    passes, though listed: {reason}"));
            }
        }
    }

    /// Prints the tallies; panics if anything failed, or if a listed deviation was never seen.
    #[allow(clippy::print_stdout, reason = "the tallies are what a reader of the test wants to see")]
    pub(crate) fn finish(&self, deviations: impl IntoIterator<Item = &'static str>) {
        println!("{:<40} {:>7} {:>9} {:>7}", "topic", "passed", "deviates", "failed");
        for (topic, Tally { passed, deviating, failed }) in &self.tallies {
            println!("{topic:<40} {passed:>7} {deviating:>9} {failed:>7}");
        }
        let total = |count: fn(&Tally) -> usize| self.tallies.values().map(count).sum::<usize>();
        println!("{:<40} {:>7} {:>9} {:>7}", "", total(|t| t.passed), total(|t| t.deviating), total(|t| t.failed));
        for reason in deviations {
            assert!(self.used.contains(reason), "this deviation is never seen: {reason}");
        }
        assert!(self.failures.is_empty(), "{} answers differ:\n{}", self.failures.len(), self.failures.join("\n"));
    }
}

/// Why we answer requests differently on purpose.
pub(crate) fn deviations() -> impl Iterator<Item = &'static str> {
    DEVIATIONS.iter().map(|(_, reason)| *reason)
}

fn deviation(world: &str, request: &Recorded) -> Option<&'static str> {
    let listed = DEVIATIONS.iter().find(|(which, _)| match which {
        Which::Tag(tag) => request.tags.iter().any(|have| have == tag),
        Which::Request(name, method, path) => world == *name && request.method == *method && request.path == *path,
    });
    listed.map(|(_, reason)| *reason)
}

/// Asks everything of a world.
pub(crate) fn play(world: &World, address: SocketAddr, report: &mut Report) {
    let mut client = Client { address, connection: None };
    for request in &world.requests {
        let name = format!("{} {}: {} {} {:?}", world.topic, world.name, request.method, request.path, request.tags);
        report.note(&world.topic, &name, deviation(&world.name, request), &request.ask(&mut client));
    }
}

impl Recorded {
    /// Asks it and answers what differs.
    pub(crate) fn ask(&self, client: &mut Client) -> Vec<String> {
        let mut headers = self.headers.clone();
        for value in headers.values_mut().filter(|value| *value == "@last-modified") {
            let plain = client.send("GET", &self.path, &BTreeMap::new(), None);
            *value = plain.headers.get("last-modified").cloned().unwrap_or_default();
        }
        let body = self.body.as_ref().map(Text::bytes);
        let answer = client.send(&self.method, &self.path, &headers, body.as_deref());
        differences(&self.expect, &answer, self.tags.iter().any(|tag| tag == "gzip-data-url"))
    }
}
