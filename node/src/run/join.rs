//! Makes this node a member of a cluster, in an order that a crash may cut anywhere: the same command finishes it.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use raft::Cluster;
use raft::codec::Identity;
use raft::home::{Home, cluster_name};
use raft::state::NodeKind;

use super::own;
use super::site;
use crate::certs::{Authority, CA_FILE, certificates};
use crate::config::Config;
use crate::membership::{
    DataDir, DialError, JoinAnswer, JoinRequest, JoinToken, Standing, ask, hex16, unhex16, who, with_port,
};

/// How often a cluster is asked that cannot say yes at the moment, for want of a leader.
const TRIES_MAX: u32 = 15;
/// The pause between.
const TRY_EVERY: Duration = Duration::from_secs(2);

/// What is to be joined, and as what.
#[derive(Debug, Clone)]
pub struct Joining {
    /// A node of the cluster: `ADDRESS[:PORT]`.
    pub address: String,
    /// The right to join it.
    pub token: JoinToken,
    /// This node's name, unless the configuration says.
    pub name: Option<String>,
    /// What this node will do.
    pub kind: NodeKind,
    /// Whether to forget a cluster that the data directory belongs to.
    pub wipe: bool,
}

/// A membership that was given, now or before.
#[derive(Debug, serde::Serialize)]
pub struct Joined {
    /// Whether it was given just now.
    pub joined: bool,
    /// The cluster, as an RFC 9562 text.
    pub cluster_id: String,
    /// Its generation.
    pub generation: u64,
    /// This node.
    pub node_id: u64,
    /// What this node is called.
    pub name: String,
    /// The node whose place it takes once it is ready.
    pub replaces: Option<u64>,
}

/// Joins; changes nothing where that was done before.
///
/// # Errors
/// Why not, with the remedy; the same command may be run again.
pub async fn join(config: &Config, joining: &Joining) -> anyhow::Result<Joined> {
    let home = DataDir::new(&config.data_dir);
    if let Some(identity) = clear(&home, joining)? {
        let name = own::own(config, &home, None, None)?.name;
        return Ok(joined(&identity, name, None, false));
    }
    let site = site::find(config).await?;
    let own = own::own(config, &home, joining.name.as_deref(), Some(joining.kind))?;
    let request = JoinRequest {
        name: own.name.clone(),
        kind: own.kind,
        peer: own::peer_address(config, &site),
        boot: own::boot_address(own.kind, &site),
        instance: hex16(&home.begin_joining()?),
    };
    let answer = ask_patiently(&with_port(&joining.address), &joining.token, &request).await?;
    let cluster = unhex16(&answer.cluster).context("the other node's answer names no cluster")?;
    let identity = Identity { cluster, generation: answer.generation, node: answer.node };
    keep(&home, &joining.token, &answer)?;
    home.write_own(&own)?;
    // Last: from here on the directory is that of a member.
    Cluster::adopt(&home.raft(), &identity)?;
    Ok(joined(&identity, own.name, answer.replaces, true))
}

fn joined(identity: &Identity, name: String, replaces: Option<u64>, now: bool) -> Joined {
    Joined {
        joined: now,
        cluster_id: cluster_name(&identity.cluster),
        generation: identity.generation,
        node_id: identity.node,
        name,
        replaces,
    }
}

/// Makes room for another cluster's data, if that is wanted; answers the membership if the directory has the one asked for.
fn clear(home: &DataDir, joining: &Joining) -> anyhow::Result<Option<Identity>> {
    home.sweep()?;
    let place = home.path().display();
    let what = match home.standing()? {
        Standing::New | Standing::Joining => return Ok(None),
        Standing::Member(identity) => {
            let ours = certificates(&home.path().join(CA_FILE)).ok();
            let is_pinned = |ca: &[u8]| raft::types::Digest::of(ca) == joining.token.ca();
            let same = ours.is_some_and(|ours| ours.iter().any(|ca| is_pinned(ca)));
            match same.then(|| left_behind(&identity, joining)).transpose()? {
                Some(None) => return Ok(Some(identity)),
                Some(Some(generation)) => format!(
                    "its node {} is of generation {}, and the cluster has gone on as generation {generation} without it",
                    identity.node, identity.generation
                ),
                None => {
                    let name = cluster_name(&identity.cluster);
                    format!("it belongs to another cluster, {name}, as node {}", identity.node)
                }
            }
        }
        Standing::Restoring => "a backup was being restored there".into(),
        Standing::Founding(_) => "it holds the beginnings of a cluster of its own".into(),
        Standing::Removed(identity) => {
            format!("its node {} was removed from cluster {}", identity.node, cluster_name(&identity.cluster))
        }
    };
    if !joining.wipe {
        bail!("{place}: {what}; say --wipe to forget that (its log, records, tokens and certificates; blobs stay)");
    }
    // The lock is held by a service that runs.
    drop(Home::open(&home.raft())?);
    home.wipe()?;
    Ok(None)
}

/// The generation of the cluster that is to be joined, if this node is of another one. A cluster that does not answer is not
/// contradicted, unless the node is to be wiped for it.
fn left_behind(identity: &Identity, joining: &Joining) -> anyhow::Result<Option<u64>> {
    match who(&with_port(&joining.address), joining.token.ca()) {
        Ok(other) if other.generation > identity.generation => Ok(Some(other.generation)),
        Ok(other) if other.generation < identity.generation => bail!(
            "{} is of generation {}, which this node has left behind as generation {}: wipe that one, not this; nothing was changed",
            joining.address,
            other.generation,
            identity.generation
        ),
        Ok(_) => Ok(None),
        Err(error) if joining.wipe => bail!("{error}; {}", error.hint()),
        Err(_) => Ok(None),
    }
}

/// A cluster without a leader may have one in a moment.
async fn ask_patiently(address: &str, token: &JoinToken, request: &JoinRequest) -> anyhow::Result<JoinAnswer> {
    let mut tries = 1;
    loop {
        match ask(address, token, request) {
            Ok(answer) => return Ok(answer),
            Err(DialError::NotNow(refusal)) if tries < TRIES_MAX && refusal.code == "unavailable" => {
                tries += 1;
                tokio::time::sleep(TRY_EVERY).await;
            }
            Err(error) => bail!("{error}; {}", error.hint()),
        }
    }
}

/// Writes the CA, after making sure that it is the one the token names.
fn keep(home: &DataDir, token: &JoinToken, answer: &JoinAnswer) -> anyhow::Result<()> {
    Authority::install(home.path(), &answer.ca_certificate, &answer.ca_key)?;
    let authority = Authority::open(home.path(), SystemTime::now())?;
    if authority.digest()? != token.ca() {
        bail!("the other node sent another CA than the one it showed: look at its ca.crt");
    }
    // Whatever an earlier cluster left there would be noticed only when it is used.
    authority.roots()?;
    Ok(())
}
