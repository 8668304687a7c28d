//! A whole site: a node, a foreign DHCP server, things to boot, and machines that boot them.

use crate::boots::{self, Booted};
use crate::dnsmasq::{Dnsmasq, Site};
use crate::evidence::Evidence;
use crate::firmware::{BOOT_MAX, Firmware, Machine};
use crate::lab::Lab;
use crate::node::Node;
use anyhow::Result;

/// Whether the node answers DHCP itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DhcpMode {
    /// Beside the site's server, on 67 and 4011.
    Proxy,
    /// Not at all: the site's server points at the node.
    Off,
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
        boots::provide(&|arguments| scenario.node.cli(arguments), &scenario.evidence, 0)?;
        Ok(scenario)
    }

    /// The lab's network.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
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
        let client = |arguments: &[&str]| self.node.cli(arguments);
        let expected = boots::expect(&client, &self.evidence, &self.lab, firmware, self.machines)?;
        let mut machine = Machine::power_on(&self.lab, &self.evidence, firmware, &expected.mac)?;
        let booted = boots::confirm(&client, &mut machine, firmware, &expected)?;
        self.node.must_run()?;
        Ok(booted)
    }
}
