//! Profiles, groups and templates on the command line.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use serde_json::Value;
use ureq::http::Method;

use super::apply;
use super::connect::{Connection, list};
use super::documents::read_input;
use super::failure::Failure;
use super::output::{Format, Terminal, bytes, parse, table, text, yaml};
use crate::client::Client;

/// What can be done with profiles.
#[derive(Debug, Subcommand)]
pub enum ProfileAction {
    /// List profiles
    List {
        /// Only ids that begin with this
        #[arg(long)]
        prefix: Option<String>,
    },
    /// Print a profile
    Get {
        /// Its id
        id: String,
    },
    /// Create or replace profiles
    Put {
        /// YAML or JSON file; - is standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Remove a profile
    Delete {
        /// Its id
        id: String,
    },
}

/// What can be done with groups.
#[derive(Debug, Subcommand)]
pub enum GroupAction {
    /// List groups
    List {
        /// Only ids that begin with this
        #[arg(long)]
        prefix: Option<String>,
        /// Only groups with this profile
        #[arg(long, value_name = "ID")]
        profile: Option<String>,
        /// Only groups that ask for this label, or list this value of it
        #[arg(long, value_name = "KEY=VALUE")]
        selector: Option<String>,
    },
    /// Print a group
    Get {
        /// Its id
        id: String,
    },
    /// Create or replace groups
    Put {
        /// YAML or JSON file; - is standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// Accept a selector equal to another group's; the lowest id wins
        #[arg(long)]
        allow_ties: bool,
    },
    /// Remove a group
    Delete {
        /// Its id
        id: String,
    },
}

/// The types of template.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum TemplateType {
    /// Served at /generic
    Generic,
    /// Served at /ignition
    Ignition,
    /// Served at /cloud
    Cloud,
}

impl TemplateType {
    fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Ignition => "ignition",
            Self::Cloud => "cloud",
        }
    }
}

/// What can be done with templates.
#[derive(Debug, Subcommand)]
pub enum TemplateAction {
    /// List templates
    List {
        /// Only names that begin with this
        #[arg(long)]
        prefix: Option<String>,
        /// Only this type
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<TemplateType>,
    },
    /// Print a template as it was written
    Get {
        /// Its type
        #[arg(value_name = "TYPE")]
        kind: TemplateType,
        /// Its name
        name: String,
    },
    /// Create or replace a template
    Put {
        /// Its type
        #[arg(value_name = "TYPE")]
        kind: TemplateType,
        /// Its name
        name: String,
        /// File with the template; - is standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// Store it although no machine can be given what it makes
        #[arg(long)]
        allow_unusable: bool,
    },
    /// Remove a template
    Delete {
        /// Its type
        #[arg(value_name = "TYPE")]
        kind: TemplateType,
        /// Its name
        name: String,
    },
}

pub(super) fn profile(
    connection: &Connection,
    action: ProfileAction,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let client = connection.open()?;
    match action {
        ProfileAction::List { prefix } => {
            let items = list(&client, "/profiles", &[("prefix", prefix.as_deref())])?;
            let row = |item: &Value| vec![text(&item["id"]), text(&item["boot"]["kernel"]), changed(item)];
            show_list(connection.format, &["ID", "KERNEL", "CHANGED"], items, row, terminal)
        }
        ProfileAction::Get { id } => get(&client, connection.format, &format!("/profiles/{id}"), terminal),
        ProfileAction::Put { file } => apply::put(&client, connection.format, "profile", &file, false, terminal),
        ProfileAction::Delete { id } => {
            delete(&client, connection.format, "profile", &format!("/profiles/{id}"), &id, terminal)
        }
    }
}

pub(super) fn group(connection: &Connection, action: GroupAction, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let client = connection.open()?;
    match action {
        GroupAction::List { prefix, profile, selector } => {
            let filters = [("prefix", prefix), ("profile", profile), ("selector", selector)];
            let filters: Vec<_> = filters.iter().map(|(name, value)| (*name, value.as_deref())).collect();
            let items = list(&client, "/groups", &filters)?;
            let row = |item: &Value| vec![text(&item["id"]), text(&item["profile"]), selected(item), changed(item)];
            show_list(connection.format, &["ID", "PROFILE", "SELECTOR", "CHANGED"], items, row, terminal)
        }
        GroupAction::Get { id } => get(&client, connection.format, &format!("/groups/{id}"), terminal),
        GroupAction::Put { file, allow_ties } => {
            apply::put(&client, connection.format, "group", &file, allow_ties, terminal)
        }
        GroupAction::Delete { id } => {
            delete(&client, connection.format, "group", &format!("/groups/{id}"), &id, terminal)
        }
    }
}

