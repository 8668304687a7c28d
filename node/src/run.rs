//! A node's whole life on one page: build, bind, start, wait, hand over, stop.

mod bind;
mod build;
mod certificates;
mod clear;
mod found;
mod handoff;
mod join;
mod membership;
mod own;
mod owner;
mod recover;
mod restore;
mod seen;
mod signing;
mod site;
mod watchdog;

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use raft::Cluster;
use raft::home::cluster_name;
use raft::state::{Certificate, NodeKind};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::catalog::Catalog;
use crate::config::Config;
use crate::membership::{DataDir, Founding, Standing};
use crate::tasks::Tasks;
use crate::{callers, dhcp, https, peers, tftp, vip};

use bind::Bound;
use build::{Built, Held};
use certificates::Kept;

pub use clear::clear_vip;
pub use found::{Founded, init};
pub use join::{Joined, Joining, join};
pub use owner::give_to_owner;
pub use recover::{Agreement, Answering, Outlook, Recovered, outlook, recover};
pub use restore::{Restored, Restoring, restore};

/// How long a part that only sits in a loop may take to stop.
const LOOP_DEADLINE: Duration = Duration::from_secs(2);
/// How long answers under way may go on once the node stops.
const ANSWERS_DEADLINE: Duration = Duration::from_secs(10);
/// How long another node may take to lead before this one stops without it.
const HAND_OVER_DEADLINE: Duration = Duration::from_secs(4);
/// How long the log may take to close; a disk that hangs must not keep a failed node from ending.
const STORAGE_DEADLINE: Duration = Duration::from_secs(15);

/// A data directory that has no place in a cluster; starting again does not help, an operator must decide.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoPlace(String);

/// Runs a node until it is told to stop (SIGTERM, SIGINT).
///
/// # Errors
/// What kept it from starting, or which part failed. The caller exits with code 1, for `NoPlace` with 64.
pub fn run(config: &Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("raftboot").build()?;
    let result = runtime.block_on(life(config));
    // Blocking work (a file being hashed) is not waited for: what matters was synced before.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// Where on the network a node with this configuration would be, in words for people.
///
/// # Errors
/// What of the configuration does not fit this host.
pub fn place(config: &Config) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    signing::open(config)?;
    let site = runtime.block_on(site::find(config))?;
    let interface =
        site.interface.as_ref().map_or_else(|| "every interface".to_owned(), |name| format!("interface {name}"));
    let peer = own::peer_address(config, &site);
    Ok(format!(
        "machines on {interface} would be told to boot from http://{}:{}, other nodes to connect to {peer}",
        site.address, site.http_port
    ))
}

async fn life(config: &Config) -> anyhow::Result<()> {
    info!(version = env!("CARGO_PKG_VERSION"), data_dir = %config.data_dir.display(), "raftboot starts");
    // Signals that arrive while we start must not kill us half-way.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let home = DataDir::new(&config.data_dir);
    let begun = begun(&home)?;
    let own = own::own(config, &home, None, None)?;
    // Before the addresses of this computer are read: a leftover must not be taken for one of them.
    let held = hold(config);
    let site = site::find(config).await?;
    let held = held.on(&site);
    let bound = Bound::bind(config, &site, own.kind)?;
    if let Some(wanted) = begun {
        found::found(config, &site, &home, wanted).await?;
    }
    let built = build::build(config, &site, &own, &home, bound, held).await?;
    let cluster = built.cluster.clone();
    let mut tasks = start(built);
    notify(sd_notify::NotifyState::Ready);
    info!(node = cluster.identity().node, name = own.name, address = %site.address, http_port = site.http_port, "ready");
    let ended = tokio::select! {
        _ = terminate.recv() => { info!("told to stop (SIGTERM)"); Ok(()) }
        _ = interrupt.recv() => { info!("told to stop (SIGINT)"); Ok(()) }
        fatal = cluster.failed() => Err(anyhow!(fatal)),
        () = cluster.removed() => {
            home.mark_removed()?;
            Err(removed(&home, cluster.identity()).into())
        }
        (part, error) = tasks.first_to_end() => Err(error.context(format!("{part} has failed"))),
    };
    notify(sd_notify::NotifyState::Stopping);
    if let Err(error) = &ended {
        error!(error = format!("{error:#}"), "stopping");
    }
    hand_over(&cluster).await;
    tasks.stop().await;
    if tokio::time::timeout(STORAGE_DEADLINE, cluster.shutdown()).await.is_err() {
        warn!(deadline = ?STORAGE_DEADLINE, "the storage did not close in time; what was acknowledged is on disk already");
    }
    ended
}

