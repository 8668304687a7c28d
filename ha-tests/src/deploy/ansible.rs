//! ansible-core and ansible-lint of pinned versions in a virtual environment, and what a playbook said that it did.

use super::base::{digest, lock};
use super::{repository, store};
use crate::process::run;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// What is tested with; Debian 12's own Ansible is the same language.
const PACKAGES: &[&str] = &["ansible-core==2.19.14", "ansible-lint==26.10.1"];

/// What happened on one host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tasks that changed something.
    pub changed: u32,
    /// Whether the host could be reached: 0, or more.
    pub unreachable: u32,
    /// Tasks that failed.
    pub failed: u32,
}

/// What happened on each host.
pub type Recap = BTreeMap<String, Counts>;

/// The programs' directory; made the first time, which needs PyPI.
///
/// # Errors
/// When Python or pip fail.
pub fn programs() -> Result<PathBuf> {
    let store = store();
    fs::create_dir_all(&store).with_context(|| format!("make {}", store.display()))?;
    let _one_maker = lock(&store.join("ansible.lock"))?;
    let path = store.join(format!("ansible-{:08x}", digest(&PACKAGES.join(" "))));
    let done = path.join("complete");
    if !done.exists() {
        if path.exists() {
            fs::remove_dir_all(&path).context("remove an environment that was not finished")?;
        }
        let mut make = Command::new("python3");
        make.args(["-m", "venv"]).arg(&path);
        run(make).context("make a Python environment")?;
        let mut pip = Command::new(path.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES);
        run(pip).context("install Ansible")?;
        fs::write(&done, "").context("mark the environment as complete")?;
    }
    Ok(path.join("bin"))
}

/// Where the playbooks are.
#[must_use]
pub fn directory() -> PathBuf {
    repository().join("ansible")
}

/// `command` with the environment the programs need.
///
/// # Errors
/// When they cannot be installed.
pub fn furnish(command: &mut Command) -> Result<()> {
    let programs = programs()?;
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", programs.display())).current_dir(directory());
    // Words without colours, and no answers from a person.
    command.env("ANSIBLE_NOCOLOR", "1").env("NO_COLOR", "1").env("ANSIBLE_DISPLAY_SKIPPED_HOSTS", "0");
    command.env("ANSIBLE_LOCALHOST_WARNING", "False").env("ANSIBLE_DEPRECATION_WARNINGS", "False");
    Ok(())
}

/// Reads what `ansible-playbook` printed last.
///
/// # Errors
/// When there is no recap.
pub fn recap(printed: &str) -> Result<Recap> {
    let Some((_, lines)) = printed.rsplit_once("PLAY RECAP") else {
        bail!("ansible-playbook printed no recap:\n{}", last_lines(printed, 30));
    };
    let mut recap = Recap::new();
    for line in lines.lines().skip(1) {
        let Some((host, counts)) = line.split_once(" : ") else { continue };
        let count = |name: &str| {
            let word = counts.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            word.and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        let counts = Counts { changed: count("changed"), unreachable: count("unreachable"), failed: count("failed") };
        recap.insert(host.trim().to_owned(), counts);
    }
    Ok(recap)
}

/// The end of a text, for messages.
#[must_use]
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recap_is_read() {
        let printed = "TASK [x] ***\nok: [mgmt-01]\n\nPLAY RECAP *****\n\
            mgmt-01   : ok=39   changed=8    unreachable=0    failed=0    skipped=17   rescued=0    ignored=0   \n\
            mgmt-02   : ok=1    changed=0    unreachable=1    failed=2    skipped=0    rescued=0    ignored=0   \n\n";
        let recap = recap(printed).unwrap();
        assert_eq!(recap["mgmt-01"], Counts { changed: 8, unreachable: 0, failed: 0 });
        assert_eq!(recap["mgmt-02"], Counts { changed: 0, unreachable: 1, failed: 2 });
        assert!(super::recap("ERROR! no playbook").is_err());
    }
}
