//! What was stored and will probably not do what was meant.

use raft::command::Edit;
use raft::state::{Group, Profile, State, TemplateKind};
use serde::Serialize;

use super::Checks;

/// How many warnings one answer lists.
const WARNINGS_MAX: usize = 100;

/// One thing to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Warning {
    object: String,
    field: String,
    message: String,
    hint: &'static str,
}

/// Looks at objects just put, as they are in the state after it.
pub(super) fn of<'a>(edits: impl IntoIterator<Item = &'a Edit>, state: &State, checks: &Checks) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for edit in edits {
        if warnings.len() >= WARNINGS_MAX {
            break;
        }
        match edit {
            Edit::PutGroup(group) => of_group(group, state, &mut warnings),
            Edit::PutProfile(profile) => of_profile(profile, state, &mut warnings),
            Edit::PutTemplate(template) => {
                if let Err(message) = (checks.template)(&template.content) {
                    warnings.push(Warning {
                        object: format!("template/{}/{}", template.kind.name(), template.name),
                        field: "content".into(),
                        message,
                        hint: "it will fail for every machine that fetches it: correct the template",
                    });
                }
            }
            _ => {}
        }
    }
    warnings.truncate(WARNINGS_MAX);
    warnings
}

fn of_group(group: &Group, state: &State, warnings: &mut Vec<Warning>) {
    let message = if group.profile.is_empty() {
        "the group names no profile".to_owned()
    } else if state.profile(&group.profile).is_none() {
        format!("there is no profile `{}`", group.profile)
    } else {
        return;
    };
    let hint = "machines of this group get nothing to boot until the profile exists";
    warnings.push(Warning { object: format!("group/{}", group.id), field: "profile".into(), message, hint });
}

fn of_profile(profile: &Profile, state: &State, warnings: &mut Vec<Warning>) {
    let object = || format!("profile/{}", profile.id);
    for (field, kind, name) in [
        ("generic_id", TemplateKind::Generic, &profile.generic_id),
        ("ignition_id", TemplateKind::Ignition, &profile.ignition_id),
        ("cloud_id", TemplateKind::Cloud, &profile.cloud_id),
    ] {
        if !name.is_empty() && state.template(kind, name).is_none() {
            let message = format!("there is no {} template `{name}`", kind.name());
            let hint = "machines are refused their config until the template exists";
            warnings.push(Warning { object: object(), field: field.into(), message, hint });
        }
    }
    let Some(boot) = &profile.boot else { return };
    let initrds = boot.initrd.iter().enumerate().map(|(at, line)| (format!("boot.initrd[{at}]"), line));
    for (field, line) in std::iter::once(("boot.kernel".to_owned(), &boot.kernel)).chain(initrds) {
        if let Some(name) = asset_of(line).filter(|name| state.asset(name).is_none()) {
            let message = format!("there is no asset `{name}`");
            let hint = "upload it: `raftboot asset put NAME FILE`";
            warnings.push(Warning { object: object(), field, message, hint });
        }
    }
}

/// The asset a line of a profile loads from this service; other URLs and names with variables in them are not ours to
/// know.
fn asset_of(line: &str) -> Option<&str> {
    let word = line.split_whitespace().find_map(|word| {
        let path = word.strip_prefix("${base_url}").unwrap_or(word);
        path.strip_prefix("/assets/")
    })?;
    let name = word.split(['?', '#']).next()?;
    (!name.contains("${") && !name.contains('%') && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asset_is_recognised_where_it_is_ours() {
        for (line, name) in [
            ("/assets/talos/vmlinuz", Some("talos/vmlinuz")),
            ("--name main /assets/initrd.xz", Some("initrd.xz")),
            ("${base_url}/assets/k", Some("k")),
            ("http://elsewhere/assets/k", None),
            ("/assets/${arch}/k", None),
            ("/assets/", None),
            ("", None),
        ] {
            assert_eq!(asset_of(line), name, "{line}");
        }
    }
}
