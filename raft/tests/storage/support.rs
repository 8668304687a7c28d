//! Commands and directories that the cases share.

use std::collections::BTreeMap;
use std::path::Path;

use raft::cluster::{Cluster, EngineKind, Options};
use raft::command::{Command, Edit, GuardedEdit};
use raft::state::Group;
use raft::types::{Digest, Timestamp};

pub(crate) const ENGINES: [EngineKind; 2] = [EngineKind::RocksDb, EngineKind::Memory];

pub(crate) fn options(dir: &Path, engine: EngineKind) -> Options {
    Options::alone(dir.join("raft"), engine)
}

pub(crate) fn open(dir: &Path) -> Cluster {
    Cluster::open(options(dir, EngineKind::RocksDb)).unwrap()
}

pub(crate) fn command(edits: impl IntoIterator<Item = Edit>) -> Command {
    Command {
        actor: "test".into(),
        at: Timestamp(1_700_000_000_000),
        idempotency_key: String::new(),
        fingerprint: Digest::of(b""),
        edits: edits.into_iter().map(GuardedEdit::from).collect(),
        replace: Vec::new(),
        allow_ties: false,
    }
}

pub(crate) fn group(id: &str) -> Edit {
    Edit::PutGroup(Group {
        id: id.into(),
        name: format!("Group {id}"),
        profile: "talos-worker".into(),
        selector: BTreeMap::from([("serial".into(), id.into())]),
        metadata: r#"{"hostname":"worker","rack":"a1"}"#.into(),
        rules: Vec::new(),
    })
}

pub(crate) fn groups(count: usize) -> Command {
    command((0..count).map(|at| group(&format!("group-{at:06}"))))
}
