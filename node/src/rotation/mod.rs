//! The change of the cluster's CA on this node: its files follow what the nodes have agreed on, step by step.
//!
//! The replicated record says how far the change has come and names both CAs by their digests. Keys never enter it: a
//! node that lacks one asks the others for it, over TLS with certificates on both sides. `follow` decides and writes
//! files; this file fetches and reports; `serve` answers the others.

mod follow;
mod serve;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use http::{Method, StatusCode};
use raft::Cluster;
use raft::codec::Identity;
use raft::command::{Command, Edit};
use raft::state::{CaRecord, CaStage, CaStep, State};
use raft::types::Digest;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tracing::{debug, error, info, warn};

use crate::certs::{CaFiles, CaPair, CertError, Which, timestamp};
use crate::peer_http::{PeerError, Peers};
use follow::Followed;

pub use serve::router;

/// Size of another node's answer, in bytes: two PEM texts.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The change on this node; cheap to clone.
#[derive(Clone)]
pub struct Rotation {
    cluster: Cluster,
    files: CaFiles,
    peers: Option<Arc<Peers>>,
    /// Held by whoever touches the files.
    turn: Arc<Mutex<()>>,
    /// Whether the change was finished without this node.
    missed: Arc<AtomicBool>,
}

/// A CA that was made and nobody trusts yet. While it is held, the files stay as they are.
pub struct Prepared {
    /// The CA there is.
    pub old: Digest,
    /// The CA to come.
    pub new: Digest,
    files: CaFiles,
    _turn: OwnedMutexGuard<()>,
}

impl Prepared {
    /// Forgets it again, because the cluster did not want it.
    ///
    /// # Errors
    /// When its files cannot be removed.
    pub fn discard(self) -> Result<(), CertError> {
        self.files.forget()
    }
}

/// How this node has followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There is nothing (more) to do.
    Settled {
        /// Whether files are others than before.
        changed: bool,
    },
    /// Something must be fetched and cannot be yet.
    Waiting,
}

impl Rotation {
    /// Of the node with these files.
    #[must_use]
    pub fn new(cluster: Cluster, files: CaFiles, peers: Option<Arc<Peers>>) -> Self {
        Self { cluster, files, peers, turn: Arc::default(), missed: Arc::default() }
    }

    /// The CAs of this node.
    #[must_use]
    pub fn files(&self) -> &CaFiles {
        &self.files
    }

