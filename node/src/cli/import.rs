//! `import`: takes over what another boot service has on its disk.

mod check;
mod compare;
mod dnsmasq;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use raft::state::{Group, Profile, Template, TemplateKind};
use raft::types::Digest;
use serde_json::json;

use super::apply::{How, none_wiped, send_items};
use super::assets;
use super::connect::{Connection, list};
use super::documents::base64;
use super::failure::Failure;
use super::output::{Terminal, text};
use crate::client::Client;
use crate::import::matchbox::{self, Import, Problem};
use crate::matchbox_json::{GroupJson, ProfileJson};

/// Where from.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// A data directory of matchbox, usually /var/lib/matchbox
    Matchbox(Matchbox),
    /// Read a dnsmasq configuration and say, line by line, what becomes of it; changes nothing
    Dnsmasq(dnsmasq::Arguments),
}

/// What to take over from matchbox, and how.
#[derive(Debug, Args)]
pub struct Matchbox {
    /// The directory
    dir: PathBuf,
    /// Change nothing and need no server: say what would be left out and what machines would get that they did not get
    /// before; exit code 1 if there is any of that
    #[arg(long, conflicts_with_all = ["replace", "strict", "dry_run", "allow_single_copy", "compare"])]
    check: bool,
    /// Change nothing: ask this matchbox and the new service what every group's machines get, and compare; assets are
    /// fetched from matchbox and compared by their bytes; no machine is recorded as seen. Exit code 1 if it differs
    #[arg(long, value_name = "URL", conflicts_with_all = ["replace", "strict", "dry_run", "allow_single_copy"])]
    compare: Option<String>,
    /// With --compare: where machines ask the new service [default: port 8080 of the server, or as this host's node is configured]
    #[arg(long, value_name = "URL", requires = "compare")]
    with: Option<String>,
    /// Look at the certificates of matchbox's gRPC API as well, usually in /etc/matchbox, and say how to go on with them
    #[arg(long, value_name = "DIR", conflicts_with = "compare")]
    certificates: Option<PathBuf>,
    /// With --certificates: a name or address by which clients such as Terraform call the service; may be given several times
    #[arg(long, value_name = "HOST", requires = "certificates")]
    endpoint: Vec<String>,
    /// Remove all profiles, groups, templates and assets that are not in it; refused if a file in it cannot be used
    #[arg(long)]
    replace: bool,
    /// With --replace: go on if files cannot be used; what the server has under their names is kept
    #[arg(long, requires = "replace")]
    skip_unusable: bool,
    /// With --replace: remove all objects of a kind of which the directory has none
    #[arg(long, requires = "replace")]
    allow_empty: bool,
    /// End with exit code 1 if files were left out, after taking over the others
    #[arg(long)]
    strict: bool,
    /// Say what would happen and change nothing; no files are sent either
    #[arg(long)]
    dry_run: bool,
    /// Name assets although only one node holds their bytes
    #[arg(long)]
    allow_single_copy: bool,
}

/// The kinds that `--replace` is about, and where the API lists them.
const KINDS: [(&str, &str); 4] =
    [("profile", "/profiles"), ("group", "/groups"), ("template", "/templates"), ("asset", "/assets")];

pub(super) fn run(connection: &Connection, action: Action, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let arguments = match action {
        Action::Matchbox(arguments) => arguments,
        Action::Dnsmasq(arguments) => return dnsmasq::run(connection.format, &arguments, terminal),
    };
    let dir = &arguments.dir;
    let read = matchbox::read(dir).map_err(|error| Failure::new(whole(&error), ""))?;
    if arguments.check {
        return check::run(connection.format, &arguments, read, terminal);
    }
    if let Some(old) = &arguments.compare {
        return compare::run(connection, old, arguments.with.as_deref(), &read, terminal);
    }
    take_over(connection, &arguments, &read, terminal)?;
    if let Some(certificates) = &arguments.certificates {
        terminal.complain(check::certificates(certificates, &arguments.endpoint).1.trim_end());
    }
    Ok(())
}

