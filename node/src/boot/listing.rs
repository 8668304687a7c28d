//! Folders of assets: what a name below `/assets/` stands for, and the plain HTML list of a folder.

use std::fmt::Write as _;
use std::sync::Arc;

use raft::state::{Asset, State, Stored};

use super::path;
use super::respond::escape_html;

/// What a path below `/assets/` stands for. Folders exist by the names of the assets in them.
#[derive(Debug)]
pub(super) enum Target {
    /// A file.
    File(Arc<Stored<Asset>>),
    /// A folder without an `index.html`, to be listed: its name, empty or with a slash at the end.
    List(String),
    /// The client is sent to this relative address.
    Redirect(String),
    /// Nothing.
    Nothing,
}

/// How many entries a list shows.
pub(super) const ENTRIES_MAX: usize = 10_000;

/// Resolves a clean, decoded path below `/assets/`, without the leading slash.
#[must_use]
pub(super) fn resolve(state: &State, name: &str) -> Target {
    let last = |name: &str| path::encode(name.rsplit('/').next().unwrap_or_default().as_bytes());
    if name == "index.html" || name.ends_with("/index.html") {
        return Target::Redirect("./".into());
    }
    let Some(folder) = name.strip_suffix('/').or_else(|| name.is_empty().then_some("")) else {
        return match state.asset(name) {
            Some(asset) => Target::File(asset.clone()),
            None if is_folder(state, name) => Target::Redirect(format!("{}/", last(name))),
            None => Target::Nothing,
        };
    };
    if state.asset(folder).is_some() {
        return Target::Redirect(format!("../{}", last(folder)));
    }
    if let Some(index) = state.asset(&format!("{name}index.html")) {
        return Target::File(index.clone());
    }
    // The root is always there, as matchbox's folder of assets is.
    if folder.is_empty() || is_folder(state, folder) { Target::List(name.to_owned()) } else { Target::Nothing }
}

fn is_folder(state: &State, name: &str) -> bool {
    let prefix = format!("{name}/");
    state.assets_from(&prefix).next().is_some_and(|asset| asset.value.name.starts_with(&prefix))
}

/// The entries right below `prefix`, which is empty or ends with a slash, as HTML. One look-up per entry, however deep
/// it is; with many entries that takes a while.
#[must_use]
pub(super) fn list(state: &State, prefix: &str) -> String {
    let mut entries: Vec<String> = Vec::new();
    let mut from = prefix.to_owned();
    loop {
        let Some(asset) = state.assets_from(&from).next().cloned() else { break };
        let name = &asset.value.name;
        let Some(below) = name.strip_prefix(prefix) else { break };
        if entries.len() == ENTRIES_MAX {
            entries.push("\u{2026}".into());
            break;
        }
        from = match below.split_once('/') {
            Some((folder, _)) => {
                entries.push(format!("{folder}/"));
                // `0` follows `/` in order: the first name after everything in that folder.
                format!("{prefix}{folder}0")
            }
            None => {
                entries.push(below.to_owned());
                format!("{name}\0")
            }
        };
    }
    entries.sort_unstable_by(|one, other| one.trim_end_matches('/').cmp(other.trim_end_matches('/')));
    let mut html = String::from("<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n");
    for entry in entries {
        // A colon in the first part of a relative address would make it a scheme.
        let colon = if entry.contains(':') { "./" } else { "" };
        let (link, text) = (path::encode(entry.as_bytes()), escape_html(&entry));
        let _ = writeln!(html, "<a href=\"{colon}{}\">{text}</a>", escape_html(&link));
    }
    html.push_str("</pre>\n");
    html
}

#[cfg(test)]
mod tests {
    use raft::command::{Command, Edit};
    use raft::types::{Digest, LogIndex, Timestamp};

    use super::*;

    fn state(names: &[&str]) -> State {
        let edits = names.iter().map(|name| {
            let digest = Digest::of(name.as_bytes());
            let (media_type, origin) = (String::new(), String::new());
            Edit::PutAsset(Asset { name: (*name).into(), digest, size: 1, media_type, origin }).into()
        });
        let command = Command {
            actor: "test".into(),
            at: Timestamp(0),
            idempotency_key: String::new(),
            fingerprint: Digest::of(b""),
            edits: edits.collect(),
            replace: Vec::new(),
            allow_ties: false,
        };
        let mut state = State::default();
        state.apply(LogIndex(1), &command);
        assert_eq!(state.assets_len(), names.len());
        state
    }

    fn check(names: &[&str], path: &str, want: &str) {
        let got = match resolve(&state(names), path) {
            Target::File(asset) => asset.value.name.clone(),
            Target::Redirect(to) => format!("-> {to}"),
            Target::Nothing => "nothing".into(),
            Target::List(folder) => {
                let html = list(&state(names), &folder);
                let links = html.lines().filter_map(|line| line.strip_prefix("<a href=\"")?.split_once('"'));
                links.map(|(link, _)| link).collect::<Vec<_>>().join(" ")
            }
        };
        assert_eq!(got, want, "{path} among {names:?}");
    }

    #[test]
    fn folders_exist_by_the_names_in_them() {
        let names = ["a/b/c", "a/b/d", "a-b", "a.txt", "x&y:z", "e/index.html"];
        check(&names, "a-b", "a-b");
        check(&names, "a-b/", "-> ../a-b");
        check(&names, "a/b", "-> b/");
        check(&names, "a/b/", "c d");
        check(&names, "a/", "b/");
        check(&names, "", "a/ a-b a.txt e/ ./x&amp;y:z");
        check(&names, "e/", "e/index.html");
        check(&names, "e/index.html", "-> ./");
        check(&names, "nothing/", "nothing");
        check(&names, "a/b/c/d", "nothing");
        check(&[], "", "");
    }
}
