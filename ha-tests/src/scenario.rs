//! A whole site: a node, a foreign DHCP server, things to boot, and machines that boot them.

use crate::dnsmasq::{Dnsmasq, Site};
use crate::evidence::Evidence;
use crate::firmware::{BOOT_MAX, Firmware, Machine};
use crate::guest::{Kernel, Report};
use crate::initramfs;
use crate::lab::Lab;
use crate::node::Node;
use crate::wait::until;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

/// The profile every machine of the lab boots.
pub const PROFILE: &str = "tiny-linux";
/// From the last packet of a machine to its record in replicated state.
const RECORDED_MAX: Duration = Duration::from_secs(10);
const TEMPLATE: &str = "tiny-linux-config";
const KERNEL_ASSET: &str = "tiny-linux/vmlinuz";
const INITRAMFS_ASSET: &str = "tiny-linux/initramfs";
/// What each machine fetches; every value in it is the machine's own.
const TEMPLATE_TEXT: &str = "hostname={{.hostname}}\nrack={{.rack}}\nasked-as={{.request.query.mac}}\n";

/// Whether the node answers DHCP itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DhcpMode {
    /// Beside the site's server, on 67 and 4011.
    Proxy,
    /// Not at all: the site's server points at the node.
    Off,
}

/// One machine that booted, in its own words where they are its own to say.
#[derive(Clone, Debug)]
pub struct Booted {
    /// What it started with.
    pub firmware: Firmware,
    /// What the machine printed.
    pub report: Report,
    /// The hostname in the config it fetched.
    pub hostname: String,
    /// From power on to the printed config.
    pub took: Duration,
    /// When each milestone was passed, since power on.
    pub milestones: Vec<(&'static str, Duration)>,
}

/// A running site. Ends in the order of its fields: machines are gone before, the lab goes last.
pub struct Scenario {
    /// The node under test.
    pub node: Node,
    _dnsmasq: Dnsmasq,
    /// What stays when the scenario fails.
    pub evidence: Evidence,
    lab: Lab,
    machines: u8,
}

impl Scenario {
    /// Starts node and DHCP server and gives the node something to boot.
    ///
    /// `repeat` is the command line that runs this scenario again.
    ///
    /// # Errors
    /// When any part does not start, or the node refuses what it is given.
    pub fn start(name: &str, site: Site, mode: DhcpMode, repeat: &str) -> Result<Self> {
        let kernel = Kernel::find()?;
        let lab = Lab::new()?;
        let mut evidence = Evidence::new(name, repeat)?;
        evidence.capture(&lab)?;
        let router = lab.host("router", 1)?;
        let server = lab.host("node", 2)?;
        let dnsmasq = Dnsmasq::start(&router, site, server.address(), &evidence)?;
        let mut node = Node::new(&server, &evidence)?;
        node.start()?;
        if mode == DhcpMode::Off {
            node.cli(&["settings", "set", "dhcp_mode=off"])?;
        }
        let scenario = Self { node, _dnsmasq: dnsmasq, evidence, lab, machines: 0 };
        scenario.provide(&kernel)?;
        Ok(scenario)
    }

    /// The lab's network.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Gives the node the kernel, the initramfs, the profile and the template.
    fn provide(&self, kernel: &Kernel) -> Result<()> {
        let packed = self.evidence.file("initramfs");
        fs::write(&packed, initramfs::build(kernel)?).context("write the initramfs")?;
        let image = kernel.image.to_string_lossy();
        self.node.cli(&["asset", "put", KERNEL_ASSET, &image])?;
        self.node.cli(&["asset", "put", INITRAMFS_ASSET, &packed.to_string_lossy()])?;
        self.apply("shared", &[profile(), template()])
    }

