//! Says what an import of a matchbox directory would leave out, and what machines would get that they did not get before.
//!
//! Pure: it looks at what [`super::matchbox::read`] found. What is a certain difference counts; what may matter to the
//! operator and changes nothing by itself is only pointed at.

mod addresses;
mod numbers;
mod templates;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use raft::state::{Group, NetBoot, Profile, TemplateKind, normal_selector};
use serde::Serialize;

use super::matchbox::Import;

pub use addresses::{Address, addresses};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// A file that matchbox uses and the import would not take.
    LeftOut,
    /// Some machine gets something else than before.
    Differs,
    /// Nothing changes by it, but it should be known.
    LookAt,
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub verdict: Verdict,
    /// A file below the directory, or an object such as `group/n1`; empty: all of them.
    pub object: String,
    /// Where in it.
    pub field: String,
    /// What is found.
    pub message: String,
    /// What to do; empty for nothing.
    pub hint: String,
}

/// What was looked at, and what was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How many objects of each kind would be taken over.
    pub objects: BTreeMap<&'static str, usize>,
    /// Addresses of boot services that are written out somewhere, and in how many places.
    pub addresses: BTreeMap<String, usize>,
    /// What was found, the gravest first.
    pub findings: Vec<Finding>,
}

impl Report {
    /// How many findings there are of this gravity.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }
}

/// How many objects one finding names.
const NAMED_MAX: usize = 5;

/// Looks at everything that was read from `root`.
#[must_use]
pub fn check(import: &Import, root: &Path) -> Report {
    let mut looking = Looking { import, names: names(import, root), findings: Vec::new(), addresses: BTreeMap::new() };
    looking.general();
    looking.files(root);
    looking.other_ids();
    looking.ties();
    for group in &import.groups {
        looking.group(group);
    }
    for profile in &import.profiles {
        looking.profile(profile);
    }
    looking.templates();
    let Looking { mut findings, addresses, .. } = looking;
    findings.sort();
    let objects = BTreeMap::from([
        ("profiles", import.profiles.len()),
        ("groups", import.groups.len()),
        ("templates", import.templates.len()),
        ("assets", import.assets.len()),
    ]);
    Report { objects, addresses, findings }
}

/// The files of the directory by path, and whether they would be taken over.
fn names(import: &Import, root: &Path) -> BTreeMap<String, bool> {
    let mut names = BTreeMap::new();
    for problem in import.problems.iter().filter(|problem| problem.used) {
        if let Some(path) = problem.path.strip_prefix(root).ok().and_then(Path::to_str) {
            names.insert(path.to_owned(), false);
        }
    }
    names.extend(import.profiles.iter().map(|profile| (format!("profiles/{}.json", profile.id), true)));
    names.extend(import.templates.iter().map(|one| (format!("{}/{}", one.kind.name(), one.name), true)));
    names.extend(import.assets.iter().map(|(name, _)| (format!("assets/{name}"), true)));
    names
}

struct Looking<'a> {
    import: &'a Import,
    names: BTreeMap<String, bool>,
    findings: Vec<Finding>,
    addresses: BTreeMap<String, usize>,
}

