//! What the nodes share about the cluster, as JSON: read strictly, and checked against what is known of the nodes.

use std::net::{IpAddr, Ipv4Addr};

use raft::state::{ClusterSettings, Member, NodeKind, State, TwoNode};
use rustls_pki_types::DnsName;
use serde::{Deserialize, Serialize};

use super::error::{Answer, ApiError};
use super::{Context, cluster, document, json};

/// The settings as answers show them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ClusterJson {
    vip: Option<Ipv4Addr>,
    dns_names: Vec<String>,
    two_node: TwoNode,
    /// Read as an id or a name, shown as an id.
    preferred: Option<NodeRef>,
}

/// A node, as somebody writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum NodeRef {
    Id(u64),
    Name(String),
}

impl From<&ClusterSettings> for ClusterJson {
    fn from(settings: &ClusterSettings) -> Self {
        let ClusterSettings { vip, dns_names, two_node, preferred } = settings.clone();
        Self { vip, dns_names, two_node, preferred: preferred.map(NodeRef::Id) }
    }
}

/// The settings in force.
pub(super) fn json(state: &State) -> ClusterJson {
    state.cluster().map(|stored| ClusterJson::from(&stored.value)).unwrap_or_default()
}

/// The settings a body writes in full.
///
/// # Errors
/// `invalid`, with the field's path.
pub(super) fn whole(context: &Context, state: &State, bytes: &[u8]) -> Answer<ClusterSettings> {
    let body = document::own_fields(bytes, "cluster")?;
    checked(context, state, json::read(body.to_string().as_bytes())?)
}

/// The settings in force with what the body names put over them (RFC 7396: `null` is the default again).
///
/// # Errors
/// `invalid`, with the field's path.
pub(super) fn merged(context: &Context, state: &State, bytes: &[u8]) -> Answer<ClusterSettings> {
    let patch = document::own_fields(bytes, "cluster")?;
    let mut value = serde_json::to_value(json(state)).expect("settings are JSON");
    if let Some(name) = patch.as_object().and_then(|patch| patch.keys().find(|name| value.get(name).is_none())) {
        let message = format!("unknown field `{}`", name.escape_debug());
        let hint = "vip, dns_names, two_node and preferred can be set";
        return Err(ApiError::unprocessable("invalid", message, hint).at(name.clone()));
    }
    document::merge(&mut value, patch);
    checked(context, state, json::read(value.to_string().as_bytes())?)
}

fn checked(context: &Context, state: &State, json: ClusterJson) -> Answer<ClusterSettings> {
    let invalid = |message: String, hint: &str, field: &str| {
        Err(ApiError::unprocessable("invalid", message, hint).at(field.to_owned()))
    };
    if let Some(vip) = json.vip.filter(|vip| state.vip() != Some(*vip))
        && let Some(owner) = cluster::owner(context, state, IpAddr::V4(vip))
    {
        let message = format!("{vip} is {owner}'s own address, and the VIP moves between nodes");
        return invalid(message, "name a free address of the machine network", "vip");
    }
    if let Some((at, name)) =
        json.dns_names.iter().enumerate().find(|(_, name)| DnsName::try_from(name.as_str()).is_err())
    {
        let message = format!("`{}` is no DNS name, so no certificate can carry it", name.escape_debug());
        return invalid(message, "write it like boot.example.org", &format!("dns_names[{at}]"));
    }
    let preferred = match &json.preferred {
        None => None,
        Some(NodeRef::Id(id)) => Some(preferable(state, &id.to_string())?),
        Some(NodeRef::Name(name)) => Some(preferable(state, name)?),
    };
    if preferred.is_some_and(|member| member.kind == NodeKind::Witness) {
        return invalid("a witness never holds the VIP".into(), "name a node that serves machines", "preferred");
    }
    Ok(ClusterSettings {
        vip: json.vip,
        dns_names: json.dns_names,
        two_node: json.two_node,
        preferred: preferred.map(|member| member.id),
    })
}

/// The settings themselves exist: a node named in them that does not is a mistake in the body.
fn preferable<'a>(state: &'a State, name: &str) -> Answer<&'a Member> {
    cluster::member(state, name).map_err(|error| error.invalid_at("preferred"))
}
