//! Objects as the files of a matchbox data directory, and what of them has no place there. Pure.

use std::collections::{BTreeMap, BTreeSet};

use raft::state::{Group, Profile, Template};

use super::json::Json;

/// What is to be written.
#[derive(Debug, Default)]
pub struct Objects {
    /// Profiles.
    pub profiles: Vec<Profile>,
    /// Groups.
    pub groups: Vec<Group>,
    /// Templates.
    pub templates: Vec<Template>,
    /// Names of assets.
    pub assets: Vec<String>,
}

/// An object that cannot be written, or not as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which: `group/n1`.
    pub object: String,
    /// Why.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl Problem {
    /// Whether another name would do.
    #[must_use]
    pub fn is_of_name(&self) -> bool {
        [RENAME, NO_SLASH].contains(&self.hint.as_str())
    }
}

/// The files of a directory.
#[derive(Debug, Default)]
pub struct Plan {
    /// Path and content of each, in the order of writing: what is named before what names it.
    pub files: Vec<(String, Vec<u8>)>,
    /// Path and name of each asset.
    pub assets: Vec<(String, String)>,
    /// Objects that are left out.
    pub left_out: Vec<Problem>,
    /// Objects that matchbox will serve otherwise.
    pub changed: Vec<Problem>,
}

/// Length of one part of a path, in bytes; file systems of Linux take no more.
const PART_BYTES_MAX: usize = 255;
/// Length of a path below the directory, in bytes.
const PATH_BYTES_MAX: usize = 3072;
/// What stands for the service's own address, in templates and arguments.
const BASE_URL: &str = "${base_url}";

/// What the files of `objects` are. `base_url` takes the place of `${base_url}`, which matchbox does not know.
#[must_use]
pub fn plan(objects: &Objects, base_url: Option<&str>) -> Plan {
    let mut plan = Plan::default();
    for template in &objects.templates {
        let object = format!("template/{}/{}", template.kind.name(), template.name);
        let path = path(template.kind.name(), &template.name, "");
        let content = plan.with_base_url(&object, &template.content, base_url);
        plan.file(object, path, content);
    }
    for profile in &objects.profiles {
        let object = format!("profile/{}", profile.id);
        let content = plan.with_base_url(&object, profile_file(profile).as_bytes(), base_url);
        plan.file(object, path("profiles", &profile.id, ".json"), content);
    }
    for group in &objects.groups {
        let object = format!("group/{}", group.id);
        if group.id.contains('/') {
            let message = "matchbox does not look into sub-folders of `groups`";
            plan.leave_out(object, message, NO_SLASH);
            continue;
        }
        if !group.rules.is_empty() {
            let message =
                "it has `match`, which matchbox does not know: it would fit machines that it was not meant for";
            plan.leave_out(object, message, "write it as groups with a plain selector each");
            continue;
        }
        match group_file(group) {
            // Matchbox does not know the variable in metadata either, and templates would print it.
            Ok(text) => {
                let content = plan.with_base_url(&object, text.as_bytes(), base_url);
                plan.file(object, path("groups", &group.id, ".json"), content);
            }
            Err(error) => plan.leave_out(object, format!("its metadata is no JSON: {error}"), "write the group again"),
        }
    }
    for name in &objects.assets {
        match path("assets", name, "") {
            Ok(path) => plan.assets.push((path, name.clone())),
            Err(why) => plan.leave_out(format!("asset/{name}"), why, RENAME),
        }
    }
    plan.part_files_from_folders();
    plan
}

const RENAME: &str = "give it another name";
const NO_SLASH: &str = "give the group a name without a slash";

impl Plan {
    fn file(&mut self, object: String, path: Result<String, String>, content: Vec<u8>) {
        match path {
            Ok(path) => self.files.push((path, content)),
            Err(why) => self.leave_out(object, why, RENAME),
        }
    }

    fn leave_out(&mut self, object: String, message: impl Into<String>, hint: &str) {
        self.left_out.push(Problem { object, message: message.into(), hint: hint.into() });
    }

    fn with_base_url(&mut self, object: &str, content: &[u8], base_url: Option<&str>) -> Vec<u8> {
        let Some(text) = std::str::from_utf8(content).ok().filter(|text| text.contains(BASE_URL)) else {
            return content.to_vec();
        };
        if let Some(base_url) = base_url {
            return text.replace(BASE_URL, base_url).into_bytes();
        }
        let message = format!("it names `{BASE_URL}`, which matchbox leaves as it is");
        let hint = "say --base-url http://ADDRESS:8080 to have it replaced";
        self.changed.push(Problem { object: object.into(), message, hint: hint.into() });
        content.to_vec()
    }