impl Looking<'_> {
    fn say(
        &mut self,
        verdict: Verdict,
        object: impl Into<String>,
        field: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let (object, field, message, hint) = (object.into(), field.into(), message.into(), hint.into());
        self.findings.push(Finding { verdict, object, field, message, hint });
    }

    /// What is different for everybody, by design.
    fn general(&mut self) {
        if self.import.profiles.is_empty() && self.import.groups.is_empty() {
            return;
        }
        let message =
            "scripts try again, name their initrds and, for machines without a group, go on to the next boot device";
        let hint = "`raftboot settings set script_style=matchbox` gives matchbox's text to the byte";
        self.say(Verdict::LookAt, "", "", message, hint);
        let message = "`/metadata` is sorted here; matchbox's order is another with every request";
        self.say(Verdict::LookAt, "", "", message, "");
        if self.import.templates.iter().any(|template| template.kind == TemplateKind::Ignition) {
            let message = "Ignition configs are served as they were written; matchbox writes them anew as spec 3.4.0";
            self.say(Verdict::LookAt, "", "", message, hint);
        }
    }

    fn files(&mut self, root: &Path) {
        for problem in &self.import.problems {
            let path = problem.path.strip_prefix(root).unwrap_or(&problem.path).display().to_string();
            let (verdict, message) = if problem.used {
                (Verdict::LeftOut, problem.reason.clone())
            } else {
                (Verdict::LookAt, format!("used neither there nor here: {}", problem.reason))
            };
            self.say(verdict, path, "", message, problem.hint.clone());
        }
    }

    fn other_ids(&mut self) {
        for other in &self.import.other_ids {
            let object = format!("{}/{}.json", other.folder, other.name);
            let message =
                format!("it calls itself `{}`; both services go by the file's name, `{}`", other.id, other.name);
            self.say(Verdict::LookAt, object, "id", message, "");
        }
    }

    fn ties(&mut self) {
        let mut alike: BTreeMap<BTreeMap<String, String>, Vec<&str>> = BTreeMap::new();
        for group in &self.import.groups {
            alike.entry(normal_selector(&group.selector).unwrap_or_default()).or_default().push(&group.id);
        }
        for mut ids in alike.into_values().filter(|ids| ids.len() > 1) {
            ids.sort_unstable();
            let message = format!(
                "its selector equals that of {}: which one wins is chance in matchbox, here it is this one, the lowest name",
                some(ids[1..].iter().map(|id| format!("group/{id}")))
            );
            let hint = "remove the others, or make their selectors differ";
            self.say(Verdict::Differs, format!("group/{}", ids[0]), "selector", message, hint);
        }
    }

    fn group(&mut self, group: &Group) {
        let object = format!("group/{}", group.id);
        self.look_at_addresses(&object, "metadata", &group.metadata);
        self.numbers(&object, &group.metadata);
        if group.profile.is_empty() {
            let hint = "give it a profile, or remove it";
            return self.say(Verdict::LookAt, object, "profile", "it names no profile: 404, there as here", hint);
        }
        let file = format!("{}.json", group.profile);
        if self.climbs(&object, "profile", "profiles", &file) {
            return;
        }
        let named = format!("profiles/{}", below(&file));
        if self.names.get(&named) == Some(&true) {
            return;
        }
        if self.names.contains_key(&named) {
            let message = format!("its profile `{}` would be left out", group.profile);
            return self.say(Verdict::Differs, object, "profile", message, "mend the profile");
        }
        let called = |other: &&super::matchbox::OtherId| other.folder == "profiles" && other.id == group.profile;
        let hint = match self.import.other_ids.iter().find(called) {
            Some(other) => format!(
                "profiles/{}.json calls itself so, but the file's name counts: write `{}`, or rename the file",
                other.name, other.name
            ),
            None => "its machines get 404 from matchbox, and from here keep asking until the profile is there".into(),
        };
        let message = format!("there is no profile `{}`, there as here", group.profile);
        self.say(Verdict::LookAt, object, "profile", message, hint);
    }

    fn profile(&mut self, profile: &Profile) {
        let object = format!("profile/{}", profile.id);
        for (field, kind, name) in references(profile) {
            if name.is_empty() || self.climbs(&object, field, kind.name(), name) {
                continue;
            }
            match self.names.get(&format!("{}/{}", kind.name(), below(name))) {
                Some(true) => {}
                Some(false) => {
                    let message = format!("its {} template `{name}` would be left out", kind.name());
                    self.say(Verdict::Differs, &object, field, message, "mend the template");
                }
                None => {
                    let message = format!("there is no {} template `{name}`: 404, there as here", kind.name());
                    self.say(Verdict::LookAt, &object, field, message, "");
                }
            }
        }
        if let Some(boot) = &profile.boot {
            self.boot(&object, boot);
        }
    }

    fn boot(&mut self, object: &str, boot: &NetBoot) {
        let initrds = boot.initrd.iter().enumerate().map(|(at, line)| (format!("boot.initrd[{at}]"), line));
        let files = std::iter::once(("boot.kernel".to_owned(), &boot.kernel)).chain(initrds);
        let args = boot.args.iter().enumerate().map(|(at, line)| (format!("boot.args[{at}]"), line));
        for (field, line) in files.clone() {
            let Some(name) = asset_of(line) else { continue };
            match self.names.get(&format!("assets/{name}")) {
                Some(true) => {}
                Some(false) => {
                    let message = format!("the asset `{name}` would be left out");
                    self.say(Verdict::Differs, object, field, message, "mend the asset");
                }
                None => {
                    let message = format!("there is no asset `{name}` in the directory");
                    let hint =
                        "if matchbox runs with another -assets-path, add its files: `raftboot asset put NAME FILE`";
                    self.say(Verdict::LookAt, object, field, message, hint);
                }
            }
        }
        for (field, line) in files.chain(args) {
            self.look_at_addresses(object, &field, line);
            self.look_at_base_url(object, &field, line);
        }
    }

    /// Whether a name leads matchbox out of the folder it belongs to, where we do not follow.
    fn climbs(&mut self, object: &str, field: &str, folder: &str, name: &str) -> bool {
        let (there, here) = (below(&format!("{folder}/{name}")), format!("{folder}/{}", below(name)));
        if there == here {
            return false;
        }
        let message = format!("`{name}` climbs out of its folder: matchbox reads {there}, here it is {here}");
        self.say(Verdict::Differs, object, field, message, "put the file into its folder and name it plainly");
        true
    }

    fn look_at_addresses(&mut self, object: &str, field: &str, text: &str) {
        let mut found: BTreeMap<Address, BTreeSet<String>> = BTreeMap::new();
        for (address, path) in addresses(text) {
            *self.addresses.entry(address.to_string()).or_default() += 1;
            found.entry(address).or_default().insert(path);
        }
        for (address, paths) in found {
            let message = format!("it names {address} ({})", some(paths.into_iter()));
            self.say(Verdict::LookAt, object, field, message, address.hint());
        }
    }

    fn look_at_base_url(&mut self, object: &str, field: &str, text: &str) {
        if text.contains("${base_url}") {
            let message = "`${base_url}` becomes the service's own address here; matchbox leaves it as it is";
            let hint = "rename the variable, or `raftboot settings set script_style=matchbox`";
            self.say(Verdict::Differs, object, field, message, hint);
        }
    }
}

/// The templates a profile names.
fn references(profile: &Profile) -> [(&'static str, TemplateKind, &String); 3] {
    [
        ("generic_id", TemplateKind::Generic, &profile.generic_id),
        ("ignition_id", TemplateKind::Ignition, &profile.ignition_id),
        ("cloud_id", TemplateKind::Cloud, &profile.cloud_id),
    ]
}

/// The asset that a line of a profile loads from the service itself, unless the machine fills in a part of its name.
fn asset_of(line: &str) -> Option<&str> {
    let path =
        line.split_whitespace().find_map(|word| word.strip_prefix("/assets/").or(word.strip_prefix("assets/")))?;
    let name = path.split(['?', '#']).next()?;
    (!name.is_empty() && !name.contains("${") && !name.contains('%')).then_some(name)
}

/// A path without empty parts, `.` and `..`; it cannot lead out of the directory it begins in.
fn below(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    parts.join("/")
}

/// The first few, and how many more.
fn some(mut items: impl Iterator<Item = String>) -> String {
    let named: Vec<String> = items.by_ref().take(NAMED_MAX).collect();
    match items.count() {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests;
