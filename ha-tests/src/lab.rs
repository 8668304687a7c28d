//! A network of its own: one bridge, a namespace per host, taps for machines; gone on drop.
//!
//! Everything lives in namespaces named after the process that made them, nothing in the one
//! the tests were started in, so labs run side by side and use the same addresses. A lab whose
//! process died without dropping it (SIGKILL) is swept away by the next one.

use crate::mac::Mac;
use crate::process::run;
use anyhow::{Context, Result};
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// How every namespace of a lab begins: `rblab-<pid>-<start time of the process>-<number>-<host>`.
const PREFIX: &str = "rblab-";
/// Where iproute2 keeps named namespaces.
pub(crate) const NAMED_NAMESPACES: &str = "/run/netns";
/// The bridge inside the switch namespace.
pub const BRIDGE: &str = "br0";
/// The network of every lab has this many bits.
pub const PREFIX_LENGTH: u8 = 24;
/// The network of a lab that is not told another one.
const NETWORK: [u8; 3] = [10, 88, 0];

static LABS: AtomicU32 = AtomicU32::new(0);

/// A handle on the lab; the namespaces go with the last handle.
#[derive(Clone)]
pub struct Lab {
    inner: Arc<Inner>,
}

struct Inner {
    /// `rblab-<pid>-<start>-<number>`.
    name: String,
    /// The first three parts of every address.
    network: [u8; 3],
    taps: AtomicU32,
}

/// One host on the lab's network: a namespace with `eth0` and an address.
#[derive(Clone)]
pub struct Host {
    lab: Lab,
    name: String,
    last: u8,
}

impl Lab {
    /// Makes the switch: a namespace that holds the bridge.
    ///
    /// # Errors
    /// When namespaces or bridges cannot be made (this needs root and iproute2).
    pub fn new() -> Result<Self> {
        Self::on(NETWORK)
    }

    /// As [`Lab::new`], with addresses of another network.
    ///
    /// # Errors
    /// As there.
    pub fn on(network: [u8; 3]) -> Result<Self> {
        sweep().context("remove labs whose process is gone")?;
        crate::fault::sweep_disks()?;
        let pid = std::process::id();
        let started = start_time(pid).context("read the start time of this process")?;
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{pid}-{started}-{number}");
        let lab = Self { inner: Arc::new(Inner { name, network, taps: AtomicU32::new(0) }) };
        let switch = lab.switch();
        ip(&["netns", "add", &switch]).context("make a namespace (this needs root)")?;
        ip(&["-n", &switch, "link", "set", "lo", "up"])?;
        ip(&["-n", &switch, "link", "add", BRIDGE, "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", BRIDGE, "up"])?;
        Ok(lab)
    }

    /// The lab's own name, unique on this computer.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The namespace with the bridge.
    #[must_use]
    pub fn switch(&self) -> String {
        format!("{}-switch", self.inner.name)
    }

    /// A command that runs inside the switch, where the bridge and the taps are.
    #[must_use]
    pub fn switch_command(&self, program: &str) -> Command {
        command_in(&self.switch(), program)
    }

    /// The address of this network that ends in `last`.
    #[must_use]
    pub fn address(&self, last: u8) -> Ipv4Addr {
        let [a, b, c] = self.inner.network;
        Ipv4Addr::new(a, b, c, last)
    }

    /// Adds a host with the address 10.88.0.`last` (or of the lab's own network) on `eth0` and the MAC 02:88:00:00:00:`last`.
    ///
    /// # Errors
    /// When the host or the link cannot be made, for example because the name is taken.
    pub fn host(&self, name: &str, last: u8) -> Result<Host> {
        let host = Host { lab: self.clone(), name: name.to_owned(), last };
        host.build()?;
        Ok(host)
    }

    /// Adds a tap on the bridge for a virtual machine and returns its name; QEMU must be started
    /// by [`Lab::switch_command`] to find it.
    ///
    /// # Errors
    /// When the tap cannot be made.
    pub fn tap(&self) -> Result<String> {
        let number = self.inner.taps.fetch_add(1, Ordering::Relaxed);
        let tap = format!("tap{number}");
        let switch = self.switch();
        ip(&["-n", &switch, "tuntap", "add", "dev", &tap, "mode", "tap"])?;
        ip(&["-n", &switch, "link", "set", &tap, "master", BRIDGE, "up"])?;
        Ok(tap)
    }
}