    /// A name cannot be a file and a folder at once; here it can.
    fn part_files_from_folders(&mut self) {
        let all =
            self.files.iter().map(|(path, _)| path.clone()).chain(self.assets.iter().map(|(path, _)| path.clone()));
        let mut folders: BTreeMap<String, String> = BTreeMap::new();
        for path in all {
            for (at, _) in path.match_indices('/') {
                folders.entry(path[..at].to_owned()).or_insert_with(|| path.clone());
            }
        }
        let mut clashes = BTreeSet::new();
        let mut is_free = |path: &str| match folders.get(path) {
            Some(below) => !clashes.insert((path.to_owned(), below.clone())),
            None => true,
        };
        self.files.retain(|(path, _)| is_free(path));
        self.assets.retain(|(path, _)| is_free(path));
        for (path, below) in clashes {
            self.leave_out(path, format!("it would have to be a folder as well, for {below}"), RENAME);
        }
    }
}

/// Where an object of this name lies below the directory.
fn path(folder: &str, name: &str, end: &str) -> Result<String, String> {
    let path = format!("{folder}/{name}{end}");
    if name.is_empty() || name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(format!("`{}` is no name of a file", name.escape_debug()));
    }
    if name.chars().any(char::is_control) {
        return Err(format!("`{}` has a control character in it", name.escape_debug()));
    }
    if path.len() > PATH_BYTES_MAX || path.split('/').any(|part| part.len() > PART_BYTES_MAX) {
        return Err(format!("a file's name has at most {PART_BYTES_MAX} bytes, its path {PATH_BYTES_MAX}"));
    }
    Ok(path)
}

fn text(members: &mut Vec<(String, Json)>, key: &str, value: &str) {
    if !value.is_empty() {
        members.push((key.into(), Json::Text(value.into())));
    }
}

/// All fields are named, so that one that is added must be given a place here, or be refused.
fn profile_file(profile: &Profile) -> String {
    let Profile { id, name, boot, ignition_id, cloud_id, generic_id } = profile;
    let mut members = Vec::new();
    text(&mut members, "id", id);
    text(&mut members, "name", name);
    text(&mut members, "ignition_id", ignition_id);
    text(&mut members, "cloud_id", cloud_id);
    if let Some(boot) = boot {
        let mut parts = Vec::new();
        text(&mut parts, "kernel", &boot.kernel);
        for (key, lines) in [("initrd", &boot.initrd), ("args", &boot.args)] {
            if !lines.is_empty() {
                parts.push((key.to_owned(), Json::List(lines.iter().cloned().map(Json::Text).collect())));
            }
        }
        members.push(("boot".into(), Json::Object(parts)));
    }
    text(&mut members, "generic_id", generic_id);
    Json::Object(members).written()
}

/// All fields are named, so that one that is added must be given a place here, or be refused: a group that is written with
/// only a part of what it asks for fits machines that it was not meant for.
fn group_file(group: &Group) -> Result<String, serde_json::Error> {
    // Groups with rules are left out before.
    let Group { id, name, profile, selector, metadata, rules: _ } = group;
    let mut members = Vec::new();
    text(&mut members, "id", id);
    text(&mut members, "name", name);
    text(&mut members, "profile", profile);
    if !selector.is_empty() {
        let pairs = selector.iter().map(|(key, value)| (key.clone(), Json::Text(value.clone())));
        members.push(("selector".into(), Json::Object(pairs.collect())));
    }
    if !metadata.is_empty() {
        members.push(("metadata".into(), Json::sorted(metadata)?));
    }
    Ok(Json::Object(members).written())
}

#[cfg(test)]
mod tests {
    use raft::state::{NetBoot, TemplateKind};

    use super::*;

    fn profile(id: &str) -> Profile {
        Profile { id: id.into(), ..Profile::default() }
    }

    fn template(name: &str, content: &str) -> Template {
        Template { kind: TemplateKind::Generic, name: name.into(), content: content.into() }
    }

    #[test]
    fn a_group_that_matchbox_cannot_match_is_left_out() {
        let condition = vec![raft::state::Test::Glob(vec!["VMware-*".into()])];
        let rules = vec![BTreeMap::from([("serial".to_owned(), condition)])];
        let group = Group { id: "g".into(), profile: "p".into(), rules, ..Group::default() };
        let plan = plan(&Objects { groups: vec![group], ..Objects::default() }, None);
        assert!(plan.files.is_empty() && plan.left_out[0].message.contains("`match`"), "{:?}", plan.left_out);
        assert!(!plan.left_out[0].is_of_name());
    }

