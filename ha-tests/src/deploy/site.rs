//! A whole site as the guide describes it: VLAN 20, a foreign DHCP server, three management hosts, and a controller with Ansible.

use super::ansible::{self, Recap};
use super::base::ADMINISTRATOR;
use super::container::{self, CONTROLLER_NAME, Container, SSH_OPTIONS};
use super::package::package;
use crate::boots::{self, Booted};
use crate::cluster::Status;
use crate::dnsmasq::{Dnsmasq, Site as Dhcp};
use crate::evidence::Evidence;
use crate::firmware::{Firmware, Machine};
use crate::lab::{Host, Lab};
use crate::node::binary;
use crate::process::{Process, run};
use crate::wait::until;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The guide's network.
const NETWORK: [u8; 3] = [10, 0, 20];
/// The gateway, whose DHCP only hands out addresses.
const GATEWAY: u8 = 1;
/// The floating address.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 5);
/// Where Ansible runs.
const CONTROLLER: u8 = 9;
/// The first management host; the others follow.
const FIRST: u8 = 11;
/// Downloads of the package and conversations of the nodes would fill the capture.
const CAPTURED: &str = "arp or port 67 or port 68 or port 69 or port 4011 or port 8080";
/// What was on the wire is in the capture within this.
const CAPTURED_MAX: Duration = Duration::from_secs(10);
/// From a fault to a cluster that is as it should be, on a busy computer.
pub const WHOLE_MAX: Duration = Duration::from_secs(60);

/// A running site; ends in the order of its fields.
pub struct Site {
    /// The management hosts: mgmt-01 and so on.
    pub hosts: Vec<Container>,
    _dhcp: Dnsmasq,
    controller: Host,
    /// The package that is deployed.
    pub package: PathBuf,
    /// Variables of the group and of single hosts, over those every run of the lab has.
    pub variables: Value,
    /// Variables of one host by its name.
    pub host_variables: Value,
    /// Further groups of the inventory.
    pub groups: Value,
    runs: usize,
    machines: u8,
    /// What stays when it fails.
    pub evidence: Evidence,
    lab: Lab,
}

impl Site {
    /// Fresh hosts, and nothing of the product on any of them.
    ///
    /// # Errors
    /// When any part of the site does not start.
    pub fn start(name: &str, hosts: u8, repeat: &str) -> Result<Self> {
        container::sweep()?;
        let package = package()?;
        let lab = Lab::on(NETWORK)?;
        let mut evidence = Evidence::new(name, repeat)?;
        evidence.capture_only(&lab, CAPTURED)?;
        let gateway = lab.host("gateway", GATEWAY)?;
        let controller = lab.host(CONTROLLER_NAME, CONTROLLER)?;
        let dhcp = Dnsmasq::start(&gateway, Dhcp::AddressesOnly, VIP, &evidence)?;
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(evidence.file("key"));
        run(keygen).context("make an SSH key")?;
        let mut site = Self {
            hosts: Vec::new(),
            _dhcp: dhcp,
            controller,
            package,
            variables: json!({}),
            host_variables: json!({}),
            groups: json!({}),
            runs: 0,
            machines: 0,
            evidence,
            lab,
        };
        for number in 0..hosts {
            let name = format!("mgmt-{:02}", number + 1);
            let host = site.another_host(&name, FIRST + number)?;
            site.hosts.push(host);
        }
        Ok(site)
    }

    /// A fresh host beside the management hosts.
    ///
    /// # Errors
    /// When it does not start.
    pub fn another_host(&self, name: &str, last: u8) -> Result<Container> {
        let log = self.evidence.file(&format!("{name}.console"));
        Container::new(&self.lab, name, last, &self.evidence.file("key"), &log)
    }

    /// Runs a playbook and returns what it did; failed tasks are no error here.
    ///
    /// # Errors
    /// When it does not come to its end.
    pub fn playbook(&mut self, playbook: &str, arguments: &[&str]) -> Result<(Recap, String)> {
        self.runs += 1;
        let mut command = self.controller.command("ansible-playbook");
        ansible::furnish(&mut command)?;
        command.arg("-i").arg(self.inventory()?).arg(playbook).args(arguments);
        let output = command.output().context("start ansible-playbook")?;
        let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let log = self.evidence.file(&format!("ansible-{:02}-{playbook}.log", self.runs));
        fs::write(&log, &printed).context("keep what Ansible said")?;
        Ok((ansible::recap(&String::from_utf8_lossy(&output.stdout)).with_context(|| printed.clone())?, printed))
    }

