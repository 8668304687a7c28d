//! Boot HTTP: the scripts, configs and files that machines fetch, at matchbox's paths and with matchbox's answers.
//!
//! `labels`, `path`, `sniff`, `date`, `content`, `line`, `nodes`, `script`, `guard`, `ignition` and `listing` decide and are
//! pure; `answer` puts their decisions together; `body`, `pace`, `gate` and `server` are the driver that reads blobs and holds the sockets.

mod answer;
mod body;
mod butane;
mod check;
mod config;
mod content;
mod date;
mod digests;
mod files;
mod gate;
mod guard;
mod ignition;
mod labels;
mod line;
mod listing;
mod nodes;
mod pace;
mod path;
#[cfg(test)]
mod proptests;
mod relay;
mod respond;
mod script;
mod server;
mod signature;
mod signed;
mod sniff;
mod stream;

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use raft::state::{State, TemplateKind};
use raft::types::{Digest, Mac};

pub use body::Body;
pub use check::{ConfigProblem, check_config, check_template, config_served};
pub use labels::Labels;
pub use nodes::{Whereabouts, for_questions};
pub use script::autoexec;
pub use server::{BindError, Server, bind};
pub use signature::{SignError, Signer, SignerError};

/// What boot HTTP asks of the rest of the program; none of it may wait, except `open`.
pub trait Questions: Send + Sync + 'static {
    /// The replicated state as last applied here.
    fn state(&self) -> Arc<State>;

    /// Where machines find this cluster now.
    fn whereabouts(&self) -> Whereabouts;

    /// Opens the bytes of a blob, verified. Called on a thread that may block.
    ///
    /// # Errors
    /// Why the bytes cannot be served from here right now; the client is told to come back.
    fn open(&self, digest: &Digest) -> Result<File, BlobError>;

    /// A part of a blob that is not here, from another node; resolves when its first bytes have come.
    ///
    /// # Errors
    /// Why it cannot be had from anywhere; the client is told to come back.
    fn fetch(&self, _digest: &Digest, _part: Range<u64>) -> BoxFuture<'static, Fetched> {
        futures::future::ready(Err(BlobError::Missing)).boxed()
    }

    /// A boot loader by file name, or the script in its place for an iPXE that loads iPXE again.
    fn loader(&self, name: &str, client: LoaderClient) -> Option<Loader>;

    /// Takes note of what a machine did.
    fn seen(&self, seen: Seen<'_>);
}

/// Bytes on their way from another node: all of them, or an error in place of the rest.
pub type Fetched = Result<BoxStream<'static, io::Result<Bytes>>, BlobError>;

/// Who asks for a boot loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoaderClient {
    /// Where it asks from.
    pub address: IpAddr,
    /// Our address that was asked.
    pub local: IpAddr,
    /// Whether it is iPXE, as its `User-Agent` says; firmware is not.
    pub ipxe: bool,
    /// Whether it will get the bytes; a HEAD request only looks.
    pub gets: bool,
}

/// What stands behind a boot loader's name.
#[derive(Debug, Clone)]
pub enum Loader {
    /// Bytes in memory.
    Bytes(Bytes),
    /// An asset of that name, which an operator imported in place of the packaged one.
    Asset(Arc<raft::state::Stored<raft::state::Asset>>),
}

/// Why the bytes of a blob cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// This node does not hold them.
    #[error("this node holds no copy of it")]
    Missing,
    /// They are not what their digest says; quarantined.
    #[error("the copy on this node is damaged")]
    Damaged,
    /// They are being verified, or too many files are open.
    #[error("the store is busy")]
    Busy,
    /// Reading failed.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
}

/// One thing a machine did.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The card it named, if it named one.
    pub mac: Option<&'a Mac>,
    /// SMBIOS UUID in lower case, empty when unknown. This and the next two are short and printable.
    pub uuid: &'a str,
    /// SMBIOS serial, empty when unknown.
    pub serial: &'a str,
    /// iPXE's `buildarch`, empty when unknown.
    pub arch: &'a str,
    /// The address it spoke from.
    pub address: IpAddr,
    /// What it did.
    pub event: Event<'a>,
}

/// The steps of a boot that are seen over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// It was given a profile's script.
    Script {
        /// Id of the group that matched.
        group: &'a str,
        /// Id of its profile.
        profile: &'a str,
    },
    /// It was told that it is held.
    Held,
    /// No group matches it.
    Unmatched,
    /// It fetched a config.
    Config {
        /// Of which kind.
        kind: TemplateKind,
        /// Of which template.
        name: &'a str,
    },
    /// It fetched its metadata.
    Metadata,
    /// It fetched a boot loader.
    Loader(&'a str),
    /// It began to fetch an asset.
    Asset(&'a str),
    /// There was nothing for it; boot HTTP has logged that.
    Refused {
        /// Why, for the operator.
        reason: &'a str,
    },
}

/// The path prefix under which boot loaders are served, for firmware that boots over HTTP.
pub const LOADERS_PATH: &str = "/loaders/";
