//! The objects people write: profiles, groups, templates, assets, settings and tokens, as stored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::rules::{self, Alternative};
use crate::types::{Digest, Timestamp};

/// The kinds of object an operator can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// What to boot.
    Profile,
    /// Which machines get it.
    Group,
    /// What config they fetch.
    Template,
    /// A file they fetch.
    Asset,
    /// The shared settings.
    Settings,
    /// An API token.
    Token,
    /// A machine seen or configured.
    Machine,
}

/// What to boot, in matchbox's words.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Profile {
    /// Its name in groups and in the API.
    pub id: String,
    /// A name for people.
    pub name: String,
    /// Kernel, initrds and arguments; without it the profile boots nothing (matchbox answers 404).
    pub boot: Option<NetBoot>,
    /// Template of kind `ignition`, empty for none.
    pub ignition_id: String,
    /// Template of kind `cloud`, empty for none.
    pub cloud_id: String,
    /// Template of kind `generic`, empty for none.
    pub generic_id: String,
}

/// The kernel to load and what to hand it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NetBoot {
    /// A path on this service or a URL, followed by anything iPXE's `kernel` takes.
    pub kernel: String,
    /// One `initrd` line each, as written.
    pub initrd: Vec<String>,
    /// Kernel arguments.
    pub args: Vec<String>,
}

/// Which machines get a profile, and the values their templates see.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub id: String,
    /// A name for people.
    pub name: String,
    /// Id of the profile; it need not exist yet.
    pub profile: String,
    /// All of these labels must be equal; kept as written, matched with `mac` in normal form.
    pub selector: BTreeMap<String, String>,
    /// A JSON object as text, byte for byte as written; empty for none.
    pub metadata: String,
    /// Beside the selector, at least one of these must hold; empty for none. In bytes only as part of `Ruled`.
    #[serde(with = "rules::none")]
    pub rules: Vec<Alternative>,
}

/// The three kinds of template matchbox knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TemplateKind {
    /// Served at `/generic`.
    Generic,
    /// Served at `/ignition`.
    Ignition,
    /// Served at `/cloud`.
    Cloud,
}

impl TemplateKind {
    /// The word used in paths and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Ignition => "ignition",
            Self::Cloud => "cloud",
        }
    }
}

/// A config file with template actions in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Where it is served.
    pub kind: TemplateKind,
    /// The name profiles use; may hold slashes, never `..`.
    pub name: String,
    /// The bytes as written.
    pub content: Vec<u8>,
}

/// A name for some bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asset {
    /// The path below `/assets/`, without a leading slash.
    pub name: String,
    /// sha256 of the bytes.
    pub digest: Digest,
    /// How many bytes.
    pub size: u64,
    /// Content-Type to serve it with; empty: by extension.
    pub media_type: String,
    /// Where it came from, for people: a file name, a URL.
    pub origin: String,
}

/// What this service does with DHCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DhcpMode {
    /// Another server gives addresses; we add where to boot from.
    #[default]
    Proxy,
    /// The site's DHCP points at us; we stay silent.
    Off,
}

/// How iPXE scripts are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScriptStyle {
    /// With retries, and with `initrd=` where a profile forgets it.
    #[default]
    Robust,
    /// Exactly matchbox's text.
    Matchbox,
}

/// What all nodes share and an operator may change while they run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Settings {
    /// What we do with DHCP.
    pub dhcp_mode: DhcpMode,
    /// How iPXE scripts are written.
    pub script_style: ScriptStyle,
    /// Kernel arguments added to every boot, after the profile's own.
    pub extra_kernel_args: Vec<String>,
    /// Boot loader per firmware class (`bios`, `efi-x64`, `efi-ia32`, `efi-arm64`, `http-x64`, …); absent: the default.
    pub loaders: BTreeMap<String, String>,
}

/// What a token's bearer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    Read,
    /// Change what machines boot.
    Operate,
    /// Everything, tokens and settings included.
    Admin,
}

/// An API token; the secret itself is never stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its public part.
    pub id: String,
    /// A name for people; the actor in the log.
    pub name: String,
    /// sha256 of the secret (256 random bits, so a plain hash is enough).
    pub secret_sha256: Digest,
    /// What its bearer may do.
    pub role: Role,
    /// After this it is refused; `None`: never.
    pub expires: Option<Timestamp>,
}
