//! What a cluster of one promises, on both engines.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod cluster;
mod purge;
mod recover;
mod replay;
mod restore;
mod stop;
mod suite;
mod support;
