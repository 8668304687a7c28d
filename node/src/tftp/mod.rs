//! TFTP for firmware: read-only, from memory or blobs, with the options boot clients use.
//!
//! RFC 1350 with options (2347), block size (2348), timeout and size (2349), and windows (7440). Entry points:
//! [`Sockets::bind`], then [`run`]; what a name means is asked of a [`Questions`]. The decisions are in the pure parts:
//! `packet`, `options`, `transfer`, `names`, `guard`, `flow`, `patience`, `loop_breaker`. `server` moves packets.
//!
//! # One port
//! Everything is sent from the port that was asked, 69, where RFC 1350 §4 has a port per transfer. A transfer is known by the
//! client's address and port, and by our address. Reasons:
//! * Another node that takes over the address gets the client's next acknowledgement on a socket it already has. With
//!   a port per transfer it would answer with "port unreachable", which makes UEFI give up. All it needs beside is
//!   [`options::Agreed`] and what file it was ([`handoff`]); without that it says nothing, and the client asks anew.
//! * Firewalls and address translation need one rule and no helper.
//! * A request that is repeated because our answer was lost finds its transfer instead of starting a second one.
//!
//! The price: a forged acknowledgement needs no port to be guessed, and a forger who paces them well gets whole files
//! sent to whoever he names: an acknowledgement of 4 bytes brings a window of data, and a port per transfer would only
//! make him guess. What one forged address can cause is bounded by rate: `guard` counts packets before the first
//! acknowledgement, and `flow` counts bytes after it. That is 2 MiB at once and 4 MiB/s, in windows of 8 blocks, and, once
//! he has had 256 KiB of whole files sent, 64 MiB at once and what 1 Gbit/s carries. Whoever cannot accept that must keep
//! forged addresses out of the machine network (BCP 38). iPXE, EDK2 and
//! SeaBIOS's iPXE ROM take answers from port 69; QEMU's built-in server has always answered so.
//!
//! # Deliberately absent
//! Writing, paths of this machine, multicast (RFC 2090), block numbers that wrap to 1.

mod admit;
pub mod flow;
pub mod guard;
pub mod handoff;
pub mod loop_breaker;
pub mod names;
pub mod options;
pub mod packet;
mod patience;
mod questions;
mod server;
mod sessions;
mod sockets;
mod source;
mod takeover;
mod tell;
pub mod transfer;

pub use handoff::{Handoff, Inherited, Shared, Sharing};
pub use loop_breaker::{Give, LoopBreaker, Signature};
pub use names::{BadName, Meaning, Name};
pub use questions::{Client, Ending, Event, Lookup, Questions, Refusal, What};
pub use server::{RunError, run};
pub use sockets::{BindError, Sockets};
pub use transfer::Outcome;
