//! `verify-backup`, `restore` and `recover`: what is done on a host when a cluster is, or may be, lost.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read};
use std::path::PathBuf;

use clap::Args;

use super::backup::{described, said};
use super::failure::Failure;
use super::host::{Here, as_owner, block_on, show};
use super::output::{Format, Terminal, table};
use super::progress;
use crate::backup;
use crate::run::{self, Agreement, Outlook, Recovered, Restored, Restoring};

/// Which backup.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// The backup; `-` is standard input
    file: PathBuf,
    /// How to print the result
    #[arg(short = 'o', long = "output", value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

/// What to restore, and as what.
#[derive(Debug, Args)]
pub struct RestoreArguments {
    /// The backup
    file: PathBuf,
    #[command(flatten)]
    here: Here,
    /// This node's name [default: `name` of the configuration, else the host's]
    #[arg(long)]
    name: Option<String>,
    /// Verify the backup and say what would be done
    #[arg(long)]
    dry_run: bool,
    /// How to print the result
    #[arg(short = 'o', long = "output", value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

/// What to go on with alone.
#[derive(Debug, Args)]
pub struct RecoverArguments {
    /// Leave all other nodes behind: they can come back only wiped
    #[arg(long, required = true)]
    force_new_generation: bool,
    #[command(flatten)]
    here: Here,
    /// The cluster's id, or its first eight digits: that this one is meant
    #[arg(long, value_name = "CLUSTER")]
    confirm: Option<String>,
    /// What answers at another node's address with a certificate of another CA is something else
    #[arg(long)]
    addresses_reused: bool,
    /// Say what is there and what speaks against it
    #[arg(long)]
    dry_run: bool,
    /// How to print the result
    #[arg(short = 'o', long = "output", value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

pub(super) fn verify(arguments: &VerifyArguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let VerifyArguments { file, format } = arguments;
    let place = if file.as_os_str() == "-" { "standard input".into() } else { file.display().to_string() };
    let unread = |error: io::Error| Failure::new(format!("{place} cannot be read: {error}"), "");
    let (mut from, length): (Box<dyn Read>, u64) = if file.as_os_str() == "-" {
        (Box::new(io::stdin()), 0)
    } else {
        let handle = File::open(file).map_err(unread)?;
        let length = handle.metadata().map_err(unread)?.len();
        (Box::new(BufReader::new(handle)), length)
    };
    let bar = progress::bar("verifying", length);
    let read = backup::verify(&mut from, &|moved| bar.inc(moved));
    bar.finish_and_clear();
    let contents = read.map_err(|error| {
        Failure::new(
            format!("{place}: {error}"),
            "do not restore this one; take an older backup, or a copy from elsewhere",
        )
    })?;
    terminal.show(*format, &described(&contents), || format!("{}verified  every byte of {place}\n", said(&contents)))
}

pub(super) fn restore(arguments: &RestoreArguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let restoring =
        Restoring { file: arguments.file.clone(), name: arguments.name.clone(), dry_run: arguments.dry_run };
    let config = arguments.here.config()?;
    let restored = as_owner(&config, || block_on(Box::pin(run::restore(&config, &restoring))))?;
    show(terminal, arguments.format, &restored, |restored| say_restored(restored, arguments.dry_run))
}

fn say_restored(restored: &Restored, dry_run: bool) -> String {
    let Restored { cluster_id, generation_before, generation, node_id, name, log_index, created_at, .. } = restored;
    let generation =
        generation.map_or_else(|| "a new generation".into(), |generation| format!("generation {generation}"));
    let from = format!("backup of generation {generation_before}, log entry {log_index}, made {created_at}");
    if !restored.restored && !dry_run {
        return format!(
            "this is node {node_id} ({name}) of cluster {cluster_id} {generation} already, from this {from}\n"
        );
    }
    let names: Vec<&str> = restored.lacking.iter().flat_map(|lacking| &lacking.names).map(String::as_str).collect();
    let lacking = match names.as_slice() {
        [] => String::new(),
        names => format!(
            "\nthe bytes of these are not here, and machines that ask for them are refused until `raftboot asset put` brings them:\n  {}\n",
            names.join("\n  ")
        ),
    };
    if dry_run {
        return format!(
            "this would become node {node_id} ({name}), the only one of cluster {cluster_id} {generation}\nfrom a {from}\n{lacking}"
        );
    }
    format!(
        "this is node {node_id} ({name}) of cluster {cluster_id} {generation} now, and its only one\nfrom a {from}\n{lacking}\n\
         tokens and certificates are good as before; changes made after the backup are lost\n\
         start the service here (`raftboot serve`), then `raftboot join-token`, and on every other node, old ones included:\n\n  \
         raftboot join ADDRESS --token … --wipe\n"
    )
}

pub(super) fn recover(arguments: &RecoverArguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    debug_assert!(arguments.force_new_generation, "clap demands it");
    let config = arguments.here.config()?;
    let failed = |error: anyhow::Error| Failure::new(format!("{error:#}"), "");
    // Opening the log writes to its directory too.
    let look = || as_owner(&config, || run::outlook(&config, arguments.addresses_reused).map_err(failed));
    if arguments.dry_run {
        let outlook = look()?;
        return show(terminal, arguments.format, &outlook, say_outlook);
    }
    let confirm = match &arguments.confirm {
        Some(confirm) => confirm.clone(),
        None => {
            let outlook = look()?;
            agreed(&outlook, terminal)?
        }
    };
    let agreement = Agreement(confirm);
    let recovered =
        as_owner(&config, || run::recover(&config, &agreement, arguments.addresses_reused).map_err(failed))?;
    show(terminal, arguments.format, &recovered, say_recovered)
}

/// Asks somebody who has seen what is there. Where nothing would be done there is nothing to agree to.
fn agreed(outlook: &Outlook, terminal: &mut Terminal<'_>) -> Result<String, Failure> {
    terminal.complain(say_outlook(outlook).trim_end());
    if outlook.alone || outlook.against.is_some() {
        return Ok(outlook.cluster_id.clone());
    }
    if !io::stdin().is_terminal() {
        let hint = format!("if this cluster is meant: --confirm {}", outlook.cluster_id);
        return Err(Failure::usage("going on alone must be confirmed; nothing was changed", hint));
    }
    terminal.complain("to go on, type the first eight digits of the cluster's id:");
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(|error| Failure::new(format!("nothing was typed: {error}"), ""))?;
    Ok(line)
}

fn say_outlook(outlook: &Outlook) -> String {
    let Outlook { cluster_id, generation, node_id, name, applied, last_log, term, others, alone, against } = outlook;
    let rows: Vec<Vec<String>> = others
        .iter()
        .map(|other| {
            let role = if other.votes { "voter" } else { "learner" };
            vec![other.name.clone(), other.id.to_string(), role.into(), other.peer.clone(), other.answering.to_string()]
        })
        .collect();
    let verdict = match (alone, against) {
        (true, _) => "it is alone already: there is nothing to recover\n".to_owned(),
        (_, Some(against)) => format!("this will not be done: {against}\n"),
        (_, None) => "\nIf this is done, these nodes are left behind for good: they can come back only wiped. What only they have is lost: \
                      the changes that they acknowledged and this node never heard of, files that only they hold.\n\
                      Look at every node whose disk is left first (`recover --force-new-generation --dry-run`), and do it on the one \
                      with the highest term, then the highest last entry. Switch the others off: one that comes back may hold the VIP.\n"
            .to_owned(),
    };
    format!(
        "node {name} ({node_id}) of cluster {cluster_id} generation {generation}\n\
         its log ends with entry {last_log} of term {term}; up to entry {applied} all is known to be committed\n\n{}\n{verdict}",
        table(&["NODE", "ID", "ROLE", "PEER ADDRESS", "NOW"], &rows)
    )
}

fn say_recovered(recovered: &Recovered) -> String {
    let Recovered { before, generation, kept_entries, .. } = recovered;
    let Outlook { cluster_id, node_id, name, last_log, .. } = before;
    if !recovered.recovered {
        return format!(
            "node {name} ({node_id}) of cluster {cluster_id} generation {generation} is alone already: nothing to recover\n"
        );
    }
    format!(
        "node {name} ({node_id}) is the only one of cluster {cluster_id} generation {generation} now\n\
         its log up to entry {last_log} stays, with {kept_entries} entries that were not known to be committed: an acknowledged change may be among them\n\
         start the service here, then `raftboot join-token`, and on every other node, old ones included:\n\n  \
         raftboot join ADDRESS --token … --wipe\n"
    )
}
