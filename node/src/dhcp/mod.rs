//! DHCP for network boot: tells a machine which loader to fetch and from where, beside the site's own DHCP server.
//!
//! A packet walks socket → [`Request`] → [`decide`] → [`Reply`] and never turns back. Everything but `socket` and
//! `server` is pure: no clock, no socket, no await. What the decision needs to know is asked through [`Questions`],
//! which must answer from memory.
//!
//! Every node of a cluster hears what is sent to everybody. The holder of the floating address answers at once and names
//! that address; the others answer a client that has to repeat itself ([`Repeats`]), and name their own. While no holder
//! is known each client has one node that answers at once ([`Turn`]).
//!
//! Scope: mode `proxy` on ports 67 and 4011 (another server hands out addresses), and mode `off`.

mod architecture;
mod client;
mod counters;
mod decide;
mod facts;
mod limit;
mod own;
mod repeats;
mod reply;
mod reply_limit;
mod request;
mod server;
mod sighting;
mod socket;
mod turn;

pub use architecture::{Architecture, ParseArchitectureError, Transport};
pub use client::Client;
pub use counters::Counters;
pub use decide::{Arrival, Decision, Message, Port, Reply, Silence, decide, names_nobody};
pub use facts::{Facts, MachineFacts, Mode, Place, UnknownMachines};
pub use limit::RateLimit;
pub use repeats::{Heard, Repeats};
pub use request::{ClientUuid, HardwareAddress, Malformed, PACKET_MAX, Request};
pub use server::run;
pub use sighting::{Outcome, Sighting, Stage};
pub use socket::{BindError, SocketConfig, Sockets};
pub use turn::Turn;

use std::sync::Arc;

/// What the DHCP server asks of replicated state. Every answer comes from memory: an answer that waits would make
/// a client's two-second window for proxy offers pass (iPXE) while other clients queue behind it.
pub trait Questions: Send + Sync {
    /// The settings in force now.
    fn facts(&self) -> Arc<Facts>;

    /// What is known of one machine, or `None` if it was never seen. The MAC address decides; the UUID is for
    /// machines whose card was replaced.
    fn machine(&self, mac: HardwareAddress, uuid: Option<ClientUuid>) -> Option<MachineFacts>;

    /// A client was heard. Called for every well-formed, not rate-limited packet, ordinary operating systems
    /// included ([`Sighting::stage`] tells them apart); must not block.
    fn seen(&self, sighting: Sighting);
}
