//! Checks what templates are and what they give, before a machine gets it.

use raft::state::TemplateKind;

use super::ignition;
use crate::template::Template;

/// Whether a template has words by which a short one can take long: loops, templates in templates, wide formats. One that
/// merely holds such a word is rendered elsewhere too, which does no harm.
#[must_use]
pub(super) fn repeats(content: &[u8]) -> bool {
    [&b"range"[..], b"template", b"block", b"printf"]
        .iter()
        .any(|word| content.windows(word.len()).any(|window| window == *word))
}

/// Makes what is served of an Ignition template.
///
/// # Errors
/// If it cannot be served.
pub(super) fn ignition(name: &str, content: &[u8]) -> Result<Vec<u8>, String> {
    if !name.ends_with(".ign") && !name.ends_with(".ignition") {
        return Err("it is a Butane config, which this version cannot translate; \
             translate it with `butane` and store the result under a name that ends in `.ign`"
            .into());
    }
    ignition::reserialise(content)
}

/// Tells, before any machine asks, whether a template would be refused whatever the request: a syntax error, a Butane
/// config, an Ignition config that breaks the rules of its version.
///
/// # Errors
/// Why it would be refused, and what to do about it.
pub fn check_template(kind: TemplateKind, name: &str, content: &[u8]) -> Result<(), String> {
    match kind {
        TemplateKind::Ignition => ignition(name, content).map(drop),
        TemplateKind::Generic | TemplateKind::Cloud => {
            Template::parse(content).map(drop).map_err(|error| error.to_string())
        }
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
            (TemplateKind::Ignition, "a.yaml", good, "Butane"),
            (TemplateKind::Generic, "a.yaml", "{{.missing}}", ""),
            (TemplateKind::Generic, "a", "{{if}}", "if"),
            (TemplateKind::Cloud, "a", "#cloud-config\n{{end}}", "end"),
        ] {
            let told = check_template(kind, name, content.as_bytes()).err().unwrap_or_default();
            assert!(told.contains(want) && told.is_empty() == want.is_empty(), "{content}: {told}");
        }
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
