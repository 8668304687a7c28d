//! The configs machines fetch: templates rendered for one machine, checked before they are served.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use raft::state::{Group, Profile, ScriptStyle, State, Stored, TemplateKind, normal_selector};
use raft::types::LogIndex;

use super::check::{check_cloud, is_butane, repeats};
use super::guard::{self, Interpreter};
use super::labels::Labels;
use super::path;
use super::script::{BASE_URL, expand_base_url};
use super::{butane, ignition};
use crate::template::{self, Numbers, Template};

/// Why a machine gets no config or script; it sees a bare 404, the operator this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// No group's selector fits.
    #[error("no group matches its labels")]
    NoGroup,
    /// The group names a profile that does not exist.
    #[error("group `{group}` names profile `{profile}`, which does not exist")]
    NoProfile {
        /// The group that matched.
        group: String,
        /// What it names.
        profile: String,
    },
    /// The profile boots nothing.
    #[error("profile `{profile}` has no `boot`")]
    NoBoot {
        /// The profile.
        profile: String,
    },
    /// The profile names no template of this kind, or one that does not exist.
    #[error("profile `{profile}` names {kind} template `{name}`, which does not exist")]
    NoTemplate {
        /// The profile.
        profile: String,
        /// Of which kind.
        kind: &'static str,
        /// What it names; empty for nothing.
        name: String,
    },
    /// The template cannot be rendered, or what it gives cannot be served.
    #[error("{kind} template `{name}`: {problem}")]
    Template {
        /// Of which kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// The group's metadata cannot be read.
    #[error("group `{group}`: its metadata is not a JSON object: {problem}")]
    Metadata {
        /// The group.
        group: String,
        /// What is wrong.
        problem: String,
    },
}

/// How many parsed templates are kept.
const PARSED_MAX: usize = 512;
/// How many bytes of source the kept templates may have together.
const PARSED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// From this size on, of template and metadata together, rendering leaves the async threads.
const HEAVY_BYTES: usize = 32 * 1024;

type Parsed = Result<Arc<Template>, Arc<str>>;

/// Templates as parsed, by kind and name, each for one revision.
#[derive(Debug, Default)]
pub(super) struct Parser {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    parsed: HashMap<(TemplateKind, String), (LogIndex, usize, Parsed)>,
    bytes: usize,
}

impl Parser {
    fn parse(&self, stored: &Stored<raft::state::Template>) -> Parsed {
        let key = (stored.value.kind, stored.value.name.clone());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((revision, _, parsed)) = kept.parsed.get(&key)
            && *revision == stored.revision
        {
            return parsed.clone();
        }
        drop(kept);
        let source = &stored.value.content;
        let parsed = Template::parse(source).map(Arc::new).map_err(|error| error.to_string().into());
        kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.parsed.len() >= PARSED_MAX || kept.bytes + source.len() > PARSED_BYTES_MAX {
            // Everything in use comes back with the next requests.
            *kept = Kept::default();
        }
        let replaced = kept.parsed.insert(key, (stored.revision, source.len(), parsed.clone()));
        kept.bytes = kept.bytes + source.len() - replaced.map_or(0, |(_, bytes, _)| bytes);
        parsed
    }
}

/// A group and what its machines are to get.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    /// The group that won.
    pub group: Arc<Stored<Group>>,
    /// Its profile.
    pub profile: Arc<Stored<Profile>>,
}

/// The group for these labels.
///
/// # Errors
/// If none matches.
pub(super) fn group_of(state: &State, labels: &Labels) -> Result<Arc<Stored<Group>>, Refusal> {
    state.select_from(&labels.map, labels.from).cloned().ok_or(Refusal::NoGroup)
}

/// The group for these labels and its profile.
///
/// # Errors
/// If no group matches or its profile does not exist.
pub(super) fn choose(state: &State, labels: &Labels) -> Result<Choice, Refusal> {
    let group = group_of(state, labels)?;
    let wanted = &group.value.profile;
    let profile = state.profile(wanted).or_else(|| {
        // Matchbox takes it for the stem of a file name: `./p` and `team/../p` are `p`.
        let file = path::below(&format!("{wanted}.json")).into_owned();
        state.profile(file.strip_suffix(".json")?)
    });
    match profile.cloned() {
        Some(profile) => Ok(Choice { group, profile }),
        None => Err(Refusal::NoProfile { group: group.value.id.clone(), profile: wanted.clone() }),
    }
}

/// Everything one rendering needs; owned, so that it can be done on another thread.
#[derive(Debug)]
pub(super) struct Job {
    kind: TemplateKind,
    template: Arc<Stored<raft::state::Template>>,
    group: Arc<Stored<Group>>,
    labels: Labels,
    raw_query: String,
    base_url: String,
    numbers: Numbers,
}

