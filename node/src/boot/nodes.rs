//! Which nodes a machine is sent to, in which order: the list that scripts go through when a download fails.
//!
//! Pure. A list has base addresses, `http://ADDRESS:PORT` without a slash at the end; an empty one means that there is
//! nobody but the node that was asked, and scripts name no host at all.

use std::collections::BTreeSet;

use raft::state::{Member, NetBoot, State};

use super::line::Line;
use crate::rendezvous;

/// Most nodes in one list, beside the floating address and the one asked: a script stays small, and a machine that cannot
/// reach any of them is not helped by more.
pub(super) const NODES_MAX: usize = 4;

/// Where machines find the cluster, as a node sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// This node's id.
    pub node: u64,
    /// The base address of the floating address, if the cluster has one.
    pub floating: Option<String>,
    /// Whether somebody is known to answer there.
    pub holder_known: bool,
}

impl Whereabouts {
    /// What `${base_url}` stands for, for a machine that asked `asked`.
    ///
    /// It is used late: by an operating system, minutes after this answer, without a second address to try. So it is the
    /// floating address while a holder is known, even if the machine asked a node's own address: that node may be gone
    /// by then. Without a holder, the address asked is the one that is known to work.
    #[must_use]
    pub(super) fn lasting<'a>(&'a self, asked: &'a str) -> &'a str {
        self.floating.as_deref().filter(|_| self.holder_known).unwrap_or(asked)
    }
}

/// Where to ask what to boot: first where the machine has just been answered, then the floating address, then every node.
#[must_use]
pub fn for_questions(state: &State, place: &Whereabouts, asked: &str) -> Vec<String> {
    let ids: Vec<u64> = state.data_nodes().map(|member| member.id).filter(|id| *id != place.node).collect();
    let mut list = vec![asked.to_owned()];
    list.extend(place.floating.clone());
    list.extend(bases(state, &ids));
    if place.floating.as_deref() == Some(asked) {
        list.extend(bases(state, &[place.node]));
    }
    several(list)
}

/// Where to fetch the files of `boot`: the nodes that hold them, each machine beginning with another so that the load is
/// spread; then the floating address; last where it has just been answered, should it reach no other.
#[must_use]
pub(super) fn for_files(state: &State, place: &Whereabouts, asked: &str, machine: &str, boot: &NetBoot) -> Vec<String> {
    let mut ids: Vec<u64> = state.data_nodes().map(|member| member.id).collect();
    let holding: Vec<u64> = ids.iter().copied().filter(|id| holds_all(state, *id, boot)).collect();
    if !holding.is_empty() {
        ids = holding;
    }
    rendezvous::sort(machine.as_bytes(), &mut ids);
    ids.truncate(NODES_MAX);
    let mut list = bases(state, &ids);
    list.extend(place.floating.clone());
    list.push(asked.to_owned());
    several(list)
}

/// Whether a node holds every asset that a profile names as a path. What is not an asset is every node's.
fn holds_all(state: &State, node: u64, boot: &NetBoot) -> bool {
    let lines = std::iter::once(&boot.kernel).chain(&boot.initrd);
    let assets = lines.filter_map(|line| state.asset(&Line::read(line).asset()?));
    assets.into_iter().all(|asset| state.holders(&asset.value.digest).any(|holder| holder == node))
}

fn bases(state: &State, ids: &[u64]) -> Vec<String> {
    let members = ids.iter().filter_map(|id| state.member(*id)).filter_map(|member| base(member));
    members.map(str::to_owned).take(NODES_MAX).collect()
}

/// A node's base address, if it is one that can stand in a script: it came over the network, and a space would begin a
/// command's next word.
fn base(member: &Member) -> Option<&str> {
    let base = member.boot.trim_end_matches('/');
    let host = base.strip_prefix("http://")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    (!host.is_empty() && host.bytes().all(plain)).then_some(base)
}

/// Drops what is there twice. A list of one is none: what was asked is found without being named.
fn several(list: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut list = list;
    list.retain(|base| seen.insert(base.clone()));
    if list.len() < 2 { Vec::new() } else { list }
}

#[cfg(test)]
#[path = "nodes_tests.rs"]
mod tests;