/// An error and what it comes from.
fn whole(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

fn take_over(
    connection: &Connection,
    arguments: &Matchbox,
    read: &Import,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let dir = &arguments.dir;
    for Problem { path, reason, hint, .. } in &read.problems {
        let hint = if hint.is_empty() { String::new() } else { format!("; {hint}") };
        terminal.complain(&format!("left out: {}: {reason}{hint}", path.display()));
    }
    let unusable: Vec<String> = read
        .problems
        .iter()
        .filter_map(|problem| name_of(problem.path.strip_prefix(dir).ok()?, problem.path.is_dir()))
        .collect();
    if arguments.replace && !arguments.skip_unusable && !unusable.is_empty() {
        let message = format!("{} files in {} cannot be used, see above", unusable.len(), dir.display());
        let hint = "nothing was changed, because --replace would remove what they stand for: mend them, or say --skip-unusable to keep what the server has under their names";
        return Err(Failure::new(message, hint));
    }
    let client = connection.open()?;
    let mut batch = Batch::of(read, dir);
    if arguments.replace {
        batch.keep(&client, &unusable, terminal)?;
        if !arguments.allow_empty {
            batch.leaves_something(&client, read, dir)?;
        }
    }
    batch.assets(&client, read, arguments.dry_run, terminal)?;
    let kinds: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).filter(|_| arguments.replace).collect();
    let places: Vec<&str> = batch.places.iter().map(String::as_str).collect();
    // A matchbox directory may hold groups with equal selectors; there the lowest id wins, and so it does here.
    let how = How {
        replace: &kinds,
        dry_run: arguments.dry_run,
        allow_ties: true,
        // What matchbox has, it serves or not; nothing of it is lost here, and warnings say what will not be served.
        allow_unusable: true,
        allow_single_copy: arguments.allow_single_copy,
        promised: &batch.promised,
    };
    send_items(&client, connection.format, &batch.items, &places, how, terminal)?;
    if read.problems.is_empty() {
        return Ok(());
    }
    let message = format!("{} files were left out, see above", read.problems.len());
    if arguments.strict {
        return Err(Failure::new(message, "the others were taken over: mend these and import again"));
    }
    terminal.complain(&message);
    Ok(())
}

/// What the file at this path of the directory is called on the server: `profiles/worker`, `generic/a.yaml`; for a
/// folder what the names in it begin with. Nothing for files that matchbox does not look at either.
fn name_of(path: &Path, is_folder: bool) -> Option<String> {
    let path = path.to_string_lossy();
    let (folder, name) = path.split_once('/').unwrap_or((&path, ""));
    match folder {
        "groups" if name.contains('/') || (is_folder && !name.is_empty()) => None,
        "profiles" | "groups" if !is_folder => Some(format!("{folder}/{}", name.strip_suffix(".json")?)),
        "profiles" | "groups" | "generic" | "ignition" | "cloud" | "assets" => Some(path.into_owned()),
        _ => None,
    }
}

/// What will be sent as one change.
#[derive(Default)]
struct Batch {
    items: Vec<String>,
    /// Where each was written.
    places: Vec<String>,
    /// Bytes that a dry run would have sent.
    promised: Vec<Digest>,
    /// Of which kinds something is in it.
    kinds: BTreeSet<&'static str>,
}

impl Batch {
    fn of(read: &Import, dir: &Path) -> Self {
        let mut batch = Self::default();
        for profile in &read.profiles {
            batch.push("profile", profile_item(profile), format!("{}/profiles/{}.json", dir.display(), profile.id));
        }
        for group in &read.groups {
            batch.push("group", group_item(group), format!("{}/groups/{}.json", dir.display(), group.id));
        }
        for template in &read.templates {
            let place = format!("{}/{}/{}", dir.display(), template.kind.name(), template.name);
            batch.push("template", template_item(template), place);
        }
        batch
    }

