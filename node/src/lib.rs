//! The server and the command line of Raftboot, one module per protocol.

pub mod config;
pub mod log;
pub mod tasks;