    fn apply(&self, name: &str, documents: &[Value]) -> Result<()> {
        let directory = self.evidence.file(name);
        fs::create_dir_all(&directory).context("make a directory to apply")?;
        for (number, document) in documents.iter().enumerate() {
            let text = serde_json::to_string_pretty(document).context("write a document")?;
            fs::write(directory.join(format!("{number}.json")), text).context("write a document")?;
        }
        self.node.cli(&["apply", "-f", &directory.to_string_lossy()])?;
        Ok(())
    }

    /// Boots a machine that no group matches and checks that it is told so and that its firmware goes on to the next
    /// boot device instead of stopping.
    ///
    /// # Errors
    /// When it is not told, or stays in iPXE or in the firmware's menu.
    pub fn boot_unknown(&mut self, firmware: Firmware) -> Result<()> {
        self.machines += 1;
        let mac = format!("52:54:00:88:01:{:02x}", self.machines);
        let mut machine = Machine::power_on(&self.lab, &self.evidence, firmware, &mac)?;
        machine.prints(&["no group matches this machine", firmware.surrender()], BOOT_MAX)
    }

    /// Adds a machine to the node's groups, boots it and checks that it became what the node
    /// was told to make of it.
    ///
    /// # Errors
    /// When it does not boot, boots another way than its firmware should, or reports another
    /// identity than it was given.
    pub fn boot(&mut self, firmware: Firmware) -> Result<Booted> {
        self.machines += 1;
        let number = self.machines;
        let mac = format!("52:54:00:88:00:{number:02x}");
        // Says nothing the machine could guess: only the rendered template can tell it.
        let hostname = format!("{firmware}-{number}-of-{}", self.lab.name());
        let rack = format!("rack-{number}");
        self.apply(&format!("machine-{number}"), &[group(number, &mac, &hostname, &rack)])?;
        let mut machine = Machine::power_on(&self.lab, &self.evidence, firmware, &mac)?;
        let (report, took) = machine.report(BOOT_MAX)?;
        self.node.must_run()?;
        let own = |key: &str| report.value(key).unwrap_or_default().to_owned();
        ensure!(report.mac == mac, "booted as {} instead of {mac}", report.mac);
        ensure!(report.profile == PROFILE, "booted profile {}", report.profile);
        ensure!(own("hostname") == hostname, "hostname {:?} instead of {hostname}", own("hostname"));
        ensure!(own("rack") == rack, "rack {:?} instead of {rack}", own("rack"));
        // The machine asks with hyphens, as iPXE does; templates see the label in normal form.
        ensure!(own("asked-as") == mac, "config asked as {:?}", own("asked-as"));
        let known = || Ok(self.node.cli(&["machine", "list", "-o", "json"])?.contains(&mac).then_some(()));
        until("the node knows the machine", RECORDED_MAX, known)?;
        Ok(Booted { firmware, hostname: own("hostname"), took, milestones: machine.passed().to_vec(), report })
    }
}

fn profile() -> Value {
    json!({
        "kind": "profile",
        "id": PROFILE,
        "name": "Linux that prints its config and powers off",
        "generic_id": TEMPLATE,
        "boot": {
            "kernel": format!("/assets/{KERNEL_ASSET}"),
            "initrd": [format!("/assets/{INITRAMFS_ASSET}")],
            "args": [
                "console=ttyS0",
                // A panic restarts the machine, and QEMU ends instead: no waiting for nothing.
                "panic=-1",
                format!("raftboot.profile={PROFILE}"),
                "raftboot.config=${base_url}/generic?mac=${mac:hexhyp}",
            ],
        },
    })
}

fn template() -> Value {
    json!({
        "kind": "template",
        "type": "generic",
        "name": TEMPLATE,
        "content": TEMPLATE_TEXT,
    })
}

fn group(number: u8, mac: &str, hostname: &str, rack: &str) -> Value {
    json!({
        "kind": "group",
        "id": format!("machine-{number}"),
        "name": format!("machine {number}"),
        "profile": PROFILE,
        "selector": { "mac": mac },
        "metadata": { "hostname": hostname, "rack": rack },
    })
}
