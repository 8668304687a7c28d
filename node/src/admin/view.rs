//! What objects look like in answers: their own fields, and beside them who changed them when.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, ETAG};
use raft::state::{
    Asset, ClusterSettings, DhcpMode, FormerSecret, Group, JoinToken, Machine, MachinePolicy, Profile, Role,
    ScriptStyle, Settings, Stored, Template, TemplateKind, Token,
};
use raft::types::{Digest, LogIndex, Mac, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::clock::rfc3339;
use super::cluster_settings::ClusterJson;
use super::write::{etag, json};
use crate::matchbox_json::{GroupJson, ProfileJson};
use crate::replication::Copies;

/// An object as an answer shows it. Sent back as it is, it changes nothing.
#[derive(Debug, Serialize)]
pub(super) struct View<T> {
    kind: &'static str,
    #[serde(flatten)]
    value: T,
    revision: LogIndex,
    created_at: Option<String>,
    updated_at: Option<String>,
    updated_by: String,
}

impl<T: Serialize> View<T> {
    fn new<S>(kind: &'static str, stored: &Stored<S>, value: T) -> Self {
        Self {
            kind,
            value,
            revision: stored.revision,
            created_at: rfc3339(stored.created_at),
            updated_at: rfc3339(stored.updated_at),
            updated_by: stored.updated_by.clone(),
        }
    }

    /// As the answer to a request for this object alone.
    #[must_use]
    pub(super) fn answer(&self) -> Response {
        let mut response = answer(self);
        if let Some(tag) = etag(self.revision) {
            response.headers_mut().insert(ETAG, tag);
        }
        response
    }
}

/// An object of any kind with its history.
#[must_use]
pub(super) fn of<S, T: Serialize>(kind: &'static str, stored: &Stored<S>, value: T) -> View<T> {
    View::new(kind, stored, value)
}

/// Any value as an answer.
pub(super) fn answer(value: &impl Serialize) -> Response {
    ([(CONTENT_TYPE, "application/json")], json(value)).into_response()
}

/// A profile as an answer shows it.
#[must_use]
pub(super) fn profile(stored: &Stored<Profile>) -> View<ProfileJson> {
    View::new("profile", stored, ProfileJson::from(&stored.value))
}

/// A group as an answer shows it.
#[must_use]
pub(super) fn group(stored: &Stored<Group>) -> View<GroupJson> {
    View::new("group", stored, GroupJson::from(&stored.value))
}

/// A template without its content.
#[derive(Debug, Serialize)]
pub(super) struct TemplateView {
    r#type: TemplateKind,
    name: String,
    size: usize,
    sha256: Digest,
    /// Left out of lists, and where it is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
}

/// A template as an answer shows it.
#[must_use]
pub(super) fn template(stored: &Stored<Template>, with_content: bool) -> View<TemplateView> {
    let Template { kind, name, content } = &stored.value;
    let text = std::str::from_utf8(content).ok().filter(|_| with_content).map(str::to_owned);
    let value = TemplateView {
        r#type: *kind,
        name: name.clone(),
        size: content.len(),
        sha256: Digest::of(content),
        content: text,
    };
    View::new("template", stored, value)
}

/// A name for a blob.
#[derive(Debug, Serialize)]
pub(super) struct AssetView {
    name: String,
    digest: Digest,
    size: u64,
    media_type: String,
    origin: String,
    /// Whether this node holds the bytes.
    stored: bool,
    #[serde(flatten)]
    copies: Copies,
}

/// An asset as an answer shows it.
#[must_use]
pub(super) fn asset(stored: &Stored<Asset>, here: bool, copies: Copies) -> View<AssetView> {
    let Asset { name, digest, size, media_type, origin } = stored.value.clone();
    View::new("asset", stored, AssetView { name, digest, size, media_type, origin, stored: here, copies })
}

/// The shared settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SettingsJson {
    dhcp_mode: DhcpMode,
    script_style: ScriptStyle,
    extra_kernel_args: Vec<String>,
    /// Firmware class to boot loader.
    pub(super) loaders: BTreeMap<String, String>,
}

impl Default for SettingsJson {
    fn default() -> Self {
        Self::from(&Settings::default())
    }
}

