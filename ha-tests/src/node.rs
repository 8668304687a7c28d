//! One `raftboot serve` process on a host of the lab: start, stop, kill, and the client beside it.

use crate::evidence::Evidence;
use crate::fault::{Machine, SmallDisk};
use crate::lab::Host;
use crate::process::{Process, run, tail};
use crate::wait::until;
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// Names the binary under test; without it, the one built beside this program is used.
pub const BINARY_VARIABLE: &str = "RAFTBOOT_BIN";
/// From start to ready, on a computer that also runs virtual machines.
pub const READY_MAX: Duration = Duration::from_secs(30);
/// From SIGTERM to the end of an ordered stop.
pub const STOP_MAX: Duration = Duration::from_secs(30);

/// Where nodes talk to each other.
pub const PEER_PORT: u16 = 7443;

/// A node of the product; its process ends when this value goes, its data stays in the evidence.
pub struct Node {
    host: Host,
    binary: PathBuf,
    directory: PathBuf,
    log: PathBuf,
    process: Option<Process>,
    // After the process: it is in use while that runs.
    disk: Option<SmallDisk>,
}

impl Node {
    /// Writes the configuration of a node on `host`; nothing runs yet.
    ///
    /// # Errors
    /// When there is no binary to test or the files cannot be written.
    pub fn new(host: &Host, evidence: &Evidence) -> Result<Self> {
        let node = Self::bare(host, evidence)?;
        node.write_config("", "", "info,raftboot=debug")?;
        Ok(node)
    }

    /// Writes the configuration of a member of a cluster on `host`; nothing runs yet.
    ///
    /// # Errors
    /// As [`Node::new`].
    pub fn member(host: &Host, evidence: &Evidence) -> Result<Self> {
        let node = Self::bare(host, evidence)?;
        let top = format!("name = \"{}\"\ntiming = \"lan\"\n", host.name());
        // A line per probe of the observer would be 300 a second.
        node.write_config(
            &top,
            &format!("peer = \"0.0.0.0:{PEER_PORT}\"\n"),
            "info,raftboot::catalog::tftp=warn,raftboot::vip=debug",
        )?;
        Ok(node)
    }

    fn bare(host: &Host, evidence: &Evidence) -> Result<Self> {
        let directory = evidence.file(host.name());
        fs::create_dir_all(&directory).context("make the directory of a node")?;
        let log = evidence.file(&format!("{}.log", host.name()));
        Ok(Self { host: host.clone(), binary: binary()?, log, directory, process: None, disk: None })
    }

