//! What a cluster of one promises, on both engines.

mod cluster;
mod suite;
mod support;
