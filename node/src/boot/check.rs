//! Checks what templates are and what they give, before a machine gets it.

use raft::state::TemplateKind;

use super::{butane, ignition};
use crate::template::Template;

/// How many unknown fields a message names.
const UNKNOWN_NAMED_MAX: usize = 10;

/// Whether a template has words by which a short one can take long: loops, templates in templates, wide formats. One that
/// merely holds such a word is rendered elsewhere too, which does no harm.
#[must_use]
pub(super) fn repeats(content: &[u8]) -> bool {
    [&b"range"[..], b"template", b"block", b"printf"]
        .iter()
        .any(|word| content.windows(word.len()).any(|window| window == *word))
}

/// Whether a template of kind `ignition` is a Butane config, which is rendered and translated; else it is Ignition as it is.
#[must_use]
pub(super) fn is_butane(name: &str) -> bool {
    !name.ends_with(".ign") && !name.ends_with(".ignition")
}

/// Tells, before any machine asks, whether a template would be refused whatever the request: a syntax error, an Ignition
/// config that breaks the rules of its version, a Butane config that cannot be translated or has fields nobody knows.
///
/// # Errors
/// Why it would be refused, and what to do about it.
pub fn check_template(kind: TemplateKind, name: &str, content: &[u8]) -> Result<(), String> {
    match kind {
        TemplateKind::Ignition => check_config(name, content).map_err(|problem| problem.to_string()),
        TemplateKind::Generic | TemplateKind::Cloud => {
            Template::parse(content).map(drop).map_err(|error| error.to_string())
        }
    }
}

/// What is wrong with a template of kind `ignition`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigProblem {
    /// It breaks a rule: machines get 404.
    #[error("{0}")]
    Broken(String),
    /// Butane translates it, where it has the files, and we do not: machines get 404.
    #[error("{0}")]
    Untranslated(String),
    /// Fields that its version does not have: machines get it without them.
    #[error("{0}")]
    Unknown(String),
}

/// Tells, before any machine asks, what is wrong with an Ignition or Butane config whatever the request.
///
/// # Errors
/// The first thing that is wrong, or the fields that its version does not have.
pub fn check_config(name: &str, content: &[u8]) -> Result<(), ConfigProblem> {
    if !is_butane(name) {
        let unknown = ignition::unknown(content).map_err(ConfigProblem::Broken)?;
        let told = || format!("{}: its version of the spec does not have that", some(&unknown, ", "));
        return if unknown.is_empty() { Ok(()) } else { Err(ConfigProblem::Unknown(told())) };
    }
    Template::parse(content).map_err(|error| ConfigProblem::Broken(error.to_string()))?;
    // What has actions in it can be judged only once it is rendered.
    if content.windows(2).any(|pair| pair == b"{{") {
        return Ok(());
    }
    let unknown = butane::check(content).map_err(|problem| {
        if butane::is_ours(&problem) { ConfigProblem::Untranslated(problem) } else { ConfigProblem::Broken(problem) }
    })?;
    if unknown.is_empty() { Ok(()) } else { Err(ConfigProblem::Unknown(some(&unknown, "; "))) }
}

/// What machines get of an Ignition or Butane config, if that can be told without rendering it; `None` if not, or if they get
/// nothing.
#[must_use]
pub fn config_served(name: &str, content: &[u8]) -> Option<Vec<u8>> {
    match is_butane(name) {
        true if content.windows(2).any(|pair| pair == b"{{") => None,
        true => butane::translate(content).ok(),
        false => ignition::reserialise(content).ok(),
    }
}

