//! Installs, opens, renews and closes the fence, each as one nftables transaction.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NlasIterator};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;

use super::ruleset::{self, FAMILIES, Ruleset, Step, TABLE};
use super::socket::{NetlinkSocket, Received, Verdict, encode};
use super::{FENCE_TIMEOUT_MIN, Renewed, VipError};

/// `NFNL_SUBSYS_NFTABLES`: whose batch it is.
const SUBSYSTEM_NFTABLES: u16 = 10;
/// `struct nfgenmsg` before the attributes; its last field is the generation, which every transaction changes.
pub(super) const NFNETLINK_HEADER_BYTES: usize = 4;
/// Every nftables object names its table in attribute 1 (`NFTA_*_TABLE`, `NFTA_TABLE_NAME`).
const ATTRIBUTE_TABLE: u16 = 1;

/// The nftables tables that mute the VIP, and the socket that owns them.
#[derive(Debug)]
pub(super) struct Fence {
    socket: NetlinkSocket,
    ruleset: Ruleset,
    /// Our tables, chains and rules as the kernel listed them right after they were installed.
    installed: Vec<Vec<u8>>,
}

/// The first step of a transaction that the kernel refused; nothing of the transaction was done.
#[derive(Debug)]
struct Refusal {
    what: &'static str,
    source: io::Error,
}

impl Refusal {
    fn is(&self, errno: Errno) -> bool {
        self.source.raw_os_error() == Some(errno as i32)
    }
}

impl From<Refusal> for VipError {
    fn from(refusal: Refusal) -> Self {
        Self::kernel(refusal.what, refusal.source)
    }
}

impl Fence {
    /// Installs the fence closed, in place of what an earlier process left.
    pub(super) fn install(ruleset: Ruleset) -> Result<Self, VipError> {
        let mut fence = Self { socket: open_socket()?, ruleset, installed: Vec::new() };
        fence.reinstall()?;
        Ok(fence)
    }

    /// Replaces our tables by new ones, closed, in one transaction: there is no moment without a fence.
    pub(super) fn reinstall(&mut self) -> Result<(), VipError> {
        self.ruleset.owned = true;
        match self.replace() {
            // Kernels before 6.9 refuse the flag `persist`, and `owner` alone would open the fence when we die.
            Err(refusal) if refusal.is(Errno::EOPNOTSUPP) => {
                self.ruleset.owned = false;
                self.replace().map_err(unsupported)?;
            }
            other => other.map_err(unsupported)?,
        }
        self.installed = self.list().map_err(|source| VipError::kernel("listing the fence", source))?;
        Ok(())
    }

    /// Opens a closed fence.
    pub(super) fn open(&mut self, timeout: Duration) -> Result<(), VipError> {
        check_timeout(timeout)?;
        let steps = self.ruleset.grant(timeout);
        match transaction(&mut self.socket, &steps, Commit::Yes) {
            Ok(()) => Ok(()),
            // Still live in some family: begin from a known state.
            Err(refusal) if refusal.is(Errno::EEXIST) => {
                self.close()?;
                transaction(&mut self.socket, &steps, Commit::Yes).map_err(missing)
            }
            Err(refusal) => Err(missing(refusal)),
        }
    }

