//! The small Linux that machines boot: where its parts come from, and what it says on the console.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Names a directory with `boot/` and `lib/modules/` of an unpacked `linux-image-cloud-amd64`.
pub const KERNEL_VARIABLE: &str = "RAFTBOOT_LAB_KERNEL";
/// Every line of the guest that the lab waits for begins so.
const VOICE: &str = "raftboot-guest: ";

/// A Linux kernel with its modules.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The bootable image.
    pub image: PathBuf,
    /// `lib/modules/<release>`.
    pub modules: PathBuf,
}

impl Kernel {
    /// Finds the kernel: what [`KERNEL_VARIABLE`] names, what `ha-tests/prepare` unpacked into
    /// the cache, or what is installed on this computer.
    ///
    /// # Errors
    /// When there is none.
    pub fn find() -> Result<Self> {
        let roots = match std::env::var_os(KERNEL_VARIABLE) {
            Some(root) => vec![PathBuf::from(root)],
            None => vec![cache().join("kernel"), PathBuf::from("/")],
        };
        for root in &roots {
            if let Some(kernel) = Self::below(root)? {
                return Ok(kernel);
            }
        }
        bail!(
            "no boot/vmlinuz-*-cloud-amd64 with modules below {roots:?}; \
             `ha-tests/prepare` fetches one"
        )
    }

    /// The newest cloud kernel below `root` by name, if any.
    fn below(root: &Path) -> Result<Option<Self>> {
        let Ok(entries) = fs::read_dir(root.join("boot")) else {
            return Ok(None);
        };
        let mut releases = Vec::new();
        for entry in entries {
            let name = entry.context("list kernels")?.file_name();
            if let Some(release) = name.to_str().and_then(|n| n.strip_prefix("vmlinuz-"))
                && release.ends_with("-cloud-amd64")
                && root.join("lib/modules").join(release).is_dir()
            {
                releases.push(release.to_owned());
            }
        }
        releases.sort();
        Ok(releases.pop().map(|release| Self {
            image: root.join("boot").join(format!("vmlinuz-{release}")),
            modules: root.join("lib/modules").join(release),
        }))
    }
}

/// Where the lab keeps what it downloaded: `$XDG_CACHE_HOME/raftboot-lab`.
pub(crate) fn cache() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache"), PathBuf::from);
    base.join("raftboot-lab")
}

/// What a machine printed about itself after it booted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The MAC of the interface Linux used.
    pub mac: String,
    /// The profile named on the kernel command line.
    pub profile: String,
    /// The running kernel's release.
    pub kernel: String,
    /// The config the machine fetched, as it printed it.
    pub config: String,
}

impl Report {
    /// Reads a console; `None` while the machine has not finished its report.
    ///
    /// # Errors
    /// When the guest said that it failed, with its reason, or printed a report that lacks a part.
    pub fn read(console: &str) -> Result<Option<Self>> {
        let lines: Vec<&str> = console.lines().map(|l| l.trim_end_matches('\r')).collect();
        let voice = |what: &str| lines.iter().position(|l| l.strip_prefix(VOICE) == Some(what));
        if let Some(reason) = lines.iter().find_map(|line| line.strip_prefix(VOICE)?.strip_prefix("failed: ")) {
            bail!("the machine booted Linux and then said: {reason}");
        }
        let (Some(begin), Some(config), Some(end)) = (voice("begin"), voice("config"), voice("end")) else {
            return Ok(None);
        };
        let about = pairs(lines.get(begin + 1..config).context("read a report in order")?);
        let field = |key: &str| -> Result<String> {
            let value = about.get(key).copied().unwrap_or_default();
            if value.is_empty() {
                bail!("the machine's report lacks {key}");
            }
            Ok(value.to_owned())
        };
        Ok(Some(Self {
            mac: field("booted-mac")?,
            profile: field("booted-profile")?,
            kernel: field("booted-kernel")?,
            config: lines.get(config + 1..end).context("read a report in order")?.join("\n"),
        }))
    }

    /// The value of a `key=value` line of the fetched config.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        let lines: Vec<&str> = self.config.lines().collect();
        pairs(&lines).get(key).copied()
    }
}

fn pairs<'a>(lines: &[&'a str]) -> BTreeMap<&'a str, &'a str> {
    lines.iter().filter_map(|line| line.trim().split_once('=')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "[    0.5] Linux version 6.1\r\nraftboot-guest: begin\r\n\
        booted-mac=52:54:00:00:00:01\r\nbooted-profile=demo\r\nbooted-kernel=6.1.0\r\n\
        raftboot-guest: config\r\nhostname=machine-1\r\nurl=http://a/?b=c\r\n\r\n";

    #[test]
    fn a_finished_report_is_read_through_carriage_returns() {
        let report = Report::read(&format!("{CONSOLE}raftboot-guest: end\r\n")).unwrap().unwrap();
        assert_eq!(report.mac, "52:54:00:00:00:01");
        assert_eq!(report.profile, "demo");
        assert_eq!(report.value("hostname"), Some("machine-1"));
        assert_eq!(report.value("url"), Some("http://a/?b=c"));
        assert_eq!(report.value("absent"), None);
    }

    #[test]
    fn an_unfinished_report_is_not_a_report() {
        assert_eq!(Report::read(CONSOLE).unwrap(), None);
    }

    #[test]
    fn a_failure_of_the_guest_is_told_with_its_reason() {
        let error = Report::read("raftboot-guest: failed: no address: x\n").unwrap_err();
        assert!(error.to_string().ends_with("said: no address: x"));
    }

    #[test]
    fn an_empty_part_is_an_error() {
        let console = CONSOLE.replace("booted-profile=demo", "booted-profile=");
        let error = Report::read(&format!("{console}raftboot-guest: end\n")).unwrap_err();
        assert!(error.to_string().contains("booted-profile"));
    }
}
