//! Transfers that outlive a node: the few bytes of state that let another node go on with one.
//!
//! The node that holds the floating address tells the others of each transfer it begins there, and now and then how far it
//! is. When the address moves, the client repeats its last acknowledgement, which says where it is; the new holder knows
//! the rest, finds the same bytes under the same name, and sends the next block. Nothing is agreed on and nothing waits:
//! what did not arrive in time is a transfer that has to be asked for again.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::loop_breaker::Signature;
use super::names::NAME_BYTES_MAX;
use super::options::BLKSIZE_MIN;
use super::sessions::Key;
use super::source::Source;

/// The form written by this version; others are refused, so that a mixed cluster only loses the convenience.
const VERSION: u8 = 1;
/// Bytes before the name.
const FIXED_BYTES: usize = 2 + 18 + 16 + 8 + 8 + 8 + 2 + 2 + 1 + 1;
const FLAG_TEXT: u8 = 1;
const FLAG_IPXE: u8 = 2;
/// Transfers of other nodes remembered; the oldest go first.
const INHERITED_MAX: usize = 4096;
/// How long one is remembered without news.
const INHERITED_FOR: Duration = Duration::from_secs(600);
/// A transfer is told again after so many blocks: an acknowledgement has 16 bits only.
pub(super) const RETELL_BLOCKS: u64 = 16_384;
/// Fingerprints kept of files in memory.
const FINGERPRINTS_MAX: usize = 64;

/// All that another node needs to go on with a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// The client.
    pub client: SocketAddr,
    /// Our address that it asked.
    pub local: IpAddr,
    /// The file's name.
    pub name: String,
    /// Whether it was asked for as text.
    pub text: bool,
    /// Who wrote the request.
    pub signature: Signature,
    /// Bytes of the file.
    pub size: u64,
    /// Tells whether another node has the same bytes under that name.
    pub fingerprint: u64,
    /// Blocks acknowledged at least.
    pub acked: u64,
    /// Bytes per block.
    pub blksize: u16,
    /// Blocks per acknowledgement.
    pub windowsize: u16,
    /// Retransmission interval in seconds, if the client asked for one.
    pub timeout_seconds: Option<u8>,
}

/// Bytes that are no [`Shared`] of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the state of a TFTP transfer as this version writes it")]
pub struct Unreadable;

impl Shared {
    /// Writes it for another node.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let name = &self.name.as_bytes()[..self.name.len().min(NAME_BYTES_MAX)];
        let flags = u8::from(self.text) * FLAG_TEXT + u8::from(self.signature == Signature::Ipxe) * FLAG_IPXE;
        let mut bytes = Vec::with_capacity(FIXED_BYTES + name.len());
        bytes.extend_from_slice(&[VERSION, flags]);
        bytes.extend_from_slice(&wide(self.client.ip()));
        bytes.extend_from_slice(&self.client.port().to_be_bytes());
        bytes.extend_from_slice(&wide(self.local));
        for number in [self.size, self.fingerprint, self.acked] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.blksize.to_be_bytes());
        bytes.extend_from_slice(&self.windowsize.to_be_bytes());
        bytes.push(self.timeout_seconds.unwrap_or(0));
        bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(name);
        bytes
    }

    /// Reads what another node wrote.
    ///
    /// # Errors
    /// Anything that [`Self::encode`] would not write.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader(bytes);
        let [version, flags] = reader.take()?;
        if version != VERSION || flags & !(FLAG_TEXT | FLAG_IPXE) != 0 {
            return Err(Unreadable);
        }
        let client = SocketAddr::new(narrow(reader.take()?), u16::from_be_bytes(reader.take()?));
        let local = narrow(reader.take()?);
        let [size, fingerprint, acked] = [
            u64::from_be_bytes(reader.take()?),
            u64::from_be_bytes(reader.take()?),
            u64::from_be_bytes(reader.take()?),
        ];
        let (blksize, windowsize) = (u16::from_be_bytes(reader.take()?), u16::from_be_bytes(reader.take()?));
        let [timeout, length] = reader.take()?;
        let name = std::str::from_utf8(reader.0).map_err(|_| Unreadable)?;
        if name.len() != usize::from(length) || blksize < BLKSIZE_MIN || windowsize == 0 {
            return Err(Unreadable);
        }
        Ok(Self {
            client,
            local,
            name: name.to_owned(),
            text: flags & FLAG_TEXT != 0,
            signature: if flags & FLAG_IPXE != 0 { Signature::Ipxe } else { Signature::Other },
            size,
            fingerprint,
            acked,
            blksize,
            windowsize,
            timeout_seconds: Some(timeout).filter(|seconds| *seconds > 0),
        })
    }

    pub(super) fn key(&self) -> Key {
        (self.client, self.local)
    }
}

