//! What becomes of templates: those that cannot be served, and those that matchbox served otherwise.

use std::collections::BTreeSet;

use raft::state::{Template, TemplateKind};

use super::{Looking, Verdict, below, references};
use crate::boot::{ConfigProblem, check_config, check_template, config_served};
use crate::go_json::{fields, folded, go_text};

/// The versions of Ignition that matchbox reads; of any other it makes an empty config.
const IGNITION_VERSIONS: [&str; 5] = ["3.0.0", "3.1.0", "3.2.0", "3.3.0", "3.4.0"];

impl Looking<'_> {
    pub(super) fn templates(&mut self) {
        let import = self.import;
        let named: BTreeSet<(TemplateKind, String)> =
            import.profiles.iter().flat_map(references).map(|(_, kind, name)| (kind, below(name))).collect();
        for template in &import.templates {
            let object = format!("template/{}/{}", template.kind.name(), template.name);
            self.content(&object, template);
            if !named.contains(&(template.kind, template.name.clone())) {
                let hint = "it is taken over all the same; remove it if nobody needs it";
                self.say(Verdict::LookAt, object, "name", "no profile names it, so no machine gets it", hint);
            }
        }
    }

    fn content(&mut self, object: &str, template: &Template) {
        let Template { kind, name, content } = template;
        if *kind == TemplateKind::Ignition {
            self.ignition(object, name, content);
        } else if let Err(error) = check_template(*kind, name, content) {
            let message = format!("it cannot be rendered: {error}; machines get 404, there as here");
            self.say(Verdict::LookAt, object, "content", message, "correct the template");
        }
        let Ok(text) = std::str::from_utf8(content) else { return };
        self.look_at_addresses(object, "content", text);
        self.look_at_base_url(object, "content", text);
        let script = text.trim_start_matches('\u{feff}').trim_start().starts_with("#!");
        if script && *kind != TemplateKind::Ignition && text.contains("request.") {
            let message = "it is a script that uses what the request says: a request whose value could be a command of that script gets 404 here";
            let hint = "take such values from the group's metadata or selector instead";
            self.say(Verdict::LookAt, object, "content", message, hint);
        }
    }

    fn ignition(&mut self, object: &str, name: &str, content: &[u8]) {
        let plain = name.ends_with(".ign") || name.ends_with(".ignition");
        let (verdict, message, hint) = match (check_config(name, content), plain) {
            (Err(ConfigProblem::Unknown(fields)), _) => (
                Verdict::LookAt,
                format!("{fields}; they are left out when it is served or read, there as here"),
                "correct the names, or remove the fields",
            ),
            (Err(ConfigProblem::Broken(error) | ConfigProblem::Untranslated(error)), true) => (
                Verdict::Differs,
                format!(
                    "here machines get 404, because {error}; matchbox answers an empty config (200), and they come up without it"
                ),
                "correct the config before the import",
            ),
            (Err(ConfigProblem::Untranslated(error)), false) => {
                (Verdict::Differs, format!("here machines get 404, because {error}"), SEE_THERE)
            }
            (Err(ConfigProblem::Broken(error)), false) => {
                (Verdict::LookAt, format!("here machines get 404, because {error}; there most likely too"), SEE_THERE)
            }
            (Ok(()), _) => match config_served(name, content).and_then(|served| version(&served)) {
                Some(version) if !IGNITION_VERSIONS.contains(&version.as_str()) => (
                    Verdict::Differs,
                    format!("Ignition {version} is served here; matchbox answers an empty config (200)"),
                    "machines get it from now on: is it what they are meant to get?",
                ),
                _ => return,
            },
        };
        self.say(verdict, object, "content", message, hint);
    }
}

const SEE_THERE: &str = "see what matchbox answers for it: `raftboot import matchbox DIR --compare URL`";

/// The version an Ignition config says it is written for.
fn version(content: &[u8]) -> Option<String> {
    let member = |text: &str, name: &str| {
        let found = fields(text).ok()?.into_iter().rev().find(|(key, _)| folded(key) == name);
        found.map(|(_, value)| value.get().to_owned())
    };
    serde_json::from_str(&member(&member(&go_text(content), "ignition")?, "version")?).ok()
}
