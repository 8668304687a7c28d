//! A machine boots through the floating address while the node that holds it is killed.

use crate::boots::{self, Booted};
use crate::cluster::WHOLE_MAX;
use crate::dnsmasq::{Dnsmasq, Site};
use crate::fault;
use crate::firmware::{BOOT_MAX, Firmware, Machine};
use crate::observer::Verdict;
use crate::round::{BEFORE, STEADY_MAX};
use crate::trial::Trial;
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// What is added to the kernel, in MiB: some seconds of download for an emulated machine.
pub const PADDING_MIB: usize = 64;
/// Numbers in the MACs of machines.
const MACHINES_MAX: u8 = 250;

/// When the holder is killed, told by what the machine's console shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// iPXE has begun; next are its DHCP and its script.
    IpxeBegins,
    /// iPXE downloads the kernel.
    Kernel,
    /// iPXE downloads the initramfs.
    Initramfs,
    /// Linux has begun; next are its DHCP and its config.
    LinuxBegins,
}

impl Stage {
    /// In the order of a boot.
    pub const ALL: [Self; 4] = [Self::IpxeBegins, Self::Kernel, Self::Initramfs, Self::LinuxBegins];

    /// What is printed when the stage begins, and what when the next one does.
    fn marks(self) -> (&'static str, &'static str) {
        match self {
            Self::IpxeBegins => ("iPXE initialising devices", "vmlinuz..."),
            Self::Kernel => ("vmlinuz...", "initramfs..."),
            Self::Initramfs => ("initramfs...", "Linux version"),
            Self::LinuxBegins => ("Linux version", "raftboot-guest: begin"),
        }
    }
}

/// A cluster with a foreign DHCP server and things to boot.
pub struct BootSite {
    // Before the lab it is in.
    _dnsmasq: Dnsmasq,
    /// The cluster, its observer and its writers.
    pub trial: Trial,
    machines: u8,
}

/// What came of one boot.
#[derive(Clone, Debug)]
pub struct Survived {
    /// What the machine says.
    pub booted: Booted,
    /// From shortly before the kill until another node was steady.
    pub outage: Duration,
    /// From the kill's eve until everything was whole again.
    pub verdict: Verdict,
}

impl BootSite {
    /// Puts the DHCP server beside the cluster and gives that something to boot.
    ///
    /// # Errors
    /// When a part does not start or the cluster refuses what it is given.
    pub fn start(trial: Trial) -> Result<Self> {
        let cluster = &trial.cluster;
        let router = cluster.lab().host("router", 1)?;
        let dnsmasq = Dnsmasq::start(&router, Site::AddressesOnly, router.address(), &cluster.evidence)?;
        boots::provide(&|arguments| cluster.cli(0, arguments), &cluster.evidence, PADDING_MIB)?;
        cluster.until_whole(WHOLE_MAX)?;
        Ok(Self { _dnsmasq: dnsmasq, trial, machines: 0 })
    }

    /// Boots a machine, kills the holder at `stage`, and demands that the machine becomes what it was told to be.
    ///
    /// # Errors
    /// When it does not, when the stage was over before the kill, or when the cluster does not recover.
    pub fn boot_through(&mut self, firmware: Firmware, stage: Stage) -> Result<Survived> {
        ensure!(self.machines < MACHINES_MAX, "a lab has numbers for {MACHINES_MAX} machines");
        self.machines += 1;
        let Trial { cluster, observer, .. } = &self.trial;
        let holder = self.trial.holder()?;
        // The client asks a node that lives on.
        let other = (holder + 1) % cluster.members().len();
        let client = |arguments: &[&str]| cluster.cli(other, arguments);
        let expected = boots::expect(&client, &cluster.evidence, cluster.lab(), firmware, self.machines)?;
        let mut machine = Machine::power_on(cluster.lab(), &cluster.evidence, firmware, &expected.mac)?;
        let (begins, over) = stage.marks();
        machine.prints(&[begins], BOOT_MAX)?;
        // Steady since long ago; what is looked at before the kill only shows that.
        let begun = observer.now().saturating_sub(BEFORE);
        let fault = fault::kill(&cluster.members()[holder].node)?;
        let printed = machine.printed();
        ensure!(!printed.contains(over), "{stage:?} was over before the kill: make what is downloaded longer");
        observer.until_steady(Some(cluster.members()[holder].host.mac()), STEADY_MAX)?;
        let outage = observer.judge(&(begun..observer.now()))?.outage();
        let booted = boots::confirm(&client, &mut machine, firmware, &expected);
        let booted = booted.with_context(|| format!("the holder was killed at {stage:?}"))?;
        fault.heal()?;
        cluster.until_whole(WHOLE_MAX)?;
        observer.until_steady(None, STEADY_MAX)?;
        let verdict = observer.judge(&(begun..observer.now()))?;
        Ok(Survived { booted, outage, verdict })
    }
}
