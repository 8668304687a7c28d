//! `import`: takes over what another boot service has on its disk.

use std::path::PathBuf;

use clap::Subcommand;
use raft::state::{Group, Profile, Template};
use serde_json::json;

use super::apply::{How, send_items};
use super::assets;
use super::connect::Connection;
use super::documents::base64;
use super::failure::Failure;
use super::output::Terminal;
use crate::import::matchbox;
use crate::matchbox_json::{GroupJson, ProfileJson};

/// Where from.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// A data directory of matchbox, usually /var/lib/matchbox
    Matchbox {
        /// The directory
        dir: PathBuf,
        /// Remove all profiles, groups, templates and assets that are not in it
        #[arg(long)]
        replace: bool,
        /// Say what would happen and change nothing; no files are sent either
        #[arg(long)]
        dry_run: bool,
    },
}

pub(super) fn run(connection: &Connection, action: Action, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let Action::Matchbox { dir, replace, dry_run } = action;
    let hint = "name the data directory of matchbox, usually /var/lib/matchbox";
    let read = matchbox::read(&dir).map_err(|error| Failure::new(error.to_string(), hint))?;
    for problem in &read.problems {
        let hint = if problem.hint.is_empty() { String::new() } else { format!("; {}", problem.hint) };
        terminal.complain(&format!("left out: {}: {}{hint}", problem.path.display(), problem.reason));
    }
    let client = connection.open()?;
    let mut items = Vec::new();
    let mut places = Vec::new();
    for profile in &read.profiles {
        items.push(profile_item(profile));
        places.push(format!("{}/profiles/{}.json", dir.display(), profile.id));
    }
    for group in &read.groups {
        items.push(group_item(group));
        places.push(format!("{}/groups/{}.json", dir.display(), group.id));
    }
    for template in &read.templates {
        items.push(template_item(template));
        places.push(format!("{}/{}/{}", dir.display(), template.kind.name(), template.name));
    }
    let mut unsent = 0;
    for (name, file) in &read.assets {
        // A rehearsal sends no bytes, so it cannot name any either.
        if dry_run {
            unsent += 1;
            continue;
        }
        let digest = assets::store(&client, name, file, None)?;
        items.push(assets::item(name, digest, "", &file.display().to_string()));
        places.push(file.display().to_string());
    }
    if unsent > 0 {
        terminal.complain(&format!("dry run: {unsent} assets would be sent and named; they are left out below"));
    }
    let kinds: &[&str] = match (replace, dry_run) {
        (false, _) => &[],
        (true, true) => &["profile", "group", "template"],
        (true, false) => &["profile", "group", "template", "asset"],
    };
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    // A matchbox directory may hold groups with equal selectors; there the lowest id wins, and so it does here.
    let how = How { replace: kinds, dry_run, allow_ties: true };
    send_items(&client, connection.format, &items, &places, how, terminal)?;
    if read.problems.is_empty() {
        return Ok(());
    }
    terminal.complain(&format!("{} files were left out, see above", read.problems.len()));
    Ok(())
}

/// An object with its kind in front. The rest is spliced in as text, so that metadata stays as it was written.
fn with_kind(kind: &str, object: &str) -> String {
    let rest = object.strip_prefix('{').unwrap_or(object);
    let comma = if rest == "}" { "" } else { "," };
    format!("{{\"kind\":\"{kind}\"{comma}{rest}")
}

fn profile_item(profile: &Profile) -> String {
    with_kind("profile", &serde_json::to_string(&ProfileJson::from(profile)).expect("a profile is JSON"))
}

fn group_item(group: &Group) -> String {
    with_kind("group", &serde_json::to_string(&GroupJson::from(group)).expect("a group is JSON"))
}

fn template_item(template: &Template) -> String {
    let Template { kind, name, content } = template;
    match std::str::from_utf8(content) {
        Ok(text) => json!({"kind": "template", "type": kind, "name": name, "content": text}),
        Err(_) => json!({"kind": "template", "type": kind, "name": name, "content_base64": base64(content)}),
    }
    .to_string()
}
