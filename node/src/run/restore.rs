//! Makes this host the only node of a new generation, from a backup, in an order that a crash may cut anywhere.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use raft::codec::Identity;
use raft::home::cluster_name;
use raft::rescue::{self, Start};
use raft::state::{Member, NodeKind};
use raft::types::Digest;
use tracing::info;

use super::found::check_vip;
use super::own;
use super::site;
use crate::assets::{Declared, Store, pieces};
use crate::backup::{self, Contents, Lacking};
use crate::certs::Authority;
use crate::config::Config;
use crate::membership::{DataDir, FromBackup, Own, Standing};

/// What is to be restored, and as what.
#[derive(Debug, Clone)]
pub struct Restoring {
    /// The backup.
    pub file: PathBuf,
    /// This node's name, unless the configuration says.
    pub name: Option<String>,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// What was restored, now or before.
#[derive(Debug, serde::Serialize)]
pub struct Restored {
    /// Whether it was done just now.
    pub restored: bool,
    /// The cluster, as an RFC 9562 text.
    pub cluster_id: String,
    /// The generation of the backup.
    pub generation_before: u64,
    /// The generation this node begins; with `--dry-run` nothing is drawn yet.
    pub generation: Option<u64>,
    /// This node, by an id that was never given.
    pub node_id: u64,
    /// What this node is called.
    pub name: String,
    /// The log entry up to which the backup goes.
    pub log_index: u64,
    /// When the backup was made.
    pub created_at: String,
    /// Files whose bytes are here.
    pub files: usize,
    /// Files whose bytes are not: machines that ask for them are refused.
    pub lacking: Vec<Lacking>,
}

/// Restores; changes nothing where that was done before from the same backup.
///
/// # Errors
/// Why not; the same command may be run again.
pub async fn restore(config: &Config, restoring: &Restoring) -> anyhow::Result<Restored> {
    let home = DataDir::new(&config.data_dir);
    let file = &restoring.file;
    let open = || File::open(file).with_context(|| format!("{} cannot be read", file.display()));
    let handle = open()?;
    let contents = verified(file, handle).await?;
    if let Some(done) = done_before(&home, &contents)? {
        let name = own::own(config, &home, None, None)?.name;
        return Ok(told(&contents, &done, name, Vec::new(), false));
    }
    let site = site::find(config).await?;
    if let Some(vip) = contents.vip {
        check_vip(vip, &site)?;
    }
    let own = own::own(config, &home, restoring.name.as_deref(), Some(NodeKind::Data))?;
    let node = contents.last_node + 1;
    let before = contents.header.generation;
    let generation = rescue::generation_after(before).context("no randomness for a generation")?;
    let identity = Identity { cluster: contents.header.cluster, generation, node };
    if restoring.dry_run {
        let mut told = told(&contents, &identity, own.name, contents.lacking.clone(), false);
        told.generation = None;
        return Ok(told);
    }
    // Whatever a restore that was cut short has left is made again.
    home.wipe()?;
    home.begin_restoring()?;
    Authority::install(home.path(), &contents.ca, &contents.ca_key)?;
    Authority::open(home.path(), SystemTime::now())?.roots()?;
    let held = put_files(home.path(), &open()?, &contents).await?;
    let member = member(node, &own, own::peer_address(config, &site), own::boot_address(own.kind, &site));
    let lacking = contents.lacking.iter().filter(|lacking| !held.contains(&lacking.digest)).cloned().collect();
    fill(
        &home,
        open()?,
        &contents,
        Start { identity: identity.clone(), at: at(&contents, node), own: member, held },
        &own,
    )
    .await?;
    Ok(told(&contents, &identity, own.name, lacking, true))
}

/// Reads the whole backup before anything is done with it.
async fn verified(file: &Path, handle: File) -> anyhow::Result<Contents> {
    let read = tokio::task::spawn_blocking(move || backup::verify(&mut BufReader::new(handle), &|_| ())).await?;
    read.with_context(|| format!("{} is not restored, nothing was changed", file.display()))
}

/// The membership that this very backup gave this directory before; an error if it holds anything else.
fn done_before(home: &DataDir, contents: &Contents) -> anyhow::Result<Option<Identity>> {
    let place = home.path().display();
    let hint = "a backup is restored into an empty directory: stop the service, move this one away, then run it again";
    match home.standing()? {
        Standing::Restoring => Ok(None),
        Standing::New => match home.strangers()?.as_slice() {
            [] => Ok(None),
            found => bail!("{place} is not empty, there is {}; {hint}", found.join(", ")),
        },
        Standing::Member(identity) => {
            let same = home.restored()?.is_some_and(|from| from.backup == contents.digest);
            if same {
                return Ok(Some(identity));
            }
            bail!("{place} belongs to node {} of cluster {}; {hint}", identity.node, cluster_name(&identity.cluster))
        }
        Standing::Removed(_) | Standing::Founding(_) | Standing::Joining => {
            bail!("{place} holds what is left of another node; {hint}")
        }
    }
}

/// Puts the files into the store, synced, and says which of all it holds whose bytes are right.
async fn put_files(dir: &Path, file: &File, contents: &Contents) -> anyhow::Result<BTreeSet<Digest>> {
    let store = Arc::new(Store::open(dir).context("the asset store cannot be opened")?);
    let mut held = BTreeSet::new();
    // What lies there from before is as good, if it is whole.
    for lacking in &contents.lacking {
        if store.size(&lacking.digest) == Some(lacking.size) && store.open_blob(&lacking.digest).is_ok() {
            held.insert(lacking.digest);
        }
    }
    for stored in &contents.files {
        let (digest, place) = (stored.digest, stored.place);
        if store.size(&digest) != Some(place.length) || store.open_blob(&digest).is_err() {
            let bytes = pieces(file.try_clone()?, place.start, place.length);
            let declared = Declared { size: Some(place.length), digest: Some(digest) };
            let received = store.receive(&mut Box::pin(bytes), declared).await;
            received.with_context(|| format!("file {digest} cannot be stored"))?;
        }
        held.insert(digest);
    }
    info!(files = held.len(), "the files of the backup are in the store");
    Ok(held)
}

fn member(id: u64, own: &Own, peer: String, boot: String) -> Member {
    Member { id, name: own.name.clone(), kind: own.kind, peer, boot, instance: [0; 16], replaces: None }
}

/// Where the log of the backup ended.
fn at(contents: &Contents, node: u64) -> raft::codec::LogPosition {
    let last = contents.header.applied.last;
    last.unwrap_or(raft::codec::LogPosition { term: 0, node, index: contents.manifest.log_index })
}

/// Makes the log and the records; last of all the directory gets its owner.
async fn fill(home: &DataDir, file: File, contents: &Contents, start: Start, own: &Own) -> anyhow::Result<()> {
    let (dir, place) = (home.raft(), contents.state);
    let from = FromBackup { backup: contents.digest, generation: start.identity.generation };
    let filled =
        tokio::task::spawn_blocking(move || rescue::restore(&dir, start, |each| backup::state(&file, place, each)));
    let filled = filled.await??;
    home.write_own(own)?;
    home.write_restored(&from)?;
    filled.seal()?;
    home.end_restoring()?;
    Ok(())
}

fn told(contents: &Contents, identity: &Identity, name: String, lacking: Vec<Lacking>, now: bool) -> Restored {
    Restored {
        restored: now,
        cluster_id: cluster_name(&identity.cluster),
        generation_before: contents.header.generation,
        generation: Some(identity.generation),
        node_id: identity.node,
        name,
        log_index: contents.manifest.log_index,
        created_at: contents.manifest.created_at.clone(),
        files: contents.files.len(),
        lacking,
    }
}
