//! Why a machine gets what it gets: the group that wins, those that lose and by what, and those that fail and where.
//!
//! The decision is the state's own; here the labels are gathered and the answer is put into words.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::str::FromStr as _;

use axum::body::Body;
use axum::extract::State as Extracted;
use axum::response::Response;
use http::HeaderMap;
use raft::state::{ADDRESS_LABEL, Candidate, Explanation, Failing, Group, Lost, Question, State};
use raft::types::Mac;
use serde::{Deserialize, Serialize};

use super::body::{OBJECT_BYTES_MAX, blocking, json_text};
use super::error::{Answer, ApiError};
use super::machines::unknown;
use super::{Context, json, view};

/// How many groups of each list are shown unless asked otherwise, and at most.
const SHOWN_DEFAULT: usize = 10;
const SHOWN_MAX: usize = 100;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Request {
    /// MAC or UUID of a machine; what is recorded of it is what it says.
    machine: Option<String>,
    /// Labels beside those, or in their place; `null` takes one away.
    labels: BTreeMap<String, Option<String>>,
    /// Where it asks from, instead of the address recorded.
    address: Option<IpAddr>,
    /// A group that is shown wherever it stands.
    group: Option<String>,
    limit: Option<usize>,
}

/// What a machine is taken to say.
#[derive(Debug, Default)]
struct Assumed {
    labels: BTreeMap<String, String>,
    address: Option<IpAddr>,
    known: bool,
    hold: bool,
}

#[derive(Serialize)]
struct Explained {
    /// Whether the machine has been seen.
    known: bool,
    /// Whether it is held: then it gets no profile, whatever the group.
    hold: bool,
    labels: BTreeMap<String, String>,
    address: Option<IpAddr>,
    group: Option<String>,
    by: Option<String>,
    profile: Option<String>,
    profile_exists: bool,
    /// Labels that the groups shown ask for and that are not known here: they count as empty.
    not_known: BTreeSet<String>,
    matching: Vec<Match>,
    matching_total: usize,
    failing: Vec<Failure>,
    failing_total: usize,
}

#[derive(Serialize)]
struct Match {
    group: String,
    by: String,
    profile: String,
    labels: usize,
    exact: usize,
    text: String,
    /// For programs: `fewer_labels`, `fewer_exact`, `lesser_text`, `later_id`.
    lost: Option<&'static str>,
    why: String,
}

#[derive(Serialize)]
struct Failure {
    group: String,
    by: String,
    profile: String,
    /// How many of the labels it asks for hold.
    held: usize,
    failed: Vec<Condition>,
}

#[derive(Serialize)]
struct Condition {
    field: String,
    label: String,
    asked: Vec<String>,
    found: Option<String>,
}

pub(super) async fn explain(
    Extracted(context): Extracted<Context>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let bytes = json_text(&headers, body, OBJECT_BYTES_MAX).await?;
    let request: Request = json::read(&bytes)?;
    let limit = request.limit.unwrap_or(SHOWN_DEFAULT);
    if limit > SHOWN_MAX {
        let message = format!("limit is {limit}; it may be at most {SHOWN_MAX}");
        return Err(ApiError::unprocessable("invalid", message, "name the `group` you ask about").at("limit"));
    }
    blocking(move || {
        let state = context.cluster.read();
        if let Some(group) = request.group.as_deref().filter(|id| state.group(id).is_none()) {
            return Err(ApiError::not_found(format!("group `{}`", group.escape_debug())).at("group"));
        }
        let assumed = assumed(&state, &request)?;
        let question =
            Question { labels: &assumed.labels, address: assumed.address, group: request.group.as_deref(), limit };
        let explanation = state.explain(question);
        Ok(view::answer(&explained(&state, assumed, explanation)))
    })
    .await
}

/// What is recorded of the machine, with what the request says put over it.
fn assumed(state: &State, request: &Request) -> Answer<Assumed> {
    let mut assumed = Assumed::default();
    if let Some(id) = &request.machine {
        recorded(state, id, &mut assumed)?;
    }
    for (label, value) in &request.labels {
        match value {
            None => drop(assumed.labels.remove(label)),
            Some(value) => drop(assumed.labels.insert(label.clone(), normal(label, value)?)),
        }
    }
    assumed.address = request.address.or(assumed.address).map(|address| address.to_canonical());
    Ok(assumed)
}

/// As boot HTTP reads it: a MAC in its one form.
fn normal(label: &str, value: &str) -> Answer<String> {
    if !label.eq_ignore_ascii_case("mac") {
        return Ok(value.to_owned());
    }
    value.parse::<Mac>().map(|mac| mac.to_string()).map_err(|error| {
        let hint = "correct the address; from a machine it would be ignored";
        ApiError::unprocessable("invalid", error, hint).at(format!("labels.{label}"))
    })
}

