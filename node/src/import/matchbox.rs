//! Reads a matchbox data directory: profiles, groups, templates and assets, and what of it cannot be used.
//!
//! Only files are read; nothing is changed, there or here. Objects are named by their files, as in matchbox: the `id`
//! inside a group or profile says nothing.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use raft::command::Edit;
use raft::state::{Asset, Group, Profile, TEMPLATE_BYTES_MAX, Template, TemplateKind, check_edit, normal_selector};
use raft::types::Digest;

use crate::matchbox_json::{group_of_file, profile_of_file};

/// Everything a data directory holds that can be used, by name, and what cannot.
#[derive(Debug, Default)]
pub struct Import {
    /// Profiles by file name without `.json`.
    pub profiles: Vec<Profile>,
    /// Groups by file name without `.json`.
    pub groups: Vec<Group>,
    /// Files below `generic/`, `ignition/` and `cloud/`.
    pub templates: Vec<Template>,
    /// Names below `assets/` and where their bytes are.
    pub assets: Vec<(String, PathBuf)>,
    /// Groups and profiles that call themselves something else than their file does.
    pub other_ids: Vec<OtherId>,
    /// Files that were left out.
    pub problems: Vec<Problem>,
}

/// A group or profile whose `id` is not its file's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherId {
    /// `groups` or `profiles`.
    pub folder: &'static str,
    /// What it is called: its file's name without `.json`.
    pub name: String,
    /// What it says in `id`.
    pub id: String,
}

/// A file that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
    /// What to do about it; empty if nothing needs to be done.
    pub hint: String,
    /// Whether matchbox uses the file, so that leaving it out changes what machines get.
    pub used: bool,
}

/// The directory as a whole cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is not there, or no directory.
    #[error("{path} cannot be read as a directory; name the data directory of matchbox, commonly /var/lib/matchbox")]
    Unreadable {
        /// What was named.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It holds none of the folders.
    #[error("{path} holds none of the folders {folders}: it is no data directory of matchbox", folders = FOLDERS.join(", "))]
    NotMatchbox {
        /// What was named.
        path: PathBuf,
    },
    /// It holds too much.
    #[error("{path} holds more than {ENTRIES_MAX} files; import a smaller directory and upload the rest as assets")]
    TooLarge {
        /// What was named.
        path: PathBuf,
    },
}

/// The folders of a data directory; `assets` lies beside the others by default.
const FOLDERS: [&str; 6] = ["assets", "cloud", "generic", "groups", "ignition", "profiles"];
/// How many files and folders are looked at.
const ENTRIES_MAX: usize = 1_000_000;
/// How deep folders may lie in each other.
const DEPTH_MAX: usize = 64;
/// Size of a group or profile file, in bytes.
const JSON_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Reads a data directory. Symbolic links are followed, as matchbox does.
///
/// # Errors
/// If the directory cannot be read at all; single files that cannot be used are in [`Import::problems`].
pub fn read(dir: &Path) -> Result<Import, ImportError> {
    let entries = fs::read_dir(dir).map_err(|source| ImportError::Unreadable { path: dir.into(), source })?;
    let mut reading = Reading { root: dir, import: Import::default(), seen: 0 };
    let mut found = BTreeSet::new();
    for entry in entries {
        let entry = entry.map_err(|source| ImportError::Unreadable { path: dir.into(), source })?;
        match entry.file_name().to_str().and_then(|name| FOLDERS.iter().find(|folder| **folder == name)) {
            Some(folder) if entry.path().is_dir() => drop(found.insert(*folder)),
            _ => reading.unused(&entry.path(), "not in a folder that matchbox reads", ""),
        }
    }
    if found.is_empty() {
        return Err(ImportError::NotMatchbox { path: dir.into() });
    }
    for folder in found {
        reading.folder(folder)?;
    }
    let mut import = reading.import;
    import.problems.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(import)
}

