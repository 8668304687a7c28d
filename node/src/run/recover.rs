//! Lets a surviving node go on alone once most of its cluster is lost for good, after looking whether it really is.

use std::fmt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use raft::home::cluster_name;
use raft::rescue::{self, Found, Survivor};
use raft::state::{Member, NodeKind};
use raft::types::{Digest, Timestamp};

use crate::certs::{CA_FILE, certificates};
use crate::config::Config;
use crate::membership::{DataDir, DialError, Standing, hex16, who};

/// How many digits of the cluster's id are enough to agree.
const AGREED_DIGITS: usize = 8;

/// What another node of the old generation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answering {
    /// Nothing listens there.
    No,
    /// It answers, or something listens that may be it.
    Yes,
    /// A node of the same cluster answers there that has begun another generation.
    Moved {
        /// Which.
        generation: u64,
    },
    /// Something else answers there.
    Stranger,
}

impl fmt::Display for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => f.write_str("does not answer"),
            Self::Yes => f.write_str("ANSWERS"),
            Self::Moved { generation } => write!(f, "ANSWERS, as generation {generation}"),
            Self::Stranger => f.write_str("something else answers there"),
        }
    }
}

/// Another node of the old generation.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Other {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: NodeKind,
    /// Where it answered its peers.
    pub peer: String,
    /// Whether it votes.
    pub votes: bool,
    /// What it does now.
    pub answering: Answering,
}

/// What is there, and what speaks against going on alone.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Outlook {
    /// The cluster, as an RFC 9562 text.
    pub cluster_id: String,
    /// The generation that would end.
    pub generation: u64,
    /// This node.
    pub node_id: u64,
    /// What this node is called.
    pub name: String,
    /// How far its records go: known to have been committed.
    pub applied: u64,
    /// The end of its log.
    pub last_log: u64,
    /// The term of that.
    pub term: u64,
    /// The other nodes.
    pub others: Vec<Other>,
    /// Whether this node is the only voter already, so that there is nothing to recover.
    pub alone: bool,
    /// Why it will not be done.
    pub against: Option<String>,
}

/// How an operator says that this cluster is meant: its id, or the beginning of it.
#[derive(Debug, Clone)]
pub struct Agreement(pub String);

impl Agreement {
    /// Whether it names that cluster.
    #[must_use]
    pub fn names(&self, cluster_id: &str) -> bool {
        let said = self.0.trim().to_ascii_lowercase();
        said.len() >= AGREED_DIGITS && cluster_id.starts_with(&said)
    }
}

/// What was done.
#[derive(Debug, serde::Serialize)]
pub struct Recovered {
    /// Whether it was done just now.
    pub recovered: bool,
    /// What there was before.
    pub before: Outlook,
    /// The generation now.
    pub generation: u64,
    /// Log entries that were not known to have been committed, and stay.
    pub kept_entries: u64,
}

/// Looks without changing anything but what a recovery that was cut short has begun. `reused`: what answers with a
/// certificate of another CA is no member, somebody says.
///
/// # Errors
/// When the directory is that of no member, is in use, or damaged.
pub fn outlook(config: &Config, reused: bool) -> anyhow::Result<Outlook> {
    look(config, reused).map(|(_, outlook)| outlook)
}

/// Does it. Where this node is alone already, nothing is changed.
///
/// # Errors
/// Why not.
pub fn recover(config: &Config, agreement: &Agreement, reused: bool) -> anyhow::Result<Recovered> {
    let (survivor, before) = look(config, reused)?;
    let generation = before.generation;
    if before.alone {
        return Ok(Recovered { recovered: false, before, generation, kept_entries: 0 });
    }
    if let Some(against) = &before.against {
        bail!("{against}");
    }
    if !agreement.names(&before.cluster_id) {
        bail!("`{}` does not name this cluster, {}; nothing was changed", agreement.0, before.cluster_id);
    }
    let next = rescue::generation_after(generation).context("no randomness for a generation")?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let done = survivor.recover(next, at)?;
    Ok(Recovered { recovered: true, before, generation: done.identity.generation, kept_entries: done.kept })
}

fn look(config: &Config, reused: bool) -> anyhow::Result<(Survivor, Outlook)> {
    let home = DataDir::new(&config.data_dir);
    let place = home.path().display();
    match home.standing()? {
        Standing::Member(_) => {}
        Standing::Removed(_) => bail!("{place}: this node was removed from its cluster; recover on one that was not"),
        Standing::Restoring => bail!("{place}: a backup was being restored here; finish that with `raftboot restore`"),
        Standing::New | Standing::Founding(_) | Standing::Joining => {
            bail!("{place}: there is no node's data here; recover where some is left, or `raftboot restore` a backup")
        }
    }
    let survivor = Survivor::open(&home.raft())?;
    let trusted = trusted(home.path())?;
    let found = survivor.found();
    let own = found.identity.node;
    let others = found.members.iter().filter(|member| member.id != own).map(|member| other(found, member, &trusted));
    let others: Vec<Other> = others.collect();
    let outlook = Outlook {
        cluster_id: cluster_name(&found.identity.cluster),
        generation: found.identity.generation,
        node_id: own,
        name: found.own().map(|member| member.name.clone()).unwrap_or_default(),
        applied: found.applied.0,
        last_log: found.last.0,
        term: found.term,
        alone: found.voters.iter().eq([&own]) && others.is_empty(),
        against: against(found, &others, reused),
        others,
    };
    Ok((survivor, outlook))
}

