//! One Debian host of the lab: booted with systemd on the lab's bridge, reached by SSH, gone with its value.

use super::base::{self, ADMINISTRATOR, ADMINISTRATOR_ID};
use super::store;
use crate::lab::{BRIDGE, Lab, NAMED_NAMESPACES, is_leftover};
use crate::process::{Process, run};
use crate::wait::until;
use anyhow::{Context, Result, bail};
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The lab's host from which all others are reached.
pub(super) const CONTROLLER_NAME: &str = "controller";
/// From the start of systemd to an answer of SSH, on a busy computer.
const START_MAX: Duration = Duration::from_secs(60);
/// Units of a stopping host end within this.
const POWER_OFF_MAX: Duration = Duration::from_secs(90);

/// A host; switched off and removed when this value goes.
pub struct Container {
    lab: Lab,
    name: String,
    last: u8,
    root: PathBuf,
    key: PathBuf,
    log: PathBuf,
    process: Option<Process>,
}

impl Container {
    /// A host that has just been installed, switched on, with the address that ends in `last`. `key` is the SSH key that may log in.
    ///
    /// # Errors
    /// When it cannot be made or does not answer.
    pub fn new(lab: &Lab, name: &str, last: u8, key: &Path, log: &Path) -> Result<Self> {
        let root = store().join("hosts").join(lab.name()).join(name);
        let mut container = Self {
            lab: lab.clone(),
            name: name.to_owned(),
            last,
            root,
            key: key.to_owned(),
            log: log.to_owned(),
            process: None,
        };
        container.install()?;
        container.power_on()?;
        Ok(container)
    }

