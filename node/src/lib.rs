//! The server and the command line of Raftboot, one module per protocol.
//!
//! In reading order: `run` is a node's life; `dhcp`, `tftp` and `boot` answer machines; `admin` answers operators;
//! `catalog` answers the protocols' questions from the replicated state; `assets` keeps the bytes; `metrics` counts, and `observe` shows a node to those outside; `membership` is how
//! a node becomes one of a cluster, `peers` what it answers to the others, `peer_http` how it asks them.

pub mod admin;
pub mod assets;
pub mod backup;
pub mod boot;
pub mod catalog;
pub mod certs;
pub mod cli;
pub mod client;
pub mod config;
pub mod dhcp;
pub mod export;
pub mod go_json;
pub mod grpc;
pub mod https;
pub mod idle;
pub mod import;
pub mod loaders;
pub mod log;
pub mod match_json;
pub mod matchbox_json;
pub mod membership;
pub mod metrics;
pub mod observe;
pub mod peer_http;
pub mod peers;
pub mod rendezvous;
pub mod replication;
pub mod request_id;
pub mod run;
pub mod sightings;
pub mod tasks;
pub mod template;
pub mod tftp;
pub mod timeline;
pub mod times;
pub mod vip;
