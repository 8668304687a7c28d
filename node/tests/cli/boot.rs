//! A boot service on a loopback port that serves a matchbox directory, in one of the two styles.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use raft::command::{Command, Edit, GuardedEdit, Outcome};
use raft::state::{Asset, ScriptStyle, Settings, State};
use raft::types::{Digest, Timestamp};
use raft::{Cluster, EngineKind, Options};
use raftboot::boot::{self, BlobError, Loader, LoaderClient, Questions, Seen, Whereabouts};
use raftboot::import::matchbox;
use tokio_util::sync::CancellationToken;

/// A running service; gone on drop.
pub(crate) struct Boot {
    pub(crate) url: String,
    seen: Arc<AtomicUsize>,
    stop: CancellationToken,
    _home: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

struct Answers {
    cluster: Cluster,
    blobs: BTreeMap<Digest, PathBuf>,
    seen: Arc<AtomicUsize>,
}

impl Questions for Answers {
    fn state(&self) -> Arc<State> {
        self.cluster.read()
    }

    fn whereabouts(&self) -> Whereabouts {
        Whereabouts::default()
    }

    fn open(&self, digest: &Digest) -> Result<File, BlobError> {
        let path = self.blobs.get(digest).ok_or(BlobError::Missing)?;
        File::open(path).map_err(|error| BlobError::Unreadable(error.to_string()))
    }

    fn loader(&self, _name: &str, _client: LoaderClient) -> Option<Loader> {
        None
    }

    fn seen(&self, _seen: Seen<'_>) {
        self.seen.fetch_add(1, Ordering::Relaxed);
    }
}

impl Boot {
    pub(crate) fn start(dir: &Path, script_style: ScriptStyle) -> Self {
        let home = tempfile::tempdir().expect("the test's own set-up");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("the test's own set-up");
        let _inside = runtime.enter();
        let cluster =
            Cluster::open(Options::alone(home.path().join("raft"), EngineKind::Memory)).expect("the test's own set-up");
        let read = matchbox::read(dir).expect("the test's own set-up");
        let (edits, blobs) = edits(read, script_style);
        let command = Command {
            actor: "test".into(),
            at: Timestamp(1),
            idempotency_key: String::new(),
            fingerprint: Digest::of(b""),
            edits: edits.into_iter().map(GuardedEdit::from).collect(),
            replace: Vec::new(),
            allow_ties: true,
        };
        let outcome = runtime.block_on(cluster.propose(command)).expect("the test's own set-up").outcome;
        assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
        let server = boot::bind("127.0.0.1:0".parse().expect("the test's own set-up")).expect("the test's own set-up");
        let url = format!("http://{}", server.local_addr().expect("the test's own set-up"));
        let stop = CancellationToken::new();
        let seen = Arc::<AtomicUsize>::default();
        runtime.spawn(server.serve(Arc::new(Answers { cluster, blobs, seen: seen.clone() }), stop.clone()));
        drop(_inside);
        Self { url, seen, stop, _home: home, _runtime: runtime }
    }
}

impl Boot {
    /// How often it took a question for a machine's.
    pub(crate) fn seen(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }
}

fn edits(read: matchbox::Import, script_style: ScriptStyle) -> (Vec<Edit>, BTreeMap<Digest, PathBuf>) {
    let mut edits: Vec<Edit> = read.profiles.into_iter().map(Edit::PutProfile).collect();
    edits.extend(read.groups.into_iter().map(Edit::PutGroup));
    edits.extend(read.templates.into_iter().map(Edit::PutTemplate));
    edits.push(Edit::PutSettings(Settings { script_style, ..Settings::default() }));
    let mut blobs = BTreeMap::new();
    for (name, path) in read.assets {
        let bytes = fs::read(&path).expect("the test's own set-up");
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        blobs.insert(digest, path);
        edits.push(Edit::PutAsset(Asset { name, digest, size, media_type: String::new(), origin: String::new() }));
    }
    (edits, blobs)
}

impl Drop for Boot {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
