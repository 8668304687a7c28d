//! Machines: who was seen on the network, and what an operator wants of each.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use raft::command::Edit;
use raft::state::{Machine, MachinePolicy, MachinePolicyChange};
use raft::types::{Digest, Mac};
use serde::{Deserialize, Deserializer};

use super::body::{Asked, Names, OBJECT_BYTES_MAX, json_text};
use super::error::{Answer, ApiError};
use super::list::{Page, page};
use super::view::{self, PolicyJson};
use super::write::Write;
use super::{Context, clock, json};

/// What a list of machines may be narrowed by.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Filter {
    limit: Option<usize>,
    cursor: Option<String>,
    /// Beginning of any of its MACs, with colons.
    prefix: String,
    uuid: Option<String>,
    serial: Option<String>,
    arch: Option<String>,
    address: Option<String>,
    hold: Option<bool>,
    /// Seen within so many seconds.
    seen_within: Option<u64>,
}

impl Filter {
    fn takes(&self, machine: &Machine, now: u64) -> bool {
        let prefix = self.prefix.to_ascii_lowercase();
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(found))
        };
        let recent = |seconds: u64| now.saturating_sub(machine.last_seen.0) <= seconds.saturating_mul(1000);
        (prefix.is_empty() || machine.macs.iter().any(|mac| mac.to_string().starts_with(&prefix)))
            && is(&self.uuid, &machine.uuid)
            && is(&self.serial, &machine.serial)
            && is(&self.arch, &machine.arch)
            && is(&self.address, &machine.address)
            && self.hold.is_none_or(|hold| machine.policy.hold == hold)
            && self.seen_within.is_none_or(recent)
    }
}

pub(super) async fn list(State(context): State<Context>, Asked(filter): Asked<Filter>) -> Answer<Response> {
    let state = context.cluster.read();
    let now = clock::now().0;
    let asked = Page { limit: filter.limit, cursor: filter.cursor.clone() };
    let found = state.machines().filter(|machine| filter.takes(machine, now));
    page(asked, found, |machine| order(machine), |machine| view::machine(machine))
}

/// The order the state keeps them in: by the octets of the first MAC.
fn order(machine: &Machine) -> String {
    machine.macs.first().map(Mac::to_string).unwrap_or_default()
}

pub(super) async fn read(State(context): State<Context>, Names(id): Names<String>) -> Answer<Response> {
    let state = context.cluster.read();
    let found = match id.parse::<Mac>() {
        Ok(mac) => state.machine(&mac),
        Err(_) => state.machine_of_uuid(&id.to_ascii_lowercase()),
    };
    let machine = found.ok_or_else(|| unknown(&id))?;
    Ok(view::answer(&view::machine(machine)))
}

/// A MAC need not be known: what is asked about may be why a machine that nobody has seen does not boot.
pub(super) async fn timeline(State(context): State<Context>, Names(id): Names<String>) -> Answer<Response> {
    let mac = mac_of(&context, &id)?;
    Ok(view::answer(&context.timeline.everywhere(&mac).await))
}

/// There is no machine of that name; says how they are named.
pub(super) fn unknown(id: &str) -> ApiError {
    let mut error = ApiError::not_found(format!("machine `{}`", id.escape_debug()));
    if id.parse::<Mac>().is_err() {
        let hint = "name it by one of its MACs (52:54:00:12:34:56) or by its SMBIOS UUID, as `raftboot machine list` shows them";
        error = ApiError::new(http::StatusCode::NOT_FOUND, "not_found", error.problems()[0].message.clone(), hint);
    }
    error
}

/// The MAC a write is about: as given, or that of the machine with the UUID given.
fn mac_of(context: &Context, id: &str) -> Answer<Mac> {
    if let Ok(mac) = id.parse() {
        return Ok(mac);
    }
    let state = context.cluster.read();
    let known = state.machine_of_uuid(&id.to_ascii_lowercase()).and_then(|machine| machine.macs.first().cloned());
    known.ok_or_else(|| unknown(id))
}

pub(super) async fn write(
    State(context): State<Context>,
    Names(id): Names<String>,
    write: Write,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let write = write.without_guard()?;
    let bytes = json_text(&headers, body, OBJECT_BYTES_MAX).await?;
    let digest = Digest::of(&bytes);
    if let Some(first) = write.repeated(&context, digest) {
        return first;
    }
    let mac = mac_of(&context, &id)?;
    let policy: PolicyJson = json::read(&bytes)?;
    let policy = MachinePolicy::from(policy);
    write.one(&context, Edit::SetMachinePolicy(mac, policy.into()), digest).await
}

pub(super) async fn patch(
    State(context): State<Context>,
    Names(id): Names<String>,
    write: Write,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let write = write.without_guard()?;
    let bytes = json_text(&headers, body, OBJECT_BYTES_MAX).await?;
    let digest = Digest::of(&bytes);
    if let Some(first) = write.repeated(&context, digest) {
        return first;
    }
    let mac = mac_of(&context, &id)?;
    let PolicyPatch { hold, loader, discovery_control } = json::read(&bytes)?;
    let change = MachinePolicyChange { hold, loader, discovery_control };
    write.one(&context, Edit::SetMachinePolicy(mac, change), digest).await
}

/// What is to change of a policy (RFC 7396): what is left out stays as it is, `null` is the default again. The change is
/// merged where it is applied, so that nobody's change in between is lost.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyPatch {
    #[serde(default, deserialize_with = "given")]
    hold: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    loader: Option<String>,
    #[serde(default, deserialize_with = "given")]
    discovery_control: Option<bool>,
}

fn given<'a, D: Deserializer<'a>, T: Deserialize<'a> + Default>(value: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(value).map(|value| Some(value.unwrap_or_default()))
}

pub(super) async fn delete(State(context): State<Context>, Names(id): Names<String>, write: Write) -> Answer<Response> {
    let write = write.without_guard()?;
    let digest = Digest::of(b"");
    if let Some(first) = write.repeated(&context, digest) {
        return first;
    }
    let mac = mac_of(&context, &id)?;
    write.one(&context, Edit::DeleteMachine(mac), digest).await
}