/// Closes the fence of the VIP and removes what an earlier process of this node left of it.
fn hold(config: &Config) -> Held {
    let mut place = vip::Place::new(config);
    let vip = place.reopen().unwrap_or_else(|error| {
        error!(error = format!("{error:#}"), "what an earlier run may have left of the VIP cannot be cleared away");
        None
    });
    Held { place, vip }
}

/// Whether a cluster is to be founded first, and as what; an empty data directory becomes a cluster of one.
fn begun(home: &DataDir) -> anyhow::Result<Option<Founding>> {
    match home.standing()? {
        Standing::Member(_) => Ok(None),
        Standing::New => Ok(Some(Founding::default())),
        Standing::Founding(wanted) => Ok(Some(wanted)),
        Standing::Joining => {
            let message = format!(
                "{}: this node has begun to join a cluster and is no member yet: run the same `raftboot join` again",
                home.path().display()
            );
            Err(NoPlace(message).into())
        }
        Standing::Restoring => {
            let message = format!(
                "{}: a backup was being restored here and is not whole: run the same `raftboot restore` again",
                home.path().display()
            );
            Err(NoPlace(message).into())
        }
        Standing::Removed(identity) => Err(removed(home, &identity).into()),
    }
}

fn removed(home: &DataDir, identity: &raft::codec::Identity) -> NoPlace {
    NoPlace(format!(
        "{}: node {} was removed from cluster {}; `raftboot join ADDRESS --token … --wipe` makes it a new member",
        home.path().display(),
        identity.node,
        cluster_name(&identity.cluster)
    ))
}

/// Starts every part. They will be stopped in this order: first what attracts machines, last what answers operators.
fn start(built: Built) -> Tasks {
    let Built {
        bound,
        cluster,
        catalog,
        replicator,
        admin: router,
        grpc,
        seen,
        observe,
        peers: peer_router,
        arriving,
        reporter,
        kept,
        floating,
        sharing,
        said,
    } = built;
    let mut tasks = Tasks::default();
    let serves = said.kind == NodeKind::Data;
    let (watched, holds) = (cluster.clone(), serves.then(|| floating.reporter()));
    if serves {
        start_vip(&mut tasks, floating, bound.boot_http.as_ref());
    }
    start_udp(&mut tasks, bound.dhcp, bound.tftp.map(|sockets| (sockets, sharing)), &catalog);
    if let Some(boot_http) = bound.boot_http {
        tasks.start("boot http", ANSWERS_DEADLINE, |stop| async move { Ok(boot_http.serve(catalog, stop).await?) });
    }
    let reported = cluster.clone();
    let announced = cluster.clone();
    tasks.start("announcement", LOOP_DEADLINE, |stop| async move {
        membership::announce(announced, said, stop).await;
        Ok(())
    });
    let gate = kept.tls.gate();
    start_certificates(&mut tasks, kept, seen, observe, cluster);
    tasks.start("peers", ANSWERS_DEADLINE, |stop| async move {
        peers::serve(arriving, peer_router, stop).await;
        Ok(())
    });
    if let Some(replicator) = replicator {
        tasks.start("blob replication", LOOP_DEADLINE, |stop| async move {
            replicator.run(stop).await;
            Ok(())
        });
    }
    // A witness sees no machines.
    if serves {
        tasks.start("machine records", LOOP_DEADLINE, |stop| async move {
            reporter.run(reported, stop).await;
            Ok(())
        });
    }
    if let Some(listener) = bound.grpc {
        let (router, callers) = grpc;
        tasks.start("grpc", ANSWERS_DEADLINE, |stop| async move {
            https::serve(listener, callers, router, stop.cancelled_owned()).await
        });
    }
    tasks.start("admin api", ANSWERS_DEADLINE, |stop| async move {
        https::serve(bound.admin, gate, router, stop.cancelled_owned()).await
    });
    // The last, so that systemd waits for the others as long as they need.
    tasks.start("watchdog", LOOP_DEADLINE, |stop| async move {
        watchdog::watch(watched, holds, stop).await;
        Ok(())
    });
    tasks
}