    /// The state of the cluster as it is here.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.cluster.read()
    }

    /// Which cluster and node this is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.cluster.identity().clone()
    }

    /// Whether a change was finished without this node, which therefore must join again.
    #[must_use]
    pub fn was_missed(&self) -> bool {
        self.missed.load(Ordering::Relaxed)
    }

    /// Makes the CA that is to come, for a change that begins now.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub async fn prepare(&self) -> anyhow::Result<Prepared> {
        let turn = self.turn.clone().lock_owned().await;
        let files = self.files.clone();
        tokio::task::spawn_blocking(move || {
            let old = files.authority()?.digest()?;
            let pair = CaPair::generate(SystemTime::now()).map_err(anyhow::Error::msg)?;
            let new = pair.digest().map_err(anyhow::Error::msg)?;
            files.keep(Which::New, &pair)?;
            Ok(Prepared { old, new, files, _turn: turn })
        })
        .await?
    }

    /// Makes the files of this node what the record says; fetches what is missing.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub async fn follow(&self) -> anyhow::Result<Progress> {
        let _turn = self.turn.lock().await;
        let Some(record) = self.cluster.read().ca().cloned() else {
            return Ok(Progress::Settled { changed: false });
        };
        loop {
            let (files, wanted) = (self.files.clone(), record.clone());
            match tokio::task::spawn_blocking(move || follow::follow(&files, &wanted)).await?? {
                Followed::Done { changed } => {
                    self.missed.store(false, Ordering::Relaxed);
                    if changed {
                        info!(stage = ?record.stage, "the CAs of this node are what the cluster has agreed on");
                    }
                    return Ok(Progress::Settled { changed });
                }
                Followed::Missing(which, digest) => {
                    let Some(pair) = self.fetch(digest).await else {
                        if self.cluster.read().members().len() == 1 {
                            self.adopt().await?;
                            return Ok(Progress::Waiting);
                        }
                        if record.stage == CaStage::Done && !self.missed.swap(true, Ordering::Relaxed) {
                            error!(
                                ca = %digest,
                                "the cluster's CA was changed without this node, and no other node gives it the new one: let it join again (`raftboot join ADDRESS --token … --wipe`)"
                            );
                        }
                        return Ok(Progress::Waiting);
                    };
                    let files = self.files.clone();
                    tokio::task::spawn_blocking(move || files.keep(which, &pair)).await??;
                }
            }
        }
    }

    /// A cluster that was restored on new ground has another CA than the one it remembers.
    async fn adopt(&self) -> anyhow::Result<()> {
        let files = self.files.clone();
        let own = tokio::task::spawn_blocking(move || files.authority()?.digest()).await??;
        self.propose(Edit::StepCa(CaStep::Adopt(own), false)).await;
        Ok(())
    }

    /// Tells the others how far this node has come, if they do not know.
    pub async fn report(&self) {
        let node = self.cluster.identity().node;
        let Some(record) = self.cluster.read().ca().cloned() else { return };
        if record.stage == CaStage::Done {
            return;
        }
        let files = self.files.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let trusted = files.trusted()?;
            Ok::<_, CertError>((trusted.contains(&record.new), files.authority()?.digest()? == record.new, record))
        });
        let (trusts, issues, record) = match looked.await {
            Ok(Ok(looked)) => looked,
            Ok(Err(error)) => return warn!(%error, "it cannot be said which CA this node trusts"),
            Err(error) => return warn!(%error, "it cannot be said which CA this node trusts"),
        };
        if (trusts, issues) == (record.trusting.contains(&node), record.issuing.contains(&node)) {
            return;
        }
        self.propose(Edit::ReportCa(node, trusts, issues)).await;
    }

    async fn propose(&self, edit: Edit) {
        let command = Command {
            actor: "node".into(),
            at: timestamp(SystemTime::now()),
            idempotency_key: String::new(),
            fingerprint: Digest([0; 32]),
            edits: vec![edit.into()],
            replace: Vec::new(),
            allow_ties: false,
        };
        if let Err(error) = self.cluster.propose(command).await {
            debug!(%error, "the cluster could not be told which CA this node trusts; it is tried again");
        }
    }

    /// The CA with that digest, from whichever node has it.
    async fn fetch(&self, digest: Digest) -> Option<CaPair> {
        let peers = self.peers.as_ref()?;
        let (state, own) = (self.cluster.read(), self.cluster.identity().node);
        for member in state.members().filter(|member| member.id != own) {
            match ask(peers, member, digest).await {
                Ok(pair) if pair.digest() == Ok(digest) => return Some(pair),
                Ok(_) => warn!(node = member.name, "another node sent another CA than was asked for"),
                Err(error) => debug!(node = member.name, %error, "another node did not give the CA"),
            }
        }
        None
    }
}

async fn ask(peers: &Arc<Peers>, member: &raft::state::Member, digest: Digest) -> Result<CaPair, PeerError> {
    let mut reply = peers.ask(member, Method::GET, &serve::path(&digest), None).await?;
    if reply.status() != StatusCode::OK {
        let status = reply.status();
        reply.dismiss().await;
        return Err(PeerError::Refused(status));
    }
    let mut body = Vec::new();
    while let Some(bytes) = reply.next().await? {
        if body.len() + bytes.len() > ANSWER_BYTES_MAX {
            return Err(PeerError::Unreachable("its answer is too long".into()));
        }
        body.extend_from_slice(&bytes);
    }
    serde_json::from_slice(&body).map_err(|error| PeerError::Unreachable(format!("its answer is none: {error}")))
}

/// Whether a CA is one of the two of a change that is under way.
fn is_of(record: &CaRecord, digest: &Digest) -> bool {
    record.stage != CaStage::Done && [record.old, record.new].contains(digest)
}
