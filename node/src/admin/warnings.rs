//! What was stored and will probably not do what was meant.

use std::collections::BTreeSet;

use raft::command::Edit;
use raft::state::{
    ADDRESS_LABEL, Group, Profile, Ruled, ScriptStyle, State, TemplateKind, Test, impossible_alternatives,
};
use serde::Serialize;

use super::Checks;

/// How many warnings one answer lists.
const WARNINGS_MAX: usize = 100;
/// How many objects one warning names.
const NAMED_MAX: usize = 5;

/// One thing to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Warning {
    object: String,
    field: String,
    message: String,
    hint: &'static str,
}

/// Looks at objects just put or removed, as they are in the state after it.
pub(super) fn of<'a>(edits: impl IntoIterator<Item = &'a Edit>, state: &State, checks: &Checks) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut ties = BTreeSet::new();
    for edit in edits {
        if warnings.len() >= WARNINGS_MAX {
            break;
        }
        match edit {
            Edit::PutGroup(group) | Edit::PutRuledGroup(Ruled(group)) => {
                of_group(group, state, &mut warnings);
                of_labels(group, state, &mut warnings);
                of_impossible(group, &mut warnings);
                of_tie(group, state, &mut ties, &mut warnings);
            }
            Edit::PutProfile(profile) => of_profile(profile, state, &mut warnings),
            Edit::PutTemplate(template) => {
                if let Err(message) = (checks.template)(template.kind, &template.name, &template.content) {
                    warnings.push(Warning {
                        object: format!("template/{}/{}", template.kind.name(), template.name),
                        field: "content".into(),
                        message,
                        hint: "it will fail for every machine that fetches it: correct the template",
                    });
                }
            }
            Edit::PutSettings(settings) => {
                for (class, name) in &settings.loaders {
                    of_loader("settings".into(), format!("loaders.{class}"), name, checks, &mut warnings);
                }
            }
            Edit::SetMachinePolicy(mac, change) => {
                let name = change.loader.as_deref().unwrap_or_default();
                of_loader(format!("machine/{mac}"), "loader".into(), name, checks, &mut warnings);
            }
            Edit::DeleteProfile(id) => {
                let users = state.groups().map(|stored| &stored.value).filter(|group| group.profile == *id);
                of_removed(&format!("profile/{id}"), users.map(|group| format!("group/{}", group.id)), &mut warnings);
            }
            Edit::DeleteTemplate(kind, name) => {
                let users = state.profiles().map(|stored| &stored.value).filter(|profile| {
                    references(profile).iter().any(|(_, used, named)| used == kind && **named == *name)
                });
                let object = format!("template/{}/{name}", kind.name());
                of_removed(&object, users.map(|profile| format!("profile/{}", profile.id)), &mut warnings);
            }
            _ => {}
        }
    }
    warnings.truncate(WARNINGS_MAX);
    warnings
}

/// One warning for all groups that match the same machines equally.
fn of_tie(group: &Group, state: &State, seen: &mut BTreeSet<String>, warnings: &mut Vec<Warning>) {
    let mut ids: Vec<&str> = state.ties_of(group).collect();
    ids.sort_unstable();
    ids.dedup();
    if !group.rules.is_empty() {
        return of_shared(group, &ids, warnings);
    }
    let [winner, losers @ ..] = ids.as_slice() else { return };
    if losers.is_empty() || !seen.insert((*winner).to_owned()) {
        return;
    }
    let named: Vec<String> = losers.iter().take(NAMED_MAX).map(|id| format!("group/{id}")).collect();
    let more = losers.len() - named.len();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    warnings.push(Warning {
        object: format!("group/{winner}"),
        field: "selector".into(),
        message: format!("it wins over {}{rest}, whose selectors are equal: the lowest id does", named.join(", ")),
        hint: "remove the others, or make their selectors differ",
    });
}

/// Groups whose alternatives have a value in common: each such value has a winner of its own.
fn of_shared(group: &Group, ids: &[&str], warnings: &mut Vec<Warning>) {
    let others: Vec<&str> = ids.iter().copied().filter(|id| *id != group.id).collect();
    if others.is_empty() {
        return;
    }
    let named: Vec<String> = others.iter().take(NAMED_MAX).map(|id| format!("group/{id}")).collect();
    let more = others.len() - named.len();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    warnings.push(Warning {
        object: format!("group/{}", group.id),
        field: "match".into(),
        message: format!(
            "it asks for the same as {}{rest}, or lists a value they ask for: there the lowest id wins",
            named.join(", ")
        ),
        hint: "remove the value from all but one of them, or ask for one more label",
    });
}

fn of_loader(object: String, field: String, name: &str, checks: &Checks, warnings: &mut Vec<Warning>) {
    if !name.is_empty() && !(checks.loader_served)(name) {
        let message = format!("this node serves no boot loader `{name}`");
        let hint = "machines that are told to load it will not boot: correct the name, or put the file into a loader directory";
        warnings.push(Warning { object, field, message, hint });
    }
}

fn of_removed(object: &str, users: impl Iterator<Item = String>, warnings: &mut Vec<Warning>) {
    let mut users: Vec<String> = users.collect();
    if users.is_empty() {
        return;
    }
    let more = users.len().saturating_sub(NAMED_MAX);
    users.truncate(NAMED_MAX);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    warnings.push(Warning {
        object: object.to_owned(),
        field: String::new(),
        message: format!("it is gone and still used by {}{rest}", users.join(", ")),
        hint: "their machines are refused until it is there again or they name another",
    });
}

