//! The file system every container begins as: a small Debian with systemd and what the role finds on a fresh server.

use super::store;
use crate::process::run;
use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

const SUITE: &str = "bookworm";
/// Containers have no way to an archive, so what the role would install is there already, but for the product itself.
/// keepalived, dnsmasq and lsyncd are the old boot servers of a site that is taken over.
const PACKAGES: &[&str] = &[
    "ca-certificates",
    "curl",
    "dbus",
    "dnsmasq",
    "ipxe",
    "iproute2",
    "iputils-ping",
    "keepalived",
    "lsyncd",
    "netbase",
    "nftables",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "rsync",
    "sudo",
    "systemd",
    "systemd-sysv",
    "systemd-timesyncd",
];
/// Raised when what is in the base changes without the list of packages.
const VERSION: u32 = 2;
/// The administrator, who may do what root may by `sudo` without a password, as on a cloud image; and its number.
pub(super) const ADMINISTRATOR: &str = "ops";
pub(super) const ADMINISTRATOR_ID: u32 = 1000;
/// Services of the old boot servers; who needs them switches them on.
const SWITCHED_OFF: &[&str] = &["dnsmasq", "keepalived", "lsyncd", "rsync"];
/// Nothing may start on its own in the background of a measurement.
const TIMERS_OFF: &[&str] =
    &["apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "dpkg-db-backup.timer"];

/// Makes the base, or finds it made; about two minutes the first time, and it needs Debian's archive then.
///
/// # Errors
/// When debootstrap fails.
pub fn base() -> Result<PathBuf> {
    let store = store();
    fs::create_dir_all(&store).with_context(|| format!("make {}", store.display()))?;
    let _one_maker = lock(&store.join("base.lock"))?;
    let path = store.join(format!("{SUITE}-{VERSION}-{:08x}", digest(&PACKAGES.join(" "))));
    if path.is_dir() {
        return Ok(path);
    }
    let work = store.join("base.work");
    if work.exists() {
        fs::remove_dir_all(&work).context("remove a base that was not finished")?;
    }
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", &format!("--include={}", PACKAGES.join(",")), SUITE]).arg(&work);
    run(debootstrap).context("make a Debian for the containers")?;
    furnish(&work)?;
    fs::rename(&work, &path).context("give the finished base its name")?;
    Ok(path)
}

fn furnish(root: &Path) -> Result<()> {
    systemctl(root, "enable", &["systemd-networkd", "ssh"])?;
    for unit in SWITCHED_OFF.iter().chain(TIMERS_OFF) {
        // Not every one of them came with these packages.
        let _ = systemctl(root, "disable", &[unit]);
    }
    for path in ["var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"] {
        let _ = fs::remove_dir_all(root.join(path));
    }
    fs::create_dir_all(root.join("var/cache/apt/archives/partial")).context("leave apt its directories")?;
    fs::create_dir_all(root.join("var/lib/apt/lists/partial")).context("leave apt its directories")?;
    let mut useradd = Command::new("useradd");
    useradd.arg("--root").arg(root).args(["--create-home", "--shell", "/bin/bash", "--uid"]);
    useradd.arg(ADMINISTRATOR_ID.to_string()).arg(ADMINISTRATOR);
    run(useradd).context("make the administrator")?;
    fs::write(root.join("etc/sudoers.d/ops"), format!("{ADMINISTRATOR} ALL=(ALL) NOPASSWD:ALL\n"))
        .context("let the administrator be root")?;
    fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n").context("write the base's hosts")?;
    // Empty: each container makes its own at its first start.
    fs::write(root.join("etc/machine-id"), "").context("empty the machine id")
}

/// `systemctl` on a system that does not run.
fn systemctl(root: &Path, verb: &str, units: &[&str]) -> Result<()> {
    let mut command = Command::new("systemctl");
    command.arg("--quiet").arg(format!("--root={}", root.display())).arg(verb).args(units);
    run(command).map(drop)
}

/// Holds a file's lock until the value goes; other processes wait.
///
/// # Errors
/// When the file cannot be made.
pub(super) fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("make {}", path.display()))?;
    flock(&file, FlockOperation::LockExclusive).with_context(|| format!("lock {}", path.display()))?;
    Ok(file)
}

/// FNV-1a: tells one list from another, nothing more.
pub(super) fn digest(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