impl Host {
    /// The host's name as given to [`Lab::host`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host's address on `eth0`.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.lab.address(self.last)
    }

    /// The MAC of `eth0`; the same after [`Host::unplug`] and [`Host::plug`].
    #[must_use]
    pub fn mac(&self) -> Mac {
        Self::mac_of(self.last)
    }

    /// The MAC of the host 10.88.0.`last`, whether it exists or not.
    #[must_use]
    pub fn mac_of(last: u8) -> Mac {
        Mac([0x02, 0x88, 0, 0, 0, last])
    }

    /// The lab the host is in.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The bridge's end of the host's cable, in the namespace [`Lab::switch`].
    #[must_use]
    pub fn port(&self) -> String {
        format!("to{}", self.last)
    }

    /// Makes the namespace and its cable.
    ///
    /// # Errors
    /// When it exists already or cannot be made.
    pub fn build(&self) -> Result<()> {
        ip(&["netns", "add", &self.netns()])?;
        ip(&["-n", &self.netns(), "link", "set", "lo", "up"])?;
        self.plug()
    }

    /// Puts `eth0` with its address and MAC on the bridge.
    ///
    /// # Errors
    /// When it is there already or cannot be made.
    pub fn plug(&self) -> Result<()> {
        let (switch, netns, port) = (self.lab.switch(), self.netns(), self.port());
        let (address, mac) = (format!("{}/{PREFIX_LENGTH}", self.address()), self.mac().to_string());
        let veth = ["-n", &switch, "link", "add", &port, "type", "veth"];
        let peer = ["peer", "name", "eth0", "address", &mac, "netns", &netns];
        ip(&[&veth[..], &peer[..]].concat())?;
        ip(&["-n", &switch, "link", "set", &port, "master", BRIDGE, "up"])?;
        ip(&["-n", &netns, "address", "add", &address, "dev", "eth0"])?;
        ip(&["-n", &netns, "link", "set", "eth0", "up"])?;
        Ok(())
    }

    /// Takes `eth0` off the bridge for good: both ends of the cable are gone when this returns.
    ///
    /// # Errors
    /// When there was no cable.
    pub fn unplug(&self) -> Result<()> {
        ip(&["-n", &self.lab.switch(), "link", "delete", &self.port()])?;
        Ok(())
    }

    /// Pulls or plugs the cable at the bridge's end: the host sees its carrier go or come.
    ///
    /// # Errors
    /// When there is no cable.
    pub fn set_carrier(&self, up: bool) -> Result<()> {
        let state = if up { "up" } else { "down" };
        ip(&["-n", &self.lab.switch(), "link", "set", &self.port(), state])?;
        Ok(())
    }

    /// Removes the namespace with everything its kernel knew, and ends what ran in it.
    ///
    /// # Errors
    /// When there is none.
    pub fn demolish(&self) -> Result<()> {
        remove(&self.netns())
    }

    /// `ip` with `arguments` on this host.
    ///
    /// # Errors
    /// Its own.
    pub fn ip(&self, arguments: &[&str]) -> Result<String> {
        ip(&[&["-n", &self.netns()], arguments].concat())
    }

    /// The host's namespace, for `ip netns exec`.
    #[must_use]
    pub fn netns(&self) -> String {
        format!("{}-{}", self.lab.inner.name, self.name)
    }

    /// A command that runs on this host.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        command_in(&self.netns(), program)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A namespace that cannot be removed now is swept by the next lab.
        for netns in named_namespaces() {
            if netns.starts_with(&format!("{}-", self.name)) {
                let _ = remove(&netns);
            }
        }
    }
}

/// Removes what labs of dead processes left behind, processes inside included; returns how many
/// namespaces were removed.
///
/// # Errors
/// When a leftover cannot be removed.
pub fn sweep() -> Result<usize> {
    let mut removed = 0;
    for netns in named_namespaces() {
        if is_leftover(&netns) && Path::new(NAMED_NAMESPACES).join(&netns).exists() {
            match remove(&netns) {
                Ok(()) => removed += 1,
                // Another lab swept at the same time.
                Err(_) if !Path::new(NAMED_NAMESPACES).join(&netns).exists() => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(removed)
}

/// Whether a namespace belongs to a lab whose process is gone. The start time tells a process
/// from a later one with the same id.
pub(crate) fn is_leftover(netns: &str) -> bool {
    let Some(rest) = netns.strip_prefix(PREFIX) else {
        return false;
    };
    let mut parts = rest.split('-');
    let pid = parts.next().and_then(|text| text.parse::<u32>().ok());
    let started = parts.next().and_then(|text| text.parse::<u64>().ok());
    match (pid, started) {
        (Some(pid), Some(started)) => start_time(pid) != Some(started),
        _ => false,
    }
}

/// When a process started, in clock ticks since boot (`proc(5)`, field 22 of `stat`).
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets and may hold spaces.
    let after_name = stat.rsplit_once(')')?.1;
    after_name.split_whitespace().nth(19)?.parse().ok()
}

fn remove(netns: &str) -> Result<()> {
    for pid in ip(&["netns", "pids", netns])?.split_whitespace() {
        if let Some(pid) = pid.parse().ok().and_then(rustix::process::Pid::from_raw) {
            // Gone by itself in the meantime: fine.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    ip(&["netns", "delete", netns])?;
    Ok(())
}

fn named_namespaces() -> Vec<String> {
    let Ok(entries) = fs::read_dir(NAMED_NAMESPACES) else {
        return Vec::new();
    };
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

fn command_in(netns: &str, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", netns, program]);
    command
}

fn ip(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("ip");
    command.args(arguments);
    run(command)
}