/// The CAs of the cluster, as far as this node knows; two while one takes the place of the other.
fn trusted(dir: &Path) -> anyhow::Result<Vec<Digest>> {
    let file = dir.join(CA_FILE);
    let certificates = certificates(&file).map_err(|what| anyhow::anyhow!("{}: {what}", file.display()))?;
    Ok(certificates.iter().map(|certificate| Digest::of(certificate)).collect())
}

fn other(found: &Found, member: &Member, trusted: &[Digest]) -> Other {
    let mut answering = Answering::Stranger;
    for ca in trusted {
        answering = answer(found, member, *ca);
        if answering != Answering::Stranger {
            break;
        }
    }
    Other {
        id: member.id,
        name: member.name.clone(),
        kind: member.kind,
        peer: member.peer.clone(),
        votes: found.voters.contains(&member.id),
        answering,
    }
}

fn answer(found: &Found, member: &Member, ca: Digest) -> Answering {
    match who(&member.peer, ca) {
        Ok(said) if said.cluster != hex16(&found.identity.cluster) => Answering::Stranger,
        Ok(said) if said.generation != found.identity.generation => Answering::Moved { generation: said.generation },
        Ok(_) => Answering::Yes,
        Err(DialError::Stranger { error, .. }) if is_of_another_ca(&error) => Answering::Stranger,
        Err(DialError::Unreachable { error, .. }) if is_silent(&error) => Answering::No,
        // It takes connections, or says something: a process that is frozen may wake up. A certificate that is not good
        // now may be so because of this computer's clock.
        Err(_) => Answering::Yes,
    }
}

/// Whether its certificate is of a CA that this node does not know.
fn is_of_another_ca(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer))
}

/// Whether nobody took the connection.
fn is_silent(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{
        AddrNotAvailable, ConnectionRefused, HostUnreachable, InvalidInput, NetworkDown, NetworkUnreachable, NotFound,
        TimedOut,
    };
    let silent = [
        AddrNotAvailable,
        ConnectionRefused,
        HostUnreachable,
        InvalidInput,
        NetworkDown,
        NetworkUnreachable,
        NotFound,
        TimedOut,
    ];
    // A name that cannot be resolved any more has no kind of its own.
    silent.contains(&error.kind()) || error.to_string().contains("failed to lookup address")
}

/// Why it must not be done, if anything says so.
fn against(found: &Found, others: &[Other], reused: bool) -> Option<String> {
    if found.own().is_some_and(|own| own.kind == NodeKind::Witness) {
        let text = "this node is a witness: it serves no machines and holds no files. Start its service, take \
                    `raftboot backup FILE --stale` from it, and `raftboot restore` that on a node that can serve";
        return Some(text.into());
    }
    if !found.voters.contains(&found.identity.node) {
        let text = "this node does not vote yet: it may lack changes that were acknowledged. Recover on a voter. If none is \
                    left: start the service here, take `raftboot backup FILE --stale`, and `raftboot restore` that";
        return Some(text.into());
    }
    let moved = others.iter().find(|other| matches!(other.answering, Answering::Moved { .. }));
    if let Some(Other { name, peer, answering: Answering::Moved { generation }, .. }) = moved {
        return Some(format!(
            "node {name} ({peer}) has gone on as generation {generation} already: let this one join it, \
             `raftboot join {peer} --token … --wipe`"
        ));
    }
    // A voter with a certificate of another CA may be one whose cluster has changed its CA without this node.
    let answering = |other: &&Other| match other.answering {
        Answering::Yes => true,
        Answering::Stranger => !reused,
        Answering::No | Answering::Moved { .. } => false,
    };
    let answering: Vec<&Other> = others.iter().filter(|other| other.votes).filter(answering).collect();
    if answering.len() + 1 >= found.quorum() && !answering.is_empty() {
        let names: Vec<String> = answering.iter().map(|other| format!("{} ({})", other.name, other.peer)).collect();
        return Some(format!(
            "{} of {} voters are enough, and {} still answers: nothing is lost that needs this. Start the service here; \
             if that node is to be given up, stop it first. Where something else has got such an address meanwhile, and you have \
             looked at it: --addresses-reused",
            found.quorum(),
            found.voters.len(),
            names.join(", ")
        ));
    }
    None
}
