//! A survivor goes on alone: one write makes it the only voter of a new generation, and everything in its log stays.
//!
//! The change is appended to the log like any other: an entry with the new membership, and one that takes the other nodes
//! out of the records. Whatever the log holds beyond what was committed stays before them, because an acknowledged change
//! may be among it. Log entries, vote and identity go into the database in one synced batch; the identity file follows, and
//! a note beside it says so if a crash comes between.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::cluster::{
    EngineKind, OpenError, Opened, STOP_DISK_TIMEOUT, Tuning, fail, open_engine, open_mark, open_store,
};
use crate::codec::{self, Applied, Identity, LogEntry, LogPosition, Members, Payload, StoredVote};
use crate::command::{Command, Edit};
use crate::engine::{Batch, Durability, Engine, Table};
use crate::failure::{DAMAGE_HINT, write_hint};
use crate::home::{Home, IDENTITY_KEY};
use crate::log_store::VOTE_KEY;
use crate::snapshot::Snapshots;
use crate::state::{Member, State};
use crate::state_machine::APPLIED_KEY;
use crate::type_config::Proposal;
use crate::types::{Digest, LogIndex, Timestamp};

/// What a directory holds.
#[derive(Debug, Clone)]
pub struct Found {
    /// Whose it is.
    pub identity: Identity,
    /// Everybody its log knows, this node included.
    pub members: Vec<Arc<Member>>,
    /// Who votes, by the end of the log.
    pub voters: BTreeSet<u64>,
    /// How far the records go: known to have been committed.
    pub applied: LogIndex,
    /// The end of the log.
    pub last: LogIndex,
    /// The term of that.
    pub term: u64,
}

impl Found {
    /// This node's own record.
    #[must_use]
    pub fn own(&self) -> Option<&Arc<Member>> {
        self.members.iter().find(|member| member.id == self.identity.node)
    }

    /// How many voters must agree.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.voters.len() / 2 + 1
    }
}

/// What was done.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// Whose the directory is now.
    pub identity: Identity,
    /// Entries that are not known to have been committed, and stay.
    pub kept: u64,
}

/// The directory of a node that does not run, locked, read and checked as at a start.
pub struct Survivor {
    /// There until it is used up or dropped.
    opened: Option<Opened>,
    found: Found,
    /// Its place among the voters' addresses.
    address: String,
    /// The state with everything in the log applied, committed or not.
    state: State,
    last: LogPosition,
}

impl Survivor {
    /// Opens the directory; finishes a recovery that a crash has cut short.
    ///
    /// # Errors
    /// When it belongs to no node, is in use or damaged.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        if !dir.join("identity").exists() {
            return Err(OpenError(format!("{}: this is no node's directory; nothing was changed", dir.display())));
        }
        finish(dir)?;
        let opened = open_store(dir, EngineKind::RocksDb, &Tuning::default())?;
        let place = opened.home.database();
        let unread = |error: &dyn std::fmt::Display| fail("reading the log in", &place, error, DAMAGE_HINT);
        let applied: Applied = match opened.engine.get(Table::Meta, APPLIED_KEY).map_err(|error| unread(&error))? {
            Some(bytes) => codec::decode(&bytes).map_err(|error| unread(&error))?,
            None => Applied::default(),
        };
        let committed = opened.model.state();
        let seen = replay(&*opened.engine, (*committed).clone(), applied).map_err(|error| unread(&error))?;
        let Some(last) = seen.last else {
            return Err(OpenError(format!(
                "{}: nothing was ever written here: this node was still waiting for the log; use another one, or a backup",
                dir.display()
            )));
        };
        let (identity, voters) = (opened.identity.clone(), seen.members.voters.iter().flatten().copied().collect());
        let members: Vec<_> = seen.state.members().cloned().collect();
        let known = members.iter().find(|member| member.id == identity.node).map(|member| member.peer.clone());
        let address = seen.members.addresses.get(&identity.node).cloned().or(known).unwrap_or_default();
        let found = Found {
            identity,
            members,
            voters,
            applied: committed.applied(),
            last: LogIndex(last.index),
            term: last.term,
        };
        Ok(Self { opened: Some(opened), found, address, state: seen.state, last })
    }

    /// What is there.
    #[must_use]
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// The state with everything in the log applied, whether it was committed or not.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Makes this node the only one of `generation`. `at` is the time the log says it was done.
    ///
    /// # Errors
    /// When the disk does not take it; `open` finishes what was begun, or nothing was.
    pub fn recover(mut self, generation: u64, at: Timestamp) -> Result<Recovered, OpenError> {
        let Some(opened) = self.opened.take() else { return Err(OpenError("it has been closed".into())) };
        let identity = Identity { generation, ..self.found.identity.clone() };
        let db = opened.home.database();
        let batch = changes(&identity, &self.state, &self.address, self.last, at)
            .map_err(|error| fail("writing", &db, &error, "report this"))?;
        opened.home.want(&identity)?;
        let (health, snapshots) = (opened.health.clone(), opened.snapshots.clone());
        let written = wait(opened.writer.write(batch, Durability::Synced));
        let closed = close(opened);
        if let Err(error) = written {
            let detail = error.to_string();
            return Err(health.fatal().map_or_else(|| fail("writing", &db, &detail, write_hint(&detail)), Into::into));
        }
        let Some(mut home) = closed else {
            return Err(fail("closing", &db, &"the disk does not answer", "check the disk, then run this again"));
        };
        settle(&mut home, &snapshots, &identity)?;
        Ok(Recovered { identity, kept: self.found.last.0.saturating_sub(self.found.applied.0) })
    }
}