    /// The host's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host's own address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.lab.address(self.last)
    }

    /// Puts a fresh Debian on the host's disk, as if nothing had ever been there. It must be off.
    ///
    /// # Errors
    /// When it is on, or the disk cannot be written.
    pub fn install(&mut self) -> Result<()> {
        if self.is_on()? {
            bail!("{} is on", self.name);
        }
        if self.root.exists() {
            fs::remove_dir_all(&self.root).with_context(|| format!("wipe {}", self.root.display()))?;
        }
        let parent = self.root.parent().context("a host's root has a parent")?;
        fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
        let mut copy = Command::new("cp");
        copy.args(["-a", "--reflink=auto"]).arg(base::base()?).arg(&self.root);
        run(copy).context("copy the base")?;
        self.write("etc/hostname", &format!("{}\n", self.name))?;
        // As Debian's installer does; without it `sudo` waits for name servers.
        self.write("etc/hosts", &format!("127.0.0.1 localhost\n127.0.1.1 {}\n", self.name))?;
        let network =
            format!("[Match]\nName=host0\n[Network]\nAddress={}/24\nGateway={}\n", self.address(), self.lab.address(1));
        self.write("etc/systemd/network/10-host0.network", &network)?;
        let public = fs::read_to_string(self.key.with_extension("pub")).context("read the SSH key")?;
        self.write("root/.ssh/authorized_keys", &public)?;
        self.write(&format!("home/{ADMINISTRATOR}/.ssh/authorized_keys"), &public)?;
        let home = self.root.join("home").join(ADMINISTRATOR);
        for path in [home.join(".ssh"), home.join(".ssh/authorized_keys")] {
            chown(&path, Some(ADMINISTRATOR_ID), Some(ADMINISTRATOR_ID)).context("give the administrator its key")?;
        }
        for path in [self.root.join("root/.ssh"), home.join(".ssh")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).context("close ~/.ssh")?;
        }
        Ok(())
    }

    /// Writes a file on the host's disk; `path` is from its root and has no slash in front.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.root.join(path);
        let parent = path.parent().context("a file has a directory")?;
        fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    /// Switches it on and returns when SSH answers.
    ///
    /// # Errors
    /// When it is on already or does not answer.
    pub fn power_on(&mut self) -> Result<()> {
        if self.is_on()? {
            bail!("{} is on already", self.name);
        }
        self.process = Some(Process::spawn(&self.name, self.nspawn(), &self.log)?);
        let what = format!("{} answers by SSH", self.name);
        until(&what, START_MAX, || {
            self.process.as_mut().context("just started")?.must_run()?;
            Ok(self.ssh("systemctl is-system-running | grep -Ex 'running|degraded'").ok())
        })
        .map(drop)
    }

    /// systemd outside is not needed and, where it is, not involved: `--register=no --keep-unit`. This works with cgroups v1, v2 and
    /// hybrid: nspawn takes what the host has. `nsenter` and not `ip netns exec`: that one would hide `/sys/fs/cgroup`. The process
    /// numbers of its own make that nothing of the host outlives the process that is killed, init included. nspawn leaves a host with
    /// a network of its own `CAP_NET_ADMIN`, `CAP_NET_RAW`, nftables and packet sockets; nothing has to be added.
    fn nspawn(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={NAMED_NAMESPACES}/{}", self.lab.switch()));
        command.args(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.args(["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--console=read-only"]);
        command.arg(format!("--directory={}", self.root.display()));
        // At most 11 characters of a name become the name of its cable.
        command.arg(format!("--machine={}", self.name)).arg(format!("--network-bridge={BRIDGE}"));
        command
    }

    /// Whether it is on.
    ///
    /// # Errors
    /// When the kernel cannot say.
    pub fn is_on(&mut self) -> Result<bool> {
        self.process.as_mut().map_or(Ok(false), |process| Ok(process.ended()?.is_none()))
    }

    /// Pulls the plug: nothing of it runs on, nothing is said to anybody.
    ///
    /// # Errors
    /// When it was off.
    pub fn pull_the_plug(&mut self) -> Result<()> {
        self.process.take().with_context(|| format!("{} is on", self.name))?.kill()
    }

    /// Shuts it down in order.
    ///
    /// # Errors
    /// When it does not end.
    pub fn power_off(&mut self) -> Result<()> {
        self.ssh("systemctl --no-block poweroff")?;
        let process = self.process.as_mut().with_context(|| format!("{} is on", self.name))?;
        until("the host is off", POWER_OFF_MAX, || process.ended())?;
        self.process = None;
        Ok(())
    }

    /// Runs a script as the pages' commands are run: any failure ends it.
    ///
    /// # Errors
    /// As [`Container::ssh`].
    pub fn bash(&self, script: &str) -> Result<String> {
        // From a file: what a script calls would read the rest of it from the input.
        self.write("root/.block", script)?;
        self.ssh("bash -euo pipefail /root/.block")
    }

    /// Brings a file to the host.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn bring(&self, file: &Path, path: &str) -> Result<()> {
        let to = self.root.join(path);
        fs::copy(file, &to).with_context(|| format!("bring {} to {}", file.display(), self.name)).map(drop)
    }

    /// Runs a script on the host as root and returns what it printed.
    ///
    /// # Errors
    /// When it does not exit with 0; the message holds what it printed.
    pub fn ssh(&self, script: &str) -> Result<String> {
        run(self.client(script)).with_context(|| format!("on {}", self.name))
    }

    fn client(&self, script: &str) -> Command {
        let mut command = Command::new("ip");
        // From the controller, as Ansible does; the switch itself has no address.
        command.args(["netns", "exec", &format!("{}-{CONTROLLER_NAME}", self.lab.name())]);
        command.arg("ssh").args(SSH_OPTIONS).args(["-o", "ConnectTimeout=3", "-i"]).arg(&self.key);
        command.arg(format!("root@{}", self.address())).arg(script);
        command
    }
}

/// Hosts come and go under the same address; their keys are worth nothing.
pub(super) const SSH_OPTIONS: [&str; 8] = [
    "-o",
    "StrictHostKeyChecking=no",
    "-o",
    "UserKnownHostsFile=/dev/null",
    "-o",
    "LogLevel=ERROR",
    "-o",
    "BatchMode=yes",
];

impl Drop for Container {
    fn drop(&mut self) {
        self.process = None;
        // Left over: the next run sweeps.
        let _ = fs::remove_dir_all(&self.root);
        if let Some(parent) = self.root.parent() {
            let _ = fs::remove_dir(parent);
        }
    }
}

/// Removes the disks of hosts whose lab is gone.
///
/// # Errors
/// When one cannot be removed.
pub fn sweep() -> Result<()> {
    let Ok(entries) = fs::read_dir(store().join("hosts")) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry.context("list hosts of earlier runs")?;
        if entry.file_name().to_str().is_some_and(|name| is_leftover(&format!("{name}-"))) {
            fs::remove_dir_all(entry.path()).with_context(|| format!("remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}
