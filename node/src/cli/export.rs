//! `export`: writes what the cluster holds as another boot service reads it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use raft::state::{Template, TemplateKind};
use raft::types::Digest;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::assets::hash;
use super::connect::{Connection, list, list_raw};
use super::failure::Failure;
use super::output::{Terminal, bytes, parse, text};
use super::progress;
use crate::client::Client;
use crate::export::folder;
use crate::export::matchbox::{Objects, Plan, Problem, plan};
use crate::go_json::fields;
use crate::matchbox_json::{group_of_file, profile_of_file};

/// For whom.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// A data directory of matchbox: profiles, groups, templates and, with --assets, files
    Matchbox(Matchbox),
}

/// Where to write what.
#[derive(Debug, Args)]
pub struct Matchbox {
    /// The directory; it must be empty, or not there
    dir: PathBuf,
    /// Write the assets too, below assets/; those that are there already are not fetched again
    #[arg(long)]
    assets: bool,
    /// Write into a directory that is not empty: files of the same names are replaced, others are left
    #[arg(long)]
    force: bool,
    /// What to write in place of `${base_url}`, which matchbox does not know: http://10.0.20.5:8080
    #[arg(long, value_name = "URL", value_parser = base_url)]
    base_url: Option<String>,
}

fn base_url(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    let plain = |letter: char| letter.is_ascii_alphanumeric() || ".-_:[]/".contains(letter);
    match text.strip_prefix("http://").or(text.strip_prefix("https://")) {
        Some(rest) if !rest.is_empty() && rest.chars().all(plain) => Ok(text.to_owned()),
        _ => Err("write it as http://ADDRESS:8080".into()),
    }
}

pub(super) fn run(connection: &Connection, action: &Action, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let Action::Matchbox(arguments) = action;
    let dir = &arguments.dir;
    let is_empty = folder::is_empty(dir).map_err(|error| unwritable(dir, &error))?;
    if !is_empty && !arguments.force {
        let message = format!("{}: the directory is not empty", dir.display());
        let hint =
            "nothing was written: name another, or say --force to replace files of the same names and leave the others";
        return Err(Failure::new(message, hint));
    }
    let client = connection.open()?;
    let mut left_out = Vec::new();
    let objects = fetch(&client, arguments.assets, &mut left_out)?;
    let mut planned = plan(&objects, arguments.base_url.as_deref());
    left_out.append(&mut planned.left_out);
    write(dir, &planned, terminal)?;
    download(&client, dir, &planned, terminal)?;
    folder::settle(dir).map_err(|error| unwritable(dir, &error))?;
    for Problem { object, message, hint } in &planned.changed {
        terminal.complain(&format!("changed: {object}: {message}; {hint}"));
    }
    stays_behind(&client, terminal)?;
    for Problem { object, message, hint } in &left_out {
        terminal.complain(&format!("left out: {object}: {message}; {hint}"));
    }
    let [profiles, groups] = ["profiles/", "groups/"]
        .map(|folder| planned.files.iter().filter(|(path, _)| path.starts_with(folder)).count());
    let (templates, assets) = (planned.files.len() - profiles - groups, planned.assets.len());
    let names: Vec<&str> = left_out.iter().map(|problem| problem.object.as_str()).collect();
    let value = json!({
        "directory": dir, "profiles": profiles, "groups": groups, "templates": templates, "assets": assets, "left_out": names,
    });
    terminal.show(connection.format, &value, || {
        let place = dir.display();
        format!("{place}: {profiles} profiles, {groups} groups, {templates} templates and {assets} assets written\n")
    })?;
    if left_out.is_empty() {
        return Ok(());
    }
    // Another name helps only who was left out for the name; each problem has a hint of its own above.
    let hint = if left_out.iter().all(Problem::is_of_name) {
        "the others were written: give these other names here, and export again with --force"
    } else {
        "the others were written: do what is said above, and export again with --force"
    };
    Err(Failure::new(format!("{} objects were left out, see above", left_out.len()), hint))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{} cannot be written: {error}", path.display()), "name a directory in which you may write")
}

/// Everything that has a place in a data directory.
fn fetch(client: &Client, with_assets: bool, left_out: &mut Vec<Problem>) -> Result<Objects, Failure> {
    let mut objects = Objects::default();
    for item in list_raw(client, "/profiles")? {
        let profile = profile_of_file(item.get().as_bytes()).map_err(|error| odd(&error))?;
        match beyond(&item, &["id", "name", "ignition_id", "cloud_id", "boot", "generic_id"]) {
            None => objects.profiles.push(profile),
            Some(member) => left_out.push(unknown(format!("profile/{}", profile.id), &member)),
        }
    }
    for item in list_raw(client, "/groups")? {
        let group = group_of_file(item.get().as_bytes()).map_err(|error| odd(&error))?;
        match beyond(&item, &["id", "name", "profile", "selector", "metadata"]) {
            None => objects.groups.push(group),
            Some(member) => left_out.push(unknown(format!("group/{}", group.id), &member)),
        }
    }
    for item in list(client, "/templates", &[])? {
        let kind: TemplateKind = serde_json::from_value(item["type"].clone()).map_err(|error| odd(&error))?;
        let name = text(&item["name"]);
        let content = client.get_bytes(&format!("/templates/{}/{name}", kind.name()), &[("content", "true")])?;
        objects.templates.push(Template { kind, name, content });
    }
    if with_assets {
        objects.assets.extend(list(client, "/assets", &[])?.iter().map(|item| text(&item["name"])));
    }
    Ok(objects)
}

