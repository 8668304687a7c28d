//! A node's whole life on one page: build, bind, start, wait, stop.

mod bind;
mod site;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use raft::{Cluster, EngineKind, Options};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use crate::assets::Store;
use crate::catalog::Catalog;
use crate::config::Config;
use crate::loaders::Loaders;
use crate::replication::Replicator;
use crate::tasks::Tasks;
use crate::{admin, boot, dhcp, sightings, tftp, vip};

use bind::Bound;

/// Below `data_dir`: the log and the state.
const RAFT_DIR: &str = "raft";
/// How long a part that only sits in a loop may take to stop.
const LOOP_DEADLINE: Duration = Duration::from_secs(2);
/// How long answers under way may go on once the node stops.
const ANSWERS_DEADLINE: Duration = Duration::from_secs(10);

/// How long the log may take to close; a disk that hangs must not keep a failed node from ending.
const STORAGE_DEADLINE: Duration = Duration::from_secs(15);

/// Runs a node until it is told to stop (SIGTERM, SIGINT).
///
/// # Errors
/// What kept it from starting, or which part failed. The caller exits with code 1.
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
    let site = runtime.block_on(site::find(config))?;
    let interface = site.interface.map_or_else(|| "every interface".to_owned(), |name| format!("interface {name}"));
    Ok(format!("machines on {interface} would be told to boot from http://{}:{}", site.address, site.http_port))
}

async fn life(config: &Config) -> anyhow::Result<()> {
    info!(version = env!("CARGO_PKG_VERSION"), data_dir = %config.data_dir.display(), "raftboot starts");
    // Signals that arrive while we start must not kill us half-way.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let site = site::find(config).await?;
    let bound = Bound::bind(config, &site)?;
    let parts = bound.health();
    let built = build(config, &site, Arc::new(move || parts.clone())).await?;
    let cluster = built.cluster.clone();
    let mut tasks = start(bound, built);
    notify(sd_notify::NotifyState::Ready);
    info!(address = %site.address, http_port = site.http_port, "ready");
    let ended = tokio::select! {
        _ = terminate.recv() => { info!("told to stop (SIGTERM)"); Ok(()) }
        _ = interrupt.recv() => { info!("told to stop (SIGINT)"); Ok(()) }
        fatal = cluster.failed() => Err(anyhow!(fatal)),
        (part, error) = tasks.first_to_end() => Err(error.context(format!("{part} has failed"))),
    };
    notify(sd_notify::NotifyState::Stopping);
    if let Err(error) = &ended {
        error!(error = format!("{error:#}"), "stopping because a part has failed");
    }
    tasks.stop().await;
    if tokio::time::timeout(STORAGE_DEADLINE, cluster.shutdown()).await.is_err() {
        warn!(deadline = ?STORAGE_DEADLINE, "the storage did not close in time; what was acknowledged is on disk already");
    }
    ended
}

type PartsHealth = Arc<dyn Fn() -> Vec<admin::Health> + Send + Sync>;

/// What a node is made of, before anything runs.
struct Built {
    cluster: Cluster,
    catalog: Arc<Catalog>,
    replicator: Replicator,
    admin: axum::Router,
    reporter: sightings::Reporter,
    tls: Arc<rustls::ServerConfig>,
}

async fn build(config: &Config, site: &site::Site, health: PartsHealth) -> anyhow::Result<Built> {
    let (dir, data_dir) = (config.data_dir.join(RAFT_DIR), config.data_dir.clone());
    let (cluster, store) = tokio::task::spawn_blocking(move || {
        // The log first: its lock keeps a second process from sweeping away the uploads of the one that runs.
        let cluster = Cluster::open(Options::alone(dir, EngineKind::RocksDb))?;
        let store = Store::open(&data_dir).context("the asset store cannot be opened")?;
        anyhow::Ok((cluster, Arc::new(store)))
    })
    .await??;
    let loaders = Arc::new(Loaders::find(&config.loader_dirs));
    report(&loaders);
    let own = config.certificate.as_ref().map(|own| (own.chain.as_path(), own.key.as_path()));
    let tls = admin::tls::server_config(&config.data_dir, own, &site.names)?;
    admin::bootstrap::first_token(&cluster, &config.data_dir).await?;
    let (sightings, reporter) = sightings::channel();
    let place = crate::catalog::Site { address: site.address, http_port: site.http_port };
    let replicator = Replicator::alone(cluster.clone(), store.clone());
    let catalog =
        Catalog::new(cluster.clone(), place, vip::Handle::default(), loaders.clone(), store.clone(), sightings);
    let catalog = Arc::new(catalog.with_copies(replicator.clone()));
    let context = admin::Context {
        health,
        replicator: replicator.clone(),
        checks: checks(loaders.clone()),
        ..admin::Context::new(cluster.clone(), store.clone())
    };
    Ok(Built { cluster, catalog, replicator, admin: admin::router(context), reporter, tls })
}

/// Starts every part. They will be stopped in this order: first what attracts machines, last what answers operators.
fn start(bound: Bound, built: Built) -> Tasks {
    let Built { cluster, catalog, replicator, admin: router, reporter, tls } = built;
    let mut tasks = Tasks::default();
    if let Some(sockets) = bound.dhcp {
        let questions = catalog.clone();
        tasks.start("dhcp", LOOP_DEADLINE, |stop| async move {
            Ok(dhcp::run(sockets, questions, stop.cancelled_owned()).await?)
        });
    }
    if let Some(sockets) = bound.tftp {
        let questions = catalog.clone();
        tasks.start("tftp", LOOP_DEADLINE, |stop| async move {
            // A thread of its own: a transfer is a dialogue of one small packet each way, and handing it from worker to
            // worker costs time at each (measured with atftp, one block a time: 39 to 81 MB/s here, 14 to 57 there).
            let own = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let serve = move || own.block_on(tftp::run(sockets, questions, stop.cancelled_owned()));
            Ok(tokio::task::spawn_blocking(serve).await??)
        });
    }
    tasks.start("boot http", ANSWERS_DEADLINE, |stop| async move { Ok(bound.boot_http.serve(catalog, stop).await?) });
    tasks.start("machine records", LOOP_DEADLINE, |stop| async move {
        reporter.run(cluster, stop).await;
        Ok(())
    });
    tasks.start("blob replication", LOOP_DEADLINE, |stop| async move {
        replicator.run(stop).await;
        Ok(())
    });
    tasks.start("admin api", ANSWERS_DEADLINE, |stop| async move {
        admin::serve(bound.admin, tls, router, stop.cancelled_owned()).await
    });
    tasks
}

/// What the admin API cannot know by itself and warns about.
fn checks(loaders: Arc<Loaders>) -> admin::Checks {
    admin::Checks {
        template: Arc::new(boot::check_template),
        loader_served: Arc::new(move |name| loaders.get(name).is_some()),
        loader_classes: dhcp::Architecture::names().map(str::to_owned).collect(),
    }
}

fn report(loaders: &Loaders) {
    for loader in loaders.list() {
        info!(name = loader.name, firmware = %loader.firmware, path = %loader.path.display(), "boot loader found");
    }
    for missing in loaders.missing().iter().filter(|missing| missing.essential) {
        warn!(name = missing.name, firmware = %missing.firmware, remedy = missing.remedy, "a boot loader is missing: such machines cannot boot");
    }
    for unusable in loaders.unusable() {
        warn!(problem = %unusable, "a boot loader cannot be used");
    }
}

/// Tells systemd, if it is listening.
fn notify(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "systemd could not be told");
    }
}
