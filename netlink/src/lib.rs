//! What the node knows of its network interfaces, and later the address that moves between nodes.
//!
//! Today this crate only looks: `link` reads interfaces, their addresses and the default route. Holding and releasing
//! the VIP will live here too, with the only raw sockets and the only `unsafe` of the workspace.

mod link;

pub use link::{Error, Link, LinkAddress, Links, read};