    /// Renews the lease of an open fence.
    pub(super) fn renew(&mut self, timeout: Duration) -> Result<Renewed, VipError> {
        check_timeout(timeout)?;
        match transaction(&mut self.socket, &self.ruleset.renew(timeout), Commit::Yes) {
            Ok(()) => Ok(Renewed::Open),
            // The element is gone, which is the fence's work, or the table is, which is the opposite of a closed fence.
            Err(refusal) if refusal.is(Errno::ENOENT) => {
                if self.is_intact() {
                    Ok(Renewed::WasClosed)
                } else {
                    Err(VipError::FenceMissing)
                }
            }
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Closes the fence, whether it is open or not.
    pub(super) fn close(&mut self) -> Result<(), VipError> {
        transaction(&mut self.socket, &ruleset::withdraw(&FAMILIES), Commit::Yes).map_err(missing)
    }

    /// Deletes our tables.
    pub(super) fn remove(&mut self) -> Result<(), VipError> {
        remove_tables(&mut self.socket)
    }

    /// Whether our tables, chains and rules are as we installed them; false also when the kernel does not say.
    pub(super) fn is_intact(&mut self) -> bool {
        self.list().is_ok_and(|listed| listed == self.installed)
    }

    /// Whether the tables belong to our socket.
    pub(super) const fn owned(&self) -> bool {
        self.ruleset.owned
    }

    /// The port by which notifications name us.
    pub(super) const fn port(&self) -> u32 {
        self.socket.port()
    }

    fn replace(&mut self) -> Result<(), Refusal> {
        let old = existing(&mut self.socket);
        let steps = [ruleset::delete_tables(&old), self.ruleset.install()].concat();
        transaction(&mut self.socket, &steps, Commit::Yes)
    }

    fn list(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let mut listed = Vec::new();
        for family in FAMILIES {
            let table = self.socket.request(ruleset::get_table(family), 0)?;
            let chains = self.socket.request(ruleset::get_chains(family), NLM_F_DUMP)?;
            let rules = self.socket.request(ruleset::get_rules(family), NLM_F_DUMP)?;
            let ours = [table, chains, rules].into_iter().flatten().filter(names_our_table);
            listed.extend(ours.filter_map(|message| Some(message.payload.get(NFNETLINK_HEADER_BYTES..)?.to_vec())));
        }
        Ok(listed)
    }
}

/// Asks the kernel to check the whole fence without installing it, and returns whether it can own its tables.
pub(super) fn dry_run(interface: &str) -> Result<bool, VipError> {
    let mut socket = open_socket()?;
    let mut ruleset = Ruleset::new(interface, Ipv4Addr::LOCALHOST);
    let old = existing(&mut socket);
    let mut check = |ruleset: &Ruleset| {
        let steps = [ruleset::delete_tables(&old), ruleset.install()].concat();
        transaction(&mut socket, &steps, Commit::No)
    };
    match check(&ruleset) {
        Ok(()) => Ok(true),
        // A running node owns the tables, which shows that it can.
        Err(refusal) if refusal.is(Errno::EPERM) && !old.is_empty() => Ok(true),
        Err(refusal) if refusal.is(Errno::EOPNOTSUPP) => {
            ruleset.owned = false;
            check(&ruleset).map(|()| false).map_err(unsupported)
        }
        Err(refusal) => Err(unsupported(refusal)),
    }
}

/// Closes the fence that a dead process left, so that what follows cannot be answered from the VIP.
pub(super) fn close_leftover() -> Result<(), VipError> {
    let Some(mut socket) = open_if_supported()? else { return Ok(()) };
    let families = existing(&mut socket);
    if families.is_empty() {
        return Ok(());
    }
    transaction(&mut socket, &ruleset::withdraw(&families), Commit::Yes).map_err(owned_by_other)
}

/// Deletes the tables that a dead process left; a kernel without nftables has none.
pub(super) fn remove_leftover_if_supported() -> Result<(), VipError> {
    open_if_supported()?.as_mut().map_or(Ok(()), remove_tables)
}

/// What there is of a fence in this network namespace, whoever made it: family, chains and rules. Nothing is changed.
pub(super) fn found() -> Result<Vec<(String, usize, usize)>, VipError> {
    let Some(mut socket) = open_if_supported()? else { return Ok(Vec::new()) };
    let count = |socket: &mut NetlinkSocket, message| {
        socket.request(message, NLM_F_DUMP).map_or(0, |all| all.iter().filter(|found| names_our_table(found)).count())
    };
    let families = existing(&mut socket).into_iter().map(|family| {
        let chains = count(&mut socket, ruleset::get_chains(family));
        let rules = count(&mut socket, ruleset::get_rules(family));
        (format!("{family:?}").to_lowercase(), chains, rules)
    });
    Ok(families.collect())
}

fn open_if_supported() -> Result<Option<NetlinkSocket>, VipError> {
    match open_socket() {
        Err(VipError::FenceUnsupported { .. }) => Ok(None),
        other => other.map(Some),
    }
}

/// Whether this nftables message is about our table, whatever kind of object it describes.
pub(super) fn names_our_table(message: &Received) -> bool {
    let attributes = message.payload.get(NFNETLINK_HEADER_BYTES..).unwrap_or_default();
    NlasIterator::new(attributes)
        .flatten()
        .find(|attribute| attribute.kind() == ATTRIBUTE_TABLE)
        .is_some_and(|attribute| attribute.value().strip_suffix(&[0]).unwrap_or(attribute.value()) == TABLE.as_bytes())
}

fn open_socket() -> Result<NetlinkSocket, VipError> {
    NetlinkSocket::open(NETLINK_NETFILTER, &[]).map_err(|source| match source.raw_os_error() {
        Some(code) if code == Errno::EPROTONOSUPPORT as i32 => {
            VipError::FenceUnsupported { what: "its netlink interface", source }
        }
        _ => VipError::kernel("a netfilter socket", source),
    })
}

/// The families in which a table of our name exists.
fn existing(socket: &mut NetlinkSocket) -> Vec<NetfilterProtoFamily> {
    let mut families = FAMILIES.to_vec();
    families.retain(|family| {
        socket.request(ruleset::get_table(*family), 0).is_ok_and(|found| found.iter().any(names_our_table))
    });
    families
}

fn remove_tables(socket: &mut NetlinkSocket) -> Result<(), VipError> {
    let families = existing(socket);
    if families.is_empty() {
        return Ok(());
    }
    transaction(socket, &ruleset::delete_tables(&families), Commit::Yes).map_err(owned_by_other)
}

fn check_timeout(timeout: Duration) -> Result<(), VipError> {
    if timeout < FENCE_TIMEOUT_MIN { Err(VipError::TimeoutTooShort { timeout }) } else { Ok(()) }
}

fn missing(refusal: Refusal) -> VipError {
    if refusal.is(Errno::ENOENT) { VipError::FenceMissing } else { refusal.into() }
}

fn owned_by_other(refusal: Refusal) -> VipError {
    // Without the capability, already the batch is refused; a step is refused only for the owner's sake.
    if refusal.is(Errno::EPERM) && refusal.what != BATCH { VipError::FenceOwnedByOther } else { refusal.into() }
}

fn unsupported(refusal: Refusal) -> VipError {
    match refusal.source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM) => owned_by_other(refusal),
        // Families, chain types, hooks and flags that are not there: nf_tables answers with any of these.
        Some(Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT | Errno::ENOENT | Errno::EINVAL) => {
            VipError::FenceUnsupported { what: refusal.what, source: refusal.source }
        }
        _ => refusal.into(),
    }
}

