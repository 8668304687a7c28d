//! A boot HTTP server on a port of its own, with a state in memory and blobs in a temporary folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use raft::command::{Command, Edit, GuardedEdit, Outcome};
use raft::state::{Asset, Group, NetBoot, NewMember, NodeKind, Profile, State, Template, TemplateKind};
use raft::types::{Digest, LogIndex, Timestamp};
use raftboot::boot::{self, BlobError, Loader, LoaderClient, Questions, Seen, Whereabouts};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The server and what it is asked about.
pub(crate) struct Rig {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    world: Arc<World>,
    stop: CancellationToken,
    serving: Option<JoinHandle<std::io::Result<()>>>,
    runtime: Runtime,
}

struct World {
    state: Mutex<State>,
    blobs: tempfile::TempDir,
    seen: Mutex<Vec<String>>,
    whereabouts: Mutex<Whereabouts>,
}

impl Questions for World {
    fn state(&self) -> Arc<State> {
        Arc::new(self.state.lock().unwrap().clone())
    }

    fn whereabouts(&self) -> Whereabouts {
        self.whereabouts.lock().unwrap().clone()
    }

    fn open(&self, digest: &Digest) -> Result<File, BlobError> {
        File::open(self.blobs.path().join(digest.to_string())).map_err(|_| BlobError::Missing)
    }

    fn loader(&self, name: &str, client: LoaderClient) -> Option<Loader> {
        let bytes: &[u8] = if client.ipxe { b"#!ipxe\n" } else { b"loader-efi" };
        (name == "ipxe.efi").then(|| Loader::Bytes(Bytes::from_static(bytes)))
    }

    fn seen(&self, seen: Seen<'_>) {
        let mac = seen.mac.map(ToString::to_string).unwrap_or_default();
        let (uuid, serial, arch) = (seen.uuid, seen.serial, seen.arch);
        let line = format!("{mac} {uuid} {serial} {arch} {} {:?}", seen.address, seen.event);
        self.seen.lock().unwrap().push(line);
    }
}

impl Rig {
    pub(crate) fn new(edits: Vec<Edit>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let blobs = tempfile::tempdir().unwrap();
        let world =
            Arc::new(World { state: Mutex::default(), blobs, seen: Mutex::default(), whereabouts: Mutex::default() });
        let stop = CancellationToken::new();
        let (address, serving) = runtime.block_on(async {
            let server = boot::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            (server.local_addr().unwrap(), tokio::spawn(server.serve(world.clone(), stop.clone())))
        });
        let rig = Self { address, world, stop, serving: Some(serving), runtime };
        rig.apply(edits);
        rig
    }

    pub(crate) fn apply(&self, edits: Vec<Edit>) {
        let mut state = self.world.state.lock().unwrap();
        let command = Command {
            actor: "test".into(),
            at: Timestamp(1_700_000_000_000),
            idempotency_key: String::new(),
            fingerprint: Digest::of(b""),
            edits: edits.into_iter().map(GuardedEdit::from).collect(),
            replace: Vec::new(),
            allow_ties: false,
        };
        let index = LogIndex(state.applied().0 + 1);
        let (outcome, _) = state.apply(index, &command);
        assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
    }

    /// Says where machines find the cluster.
    pub(crate) fn place(&self, whereabouts: Whereabouts) {
        *self.world.whereabouts.lock().unwrap() = whereabouts;
    }

    /// Stores the bytes of a blob; answers where.
    pub(crate) fn store(&self, content: &[u8]) -> PathBuf {
        self.store_as(content, content)
    }

    /// Stores other bytes than the digest is of.
    pub(crate) fn store_as(&self, named: &[u8], content: &[u8]) -> PathBuf {
        let path = self.world.blobs.path().join(Digest::of(named).to_string());
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.world.seen.lock().unwrap().clone()
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.get_with(target, "")
    }

    pub(crate) fn get_with(&self, target: &str, headers: &str) -> Answer {
        self.raw(format!("GET {target} HTTP/1.1\r\nHost: h\r\n{headers}\r\n").as_bytes())
    }

    pub(crate) fn try_get(&self, target: &str) -> Option<Answer> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).ok()?;
        stream.peek(&mut [0]).ok().filter(|length| *length > 0)?;
        Some(read_answer(&mut stream, false))
    }

    pub(crate) fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request).unwrap();
        read_answer(&mut stream, request.starts_with(b"HEAD"))
    }

    pub(crate) fn begin_to_stop(&self) {
        self.stop.cancel();
    }

    pub(crate) fn stopped(&mut self) {
        let serving = self.serving.take().unwrap();
        self.runtime.block_on(serving).unwrap().unwrap();
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub(crate) fn read_answer(stream: &mut TcpStream, head_only: bool) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let status: u16 = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let pairs = lines.filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<String, String> =
        pairs.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; if head_only || status == 304 { 0 } else { length }];
    stream.read_exact(&mut body).unwrap();
    Answer { status, headers, body }
}

/// Waits until something is so.
pub(crate) fn until(mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "it never came to be");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn owned(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

pub(crate) fn profile(id: &str, kernel: &str, initrd: &[&str], args: &[&str]) -> Edit {
    let boot = NetBoot { kernel: kernel.into(), initrd: owned(initrd), args: owned(args) };
    Edit::PutProfile(Profile { id: id.into(), boot: Some(boot), generic_id: "c".into(), ..Profile::default() })
}

pub(crate) fn group(id: &str, profile: &str, selector: &[(&str, &str)], metadata: &str) -> Edit {
    let selector = selector.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let (name, metadata) = (String::new(), metadata.to_owned());
    Edit::PutGroup(Group { id: id.into(), name, profile: profile.into(), selector, metadata, rules: Vec::new() })
}

pub(crate) fn template(kind: &str, name: &str, content: &str) -> Edit {
    let kind = match kind {
        "generic" => TemplateKind::Generic,
        "cloud" => TemplateKind::Cloud,
        _ => TemplateKind::Ignition,
    };
    Edit::PutTemplate(Template { kind, name: name.into(), content: content.as_bytes().to_vec() })
}

pub(crate) fn asset(name: &str, content: &[u8]) -> Edit {
    Edit::PutAsset(Asset {
        name: name.into(),
        digest: Digest::of(content),
        size: content.len() as u64,
        media_type: String::new(),
        origin: String::new(),
    })
}

/// A node that boots machines from there; the first one has id 1.
pub(crate) fn node(name: &str, boot: &str) -> Edit {
    let (peer, instance) = (format!("{name}:7443"), *Digest::of(name.as_bytes()).0.first_chunk().unwrap());
    Edit::AddMember(NewMember { name: name.into(), kind: NodeKind::Data, peer, boot: boot.into(), instance })
}
