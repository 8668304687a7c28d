//! The server and the command line of Raftboot, one module per protocol.

pub mod config;
pub mod dhcp;
pub mod loaders;
pub mod log;
pub mod sightings;
pub mod tasks;
pub mod template;
pub mod tftp;
