//! `import matchbox --check`: says what an import would leave out and what would be different; changes nothing.

use std::fs::File;
use std::path::Path;
use std::time::SystemTime;

use serde_json::json;

use super::super::failure::Failure;
use super::super::output::{Format, Terminal};
use super::Matchbox;
use crate::import::certificates::{self, Report as Certificates};
use crate::import::check::{Finding, Report, Verdict, check};
use crate::import::matchbox::{Import, Problem};

pub(super) fn run(
    format: Format,
    arguments: &Matchbox,
    mut read: Import,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    try_to_open(&mut read);
    let report = check(&read, &arguments.dir);
    let mut value = serde_json::to_value(&report).expect("a report is JSON");
    let mut people = said(&report);
    let mut unusable = 0;
    if let Some(dir) = &arguments.certificates {
        let (found, text) = certificates(dir, &arguments.endpoint);
        unusable = found.findings.iter().filter(|finding| !finding.usable).count();
        value["certificates"] = serde_json::to_value(found).expect("a report is JSON");
        people.push_str(&text);
    }
    let (left_out, differs) = (report.count(Verdict::LeftOut), report.count(Verdict::Differs));
    value["counts"] = json!({"left_out": left_out, "differs": differs, "look_at": report.count(Verdict::LookAt), "unusable_certificates": unusable});
    terminal.show(format, &value, || people)?;
    if left_out + differs + unusable == 0 {
        return Ok(());
    }
    let mut message = format!("{left_out} would be left out, {differs} would be different");
    if unusable > 0 {
        message.push_str(&format!(", {unusable} files of certificates cannot be used"));
    }
    Err(Failure::new(message, "nothing was changed; see above"))
}

/// Reading the directory only looks at the names of assets; whether their bytes can be had is seen by opening them.
fn try_to_open(read: &mut Import) {
    let Import { assets, problems, .. } = read;
    assets.retain(|(_, path)| match File::open(path) {
        Ok(_) => true,
        Err(error) => {
            let hint = "run the import as a user who may read it".into();
            problems.push(Problem {
                path: path.clone(),
                reason: format!("it cannot be read: {error}"),
                hint,
                used: true,
            });
            false
        }
    });
}

fn said(report: &Report) -> String {
    let mut text = String::new();
    for Finding { verdict, object, field, message, hint } in &report.findings {
        let verdict = match verdict {
            Verdict::LeftOut => "left out",
            Verdict::Differs => "differs ",
            Verdict::LookAt => "look at ",
        };
        let place: Vec<&str> = [object.as_str(), field].into_iter().filter(|part| !part.is_empty()).collect();
        let place = if place.is_empty() { "all machines".into() } else { place.join(": ") };
        text.push_str(&format!("{verdict}  {}: {}\n", shown(&place), shown(message)));
        if !hint.is_empty() {
            text.push_str(&format!("          {}\n", shown(hint)));
        }
    }
    for (address, places) in &report.addresses {
        text.push_str(&format!("{address} is written out in {places} places\n"));
    }
    let count = |kind: &str| report.objects.get(kind).copied().unwrap_or_default();
    let [profiles, groups, templates, assets] = ["profiles", "groups", "templates", "assets"].map(count);
    text.push_str(&format!(
        "{profiles} profiles, {groups} groups, {templates} templates and {assets} assets would be taken over: \
         {} left out, {} different, {} to look at\n",
        report.count(Verdict::LeftOut),
        report.count(Verdict::Differs),
        report.count(Verdict::LookAt)
    ));
    text
}

/// What is known of the certificates in `dir`, and the same for people.
pub(super) fn certificates(dir: &Path, endpoints: &[String]) -> (Certificates, String) {
    let found = certificates::check(dir, endpoints, SystemTime::now());
    let mut text = String::from("certificates of the gRPC API:\n");
    for finding in &found.findings {
        let (verdict, hint) = (if finding.usable { "usable  " } else { "unusable" }, &finding.hint);
        text.push_str(&format!("{verdict}  {}: {}\n", finding.file.display(), shown(&finding.message)));
        if !hint.is_empty() {
            text.push_str(&format!("          {hint}\n"));
        }
    }
    if found.config.is_empty() {
        text.push_str("without them, the gRPC API shows a certificate of the cluster's own CA\n");
        return (found, text);
    }
    text.push_str("nothing is copied. To go on with them, on every node, as root (the user that the service runs as must be able to read the key):\n");
    for line in &found.install {
        text.push_str(&format!("  {line}\n"));
    }
    text.push_str("and in its configuration, /etc/raftboot/raftboot.toml:\n");
    for line in &found.config {
        text.push_str(&format!("  {line}\n"));
    }
    (found, text)
}

/// Names come from files that anybody may have written: no escape sequence of theirs reaches a terminal.
pub(super) fn shown(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_of_a_file_moves_the_cursor() {
        assert_eq!(shown("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(shown("ä b"), "ä b");
    }
}
