//! What is done on this host itself, beside the admin API: founding, joining and saving a cluster, certificates, clearing the
//! VIP.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use raft::state::{NodeKind, TwoNode};
use serde::Serialize;

use super::certificates::{self, CertCommand};
use super::failure::Failure;
use super::output::{Format, Terminal};
use super::rescue::{self, RecoverArguments, RestoreArguments, VerifyArguments};
use crate::config::Config;
use crate::membership::{Founding, JoinToken};
use crate::run::{self, Founded, Joined, Joining};

/// What can be done on a host.
#[derive(Debug, Subcommand)]
pub enum HostCommand {
    /// Found a cluster with this node as its first, and print how others join it
    Init(InitArguments),
    /// Make this node a member of a cluster; `serve` then starts it
    Join(JoinArguments),
    /// Read a backup to its last byte and say what is in it
    VerifyBackup(VerifyArguments),
    /// Begin a new generation of a cluster from a backup, with this node as its only member; the others then join it
    Restore(RestoreArguments),
    /// Let this node go on alone when most of its cluster is lost for good
    Recover(RecoverArguments),
    /// Certificates of the cluster's CA
    #[command(subcommand)]
    Cert(CertCommand),
    /// The floating address on this host
    #[command(subcommand)]
    Vip(VipCommand),
}

/// What can be done about the floating address.
#[derive(Debug, Subcommand)]
pub enum VipCommand {
    /// Mute it on this host and remove it, after the service has ended (for systemd's ExecStopPost)
    Clear(Here),
}

/// Which node's files.
#[derive(Debug, Args)]
pub struct Here {
    /// Configuration file [default: /etc/raftboot/raftboot.toml if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the node keeps its data, instead of what the configuration says
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Here {
    pub(super) fn config(&self) -> Result<Config, Failure> {
        let mut config =
            Config::load(self.config.as_deref()).map_err(|error| Failure::configuration(error.to_string(), ""))?;
        if let Some(dir) = &self.data_dir {
            config.data_dir = std::path::absolute(dir).map_err(|error| {
                Failure::configuration(format!("{}: {error}", dir.display()), "write the whole path")
            })?;
        }
        Ok(config)
    }
}

/// As what to found a cluster.
#[derive(Debug, Args)]
pub struct InitArguments {
    #[command(flatten)]
    here: Here,
    /// This node's name [default: `name` of the configuration, else the host's]
    #[arg(long)]
    name: Option<String>,
    /// The floating address, a free one of the machine network
    #[arg(long, value_name = "ADDRESS")]
    vip: Option<Ipv4Addr>,
    /// Two nodes that serve and a third that only votes; that one joins with --witness
    #[arg(long, conflicts_with = "survivor")]
    witness: bool,
    /// Two nodes; when one is gone the other serves machines, and no change is accepted
    #[arg(long)]
    survivor: bool,
    /// How to print the result
    #[arg(short = 'o', long = "output", value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

/// What to join, and as what.
#[derive(Debug, Args)]
pub struct JoinArguments {
    /// A node of the cluster, by its peer port [default port: 7443]
    #[arg(value_name = "ADDRESS[:PORT]")]
    address: String,
    /// What `raftboot init` or `raftboot join-token` printed
    #[arg(long, env = "RAFTBOOT_JOIN_TOKEN", hide_env_values = true)]
    token: JoinToken,
    #[command(flatten)]
    here: Here,
    /// This node's name [default: `name` of the configuration, else the host's]
    #[arg(long)]
    name: Option<String>,
    /// Vote, but serve no machines and hold no files
    #[arg(long)]
    witness: bool,
    /// Forget the cluster that the data directory belongs to
    #[arg(long)]
    wipe: bool,
    /// How to print the result
    #[arg(short = 'o', long = "output", value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

pub(super) fn perform(command: HostCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        HostCommand::Init(arguments) => init(&arguments, terminal),
        HostCommand::Join(arguments) => join(arguments, terminal),
        HostCommand::VerifyBackup(arguments) => rescue::verify(&arguments, terminal),
        HostCommand::Restore(arguments) => rescue::restore(&arguments, terminal),
        HostCommand::Recover(arguments) => rescue::recover(&arguments, terminal),
        HostCommand::Cert(command) => certificates::run(command, terminal),
        HostCommand::Vip(VipCommand::Clear(here)) => {
            run::clear_vip(&here.config()?).map_err(|error| Failure::new(format!("{error:#}"), ""))
        }
    }
}

fn init(arguments: &InitArguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let two_node = match (arguments.witness, arguments.survivor) {
        (true, _) => TwoNode::Witness,
        (_, true) => TwoNode::Survivor,
        _ => TwoNode::None,
    };
    let wanted = Founding { name: arguments.name.clone(), vip: arguments.vip, two_node };
    let config = arguments.here.config()?;
    let founded = as_owner(&config, || block_on(run::init(&config, wanted)))?;
    show(terminal, arguments.format, &founded, |founded| say_founded(founded, arguments.witness))
}

fn say_founded(founded: &Founded, with_witness: bool) -> String {
    let Founded { cluster_id, generation, node_id, name, .. } = founded;
    let Some(join) = &founded.join else {
        return format!(
            "this is node {node_id} ({name}) of cluster {cluster_id} generation {generation} already; `raftboot join-token` prints how others join\n"
        );
    };
    let witness = if with_witness { "\non the witness:\n\n  …the same, and --witness\n" } else { "" };
    format!(
        "founded cluster {cluster_id}; this is node {node_id} ({name})\n\
         admin token: {}\nCA for clients: {}\n\nnow start the service here (`raftboot serve`), then on each further node, within an hour:\n\n  {join}\n{witness}",
        founded.token_file, founded.ca_file
    )
}

fn join(arguments: JoinArguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let config = arguments.here.config()?;
    let joining = Joining {
        address: arguments.address,
        token: arguments.token,
        name: arguments.name,
        kind: if arguments.witness { NodeKind::Witness } else { NodeKind::Data },
        wipe: arguments.wipe,
    };
    let joined = as_owner(&config, || block_on(run::join(&config, &joining)))?;
    show(terminal, arguments.format, &joined, say_joined)
}

fn say_joined(joined: &Joined) -> String {
    let Joined { cluster_id, node_id, name, replaces, .. } = joined;
    if !joined.joined {
        return format!("this is node {node_id} ({name}) of cluster {cluster_id} already\n");
    }
    let place = replaces.map_or_else(String::new, |old| format!("; it takes the place of node {old} once it is ready"));
    format!(
        "this is node {node_id} ({name}) of cluster {cluster_id} now{place}\n\
         start the service here (`raftboot serve`): it fetches the log and the files, then it votes\n\
         `raftboot` works here for root as it is; others need a token or a certificate\n"
    )
}

/// Works in the data directory; what root made there belongs to the directory's owner afterwards, also if it failed.
pub(super) fn as_owner<T>(config: &Config, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let done = work();
    let given = run::give_to_owner(&config.data_dir).map_err(|error| {
        let dir = config.data_dir.display();
        let hint = format!("`chown -R --reference={dir} {dir}`");
        Failure::new(format!("{dir}: its files cannot be given to the user who owns it: {error}"), hint)
    });
    done.and_then(|done| given.map(|()| done))
}

pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("no runtime: {error}"), ""))?;
    runtime.block_on(work).map_err(|error| Failure::new(format!("{error:#}"), ""))
}

pub(super) fn show<T: Serialize>(
    terminal: &mut Terminal<'_>,
    format: Format,
    value: &T,
    table: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    let json = serde_json::to_value(value).expect("ids and texts are JSON");
    terminal.show(format, &json, || table(value))
}
