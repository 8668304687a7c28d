//! Founds a cluster in a data directory: ids, CA, the first token, what all nodes share. May be repeated after a crash.

use std::net::Ipv4Addr;
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use raft::command::{Edit, Outcome};
use raft::home::cluster_name;
use raft::state::{self, ClusterSettings, NodeKind, TwoNode};
use raft::types::Timestamp;
use raft::{Cluster, EngineKind, Options};

use super::own;
use super::site::{self, Site};
use crate::admin::bootstrap;
use crate::certs::{Authority, CA_FILE};
use crate::config::Config;
use crate::membership::{DataDir, Founding, JoinToken, Standing};

/// How long the join line that `init` prints is good for.
const JOIN_LIFETIME_SECONDS: u64 = 3600;

/// A cluster that was founded, now or before.
#[derive(Debug, serde::Serialize)]
pub struct Founded {
    /// Whether it was done just now.
    pub founded: bool,
    /// The cluster, as an RFC 9562 text.
    pub cluster_id: String,
    /// Its generation.
    pub generation: u64,
    /// This node.
    pub node_id: u64,
    /// What this node is called.
    pub name: String,
    /// The CA that clients need.
    pub ca_file: String,
    /// Where the first admin token is.
    pub token_file: String,
    /// What to run on the next node; only the first time.
    pub join: Option<String>,
    /// Seconds for which that is good.
    pub join_expires_in_seconds: Option<u64>,
}

/// Founds a cluster with this node as its first; changes nothing where that was done before.
///
/// # Errors
/// Why it could not be done; the same command may be run again.
pub async fn init(config: &Config, wanted: Founding) -> anyhow::Result<Founded> {
    let home = DataDir::new(&config.data_dir);
    let identity = match home.standing()? {
        Standing::New | Standing::Founding(_) => {
            let site = site::find(config).await?;
            let token = found(config, &site, &home, wanted).await?;
            let join = format!("raftboot join {} --token {}", own::peer_address(config, &site), token.reveal());
            let Standing::Member(identity) = home.standing()? else {
                bail!("{} did not become the directory of a cluster; report this", home.path().display());
            };
            return Ok(founded(&home, &identity, own::own(config, &home, None, None)?.name, Some(join)));
        }
        Standing::Member(identity) => identity,
        Standing::Joining => bail!(
            "{}: this node has begun to join a cluster; finish that with `raftboot join`, or remove the directory to found one",
            home.path().display()
        ),
        Standing::Restoring => bail!(
            "{}: a backup was being restored here; finish that with `raftboot restore`, or remove the directory to found a cluster",
            home.path().display()
        ),
        Standing::Removed(identity) => bail!(
            "{}: this node was removed from cluster {}; move the directory away to found another one",
            home.path().display(),
            cluster_name(&identity.cluster)
        ),
    };
    Ok(founded(&home, &identity, own::own(config, &home, None, None)?.name, None))
}

fn founded(home: &DataDir, identity: &raft::codec::Identity, name: String, join: Option<String>) -> Founded {
    let file = |name: &str| home.path().join(name).display().to_string();
    Founded {
        founded: join.is_some(),
        cluster_id: cluster_name(&identity.cluster),
        generation: identity.generation,
        node_id: identity.node,
        name,
        ca_file: file(CA_FILE),
        token_file: file(bootstrap::TOKEN_FILE),
        join_expires_in_seconds: join.is_some().then_some(JOIN_LIFETIME_SECONDS),
        join,
    }
}

/// Does it, or does what is left of it. Answers a token with which others may join.
pub(super) async fn found(config: &Config, site: &Site, home: &DataDir, wanted: Founding) -> anyhow::Result<JoinToken> {
    if let Some(vip) = wanted.vip {
        check_vip(vip, site)?;
    }
    let own = own::own(config, home, wanted.name.as_deref(), Some(NodeKind::Data))?;
    home.begin_founding(&wanted)?;
    home.write_own(&own)?;
    let (data_dir, raft_dir) = (config.data_dir.clone(), home.raft());
    let (cluster, ca) = tokio::task::spawn_blocking(move || {
        let ca = Authority::open(&data_dir, SystemTime::now())?.digest()?;
        anyhow::Ok((Cluster::open(Options::alone(raft_dir, EngineKind::RocksDb))?, ca))
    })
    .await??;
    let token = JoinToken::generate(ca).context("no randomness for a join token")?;
    let begun = begin(&cluster, config, site, &own, &wanted, &token).await;
    cluster.shutdown().await;
    begun?;
    home.end_founding()?;
    Ok(token)
}

async fn begin(
    cluster: &Cluster,
    config: &Config,
    site: &Site,
    own: &crate::membership::Own,
    wanted: &Founding,
    token: &JoinToken,
) -> anyhow::Result<()> {
    // First of all: a token placed there beforehand is taken only by a cluster that holds nothing.
    bootstrap::first_token(cluster, &config.data_dir).await?;
    let id = cluster.identity().node;
    let settings = ClusterSettings {
        vip: wanted.vip,
        dns_names: Vec::new(),
        two_node: wanted.two_node,
        preferred: (wanted.two_node == TwoNode::Survivor).then_some(id),
    };
    let mut edits = vec![Edit::AnnounceMember(own::announcement(config, site, own, cluster.identity()))];
    if settings != ClusterSettings::default() {
        edits.push(Edit::PutCluster(settings));
    }
    let mut command = own::command(edits);
    let expires = Timestamp(command.at.0 + JOIN_LIFETIME_SECONDS * 1000);
    let stored = state::JoinToken { id: token.id().into(), secret_sha256: token.sha256(), expires };
    command.edits.push(Edit::PutJoinToken(stored).into());
    match cluster.propose(command).await.context("the cluster could not be founded")?.outcome {
        Outcome::Applied { .. } => Ok(()),
        Outcome::Refused(refusals) => {
            let said: Vec<String> =
                refusals.into_iter().map(|refusal| format!("{}; {}", refusal.message, refusal.hint)).collect();
            bail!("the cluster could not be founded: {}", said.join(". "))
        }
    }
}

/// The floating address moves between nodes, so it cannot be an address that one of them has of its own.
pub(super) fn check_vip(vip: Ipv4Addr, site: &Site) -> anyhow::Result<()> {
    if site.address == vip || site.addresses.contains(&vip.into()) {
        bail!("{vip} is this node's own address; the VIP must be a free address of the machine network");
    }
    Ok(())
}
