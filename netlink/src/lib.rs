//! What the node knows of its network interfaces, and the address that moves between nodes.
//!
//! [`read`] lists interfaces, their addresses and the default route. [`vip`] holds, mutes, announces and releases the
//! VIP, with the only raw sockets of the workspace.

mod link;
pub mod vip;

pub use link::{Error, Link, LinkAddress, Links, read};