/// What a refusal of the whole batch is about.
const BATCH: &str = "a transaction";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Commit {
    Yes,
    /// A batch without its end is checked and undone.
    No,
}

/// Runs the steps as one transaction: all or nothing.
fn transaction(socket: &mut NetlinkSocket, steps: &[Step], commit: Commit) -> Result<(), Refusal> {
    let begin = socket.reserve(u32::try_from(steps.len()).unwrap_or(u32::MAX).saturating_add(2));
    let batch = encode_batch(steps, begin, commit);
    let answers = socket.exchange(&batch).map_err(|source| Refusal { what: BATCH, source })?;
    outcome(&answers.verdicts, steps, begin)
}

fn encode_batch(steps: &[Step], begin: u32, commit: Commit) -> Vec<u8> {
    let control = |message: ControlMessage| {
        let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, SUBSYSTEM_NFTABLES);
        NetfilterMessage::new(header, message)
    };
    let mut batch = encode(control(ControlMessage::BatchBegin), NLM_F_REQUEST, begin);
    let mut sequence = begin;
    for (index, step) in steps.iter().enumerate() {
        sequence = sequence.wrapping_add(1);
        let acknowledge = if index + 1 == steps.len() { NLM_F_ACK } else { 0 };
        batch.extend(encode(step.message.clone(), NLM_F_REQUEST | step.flags | acknowledge, sequence));
    }
    if commit == Commit::Yes {
        batch.extend(encode(control(ControlMessage::BatchEnd), NLM_F_REQUEST, sequence.wrapping_add(1)));
    }
    batch
}

/// Reads the kernel's verdicts: refusals name their step by number, only the last step acknowledges.
fn outcome(verdicts: &[Verdict], steps: &[Step], begin: u32) -> Result<(), Refusal> {
    let refusals = verdicts.iter().filter(|verdict| verdict.errno != 0);
    if let Some(first) = refusals.min_by_key(|verdict| verdict.sequence.wrapping_sub(begin)) {
        let index = usize::try_from(first.sequence.wrapping_sub(begin)).unwrap_or(usize::MAX);
        let what = index.checked_sub(1).and_then(|index| steps.get(index)).map_or(BATCH, |step| step.what);
        return Err(Refusal { what, source: io::Error::from_raw_os_error(first.errno) });
    }
    if verdicts.is_empty() {
        let source = io::Error::new(io::ErrorKind::UnexpectedEof, "the kernel did not answer");
        return Err(Refusal { what: BATCH, source });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