/// Who holds the VIP, and whether this node is fit to.
fn start_vip(tasks: &mut Tasks, floating: vip::Floating, boot_http: Option<&crate::boot::Server>) {
    let reporter = floating.reporter();
    if let Some(address) = boot_http.and_then(|boot| boot.local_addr().ok()) {
        let address = crate::config::reachable(address);
        tasks.start("self-check", LOOP_DEADLINE, |stop| async move {
            vip::watch_health(address, reporter, stop).await;
            Ok(())
        });
    }
    tasks.start("vip", LOOP_DEADLINE, |stop| floating.run(stop));
}

/// What keeps certificates fitting, and remembers those of clients.
fn start_certificates(
    tasks: &mut Tasks,
    kept: Kept,
    seen: mpsc::Receiver<Certificate>,
    observe: crate::observe::Reader,
    cluster: Cluster,
) {
    let remembering = cluster.clone();
    tasks.start("certificates seen", LOOP_DEADLINE, |stop| async move {
        let understood = async || observe.of_another_version().await.is_none();
        callers::remember_all(seen, remembering, understood, stop).await;
        Ok(())
    });
    tasks.start("certificates", LOOP_DEADLINE, |stop| async move {
        kept.keep(cluster, stop).await;
        Ok(())
    });
}

/// What machines meet first.
fn start_udp(
    tasks: &mut Tasks,
    dhcp_sockets: Option<dhcp::Sockets>,
    transfers: Option<(tftp::Sockets, tftp::Sharing)>,
    catalog: &Arc<Catalog>,
) {
    if let Some(sockets) = dhcp_sockets {
        let questions = catalog.clone();
        tasks.start("dhcp", LOOP_DEADLINE, |stop| async move {
            Ok(dhcp::run(sockets, questions, stop.cancelled_owned()).await?)
        });
    }
    if let Some((sockets, sharing)) = transfers {
        let questions = catalog.clone();
        tasks.start("tftp", LOOP_DEADLINE, |stop| async move {
            // A thread of its own: a transfer is a dialogue of one small packet each way, and handing it from worker to
            // worker costs time at each (measured with atftp, one block a time: 39 to 81 MB/s here, 14 to 57 there).
            let own = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let serve = move || own.block_on(tftp::run(sockets, questions, sharing, stop.cancelled_owned()));
            Ok(tokio::task::spawn_blocking(serve).await??)
        });
    }
}

/// Before it stops, a leader lets another node lead, so that nobody has to notice that this one is gone. What only the
/// leader may hold is let go of first (`Cluster::on_hand_over`).
async fn hand_over(cluster: &Cluster) {
    let status = cluster.status();
    if status.role != "leader" || status.voters.len() < 2 {
        return;
    }
    match tokio::time::timeout(HAND_OVER_DEADLINE, cluster.transfer(None)).await {
        Ok(Ok(next)) => info!(next, "another node leads now"),
        Ok(Err(error)) => warn!(%error, "no other node could be made to lead before this one stops"),
        Err(_) => warn!(deadline = ?HAND_OVER_DEADLINE, "no other node led in time before this one stops"),
    }
}

/// Tells systemd, if it is listening.
fn notify(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "systemd could not be told");
    }
}