fn recorded(state: &State, id: &str, assumed: &mut Assumed) -> Answer<()> {
    let mac = id.parse::<Mac>().ok();
    let uuid = id.to_ascii_lowercase();
    let found = mac.as_ref().map_or_else(|| state.machine_of_uuid(&uuid), |mac| state.machine(mac));
    let Some(machine) = found else {
        // Nobody has seen it; a card needs no more than its address.
        let mac = mac.ok_or_else(|| unknown(id).at("machine"))?;
        assumed.labels.insert("mac".into(), mac.to_string());
        return Ok(());
    };
    let mac = mac.as_ref().or(machine.macs.first()).map(Mac::to_string).unwrap_or_default();
    let said = [("mac", &mac), ("uuid", &machine.uuid), ("serial", &machine.serial), ("arch", &machine.arch)];
    let said = said.into_iter().filter(|(_, value)| !value.is_empty());
    assumed.labels.extend(said.map(|(label, value)| (label.to_owned(), value.clone())));
    assumed.address = IpAddr::from_str(&machine.address).ok();
    (assumed.known, assumed.hold) = (true, machine.policy.hold);
    Ok(())
}

fn explained(state: &State, assumed: Assumed, explanation: Explanation) -> Explained {
    let Explanation { matching, matching_len, failing, failing_len } = explanation;
    let first = matching.first();
    let shown = matching.iter().map(|one| (&one.group.value, one.alternative));
    let shown = shown.chain(failing.iter().map(|one| (&one.group.value, one.alternative)));
    let mut not_known: BTreeSet<String> = shown.flat_map(|(group, number)| asked(group, number)).collect();
    not_known.retain(|label| match label.as_str() {
        ADDRESS_LABEL => assumed.address.is_none(),
        other => !assumed.labels.contains_key(other),
    });
    let profile = first.map(|first| first.group.value.profile.clone());
    Explained {
        known: assumed.known,
        hold: assumed.hold,
        address: assumed.address,
        group: first.map(|first| first.group.value.id.clone()),
        by: first.map(|first| by(first.alternative)),
        profile_exists: profile.as_ref().is_some_and(|profile| state.profile(profile).is_some()),
        profile,
        not_known,
        matching: matching.iter().map(|one| matched(one, first)).collect(),
        matching_total: matching_len,
        failing: failing.into_iter().map(failed).collect(),
        failing_total: failing_len,
        labels: assumed.labels,
    }
}

/// The labels that a group asks for by that alternative.
fn asked(group: &Group, number: Option<u32>) -> impl Iterator<Item = String> {
    let rule = number.and_then(|number| group.rules.get(number as usize));
    group.selector.keys().chain(rule.into_iter().flat_map(BTreeMap::keys)).cloned()
}

/// Where the conditions stand: the path of an alternative, or `selector`.
fn by(alternative: Option<u32>) -> String {
    alternative.map_or_else(|| "selector".to_owned(), |number| format!("match[{number}]"))
}

fn matched(candidate: &Candidate, first: Option<&Candidate>) -> Match {
    let Candidate { group, alternative, labels, exact, text, lost } = candidate;
    let (most, most_exact, greatest) = first.map_or((0, 0, ""), |first| (first.labels, first.exact, &first.text));
    let (code, why) = match lost {
        None => (None, "it wins".to_owned()),
        Some(Lost::FewerLabels) => {
            (Some("fewer_labels"), format!("it asks for {labels} labels, the winner for {most}"))
        }
        Some(Lost::FewerExact) => (
            Some("fewer_exact"),
            format!("it asks for exact values of {exact} labels, the winner of {most_exact}, and for as many labels"),
        ),
        Some(Lost::LesserText) => {
            (Some("lesser_text"), format!("it asks for as much; `{text}` sorts before the winner's `{greatest}`"))
        }
        Some(Lost::LaterId) => {
            (Some("later_id"), "it asks for the same, and its id sorts after the winner's".to_owned())
        }
    };
    Match {
        group: group.value.id.clone(),
        by: by(*alternative),
        profile: group.value.profile.clone(),
        labels: *labels,
        exact: *exact,
        text: text.clone(),
        lost: code,
        why,
    }
}

fn failed(failing: Failing) -> Failure {
    let Failing { group, alternative, held, failed } = failing;
    let conditions = failed.into_iter().map(|failed| {
        let raft::state::Failed { field, label, asked, found } = failed;
        Condition { field, label, asked, found }
    });
    Failure {
        group: group.value.id.clone(),
        by: by(alternative),
        profile: group.value.profile.clone(),
        held,
        failed: conditions.collect(),
    }
}
