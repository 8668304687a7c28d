//! What a scenario leaves behind: logs, consoles and a capture, removed when it passed.

use crate::lab::{BRIDGE, Lab};
use crate::process::{Process, run};
use crate::wait::until;
use anyhow::{Context, Result};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Overrides where evidence goes; the default is `raftboot-evidence` in the temporary directory.
pub const DIRECTORY_VARIABLE: &str = "RAFTBOOT_EVIDENCE";
/// tcpdump is listening within a moment; a busy computer may take longer to start it.
const CAPTURE_READY_MAX: Duration = Duration::from_secs(20);

static DIRECTORIES: AtomicU32 = AtomicU32::new(0);

/// A directory for one scenario. Kept on drop unless [`Evidence::passed`] was called.
pub struct Evidence {
    directory: PathBuf,
    repeat: String,
    capture: Option<Process>,
    passed: bool,
}

impl Evidence {
    /// Makes an empty directory for `scenario`; `repeat` is the command line that runs it again.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn new(scenario: &str, repeat: &str) -> Result<Self> {
        let root = match std::env::var_os(DIRECTORY_VARIABLE) {
            Some(root) => PathBuf::from(root),
            None => std::env::temp_dir().join("raftboot-evidence"),
        };
        let number = DIRECTORIES.fetch_add(1, Ordering::Relaxed);
        let directory = root.join(format!("{scenario}-{}-{number}", std::process::id()));
        if directory.exists() {
            fs::remove_dir_all(&directory).context("clear the evidence of an earlier process")?;
        }
        fs::create_dir_all(&directory)
            .with_context(|| format!("make the evidence directory {}", directory.display()))?;
        fs::write(directory.join("repeat"), format!("{repeat}\n")).context("write `repeat`")?;
        Ok(Self { directory, repeat: repeat.to_owned(), capture: None, passed: false })
    }

    /// The directory of this scenario.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The path of one file in the directory.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Records every frame on the lab's bridge in `wire.pcap` and returns once it does.
    ///
    /// # Errors
    /// When tcpdump cannot be started or does not begin to listen.
    pub fn capture(&mut self, lab: &Lab) -> Result<()> {
        self.capture_only(lab, "")
    }

    /// As [`Evidence::capture`], for the frames that a filter of tcpdump lets through.
    ///
    /// # Errors
    /// As there, or when the filter is wrong.
    pub fn capture_only(&mut self, lab: &Lab, filter: &str) -> Result<()> {
        let mut command = lab.switch_command("tcpdump");
        // Keep root: the directory belongs to it. Packet-buffered, so that a kill loses nothing.
        command.args(["-i", BRIDGE, "-n", "-U", "-Z", "root", "-w"]);
        command.arg(self.file("wire.pcap"));
        if !filter.is_empty() {
            command.arg(filter);
        }
        let mut process = Process::spawn("tcpdump", command, &self.file("tcpdump.log"))?;
        until("tcpdump listens", CAPTURE_READY_MAX, || {
            process.must_run()?;
            let text = fs::read_to_string(process.log()).unwrap_or_default();
            Ok(text.contains("listening on").then_some(()))
        })?;
        self.capture = Some(process);
        Ok(())
    }

    /// What the capture holds so far for a filter of tcpdump, a line per packet.
    ///
    /// # Errors
    /// When there is no capture or the filter is wrong.
    pub fn captured(&self, filter: &str) -> Result<String> {
        let mut command = std::process::Command::new("tcpdump");
        command.args(["-n", "-v", "-r"]);
        command.arg(self.file("wire.pcap")).arg(filter);
        run(command)
    }

    /// Marks the scenario as passed: the directory goes with this value.
    pub fn passed(&mut self) {
        self.passed = true;
    }
}

impl Drop for Evidence {
    fn drop(&mut self) {
        self.capture = None;
        if self.passed && !std::thread::panicking() {
            // A directory that cannot be removed is only a few files too many.
            let _ = fs::remove_dir_all(&self.directory);
            return;
        }
        // Stderr closed: nobody is left to be told.
        let _ = writeln!(std::io::stderr(), "evidence: {}\nrepeat:   {}", self.directory.display(), self.repeat);
    }
}