    fn push(&mut self, kind: &'static str, item: String, place: String) {
        self.kinds.insert(kind);
        self.items.push(item);
        self.places.push(place);
    }

    /// Adds what the server has under names whose files cannot be used, as it is.
    fn keep(&mut self, client: &Client, unusable: &[String], terminal: &mut Terminal<'_>) -> Result<(), Failure> {
        if unusable.is_empty() {
            return Ok(());
        }
        for (kind, path) in KINDS {
            for live in list(client, path, &[])? {
                let name = if live["id"].is_string() { text(&live["id"]) } else { text(&live["name"]) };
                let folder = if kind == "template" { text(&live["type"]) } else { format!("{kind}s") };
                let key = format!("{folder}/{name}");
                let is_meant = |left_out: &String| {
                    key.strip_prefix(left_out).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                };
                if !unusable.iter().any(is_meant) {
                    continue;
                }
                let item = if kind == "template" {
                    let content = client.get_bytes(&format!("{path}/{folder}/{name}"), &[("content", "true")])?;
                    let of: TemplateKind = serde_json::from_value(live["type"].clone())
                        .map_err(|error| Failure::new(format!("the server's answer cannot be read: {error}"), ""))?;
                    template_item(&Template { kind: of, name: name.clone(), content })
                } else {
                    client.get(&format!("{path}/{name}"), &[])?
                };
                terminal.complain(&format!("kept as it is on the server: {key}"));
                self.push(kind, item, format!("{key} of the server"));
            }
        }
        Ok(())
    }

    /// Refuses to remove the last object of a kind only because the directory has none.
    fn leaves_something(&self, client: &Client, read: &Import, dir: &Path) -> Result<(), Failure> {
        if self.items.is_empty() && read.assets.is_empty() {
            let message = format!("{}: there is nothing in it that can be used", dir.display());
            return Err(Failure::new(message, "nothing was changed: is this the right directory?"));
        }
        let mut there: Vec<&str> = self.kinds.iter().copied().collect();
        if !read.assets.is_empty() {
            there.push("asset");
        }
        for (kind, path) in KINDS {
            if !there.contains(&kind) && !list(client, path, &[])?.is_empty() {
                none_wiped(&[kind], &there)?;
            }
        }
        Ok(())
    }

    /// Sends the files that the server does not hold, and names all of them. A rehearsal only hashes them.
    fn assets(
        &mut self,
        client: &Client,
        read: &Import,
        dry_run: bool,
        terminal: &mut Terminal<'_>,
    ) -> Result<(), Failure> {
        for (name, file) in &read.assets {
            let digest = if dry_run {
                let digest = assets::hash(name, file)?.digest;
                if !client.has(&format!("/blobs/{digest}"))? {
                    self.promised.push(digest);
                }
                digest
            } else {
                assets::store(client, name, file, None)?
            };
            self.push("asset", assets::item(name, digest, "", &file.display().to_string()), file.display().to_string());
        }
        if !self.promised.is_empty() {
            terminal.complain(&format!("dry run: {} assets would be sent", self.promised.len()));
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_left_out_is_known_by_what_the_server_calls_it() {
        for (path, is_folder, name) in [
            ("profiles/a.json", false, Some("profiles/a")),
            ("profiles/sub/a.json", false, Some("profiles/sub/a")),
            ("profiles/sub.d", true, Some("profiles/sub.d")),
            ("groups/a.json", false, Some("groups/a")),
            ("groups/README", false, None),
            ("groups/sub/a.json", false, None),
            ("groups", true, Some("groups")),
            ("generic/a.yaml", false, Some("generic/a.yaml")),
            ("assets/sub", true, Some("assets/sub")),
            ("lost+found", true, None),
        ] {
            assert_eq!(name_of(Path::new(path), is_folder).as_deref(), name, "{path}");
        }
    }
}