fn odd(error: &dyn std::fmt::Display) -> Failure {
    let hint = "is the server of another version?";
    Failure::new(format!("the server's answer cannot be read: {error}"), hint)
}

/// What answers add to every object.
const ADDED: [&str; 5] = ["kind", "revision", "created_at", "updated_at", "updated_by"];

/// The first member of an object that matchbox's files have no place for.
fn beyond(object: &RawValue, known: &[&str]) -> Option<String> {
    let members = fields(object.get()).unwrap_or_default();
    members.into_iter().map(|(name, _)| name).find(|name| {
        let name = name.as_str();
        !known.contains(&name) && !ADDED.contains(&name)
    })
}

/// An object that is written without a part of it means something else: a group would fit other machines.
fn unknown(object: String, member: &str) -> Problem {
    let message = format!("matchbox has nothing like its `{member}`, and without that it would mean something else");
    Problem { object, message, hint: "say it by plain selectors".into() }
}

fn write(dir: &Path, planned: &Plan, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    std::fs::create_dir_all(dir).map_err(|error| unwritable(dir, &error))?;
    for (path, content) in &planned.files {
        folder::write(dir, path, content).map_err(|error| unwritable(&dir.join(path), &error))?;
    }
    let ours: BTreeSet<&str> = planned.files.iter().map(|(path, _)| path.as_str()).collect();
    for stranger in folder::strangers(dir, &ours).map_err(|error| unwritable(dir, &error))? {
        terminal.complain(&format!("left as it is, and matchbox reads it: {stranger}"));
    }
    Ok(())
}

fn download(client: &Client, dir: &Path, planned: &Plan, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let mut received = 0;
    for (path, name) in &planned.assets {
        let asset = parse(&client.get(&format!("/assets/{name}"), &[])?)?;
        let digest: Digest = text(&asset["digest"]).parse().map_err(|error| odd(&error))?;
        let file = dir.join(path);
        if file.is_file() && hash(name, &file)?.digest == digest {
            continue;
        }
        folder::make_room(&file).map_err(|error| unwritable(&file, &error))?;
        let bar = progress::bar(&format!("receiving {name}"), asset["size"].as_u64().unwrap_or(0));
        received += client.download_file(&format!("/blobs/{digest}"), digest, &file, &|moved| bar.inc(moved))?.size;
        bar.finish_and_clear();
        if !text(&asset["media_type"]).is_empty() {
            let message = "it has a Content-Type of its own here; matchbox goes by the name";
            terminal.complain(&format!("changed: asset/{name}: {message}"));
        }
    }
    if received > 0 {
        terminal.complain(&format!("received {}", bytes(received)));
    }
    Ok(())
}

/// Says what is set here and has no place in a data directory.
fn stays_behind(client: &Client, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let settings = parse(&client.get("/settings", &[])?)?;
    for (key, usual) in [("extra_kernel_args", json!([])), ("loaders", json!({})), ("dhcp_mode", json!("proxy"))] {
        let value: &Value = &settings[key];
        if !value.is_null() && *value != usual {
            terminal.complain(&format!("stays behind: settings.{key}: {}; matchbox has nothing like it", text(value)));
        }
    }
    let held = list(client, "/machines", &[("hold", Some("true"))])?;
    if !held.is_empty() {
        terminal.complain(&format!("stays behind: {} machines are held; matchbox boots them", held.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_with_more_than_matchbox_knows_is_noticed() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let known = ["id", "selector"];
        assert_eq!(beyond(&raw(r#"{"kind":"group","id":"g","selector":{},"revision":7}"#), &known), None);
        let more = raw(r#"{"id":"g","match":[{"mac":["a"]}],"updated_by":"x"}"#);
        assert_eq!(beyond(&more, &known).as_deref(), Some("match"));
        assert!(unknown("group/g".into(), "match").message.contains("`match`"));
    }

    #[test]
    fn only_a_plain_address_is_written_into_files() {
        assert_eq!(base_url("http://10.0.20.5:8080/"), Ok("http://10.0.20.5:8080".into()));
        for wrong in ["10.0.20.5", "http://", "http://a b", "http://a\"", "ftp://a"] {
            assert!(base_url(wrong).is_err(), "{wrong}");
        }
    }
}