    /// Runs a playbook that must succeed on every host, and returns how many tasks changed something.
    ///
    /// # Errors
    /// When a host fails or cannot be reached.
    pub fn converge(&mut self, playbook: &str, arguments: &[&str]) -> Result<u32> {
        let (recap, printed) = self.playbook(playbook, arguments)?;
        let bad = recap.values().any(|counts| counts.failed + counts.unreachable > 0);
        ensure!(!bad && !recap.is_empty(), "{playbook} {arguments:?}: {}", ansible::last_lines(&printed, 40));
        Ok(recap.values().map(|counts| counts.changed).sum())
    }

    /// Runs a playbook that must refuse, saying `why`.
    ///
    /// # Errors
    /// When it does not, or says something else.
    pub fn refused(&mut self, playbook: &str, arguments: &[&str], why: &str) -> Result<()> {
        let (recap, printed) = self.playbook(playbook, arguments)?;
        ensure!(recap.values().any(|counts| counts.failed > 0), "{playbook} {arguments:?} went through: {printed}");
        ensure!(printed.contains(why), "{playbook} did not say {why:?}: {}", ansible::last_lines(&printed, 40));
        Ok(())
    }

    fn inventory(&self) -> Result<PathBuf> {
        let mut hosts = json!({});
        for host in &self.hosts {
            let mut own = json!({ "ansible_host": host.address() });
            merge(&mut own, &self.host_variables[host.name()]);
            hosts[host.name()] = own;
        }
        let everywhere = json!({
            "ansible_user": ADMINISTRATOR,
            "ansible_ssh_private_key_file": self.evidence.file("key"),
            "ansible_ssh_common_args": SSH_OPTIONS.join(" "),
        });
        let mut variables = json!({
            "raftboot_vip": VIP,
            "raftboot_package_file": self.package,
            "raftboot_admin_token_file": self.evidence.file("admin.token"),
        });
        merge(&mut variables, &self.variables);
        // JSON is YAML.
        let mut inventory = json!({
            "all": { "vars": everywhere },
            "raftboot": { "hosts": hosts, "vars": variables },
        });
        merge(&mut inventory, &self.groups);
        let path = self.evidence.file("inventory.yml");
        fs::write(&path, inventory.to_string()).context("write the inventory")?;
        Ok(path)
    }

    /// Runs the client where Ansible runs, through the floating address, with the token that Ansible has kept.
    ///
    /// # Errors
    /// When it does not exit with 0.
    pub fn client(&self, arguments: &[&str]) -> Result<String> {
        let certificate = self.evidence.file("ca.crt");
        if !certificate.exists() {
            let text = self.any_host(|host| host.ssh("cat /var/lib/raftboot/ca.crt"))?;
            fs::write(&certificate, text).context("keep the cluster's CA")?;
        }
        let mut command = self.controller.command(&binary()?.to_string_lossy());
        command.args(arguments);
        command.env("RAFTBOOT_SERVER", format!("https://{VIP}:8443"));
        command.env("RAFTBOOT_TOKEN_FILE", self.evidence.file("admin.token"));
        command.env("RAFTBOOT_CA_FILE", certificate);
        run(command).with_context(|| format!("raftboot {}", arguments.join(" ")))
    }

    fn any_host<T>(&self, work: impl Fn(&Container) -> Result<T>) -> Result<T> {
        let mut last = None;
        for host in &self.hosts {
            match work(host) {
                Ok(value) => return Ok(value),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("there are no hosts")?)
    }

    /// How the cluster is, by whoever holds the floating address.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn status(&self) -> Result<Status> {
        let text = self.client(&["status", "-o", "json"])?;
        Ok(Status(serde_json::from_str(&text).context("read the status")?))
    }

    /// Waits until these hosts are all voters, the address is held, and nothing is wrong; returns the holder's index.
    ///
    /// # Errors
    /// When that does not come.
    pub fn until_whole(&self, names: &[&str]) -> Result<usize> {
        let mut lacking = String::new();
        let holder = until("the cluster is whole", WHOLE_MAX, || {
            let holder = self.status().and_then(|status| wholeness(&status, names));
            holder.map_or_else(
                |error| {
                    lacking = format!("{error:#}");
                    Ok(None)
                },
                |holder| Ok(Some(holder)),
            )
        })
        .with_context(|| lacking)?;
        self.hosts.iter().position(|host| host.name() == holder).with_context(|| format!("{holder} is no host"))
    }

    /// Waits until somebody leads and answers at the floating address, whoever is away.
    ///
    /// # Errors
    /// When that does not come.
    pub fn until_held(&self) -> Result<()> {
        until("the address is answered for", WHOLE_MAX, || {
            Ok(self.status().ok().filter(|status| status.ready()).map(drop))
        })
    }

    /// Gives the cluster what the lab's machines boot.
    ///
    /// # Errors
    /// When it refuses it.
    pub fn provide(&self) -> Result<()> {
        boots::provide(&|arguments| self.client(arguments), &self.evidence, 0)
    }