    #[test]
    fn objects_become_the_files_that_matchbox_writes() {
        let boot =
            NetBoot { kernel: "/assets/k".into(), initrd: vec!["/assets/i".into()], args: vec!["a=1&b=<c>".into()] };
        let worker = Profile { name: "W".into(), boot: Some(boot), generic_id: "w.yaml".into(), ..profile("worker") };
        let group = Group {
            id: "n1".into(),
            profile: "worker".into(),
            selector: [("os".to_owned(), "x".to_owned()), ("mac".into(), "52:54:00:12:34:56".into())].into(),
            metadata: r#"{"b":1.0,"a":{"d":[],"c":true}}"#.into(),
            ..Group::default()
        };
        let objects = Objects {
            profiles: vec![worker, Profile { boot: Some(NetBoot::default()), ..profile("empty") }, profile("team/p")],
            groups: vec![group],
            templates: vec![template("sub/w.yaml", "a: {{.b}}\n")],
            assets: vec!["sub/k".into()],
        };
        let Plan { files, assets, left_out, changed } = plan(&objects, None);
        let files: Vec<(&str, &str)> =
            files.iter().map(|(path, content)| (path.as_str(), std::str::from_utf8(content).unwrap())).collect();
        let worker = "{\n\t\"id\": \"worker\",\n\t\"name\": \"W\",\n\t\"boot\": {\n\t\t\"kernel\": \"/assets/k\",\n\t\t\"initrd\": [\n\t\t\t\"/assets/i\"\n\t\t],\n\t\t\"args\": [\n\t\t\t\"a=1\\u0026b=\\u003cc\\u003e\"\n\t\t]\n\t},\n\t\"generic_id\": \"w.yaml\"\n}";
        let n1 = "{\n\t\"id\": \"n1\",\n\t\"profile\": \"worker\",\n\t\"selector\": {\n\t\t\"mac\": \"52:54:00:12:34:56\",\n\t\t\"os\": \"x\"\n\t},\n\t\"metadata\": {\n\t\t\"a\": {\n\t\t\t\"c\": true,\n\t\t\t\"d\": []\n\t\t},\n\t\t\"b\": 1.0\n\t}\n}";
        assert_eq!(
            files,
            [
                ("generic/sub/w.yaml", "a: {{.b}}\n"),
                ("profiles/worker.json", worker),
                ("profiles/empty.json", "{\n\t\"id\": \"empty\",\n\t\"boot\": {}\n}"),
                ("profiles/team/p.json", "{\n\t\"id\": \"team/p\"\n}"),
                ("groups/n1.json", n1),
            ]
        );
        assert_eq!(assets, [("assets/sub/k".to_owned(), "sub/k".to_owned())]);
        assert!(left_out.is_empty() && changed.is_empty());
    }

    #[test]
    fn names_that_are_no_files_are_left_out_with_the_reason() {
        let group = |id: &str| Group { id: id.into(), ..Group::default() };
        let long = "x".repeat(256);
        let objects = Objects {
            profiles: vec![
                profile("../etc"),
                profile("a//b"),
                profile("fine"),
                profile(&long),
                profile("a"),
                profile("a.json/b"),
            ],
            groups: vec![group("team/g"), group(".."), Group { metadata: "{".into(), ..group("broken") }],
            templates: vec![template("t", ""), template("t/u", "")],
            assets: vec!["k".into(), "k/v".into(), "./k".into()],
        };
        let plan = plan(&objects, None);
        let kept: Vec<&str> = plan.files.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(kept, ["generic/t/u", "profiles/fine.json", "profiles/a.json/b.json"]);
        assert_eq!(plan.assets.len(), 1);
        let told: Vec<String> = plan.left_out.iter().map(|one| format!("{}: {}", one.object, one.message)).collect();
        for want in [
            "profile/../etc: `../etc` is no name of a file",
            "profile/a//b: `a//b` is no name of a file",
            "group/team/g: matchbox does not look into sub-folders",
            "group/..: `..` is no name of a file",
            "group/broken: its metadata is no JSON",
            "asset/./k: `./k` is no name of a file",
            "assets/k: it would have to be a folder as well, for assets/k/v",
            "generic/t: it would have to be a folder as well, for generic/t/u",
            "profiles/a.json: it would have to be a folder as well",
        ] {
            assert!(told.iter().any(|line| line.starts_with(want)), "{want}\nin {told:#?}");
        }
        assert!(told.iter().any(|line| line.contains("at most 255 bytes")));
        assert_eq!(told.len(), 10);
    }

    #[test]
    fn the_address_of_the_service_is_written_out() {
        let objects = Objects {
            profiles: vec![Profile {
                boot: Some(NetBoot { args: vec!["url=${base_url}/assets/x".into()], ..NetBoot::default() }),
                ..profile("p")
            }],
            templates: vec![template("t", "${base_url}/generic")],
            ..Objects::default()
        };
        let told = plan(&objects, None);
        assert_eq!(told.changed.len(), 2);
        assert!(told.changed[0].hint.contains("--base-url"));
        let plan = plan(&objects, Some("http://10.0.20.5:8080"));
        assert!(plan.changed.is_empty());
        assert_eq!(plan.files[0].1, b"http://10.0.20.5:8080/generic");
        assert!(String::from_utf8_lossy(&plan.files[1].1).contains("url=http://10.0.20.5:8080/assets/x"));
    }
}
