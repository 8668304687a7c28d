//! What the TFTP server asks of the rest of the program, and what it tells.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::loop_breaker::Signature;
use super::names::{BadName, Name};
use super::transfer::Outcome;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Address and port the request came from.
    pub address: SocketAddr,
    /// Our address that was asked, and answers; the floating one, maybe.
    pub local: IpAddr,
    /// Index of the interface it came in on, where the kernel told.
    pub interface: Option<u32>,
    /// Who wrote the request, by its options.
    pub signature: Signature,
}

/// What a name stands for.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// Bytes in memory.
    Bytes(Arc<[u8]>),
    /// A file that will not change, read off the async threads. The path is the program's own, never the client's; its last
    /// part names the bytes, the same on every node.
    File {
        /// Where it is.
        path: PathBuf,
        /// Its size in bytes; a file that turns out shorter ends the transfer with an error.
        size: u64,
    },
    /// No such file: the client is told so.
    NotFound,
    /// Not now: the client is told to try again.
    Busy,
    /// Not for this client: no answer at all.
    Ignore,
}

/// The catalog as TFTP sees it. Both methods are called between packets: they must answer from memory, and not block.
pub trait Questions: Send + Sync {
    /// What `name` stands for, for this client. Called once per transfer.
    fn open(&self, name: &Name, client: &Client) -> Lookup;
    /// Something happened that belongs on the machine's timeline.
    fn event(&self, event: Event);
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The file name, printable.
    pub name: String,
    /// Who asked for it.
    pub client: Client,
    /// What happened.
    pub what: What,
}

/// What happened to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A transfer began.
    Started {
        /// Bytes to send.
        size: u64,
        /// Agreed bytes per block.
        blksize: u16,
        /// Agreed blocks per acknowledgement.
        windowsize: u16,
    },
    /// A transfer that another node began goes on here.
    TakenOver {
        /// Bytes the client has already.
        bytes: u64,
        /// Bytes of the file.
        size: u64,
    },
    /// A transfer that began has ended.
    Ended {
        /// How.
        ending: Ending,
        /// Bytes the client acknowledged.
        bytes: u64,
        /// Blocks sent again.
        blocks_resent: u64,
        /// From the request to now.
        duration: Duration,
    },
    /// No transfer began.
    Refused(Refusal),
}

/// How a transfer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// By the protocol.
    Protocol(Outcome),
    /// The client began anew from the same port.
    Replaced,
    /// The file could not be read.
    SourceFailed,
    /// Our address is gone, or was never one to send from.
    AddressGone,
    /// This server stops.
    Stopped,
}

/// Why a request got no transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No file of that name.
    NotFound,
    /// A limit is reached; the client may try again.
    Busy,
    /// The name cannot be one of ours.
    BadName(BadName),
    /// Text mode for a file too large to convert.
    TextMode,
}