impl From<&Settings> for SettingsJson {
    fn from(settings: &Settings) -> Self {
        let Settings { dhcp_mode, script_style, extra_kernel_args, loaders } = settings.clone();
        Self { dhcp_mode, script_style, extra_kernel_args, loaders }
    }
}

impl From<SettingsJson> for Settings {
    fn from(json: SettingsJson) -> Self {
        let SettingsJson { dhcp_mode, script_style, extra_kernel_args, loaders } = json;
        Self { dhcp_mode, script_style, extra_kernel_args, loaders }
    }
}

/// The settings as an answer shows them; defaults until someone changes them.
#[must_use]
pub(super) fn settings(stored: Option<&Stored<Settings>>) -> Response {
    match stored {
        Some(stored) => View::new("settings", stored, SettingsJson::from(&stored.value)).answer(),
        None => answer(&SettingsJson::default()),
    }
}

/// What the nodes share about the cluster; defaults until someone changes it.
#[must_use]
pub(super) fn cluster_settings(stored: Option<&Stored<ClusterSettings>>) -> Response {
    match stored {
        Some(stored) => View::new("cluster", stored, ClusterJson::from(&stored.value)).answer(),
        None => answer(&ClusterJson::default()),
    }
}

/// A join token without its secret.
#[derive(Debug, Serialize)]
pub(super) struct JoinTokenView {
    id: String,
    expires_at: Option<String>,
    expired: bool,
}

/// A join token as an answer shows it.
#[must_use]
pub(super) fn join_token(stored: &Stored<JoinToken>) -> View<JoinTokenView> {
    let JoinToken { id, expires, .. } = &stored.value;
    let expired = *expires <= super::clock::now();
    View::new("join-token", stored, JoinTokenView { id: id.clone(), expires_at: rfc3339(*expires), expired })
}

/// A token without its secret.
#[derive(Debug, Serialize)]
pub(super) struct TokenView {
    id: String,
    name: String,
    role: Role,
    expires_at: Option<String>,
    /// Negative once it has expired.
    expires_in_seconds: Option<i64>,
    expired: bool,
    /// Until when the secret before the last rotation is accepted too.
    former_until: Option<String>,
}

/// A token as an answer shows it.
#[must_use]
pub(super) fn token(stored: &Stored<Token>, former: Option<&FormerSecret>) -> View<TokenView> {
    let (token, now) = (&stored.value, super::clock::now());
    let expired = token.expires.is_some_and(|at| at <= now);
    let seconds = |at: Timestamp| i64::try_from(at.0 / 1000).unwrap_or(i64::MAX);
    let value = TokenView {
        id: token.id.clone(),
        name: token.name.clone(),
        role: token.role,
        expires_at: token.expires.and_then(rfc3339),
        expires_in_seconds: token.expires.map(|at| seconds(at) - seconds(now)),
        expired,
        former_until: former.filter(|former| former.until > now).and_then(|former| rfc3339(former.until)),
    };
    View::new("token", stored, value)
}

/// What an operator wants of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyJson {
    hold: bool,
    loader: String,
    discovery_control: bool,
}

impl From<&MachinePolicy> for PolicyJson {
    fn from(policy: &MachinePolicy) -> Self {
        let MachinePolicy { hold, loader, discovery_control } = policy.clone();
        Self { hold, loader, discovery_control }
    }
}

impl From<PolicyJson> for MachinePolicy {
    fn from(json: PolicyJson) -> Self {
        let PolicyJson { hold, loader, discovery_control } = json;
        Self { hold, loader, discovery_control }
    }
}

/// A machine as an answer shows it.
#[derive(Debug, Serialize)]
pub(super) struct MachineView<'a> {
    mac: Option<&'a Mac>,
    macs: &'a [Mac],
    uuid: &'a str,
    serial: &'a str,
    arch: &'a str,
    address: &'a str,
    first_seen: Option<String>,
    last_seen: Option<String>,
    policy: PolicyJson,
}

/// A machine as an answer shows it.
#[must_use]
pub(super) fn machine(machine: &Machine) -> MachineView<'_> {
    MachineView {
        mac: machine.macs.first(),
        macs: &machine.macs,
        uuid: &machine.uuid,
        serial: &machine.serial,
        arch: &machine.arch,
        address: &machine.address,
        first_seen: rfc3339(machine.first_seen),
        last_seen: rfc3339(machine.last_seen),
        policy: PolicyJson::from(&machine.policy),
    }
}