impl Drop for Survivor {
    fn drop(&mut self) {
        self.opened.take().map(close);
    }
}

/// Closes the store before its directory is unlocked; nothing if the disk does not answer.
fn close(opened: Opened) -> Option<Home> {
    let Opened { home, engine, writer, storage, .. } = opened;
    let stopped = writer.stop(STOP_DISK_TIMEOUT);
    drop((storage, engine));
    stopped.then_some(home)
}

/// The last steps, which may be repeated: snapshots of the old generation go, the directory takes its new name.
fn settle(home: &mut Home, snapshots: &Snapshots, identity: &Identity) -> Result<(), OpenError> {
    snapshots.discard().map_err(|error| fail("clearing", snapshots.dir(), &error, write_hint(&error.to_string())))?;
    Ok(home.become_wanted(identity)?)
}

/// Finishes, or forgets, a recovery that a crash has cut short.
fn finish(dir: &Path) -> Result<(), OpenError> {
    let mut home = Home::open(dir)?;
    let Some(wanted) = home.wanted()? else { return Ok(()) };
    let mark = open_mark(&home, true)?;
    let engine = open_engine(&home, EngineKind::RocksDb, true, mark.as_ref())?;
    let stored = home.stored(&*engine)?;
    drop(engine);
    if stored.as_ref() != Some(&wanted) {
        // The database never heard of it.
        return Ok(home.forget_wanted()?);
    }
    let path = home.snapshots();
    let snapshots = Snapshots::open(path.clone(), wanted.clone())
        .map_err(|error| fail("opening", &path, &error, write_hint(&error.to_string())))?;
    settle(&mut home, &snapshots, &wanted)
}

/// The end of a log.
struct Seen {
    state: State,
    members: Members,
    last: Option<LogPosition>,
}

/// Applies what the log holds beyond the records, in memory only.
fn replay(engine: &dyn Engine, mut state: State, applied: Applied) -> Result<Seen, String> {
    let from = applied.last.map_or(0, |last| last.index + 1);
    let mut seen = (applied.members, applied.last);
    let mut failure = None;
    let scanned = engine.scan(Table::Log, &codec::log_key(from), None, &mut |_, value| {
        let entry: LogEntry = match codec::decode(value) {
            Ok(entry) => entry,
            Err(error) => {
                failure = Some(error.to_string());
                return ControlFlow::Break(());
            }
        };
        match entry.payload {
            Payload::Command(Proposal(command)) => drop(state.apply(LogIndex(entry.position.index), &command)),
            Payload::Members(members) => seen.0 = members,
            Payload::Blank => {}
        }
        seen.1 = Some(entry.position);
        ControlFlow::Continue(())
    });
    scanned.map_err(|error| error.to_string())?;
    let (members, last) = seen;
    failure.map_or(Ok(Seen { state, members, last }), Err)
}

/// Everything that has to be written, as one batch.
///
/// # Errors
/// Never for what is in a log already, as far as is known.
pub fn changes(
    identity: &Identity,
    state: &State,
    address: &str,
    last: LogPosition,
    at: Timestamp,
) -> Result<Batch, codec::CodecError> {
    let own = identity.node;
    let vote = StoredVote { term: last.term + 1, node: own, committed: true };
    let entry = |after: u64, payload| {
        let position = LogPosition { term: vote.term, node: own, index: last.index + after };
        LogEntry { position, payload }
    };
    let members = Members { voters: vec![BTreeSet::from([own])], addresses: [(own, address.to_owned())].into() };
    let mut entries = vec![entry(1, Payload::Members(members))];
    let edits = farewell(state, own);
    if !edits.is_empty() {
        entries.push(entry(2, Payload::Command(Proposal(Arc::new(command(edits, at))))));
    }
    let mut batch = Batch::default();
    for entry in &entries {
        batch.put(Table::Log, codec::log_key(entry.position.index), codec::encode(entry)?);
    }
    batch.put(Table::Meta, VOTE_KEY, codec::encode(&vote)?);
    batch.put(Table::Meta, IDENTITY_KEY, codec::encode(identity)?);
    Ok(batch)
}

/// The others leave the records. One of them may go on holding the VIP where this node cannot see it: it is said to have
/// claimed it last and never released it, so that whoever takes it now waits and probes first.
fn farewell(state: &State, own: u64) -> Vec<Edit> {
    let others: Vec<u64> = state.members().map(|member| member.id).filter(|id| *id != own).collect();
    let doubt = others.last().filter(|_| state.vip().is_some()).map(|id| Edit::ClaimVip(*id));
    let gone = state.cluster().filter(|stored| stored.value.preferred.is_some_and(|id| others.contains(&id)));
    let preferred = gone.map(|stored| {
        let mut settings = stored.value.clone();
        settings.preferred = Some(own);
        Edit::PutCluster(settings)
    });
    doubt.into_iter().chain(preferred).chain(others.into_iter().map(Edit::RemoveMember)).collect()
}

fn command(edits: Vec<Edit>, at: Timestamp) -> Command {
    Command {
        actor: "recover".into(),
        at,
        idempotency_key: String::new(),
        fingerprint: Digest([0; 32]),
        edits: edits.into_iter().map(Into::into).collect(),
        replace: Vec::new(),
        allow_ties: false,
    }
}

/// Waits for the writer's thread, which needs no runtime.
fn wait<T>(work: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime without a driver needs nothing");
    runtime.block_on(work)
}