/// The first few, and how many more.
fn some(all: &[String], between: &str) -> String {
    let named = all.iter().take(UNKNOWN_NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(between);
    match all.len().saturating_sub(UNKNOWN_NAMED_MAX) {
        0 => named,
        more => format!("{named}{between}and {more} more"),
    }
}

/// A cloud file must be a script, or a cloud-config whose YAML can be read.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check_cloud(content: &[u8]) -> Result<(), String> {
    if content.starts_with(b"#!") {
        return Ok(());
    }
    let first = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if first.trim_ascii_end() != b"#cloud-config" {
        return Err("it begins neither with `#cloud-config` nor with `#!`".into());
    }
    let text = std::str::from_utf8(content).map_err(|error| format!("it is not UTF-8: {error}"))?;
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(());
    }
    serde_saphyr::from_str::<serde_json::Value>(text).map(drop).map_err(|error| format!("it is not YAML: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_that_no_machine_could_get_is_told_beforehand() {
        let good = r#"{"ignition":{"version":"3.4.0"}}"#;
        for (kind, name, content, want) in [
            (TemplateKind::Ignition, "a.ign", good, ""),
            (TemplateKind::Ignition, "a.ign", "{", "EOF"),
            (TemplateKind::Ignition, "a.ign", r#"{"ignition":{}}"#, "ignition.version"),
            (
                TemplateKind::Ignition,
                "a.ign",
                r#"{"ignition":{"version":"3.1.0"},"kernelArguments":{}}"#,
                "kernelArguments (since 3.3)",
            ),
            (
                TemplateKind::Ignition,
                "a.ign",
                r#"{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/a","contnets":{}}]}}"#,
                "storage.files[0].contnets",
            ),
            (TemplateKind::Ignition, "a.ign", r#"{"ignition":{"version":"3.5.0"},"storage":5}"#, "storage"),
            (
                TemplateKind::Ignition,
                "a.ign",
                r#"{"ignition":{"version":"3.5.0"},"storage":{"files":[{"path":"a"}]}}"#,
                "storage.files[0]",
            ),
            (TemplateKind::Ignition, "a.ign", r#"{"ignition":{"version":"3.5.0"},"news":{}}"#, ""),
            (TemplateKind::Ignition, "a.yaml", good, "variant"),
            (TemplateKind::Ignition, "a.yaml", "variant: fcos\nversion: 1.5.0\n", ""),
            (TemplateKind::Ignition, "a.yaml", "variant: fcos\nversion: 1.5.0\nstorage: {fils: []}\n", "storage.fils"),
            (TemplateKind::Ignition, "a.yaml", "variant: {{.variant}}\n", ""),
            (TemplateKind::Ignition, "a.yaml", "variant: {{if}}\n", "if"),
            (TemplateKind::Generic, "a.yaml", "{{.missing}}", ""),
            (TemplateKind::Generic, "a", "{{if}}", "if"),
            (TemplateKind::Cloud, "a", "#cloud-config\n{{end}}", "end"),
        ] {
            let told = check_template(kind, name, content.as_bytes()).err().unwrap_or_default();
            assert!(told.contains(want) && told.is_empty() == want.is_empty(), "{content}: {told}");
        }
    }

    #[test]
    fn problems_of_configs_are_told_apart_and_not_all_fields_are_named() {
        let told = |rest: &str| check_config("a.yaml", format!("variant: fcos\nversion: 1.5.0\n{rest}").as_bytes());
        let field = |number: usize| format!("f{number}: 1\n");
        let ten: Vec<String> =
            (0..10).map(|number| format!("f{number}: unknown field (line {})", number + 3)).collect();
        let named = |more: &str| Err(ConfigProblem::Unknown(ten.join("; ") + more));
        assert_eq!(told(""), Ok(()));
        assert_eq!(told(&(0..10).map(field).collect::<String>()), named(""));
        assert_eq!(told(&(0..5000).map(field).collect::<String>()), named("; and 4990 more"));
        for (text, want) in [
            ("storage: {files: [{path: /a, contents: {local: a}}]}", "Untranslated"),
            ("storage: {trees: [{local: a}]}", "Untranslated"),
            ("systemd: {units: [{name: a.service, contents_local: a}]}", "Untranslated"),
            ("storage: {files: [{path: a}]}", "Broken"),
            ("{{if}}", "Broken"),
        ] {
            let problem = told(text).unwrap_err();
            assert!(format!("{problem:?}").starts_with(want), "{text}: {problem:?}");
        }
        let openshift = check_config("a.yaml", b"variant: openshift\nversion: 4.14.0\n").unwrap_err();
        assert!(matches!(openshift, ConfigProblem::Untranslated(_)), "{openshift:?}");
    }

    #[test]
    fn templates_that_can_loop_are_rendered_elsewhere() {
        assert!(
            repeats(b"{{range .a}}{{end}}") && repeats(b"{{printf \"%99999d\" 1}}") && repeats(b"{{template \"a\"}}")
        );
        assert!(!repeats(b"hostname: {{.request.query.hostname}}\n"));
    }

    #[test]
    fn only_scripts_and_readable_cloud_configs_are_cloud_files() {
        for (content, want) in [
            ("#!", true),
            ("#cloud-config", true),
            ("#cloud-config  \r\nhostname: a\r\n", true),
            ("#cloud-config\n# nothing\n\n", true),
            (" #cloud-config\n", false),
            ("#cloud-config-archive\n", false),
            ("#cloud-config\nhostname: a: b: c\n", false),
            ("hostname: a\n", false),
            ("", false),
        ] {
            assert_eq!(check_cloud(content.as_bytes()).is_ok(), want, "{content:?}");
        }
    }
}
