//! The command line: what can be said, and who does it.
//!
//! Everything but `serve`, `check-config`, `init`, `join`, `verify-backup`, `restore`, `recover`, `cert` and `vip` is a client of the admin API. Exit codes: 0 done, 1 failed, 2 usage,
//! 64 bad configuration (a token or a CA that cannot be read).

mod apply;
mod assets;
mod backup;
mod certificates;
mod cluster;
mod connect;
mod documents;
mod explain;
mod export;
mod failure;
mod host;
mod import;
mod machines;
mod man;
mod objects;
mod output;
mod progress;
mod rescue;
mod settings;
mod status;
mod support;
mod tokens;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

pub use connect::Connection;
pub use failure::Failure;
pub use host::{Here, HostCommand};
pub use output::{Format, Terminal};

/// Network boot for bare metal: profiles, groups, templates and files, served by DHCP, TFTP and HTTP.
#[derive(Debug, Parser)]
#[command(name = "raftboot", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node until it is told to stop
    Serve(ServeArguments),
    /// Read the configuration file as `serve` would and report every mistake
    CheckConfig(CheckConfigArguments),
    /// What is done on this host beside a running node.
    #[command(flatten)]
    Host(HostCommand),
    /// Anything that is asked of a running node.
    #[command(flatten)]
    Client(ClientCommand),
}

/// How to run a node.
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// Configuration file [default: /etc/raftboot/raftboot.toml if it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the node keeps its data, instead of what the configuration says
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// Which configuration to check.
#[derive(Debug, Args)]
pub struct CheckConfigArguments {
    /// Configuration file [default: /etc/raftboot/raftboot.toml if it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What can be asked of a running node.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// How the cluster and this node are, and what to do
    Status(Connected<status::Arguments>),
    /// What to boot
    Profile(ConnectedTo<objects::ProfileAction>),
    /// Which machines get which profile
    Group(ConnectedTo<objects::GroupAction>),
    /// The configs machines fetch
    Template(ConnectedTo<objects::TemplateAction>),
    /// The files machines fetch
    Asset(ConnectedTo<assets::Action>),
    /// The computers seen on the network
    Machine(ConnectedTo<machines::Action>),
    /// Which group a machine belongs to, and why not to others
    Explain(Connected<explain::Arguments>),
    /// What all nodes share
    Settings(ConnectedTo<settings::Action>),
    /// Print how another node joins
    JoinToken(Connected<cluster::JoinTokenArguments>),
    /// Let another node lead, and hold the VIP
    Transfer(Connected<cluster::TransferArguments>),
    /// Take a node out of the cluster for good
    Remove(Connected<cluster::RemoveArguments>),
    /// Take the node that is asked out of its cluster for good
    Leave(Connected<cluster::LeaveArguments>),
    /// What the nodes share about the cluster: its VIP and names
    Cluster(ConnectedTo<cluster::Action>),
    /// Who may use the admin API
    Token(ConnectedTo<tokens::Action>),
    /// Make many objects what files say, as one change: all of it or nothing
    Apply(Connected<apply::Arguments>),
    /// Write everything the cluster knows, and its files if wanted, into one file that can be restored
    Backup(Connected<backup::Arguments>),
    /// Take over the data of another boot service
    Import(ConnectedTo<import::Action>),
    /// Write the data as another boot service reads it
    Export(ConnectedTo<export::Action>),
    /// Collect from all nodes what helps to find a fault, without secrets, into one file
    SupportBundle(Connected<support::Arguments>),
    /// Print a script that completes commands in a shell
    Completions {
        /// For which shell
        shell: Shell,
    },
    /// Write the manual pages
    Man(man::Arguments),
}

/// A command with arguments.
#[derive(Debug, Args)]
pub struct Connected<T: Args> {
    #[command(flatten)]
    action: T,
    // After its own arguments, which would stand below the heading of these otherwise.
    #[command(flatten)]
    connection: Connection,
}

/// A command with further commands.
#[derive(Debug, Args)]
pub struct ConnectedTo<T: Subcommand> {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    action: T,
}

/// Does what was said, on the process's own terminal.
#[must_use]
pub fn run(command: ClientCommand) -> ExitCode {
    let (mut out, mut error) = (std::io::stdout(), std::io::stderr());
    ExitCode::from(run_on(command, &mut Terminal { out: &mut out, error: &mut error }))
}

/// Does on this host what was said, on the process's own terminal.
#[must_use]
pub fn run_here(command: HostCommand) -> ExitCode {
    let (mut out, mut error) = (std::io::stdout(), std::io::stderr());
    let terminal = &mut Terminal { out: &mut out, error: &mut error };
    ExitCode::from(ended(host::perform(command, terminal), terminal))
}

/// Does what was said, on some terminal; says once what went wrong. Answers the exit code.
#[must_use]
pub fn run_on(command: ClientCommand, terminal: &mut Terminal<'_>) -> u8 {
    ended(perform(command, terminal), terminal)
}

fn ended(result: Result<(), Failure>, terminal: &mut Terminal<'_>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(failure) => {
            failure.print(terminal);
            failure.exit_code()
        }
    }
}

fn perform(command: ClientCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        ClientCommand::Status(Connected { connection, action }) => status::run(&connection, &action, terminal),
        ClientCommand::Profile(ConnectedTo { connection, action }) => objects::profile(&connection, action, terminal),
        ClientCommand::Group(ConnectedTo { connection, action }) => objects::group(&connection, action, terminal),
        ClientCommand::Template(ConnectedTo { connection, action }) => objects::template(&connection, action, terminal),
        ClientCommand::Asset(ConnectedTo { connection, action }) => assets::run(&connection, action, terminal),
        ClientCommand::Machine(ConnectedTo { connection, action }) => machines::run(&connection, action, terminal),
        ClientCommand::Explain(Connected { connection, action }) => explain::run(&connection, &action, terminal),
        ClientCommand::Settings(ConnectedTo { connection, action }) => settings::run(&connection, action, terminal),
        ClientCommand::JoinToken(Connected { connection, action }) => {
            cluster::join_token(&connection, &action, terminal)
        }
        ClientCommand::Transfer(Connected { connection, action }) => cluster::transfer(&connection, &action, terminal),
        ClientCommand::Remove(Connected { connection, action }) => cluster::remove(&connection, &action, terminal),
        ClientCommand::Leave(Connected { connection, action }) => cluster::leave(&connection, &action, terminal),
        ClientCommand::Cluster(ConnectedTo { connection, action }) => cluster::run(&connection, action, terminal),
        ClientCommand::Token(ConnectedTo { connection, action }) => tokens::run(&connection, action, terminal),
        ClientCommand::Apply(Connected { connection, action }) => apply::run(&connection, &action, terminal),
        ClientCommand::Backup(Connected { connection, action }) => backup::run(&connection, &action, terminal),
        ClientCommand::Import(ConnectedTo { connection, action }) => import::run(&connection, action, terminal),
        ClientCommand::Export(ConnectedTo { connection, action }) => export::run(&connection, &action, terminal),
        ClientCommand::SupportBundle(Connected { connection, action }) => support::run(&connection, &action, terminal),
        ClientCommand::Completions { shell } => man::completions(shell, terminal),
        ClientCommand::Man(arguments) => man::run(&arguments, terminal),
    }
}