impl Job {
    /// Finds the template of `kind` that a choice names. `base_url` is what `${base_url}` stands for; empty: nothing.
    ///
    /// # Errors
    /// If the profile names none, or one that does not exist.
    pub(super) fn find(
        state: &State,
        choice: &Choice,
        kind: TemplateKind,
        labels: Labels,
        raw_query: &str,
        base_url: String,
    ) -> Result<Self, Refusal> {
        let profile = &choice.profile.value;
        let wanted = match kind {
            TemplateKind::Generic => &profile.generic_id,
            TemplateKind::Ignition => &profile.ignition_id,
            TemplateKind::Cloud => &profile.cloud_id,
        };
        let template = state.template(kind, &path::below(wanted)).cloned().ok_or_else(|| Refusal::NoTemplate {
            profile: profile.id.clone(),
            kind: kind.name(),
            name: wanted.clone(),
        })?;
        let (group, raw_query) = (choice.group.clone(), raw_query.to_owned());
        let numbers = numbers_of(state);
        Ok(Self { kind, template, group, labels, raw_query, base_url, numbers })
    }

    /// The name of the template.
    #[must_use]
    pub(super) fn name(&self) -> &str {
        &self.template.value.name
    }

    /// Whether it may take long enough to hold up other requests: it is large, does one thing many times, or is Butane,
    /// whose aliases make much of a short text.
    #[must_use]
    pub(super) fn is_heavy(&self) -> bool {
        let content = &self.template.value.content;
        let is_large = content.len() + self.group.value.metadata.len() > HEAVY_BYTES;
        is_large
            || match self.kind {
                TemplateKind::Ignition => is_butane(self.name()),
                TemplateKind::Generic | TemplateKind::Cloud => repeats(content),
            }
    }

    fn is_plain_ignition(&self) -> bool {
        self.kind == TemplateKind::Ignition && !is_butane(self.name())
    }

    /// Makes the config.
    ///
    /// # Errors
    /// If the template fails, or gives what cannot be served; never a part of a config.
    pub(super) fn run(&self, parser: &Parser) -> Result<Vec<u8>, Refusal> {
        if self.is_plain_ignition() {
            let stored = &self.template.value.content;
            // As it was written, or as matchbox writes it anew where that is wanted to the byte.
            let content = match self.numbers {
                Numbers::Floats => ignition::reserialise(stored),
                Numbers::Whole => ignition::check(stored).map(|()| stored.clone()),
            };
            return Ok(self.with_base_url(content.map_err(|error| self.refuse(error))?));
        }
        // Before it is translated: text within a config is escaped there.
        let content = self.with_base_url(self.render(parser)?);
        if self.kind == TemplateKind::Ignition {
            return butane::translate(&content).map_err(|problem| self.refuse(problem));
        }
        if self.kind == TemplateKind::Cloud {
            check_cloud(&content).map_err(|problem| self.refuse(problem))?;
        }
        Ok(content)
    }

    /// Renders the template, unless a value of the request would become a command of the script it gives.
    fn render(&self, parser: &Parser) -> Result<Vec<u8>, Refusal> {
        let template = parser.parse(&self.template).map_err(|error| self.refuse(error))?;
        let render = |labels: &BTreeMap<String, String>, raw_query: &str| {
            let data = data(&self.group.value, self.numbers, labels, raw_query)?;
            template.render(&data).map_err(|error| self.refuse(error))
        };
        let content = render(&self.labels.map, &self.raw_query)?;
        let Some(interpreter) = Interpreter::of(&content) else { return Ok(content) };
        let Some(harmless) = guard::harmless(interpreter, &self.labels, &self.raw_query) else { return Ok(content) };
        if render(&harmless.labels, &harmless.raw_query).is_ok_and(|same| same == content) {
            return Ok(content);
        }
        let values = harmless.replaced.join("`, `");
        Err(self.refuse(format!(
            "it gives a script into which the request puts something that would be a command of its own, by `{values}`; \
             the script must not use that value"
        )))
    }

    fn with_base_url(&self, content: Vec<u8>) -> Vec<u8> {
        let marked = content.windows(BASE_URL.len()).any(|window| window == BASE_URL.as_bytes());
        if self.base_url.is_empty() || !marked {
            return content;
        }
        // Only text can hold the placeholder in a meaningful way.
        match String::from_utf8(content) {
            Ok(text) => expand_base_url(&text, &self.base_url).into_bytes(),
            Err(binary) => binary.into_bytes(),
        }
    }

    fn refuse(&self, problem: impl ToString) -> Refusal {
        Refusal::Template { kind: self.kind.name(), name: self.name().to_owned(), problem: problem.to_string() }
    }
}

/// What becomes of whole numbers in metadata: nothing, unless matchbox is to be matched to the byte.
pub(super) fn numbers_of(state: &State) -> Numbers {
    match state.settings().map(|settings| settings.value.script_style) {
        Some(ScriptStyle::Matchbox) => Numbers::Floats,
        Some(ScriptStyle::Robust) | None => Numbers::Whole,
    }
}

/// What templates and `/metadata` see.
///
/// # Errors
/// If the group's metadata is no JSON object, which is checked before it is stored.
pub(super) fn data(
    group: &Group,
    numbers: Numbers,
    labels: &BTreeMap<String, String>,
    raw_query: &str,
) -> Result<template::Value, Refusal> {
    let refuse = |error: serde_json::Error| Refusal::Metadata { group: group.id.clone(), problem: error.to_string() };
    let metadata: Option<serde_json::Map<String, serde_json::Value>> =
        if group.metadata.is_empty() { None } else { Some(serde_json::from_str(&group.metadata).map_err(refuse)?) };
    let selector = normal_selector(&group.selector).unwrap_or_default();
    Ok(template::data(metadata.as_ref(), numbers, &selector, labels, raw_query))
}
