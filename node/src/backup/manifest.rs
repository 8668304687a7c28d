//! What a backup says of itself, for people and programs that look into it.

use raft::codec::SnapshotHeader;
use raft::home::cluster_name;
use raft::state::{Record, State};
use raft::types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::times::rfc3339;

/// The format this program writes, and the highest it reads.
pub const FORMAT: u32 = 1;

/// How many there are of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Profiles.
    pub profiles: u64,
    /// Groups.
    pub groups: u64,
    /// Templates.
    pub templates: u64,
    /// Assets: names, of which several may lead to the same bytes.
    pub assets: u64,
    /// Machines.
    pub machines: u64,
    /// Tokens.
    pub tokens: u64,
    /// Nodes.
    pub nodes: u64,
    /// Everything else: settings, join tokens, and what the service notes for itself.
    pub others: u64,
}

impl Counts {
    /// Counts one more.
    pub(super) fn count(&mut self, record: &Record) {
        *match record {
            Record::Profile(_) => &mut self.profiles,
            Record::Group(_) => &mut self.groups,
            Record::Template(_) => &mut self.templates,
            Record::Asset(_) => &mut self.assets,
            Record::Machine(_) => &mut self.machines,
            Record::Token(_) => &mut self.tokens,
            Record::Member(_) => &mut self.nodes,
            _ => &mut self.others,
        } += 1;
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> u64 {
        let Self { profiles, groups, templates, assets, machines, tokens, nodes, others } = self;
        profiles + groups + templates + assets + machines + tokens + nodes + others
    }
}

/// The first member of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the format.
    pub format: u32,
    /// The version of the program that wrote it.
    pub version: String,
    /// The cluster, as an RFC 9562 text.
    pub cluster_id: String,
    /// Its generation.
    pub generation: u64,
    /// The log entry up to which it goes.
    pub log_index: u64,
    /// The node that wrote it.
    pub node_id: u64,
    /// What that is called.
    pub node_name: String,
    /// When it was begun, by that node's clock.
    pub created_at: String,
    /// Whether it was written without asking the leader: changes acknowledged shortly before may be missing.
    pub stale: bool,
    /// Whether the bytes of files were asked for.
    pub with_files: bool,
    /// What is in the state.
    pub counts: Counts,
}

impl Manifest {
    pub(super) fn new(header: &SnapshotHeader, state: &State, at: Timestamp, stale: bool, with_files: bool) -> Self {
        let mut counts = Counts::default();
        state.records().for_each(|record| counts.count(&record));
        let node_id = header.applied.last.map_or(0, |last| last.node);
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").into(),
            cluster_id: cluster_name(&header.cluster),
            generation: header.generation,
            log_index: state.applied().0,
            node_id,
            node_name: state.member(node_id).map(|member| member.name.clone()).unwrap_or_default(),
            created_at: rfc3339(at).unwrap_or_default(),
            stale,
            with_files,
            counts,
        }
    }

    pub(super) fn text(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("numbers and texts are JSON");
        text.push(b'\n');
        text
    }
}