/// Takes fixed parts off the front.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (part, rest) = self.0.split_first_chunk().ok_or(Unreadable)?;
        self.0 = rest;
        Ok(*part)
    }
}

fn wide(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn narrow(octets: [u8; 16]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
}

/// Takes transfers to the other nodes. Called between packets: it must not wait, and may lose what it is given.
pub trait Handoff: Send + Sync {
    /// Whether others could go on with a transfer at this address of ours: it is the floating one.
    fn concerns(&self, local: IpAddr) -> bool;
    /// Tells the other nodes of a transfer; [`Shared::encode`] makes it bytes.
    fn publish(&self, transfer: &Shared);
}

/// Tells nobody.
struct Alone;

impl Handoff for Alone {
    fn concerns(&self, _: IpAddr) -> bool {
        false
    }

    fn publish(&self, _: &Shared) {}
}

/// What a server has in common with those of other nodes. The default is nothing.
#[derive(Clone)]
pub struct Sharing {
    /// Where our transfers are told.
    pub handoff: Arc<dyn Handoff>,
    /// What others have told.
    pub inherited: Inherited,
}

impl Default for Sharing {
    fn default() -> Self {
        Self { handoff: Arc::new(Alone), inherited: Inherited::default() }
    }
}

/// Transfers that other nodes have told of, in case their clients turn up here. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Inherited(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    by_key: HashMap<Key, (Instant, Shared)>,
    /// Oldest first; a transfer told again stands here twice, and goes with the later one.
    order: VecDeque<(Instant, Key)>,
}

impl Inherited {
    /// Remembers a transfer that another node has told of.
    pub fn adopt(&self, transfer: Shared, now: Instant) {
        let mut table = self.table();
        while table.order.len() >= INHERITED_MAX {
            table.drop_oldest();
        }
        let key = transfer.key();
        table.order.push_back((now, key));
        table.by_key.insert(key, (now, transfer));
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table().by_key.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn get(&self, key: &Key, now: Instant) -> Option<Shared> {
        let table = self.table();
        let (told_at, transfer) = table.by_key.get(key)?;
        (now.saturating_duration_since(*told_at) < INHERITED_FOR).then(|| transfer.clone())
    }

    pub(super) fn forget(&self, key: &Key) {
        self.table().by_key.remove(key);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn drop_oldest(&mut self) {
        let Some((told_at, key)) = self.order.pop_front() else { return };
        if self.by_key.get(&key).is_some_and(|(at, _)| *at == told_at) {
            self.by_key.remove(&key);
        }
    }
}

/// Fingerprints of what is sent. Files in memory are few, large and shared: each is read once.
#[derive(Debug, Default)]
pub(super) struct Fingerprints {
    known: HashMap<usize, (Arc<[u8]>, u64)>,
}

impl Fingerprints {
    /// Tells bytes apart, the same on every node: those in memory by themselves, a blob by the last part of its path,
    /// which is its digest.
    pub(super) fn of(&mut self, source: &Source) -> u64 {
        let bytes = match source {
            Source::Bytes(bytes) => bytes,
            Source::File(file) => return fnv(file.digest().as_encoded_bytes()),
        };
        // The copy that is kept makes sure that no other bytes come to lie there.
        let at = bytes.as_ptr().addr();
        if let Some((kept, fingerprint)) = self.known.get(&at)
            && Arc::ptr_eq(kept, bytes)
        {
            return *fingerprint;
        }
        if self.known.len() >= FINGERPRINTS_MAX {
            self.known.clear();
        }
        let fingerprint = fnv(bytes);
        self.known.insert(at, (Arc::clone(bytes), fingerprint));
        fingerprint
    }
}

/// FNV-1a, 64 bits: part of what nodes tell each other, so it never changes.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
#[path = "handoff_tests.rs"]
mod tests;