struct Reading<'a> {
    root: &'a Path,
    import: Import,
    seen: usize,
}

/// A file below one of the folders.
struct Found {
    /// Its path below the folder, with slashes.
    name: String,
    path: PathBuf,
}

impl Reading<'_> {
    /// A file that matchbox uses.
    fn problem(&mut self, path: &Path, reason: impl Into<String>, hint: impl Into<String>) {
        let (reason, hint) = (reason.into(), hint.into());
        self.import.problems.push(Problem { path: path.into(), reason, hint, used: true });
    }

    /// A file that matchbox does not use either.
    fn unused(&mut self, path: &Path, reason: impl Into<String>, hint: impl Into<String>) {
        let (reason, hint) = (reason.into(), hint.into());
        self.import.problems.push(Problem { path: path.into(), reason, hint, used: false });
    }

    fn folder(&mut self, folder: &str) -> Result<(), ImportError> {
        let mut files = Vec::new();
        self.walk(&self.root.join(folder), String::new(), &mut Vec::new(), &mut files)?;
        files.sort_by(|one, other| one.name.cmp(&other.name));
        for found in files {
            match folder {
                "groups" => self.group(&found),
                "profiles" => self.profile(&found),
                "generic" => self.template(TemplateKind::Generic, found),
                "ignition" => self.template(TemplateKind::Ignition, found),
                "cloud" => self.template(TemplateKind::Cloud, found),
                _ => self.asset(found),
            }
        }
        Ok(())
    }

    /// Gathers the files below `dir`; `above` are the folders it lies in, to notice links that lead back.
    fn walk(
        &mut self,
        dir: &Path,
        prefix: String,
        above: &mut Vec<PathBuf>,
        files: &mut Vec<Found>,
    ) -> Result<(), ImportError> {
        let real = match dir.canonicalize() {
            Ok(real) if above.contains(&real) => {
                self.problem(dir, "a link that leads back to a folder it lies in", "remove the link");
                return Ok(());
            }
            Ok(real) => real,
            Err(error) => {
                self.problem(dir, format!("the folder cannot be read: {error}"), ACCESS);
                return Ok(());
            }
        };
        if above.len() >= DEPTH_MAX {
            self.problem(dir, format!("more than {DEPTH_MAX} folders deep"), "move its files further up");
            return Ok(());
        }
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) => {
                self.problem(dir, format!("the folder cannot be read: {error}"), ACCESS);
                return Ok(());
            }
        };
        above.push(real);
        for entry in entries {
            self.seen += 1;
            if self.seen > ENTRIES_MAX {
                return Err(ImportError::TooLarge { path: self.root.into() });
            }
            match entry {
                Ok(entry) => self.entry(&entry.path(), &prefix, above, files)?,
                Err(error) => self.problem(dir, format!("the folder cannot be read to its end: {error}"), ACCESS),
            }
        }
        above.pop();
        Ok(())
    }

    fn entry(
        &mut self,
        path: &Path,
        prefix: &str,
        above: &mut Vec<PathBuf>,
        files: &mut Vec<Found>,
    ) -> Result<(), ImportError> {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            self.problem(path, "its name is not UTF-8", "rename it");
            return Ok(());
        };
        let name = format!("{prefix}{name}");
        match fs::metadata(path) {
            Ok(meta) if meta.is_file() => files.push(Found { name, path: path.into() }),
            Ok(meta) if meta.is_dir() => self.walk(path, format!("{name}/"), above, files)?,
            Ok(_) => self.unused(path, "neither a file nor a folder", "remove it"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.unused(path, "a link to a file that does not exist", "mend or remove the link");
            }
            Err(error) => self.problem(path, format!("it cannot be read: {error}"), ACCESS),
        }
        Ok(())
    }

    fn group(&mut self, found: &Found) {
        if found.name.contains('/') {
            return self.unused(&found.path, "in a sub-folder of `groups`, where matchbox does not look", MOVE_UP);
        }
        let Some(stem) = self.stem(found) else { return };
        let Some(bytes) = self.bytes(&found.path, JSON_BYTES_MAX) else { return };
        match group_of_file(&bytes) {
            Ok(group) => {
                self.named("groups", &stem, &group.id);
                let group = Group { id: stem, ..group };
                if self.acceptable(&found.path, &Edit::PutGroup(group.clone())) {
                    self.import.groups.push(group);
                }
            }
            Err(error) => self.unused(&found.path, format!("not a group: {error}"), MEND),
        }
    }

    fn profile(&mut self, found: &Found) {
        let Some(stem) = self.stem(found) else { return };
        let Some(bytes) = self.bytes(&found.path, JSON_BYTES_MAX) else { return };
        match profile_of_file(&bytes) {
            Ok(profile) if profile.id.is_empty() => {
                self.unused(&found.path, "it has no `id`, so matchbox refuses it", format!("add `\"id\": \"{stem}\"`"));
            }
            Ok(profile) => {
                self.named("profiles", &stem, &profile.id);
                let profile = Profile { id: stem, ..profile };
                if self.acceptable(&found.path, &Edit::PutProfile(profile.clone())) {
                    self.import.profiles.push(profile);
                }
            }
            Err(error) => self.unused(&found.path, format!("not a profile: {error}"), MEND),
        }
    }

    fn named(&mut self, folder: &'static str, name: &str, id: &str) {
        if !id.is_empty() && id != name {
            self.import.other_ids.push(OtherId { folder, name: name.into(), id: id.into() });
        }
    }

    fn stem(&mut self, found: &Found) -> Option<String> {
        let stem = found.name.strip_suffix(".json").map(str::to_owned);
        if stem.is_none() {
            self.unused(&found.path, "its name does not end in `.json`, so matchbox does not read it", "");
        }
        stem
    }

    fn template(&mut self, kind: TemplateKind, found: Found) {
        let Some(content) = self.bytes(&found.path, TEMPLATE_BYTES_MAX) else { return };
        let template = Template { kind, name: found.name, content };
        if self.acceptable(&found.path, &Edit::PutTemplate(template.clone())) {
            self.import.templates.push(template);
        }
    }

    fn asset(&mut self, found: Found) {
        let (media_type, origin) = (String::new(), String::new());
        let named = Asset { name: found.name.clone(), digest: Digest::of(b""), size: 0, media_type, origin };
        if self.acceptable(&found.path, &Edit::PutAsset(named)) {
            self.import.assets.push((found.name, found.path));
        }
    }

    /// Whether the state would take it, so that one bad file does not refuse a whole import.
    fn acceptable(&mut self, path: &Path, edit: &Edit) -> bool {
        let Err(refusal) = check_edit(edit) else { return true };
        let field = if refusal.field.is_empty() { String::new() } else { format!("{}: ", refusal.field) };
        let reason = format!("{field}{}", refusal.message);
        match edit {
            // Matchbox stores such a group and then cannot read it.
            Edit::PutGroup(group) if normal_selector(&group.selector).is_none() => {
                self.unused(path, reason, refusal.hint);
            }
            _ => self.problem(path, reason, refusal.hint),
        }
        false
    }

    fn bytes(&mut self, path: &Path, most: usize) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(most as u64 + 1).read_to_end(&mut bytes));
        match read {
            Ok(length) if length > most => {
                self.problem(path, format!("larger than {most} bytes"), "serve large files as assets");
                None
            }
            Ok(_) => Some(bytes),
            Err(error) => {
                self.problem(path, format!("it cannot be read: {error}"), ACCESS);
                None
            }
        }
    }
}

const ACCESS: &str = "run the import as a user who may read it";
const MEND: &str = "mend the file and import again; matchbox does not use it either";
const MOVE_UP: &str = "move it up if it is meant to be used";

#[cfg(test)]
#[path = "matchbox_tests.rs"]
mod tests;