pub(super) fn template(
    connection: &Connection,
    action: TemplateAction,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let client = connection.open()?;
    let path = |kind: TemplateType, name: &str| format!("/templates/{}/{name}", kind.name());
    match action {
        TemplateAction::List { prefix, kind } => {
            let filters = [("prefix", prefix.as_deref()), ("type", kind.map(TemplateType::name))];
            let items = list(&client, "/templates", &filters)?;
            let row = |item: &Value| {
                let size = bytes(item["size"].as_u64().unwrap_or(0));
                vec![text(&item["type"]), text(&item["name"]), size, changed(item)]
            };
            show_list(connection.format, &["TYPE", "NAME", "SIZE", "CHANGED"], items, row, terminal)
        }
        TemplateAction::Get { kind, name } if connection.format == Format::Table => {
            let content = client.get_bytes(&path(kind, &name), &[("content", "true")])?;
            terminal.bytes(&content)
        }
        TemplateAction::Get { kind, name } => get(&client, connection.format, &path(kind, &name), terminal),
        TemplateAction::Put { kind, name, file, allow_unusable } => {
            let content = read_input(&file)?;
            let how: &[(&str, &str)] = if allow_unusable { &[("allow_unusable", "true")] } else { &[] };
            let answer = client.send(Method::PUT, &path(kind, &name), how, &content)?;
            terminal.written(connection.format, &format!("template/{}/{name}", kind.name()), &answer)
        }
        TemplateAction::Delete { kind, name } => {
            delete(&client, connection.format, "template", &path(kind, &name), &name, terminal)
        }
    }
}

/// What a group asks for, on one line: its selector, then its alternatives.
fn selected(group: &Value) -> String {
    let mut asked: Vec<String> = vec![text(&group["selector"])];
    let alternatives = group["match"].as_array().into_iter().flatten();
    let alternatives: Vec<String> = alternatives
        .map(|alternative| {
            let labels = alternative.as_object().into_iter().flatten();
            let asked = labels.map(|(label, condition)| condition_on(label, condition));
            format!("({})", asked.collect::<Vec<_>>().join(", "))
        })
        .collect();
    asked.push(alternatives.join(" or "));
    asked.retain(|part| !part.is_empty());
    asked.join(" ")
}

fn condition_on(label: &str, condition: &Value) -> String {
    let either = |values: &Value| match values {
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join("|"),
        one => text(one),
    };
    match condition {
        Value::Object(tests) => {
            let tests = tests.iter().map(|(test, values)| format!("{label} {test} {}", either(values)));
            tests.collect::<Vec<_>>().join(", ")
        }
        values => format!("{label}={}", either(values)),
    }
}

/// Who changed an object last, and when.
pub(super) fn changed(item: &Value) -> String {
    format!("{} by {}", text(&item["updated_at"]), text(&item["updated_by"]))
}

pub(super) fn show_list(
    format: Format,
    head: &[&str],
    items: Vec<Value>,
    row: impl Fn(&Value) -> Vec<String>,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = items.iter().map(row).collect();
    terminal.show(format, &Value::Array(items), || table(head, &rows))
}

/// One object. For people it is YAML too: an object has no columns.
pub(super) fn get(client: &Client, format: Format, path: &str, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let value = parse(&client.get(path, &[])?)?;
    let people = yaml(&value)?;
    terminal.show(format, &value, || people)
}

pub(super) fn delete(
    client: &Client,
    format: Format,
    kind: &str,
    path: &str,
    name: &str,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let answer = client.delete(path)?;
    terminal.written(format, &format!("{kind}/{name}"), &answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_group_asks_for_fits_on_a_line() {
        for (group, want) in [
            (serde_json::json!({"selector": {"mac": "m", "os": "x"}}), "mac=m os=x"),
            (serde_json::json!({}), ""),
            (
                serde_json::json!({"selector": {"os": "x"}, "match": [
                    {"mac": ["a", "b"], "serial": {"glob": "A*", "not_in": ["A1", "A2"]}},
                    {"asset": {"present": true}},
                ]}),
                "os=x (mac=a|b, serial glob A*, serial not_in A1|A2) or (asset present true)",
            ),
        ] {
            assert_eq!(selected(&group), want);
        }
    }
}
