//! Our replicated state: what every node agrees on, how it changes, and where it lives.
//!
//! `command` is every change there is; `state` is what they add up to and applies them; `types` are the values in both.
//! `cluster` is the handle the rest of the program holds. Below it: `log_store` and `state_machine` are what openraft
//! drives, `peer` is how nodes talk, `writer` is the one thread that writes for both, `engine` is the store, `codec` turns values into bytes.
//! `export` is the state as a stream that belongs to no directory, `rescue` gives a directory a new generation while no node runs on it.

pub mod cluster;
pub mod codec;
pub mod command;
pub mod engine;
pub mod export;
pub mod failure;
mod files;
pub mod home;
pub mod log_store;
pub mod mark;
pub mod numbers;
pub mod peer;
pub mod rescue;
pub mod snapshot;
pub mod state;
pub mod state_machine;
pub mod type_config;
pub mod types;
pub mod writer;

pub use cluster::{Cluster, Committed, EngineKind, Lease, OpenError, Options, Overview, ProposeError, Status};
pub use failure::Fatal;
