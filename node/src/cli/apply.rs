//! `apply`: what files say becomes one change.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use raft::types::Digest;
use serde_json::{Value, json};
use ureq::http::Method;

use super::connect::Connection;
use super::documents::{self, Document};
use super::failure::Failure;
use super::output::{Format, Terminal, parse, text};
use crate::client::Client;

/// What to apply, and how.
#[derive(Debug, Args)]
pub struct Arguments {
    /// YAML or JSON file, a folder of them, or - for standard input; may be given several times
    #[arg(short, long = "file", value_name = "FILE_OR_DIR", required = true)]
    files: Vec<PathBuf>,
    /// Remove all other objects of this kind; may be given several times
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    replace: Vec<ReplaceKind>,
    /// With --replace: remove all objects of a kind of which there is none in the input
    #[arg(long, requires = "replace")]
    allow_empty: bool,
    /// Say what would happen and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Accept groups with equal selectors; the lowest id wins
    #[arg(long)]
    allow_ties: bool,
    /// Name assets although only one node holds their bytes
    #[arg(long)]
    allow_single_copy: bool,
    /// Store templates of which no machine can be given anything
    #[arg(long)]
    allow_unusable: bool,
}

/// Kinds that can be replaced as a whole.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum ReplaceKind {
    /// All profiles
    Profile,
    /// All groups
    Group,
    /// All templates
    Template,
    /// All names of assets
    Asset,
}

impl ReplaceKind {
    fn name(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Group => "group",
            Self::Template => "template",
            Self::Asset => "asset",
        }
    }
}

pub(super) fn run(connection: &Connection, arguments: &Arguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let mut read = Vec::new();
    for file in &arguments.files {
        read.extend(documents::read(file)?);
    }
    let replace: Vec<&str> = arguments.replace.iter().map(|kind| kind.name()).collect();
    if !arguments.allow_empty {
        not_empty(&read)?;
        let kinds: Vec<&str> = read.iter().filter_map(|document| document.value["kind"].as_str()).collect();
        none_wiped(&replace, &kinds)?;
    }
    let &Arguments { dry_run, allow_ties, allow_single_copy, allow_unusable, .. } = arguments;
    let how = How { replace: &replace, dry_run, allow_ties, allow_single_copy, allow_unusable, promised: &[] };
    send(&connection.open()?, connection.format, &read, how, terminal)
}

fn not_empty(read: &[Document]) -> Result<(), Failure> {
    if !read.is_empty() {
        return Ok(());
    }
    let hint = "nothing was changed: look whether what writes the file or the pipe has failed";
    Err(Failure::new("there is no object in the input", hint))
}

/// An empty pipe or an empty folder must not remove everything there is.
///
/// # Errors
/// When a kind is to be replaced by nothing.
pub(super) fn none_wiped(replace: &[&str], kinds: &[&str]) -> Result<(), Failure> {
    match replace.iter().find(|kind| !kinds.contains(kind)) {
        None => Ok(()),
        Some(kind) => {
            let message = format!("there is no {kind} in the input, so every {kind} of the server would be removed");
            Err(Failure::new(message, "nothing was changed: say --allow-empty if that is meant"))
        }
    }
}

/// `profile put` and `group put`: the same, for one kind, which the documents need not name.
pub(super) fn put(
    client: &Client,
    format: Format,
    kind: &str,
    file: &Path,
    allow_ties: bool,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let mut read = documents::read(file)?;
    not_empty(&read)?;
    for document in &mut read {
        if let Value::Object(members) = &mut document.value {
            let said = members.entry("kind").or_insert_with(|| kind.into());
            if said != kind {
                let message = format!("{}: this is a {}, not a {kind}", document.place, text(said));
                return Err(Failure::new(message, "use `raftboot apply -f` for files with several kinds"));
            }
        }
    }
    send(client, format, &read, How { allow_ties, ..How::default() }, terminal)
}

/// How a change is to be made.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct How<'a> {
    pub(super) replace: &'a [&'a str],
    pub(super) dry_run: bool,
    pub(super) allow_ties: bool,
    pub(super) allow_single_copy: bool,
    pub(super) allow_unusable: bool,
    /// Bytes that a dry run takes as sent.
    pub(super) promised: &'a [Digest],
}

fn send(
    client: &Client,
    format: Format,
    read: &[Document],
    how: How<'_>,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let items: Vec<String> = read.iter().map(|document| document.value.to_string()).collect();
    let places: Vec<&str> = read.iter().map(|document| document.place.as_str()).collect();
    send_items(client, format, &items, &places, how, terminal)
}

/// Sends objects that are JSON already; `places` says where each was written.
pub(super) fn send_items(
    client: &Client,
    format: Format,
    items: &[String],
    places: &[&str],
    how: How<'_>,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let How { replace, dry_run, allow_ties, allow_single_copy, allow_unusable, promised } = how;
    let rest = json!({
        "replace": replace, "allow_ties": allow_ties, "allow_single_copy": allow_single_copy, "dry_run": dry_run,
        "allow_unusable": allow_unusable, "promised": promised,
    });
    let rest = rest.to_string();
    let body = format!("{{\"items\":[{}],{}", items.join(","), &rest[1..]);
    let answer = client.send(Method::POST, "/apply", &[], body.as_bytes());
    let answer = answer.map_err(|error| Failure::from(error).renamed(|field| place_of(field, places)).told(places))?;
    let value = parse(&answer)?;
    terminal.warn(&value);
    terminal.show(format, &value, || summary(&value, dry_run))
}

/// `items[3].selector.mac` is the field `selector.mac` of what was written in the fourth place.
fn place_of(field: &str, places: &[&str]) -> Option<(String, String)> {
    let (number, field) = field.strip_prefix("items[")?.split_once(']')?;
    let place = places.get(number.parse::<usize>().ok()?)?;
    Some(((*place).to_owned(), field.trim_start_matches('.').to_owned()))
}

fn summary(value: &Value, dry_run: bool) -> String {
    let mut lines = String::new();
    for effect in value["effects"].as_array().into_iter().flatten() {
        let (object, effect) = (text(&effect["object"]), text(&effect["effect"]));
        if effect != "unchanged" {
            lines.push_str(&format!("{object} {effect}\n"));
        }
    }
    let [created, updated, unchanged, pruned] = ["created", "updated", "unchanged", "pruned"].map(|name| &value[name]);
    lines.push_str(&format!("{created} created, {updated} updated, {unchanged} unchanged, {pruned} deleted"));
    let end =
        if dry_run { " (dry run: nothing was changed)\n".into() } else { format!(" (log index {})\n", value["index"]) };
    lines + &end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_fields_become_places_in_files() {
        let places = ["a.yaml:1", "b.yaml:7"];
        assert_eq!(place_of("items[1].selector.mac", &places), Some(("b.yaml:7".into(), "selector.mac".into())));
        assert_eq!(place_of("items[0]", &places), Some(("a.yaml:1".into(), String::new())));
        assert_eq!(place_of("items[2].id", &places), None);
        assert_eq!(place_of("replace[0]", &places), None);
    }
}