    /// Puts the node's data on a disk of its own that can be filled.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn use_small_disk(&mut self, mebibytes: u32) -> Result<()> {
        self.disk = Some(SmallDisk::mount(&self.host, &self.data(), mebibytes)?);
        Ok(())
    }

    /// Removes everything the node knows, as a new disk would. It must not run.
    ///
    /// # Errors
    /// When it runs or its data cannot be removed.
    pub fn wipe(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("node {} runs; its disk is in use", self.host.name());
        }
        let entries = fs::read_dir(self.data()).context("list a node's data")?;
        for entry in entries {
            let path = entry.context("list a node's data")?.path();
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }
                .with_context(|| format!("remove {}", path.display()))?;
        }
        Ok(())
    }

    /// The configuration file given to `raftboot serve`.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.directory.join("raftboot.toml")
    }

    /// The directory with all the node's state.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// The host the node runs on.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Every port is demanded (`on`, an address), so that a node that cannot have one does not start without it.
    fn write_config(&self, top: &str, listen: &str, level: &str) -> Result<()> {
        let text = format!(
            "data_dir = \"{}\"\ninterface = \"eth0\"\nadvertise = \"{}\"\n{top}\n\
             [listen]\nboot_http = \"0.0.0.0:8080\"\nadmin = \"0.0.0.0:8443\"\n\
             tftp = \"0.0.0.0:69\"\ndhcp = \"on\"\ngrpc = \"0.0.0.0:8081\"\n{listen}\n[log]\nformat = \"human\"\nlevel = \"{level}\"\n",
            self.data().display(),
            self.host.address(),
        );
        fs::write(self.config(), text).context("write a node's configuration")
    }

    /// Runs a command of the binary on the node's host that needs no server, with the node's configuration.
    ///
    /// # Errors
    /// When it does not exit with 0; the message holds what it printed.
    pub fn offline(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.host.command(&self.binary.to_string_lossy());
        command.args(arguments).arg("--config").arg(self.config());
        run(command).with_context(|| format!("raftboot {}", arguments.join(" ")))
    }

    /// The last lines of the server's log, for error messages.
    #[must_use]
    pub fn last_words(&self) -> String {
        tail(&self.log)
    }

    /// The file with the server's log.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Starts the server and returns once it says that it is ready.
    ///
    /// # Errors
    /// When it runs already, ends, or is not ready within [`READY_MAX`].
    pub fn start(&mut self) -> Result<()> {
        self.launch()?;
        self.until_ready(READY_MAX)
    }

    /// Waits until the server says that it is ready.
    ///
    /// # Errors
    /// When it ends or is not ready within `limit`.
    pub fn until_ready(&mut self, limit: Duration) -> Result<()> {
        let what = format!("raftboot on {} is ready", self.host.name());
        until(&what, limit, || {
            self.must_run()?;
            Ok(self.ready().then_some(()))
        })
        .with_context(|| format!("last lines of its log:\n{}", tail(&self.log)))
    }

    /// Whether `/readyz` answers 200 now, asked by a client that is not ours.
    #[must_use]
    pub fn ready(&self) -> bool {
        let mut command = self.host.command("curl");
        command.args(["--silent", "--show-error", "--fail", "--max-time", "5"]);
        command.arg("--cacert").arg(self.authority());
        command.arg("https://127.0.0.1:8443/readyz");
        run(command).is_ok()
    }

    /// The server's process number, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Fails when the server has ended although nobody asked it to.
    ///
    /// # Errors
    /// As said, with the last lines of its log.
    pub fn must_run(&mut self) -> Result<()> {
        match &mut self.process {
            Some(process) => process.must_run(),
            None => bail!("node {} was not started", self.host.name()),
        }
    }

    /// Stops the server in order and returns how it exited.
    ///
    /// # Errors
    /// When it was not running or does not end within [`STOP_MAX`].
    pub fn stop(&mut self) -> Result<ExitStatus> {
        let mut process = self.process.take().context("stop a node that runs")?;
        process.stop(STOP_MAX)
    }

    /// Runs the client on the node's host with the node's own credentials; returns its stdout.
    ///
    /// # Errors
    /// When it does not exit with 0; the message holds what it printed.
    pub fn cli(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.client();
        command.args(arguments);
        run(command).with_context(|| format!("raftboot {}", arguments.join(" ")))
    }

    /// The client, ready for arguments, for callers who look at its exit code themselves.
    #[must_use]
    pub fn client(&self) -> Command {
        let mut command = self.host.command(&self.binary.to_string_lossy());
        command
            .env("RAFTBOOT_SERVER", "https://127.0.0.1:8443")
            .env("RAFTBOOT_TOKEN_FILE", self.data().join("admin.token"))
            .env("RAFTBOOT_CA_FILE", self.authority());
        command
    }

    fn authority(&self) -> PathBuf {
        self.data().join("ca.crt")
    }
}

impl Machine for Node {
    fn host(&self) -> &Host {
        &self.host
    }

    fn kill(&mut self) -> Result<()> {
        self.process.take().context("kill a node that runs")?.kill()
    }

    fn launch(&mut self) -> Result<()> {
        if self.process.is_some() && !self.ended()? {
            bail!("node {} runs already", self.host.name());
        }
        let mut command = self.host.command(&self.binary.to_string_lossy());
        command.arg("serve").arg("--config").arg(self.config());
        self.process = Some(Process::spawn(&format!("raftboot on {}", self.host.name()), command, &self.log)?);
        Ok(())
    }

    fn ended(&mut self) -> Result<bool> {
        self.process.as_mut().map_or(Ok(true), |process| Ok(process.ended()?.is_some()))
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }
}

/// The binary under test: [`BINARY_VARIABLE`], or `raftboot` built by the same cargo profile.
///
/// # Errors
/// When there is none.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(BINARY_VARIABLE) {
        let path = PathBuf::from(path);
        return path.canonicalize().with_context(|| format!("{BINARY_VARIABLE} names {}", path.display()));
    }
    let own = std::env::current_exe().context("find this program's own path")?;
    // Tests are in <target>/<profile>/deps, programs one level up, where `raftboot` is too.
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join("raftboot"))
        .find(|path: &PathBuf| is_file(path))
        .with_context(|| {
            format!("no raftboot beside {}; build it (cargo build --workspace with the same profile) or set {BINARY_VARIABLE}", own.display())
        })
}

fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}