    /// Boots a new machine and checks that it became what it was told to be, and that it was served at the floating address.
    ///
    /// # Errors
    /// When it does not.
    pub fn boot(&mut self, firmware: Firmware) -> Result<Booted> {
        self.machines += 1;
        let client = |arguments: &[&str]| self.client(arguments);
        let expected = boots::expect(&client, &self.evidence, &self.lab, firmware, self.machines)?;
        let mut machine = Machine::power_on(&self.lab, &self.evidence, firmware, &expected.mac)?;
        let booted = boots::confirm(&client, &mut machine, firmware, &expected)?;
        let filter = format!("ether src {} and dst host {VIP} and dst port 8080", expected.mac);
        // The capture is a moment behind.
        until("the machine has asked something of the floating address", CAPTURED_MAX, || {
            Ok(self.evidence.captured(&filter)?.contains("GET ").then_some(()))
        })?;
        Ok(booted)
    }

    /// The host with this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn host(&self, name: &str) -> Result<&Container> {
        self.hosts.iter().find(|host| host.name() == name).with_context(|| format!("no host is called {name}"))
    }

    /// Lets root go from each host to each other one by its name, as administrators have it and the runbooks assume.
    ///
    /// # Errors
    /// When a host cannot be changed.
    pub fn let_root_go_between_hosts(&self) -> Result<()> {
        let key = fs::read_to_string(self.evidence.file("key")).context("read the SSH key")?;
        let names: String = self.hosts.iter().map(|host| format!("{} {}\n", host.address(), host.name())).collect();
        for host in &self.hosts {
            host.write("root/.ssh/id_ed25519", &key)?;
            host.write("root/.ssh/config", "StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\n")?;
            host.ssh("chmod 600 /root/.ssh/id_ed25519")?;
            host.write("etc/hosts", &format!("127.0.0.1 localhost\n{names}"))?;
        }
        Ok(())
    }

    /// Asks the floating address for what machines ask first, ten times a second, until the value goes.
    ///
    /// # Errors
    /// When the asking cannot be started.
    pub fn ask_all_the_time(&self) -> Result<Asking> {
        let log = self.evidence.file("asking.log");
        let mut command = self.controller.command("bash");
        command.args([
            "-c",
            &format!(
                "while :; do curl -sf -m 1 -o /dev/null http://{VIP}:8080/boot.ipxe && date +%s%3N; sleep 0.1; done"
            ),
        ]);
        Ok(Asking { process: Process::spawn("asking", command, &log)? })
    }

    /// Keeps the journals of all hosts that are on, for whoever looks after a failure.
    pub fn keep_journals(&self) {
        for host in &self.hosts {
            let journal = host.ssh("journalctl --no-pager -b").unwrap_or_else(|error| format!("{error:#}\n"));
            // Evidence that cannot be written is missed, not fatal.
            let _ = fs::write(self.evidence.file(&format!("{}.journal", host.name())), journal);
        }
    }
}

/// Somebody who asks the floating address all the time.
pub struct Asking {
    process: Process,
}

impl Asking {
    /// Ends it and answers the longest time between two answers.
    ///
    /// # Errors
    /// When there were hardly any answers.
    pub fn longest_silence(mut self) -> Result<Duration> {
        self.process.kill()?;
        let text = fs::read_to_string(self.process.log()).context("read what was answered")?;
        let times: Vec<u64> = text.lines().filter_map(|line| line.parse().ok()).collect();
        ensure!(times.len() > 100, "only {} answers", times.len());
        let longest = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or_default();
        Ok(Duration::from_millis(longest))
    }
}

fn wholeness(status: &Status, names: &[&str]) -> Result<String> {
    ensure!(status.ready(), "not ready");
    ensure!(status.voters() == names, "voters are {:?}", status.voters());
    let lacking: u64 = status.members().iter().map(|member| member.replicas_missing).sum();
    ensure!(lacking == 0, "{lacking} files are missing somewhere");
    let silent = status.0["members"].as_array().into_iter().flatten().find(|member| member["reachable"] != true);
    if let Some(member) = silent {
        bail!("{} does not answer", member["name"]);
    }
    ensure!(status.0["vip"]["state"] == "held", "the VIP is {}", status.0["vip"]["state"]);
    let holder = status.holder().and_then(|id| status.name_of(&id)).context("the VIP has a holder")?;
    Ok(holder)
}

/// Puts the entries of one object over those of another.
fn merge(into: &mut Value, from: &Value) {
    if let (Some(into), Some(from)) = (into.as_object_mut(), from.as_object()) {
        into.extend(from.clone());
    }
}
