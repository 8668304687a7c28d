//! What a cluster of one promises, on both engines.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod cluster;
mod replay;
mod suite;
mod support;