/// The templates a profile names: field, kind, name.
fn references(profile: &Profile) -> [(&'static str, TemplateKind, &String); 3] {
    [
        ("generic_id", TemplateKind::Generic, &profile.generic_id),
        ("ignition_id", TemplateKind::Ignition, &profile.ignition_id),
        ("cloud_id", TemplateKind::Cloud, &profile.cloud_id),
    ]
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

/// Labels that only the robust scripts send.
const ROBUST_LABELS: [&str; 3] = ["manufacturer", "product", "asset"];

/// Conditions that machines will not meet because nobody tells us what they ask for.
fn of_labels(group: &Group, state: &State, warnings: &mut Vec<Warning>) {
    let style = state.settings().map(|stored| stored.value.script_style).unwrap_or_default();
    let asked = (0..).zip(&group.rules).flat_map(|(at, alternative)| {
        alternative.iter().map(move |(label, condition)| (format!("match[{at}].{label}"), label, condition.as_slice()))
    });
    let selected = group.selector.keys().map(|label| (format!("selector.{label}"), label, &[][..]));
    for (field, label, condition) in selected.chain(asked) {
        let object = format!("group/{}", group.id);
        if style == ScriptStyle::Matchbox && ROBUST_LABELS.contains(&label.as_str()) {
            let message = format!("machines do not say `{label}` while `script_style` is `matchbox`");
            let hint = "set script_style=robust, or ask for other labels";
            warnings.push(Warning { object, field, message, hint });
        } else if label != ADDRESS_LABEL
            && condition.iter().any(|test| matches!(test, Test::Subnet(_) | Test::NotSubnet(_)))
        {
            let message = format!("`{label}` is what a machine says of itself and rarely an address");
            let hint = "the address a machine asks from is the label `address`";
            warnings.push(Warning { object, field, message, hint });
        }
    }
}

/// Conditions that no machine can meet, whatever it says.
fn of_impossible(group: &Group, warnings: &mut Vec<Warning>) {
    let object = || format!("group/{}", group.id);
    for number in impossible_alternatives(group) {
        let message =
            "no machine can meet it: no value that it lists, or that the selector asks for, passes its other tests";
        let hint = "correct the tests of that label, or remove the alternative";
        warnings.push(Warning { object: object(), field: format!("match[{number}]"), message: message.into(), hint });
    }
    for (number, alternative) in group.rules.iter().enumerate() {
        for (label, condition) in alternative.iter().filter(|(label, _)| label.eq_ignore_ascii_case("mac")) {
            for test in condition.iter().filter(|test| matches!(test, Test::Glob(_))) {
                let Some(at) = test.values().iter().position(|pattern| !fits_some_mac(pattern)) else { continue };
                let field = format!("match[{number}].{label}.glob[{at}]");
                let message = "no MAC address fits this pattern".to_owned();
                let hint = "MAC addresses are compared as 52:54:00:12:34:56, pattern and all: write 52:54:00:*";
                warnings.push(Warning { object: object(), field, message, hint });
            }
        }
    }
}

/// How long a MAC address is as it is compared: six pairs of digits with colons between them.
const MAC_LETTERS: usize = 17;

/// Whether there is a MAC address that a pattern fits.
fn fits_some_mac(pattern: &str) -> bool {
    // How many letters of an address what was read of the pattern can stand for.
    let mut reached = [false; MAC_LETTERS + 1];
    reached[0] = true;
    for letter in pattern.chars() {
        let fits = |at: usize| match letter {
            '?' => true,
            ':' | '-' => at % 3 == 2,
            other => at % 3 != 2 && other.is_ascii_hexdigit(),
        };
        let before = reached;
        let mut any_before = false;
        for (at, now) in reached.iter_mut().enumerate() {
            any_before |= before[at];
            *now = if letter == '*' { any_before } else { at > 0 && before[at - 1] && fits(at - 1) };
        }
    }
    reached[MAC_LETTERS]
}

fn of_profile(profile: &Profile, state: &State, warnings: &mut Vec<Warning>) {
    let object = || format!("profile/{}", profile.id);
    for (field, kind, name) in references(profile) {
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
    fn conditions_that_nothing_can_meet_are_told() {
        for (pattern, fits) in [
            ("52:54:00:*", true),
            ("52-54-*", true),
            ("*:5?", true),
            ("*", true),
            ("B8:CE:F6:??:??:??", true),
            ("525400*", false),
            ("52:54:00", false),
            ("*:zz:*", false),
            ("??????????????????*", false),
            ("", false),
        ] {
            assert_eq!(fits_some_mac(pattern), fits, "{pattern}");
        }
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let rule = |label: &str, tests: Vec<Test>| raft::state::Alternative::from([(label.to_owned(), tests)]);
        let group = Group {
            id: "g".into(),
            selector: [("os".to_owned(), "x".to_owned())].into(),
            rules: vec![
                rule("serial", vec![Test::In(texts(&["a", "b"])), Test::NotIn(texts(&["b"]))]),
                rule("serial", vec![Test::In(texts(&["a"])), Test::NotIn(texts(&["a"]))]),
                rule("os", vec![Test::Glob(texts(&["y*"]))]),
                rule("mac", vec![Test::Glob(texts(&["52:54:*", "525400*"]))]),
            ],
            ..Group::default()
        };
        let mut warnings = Vec::new();
        of_impossible(&group, &mut warnings);
        let fields: Vec<&str> = warnings.iter().map(|warning| warning.field.as_str()).collect();
        assert_eq!(fields, ["match[1]", "match[2]", "match[3].mac.glob[1]"]);
    }

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
