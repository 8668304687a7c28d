//! What the lab's machines boot: the documents and assets given to a cluster, and whether a machine became what it was told to be.

use crate::evidence::Evidence;
use crate::firmware::{BOOT_MAX, Firmware, Machine};
use crate::guest::{Kernel, Report};
use crate::initramfs;
use crate::lab::Lab;
use crate::wait::until;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
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

/// Runs the client of a node or a cluster with these arguments.
pub type Client<'a> = &'a dyn Fn(&[&str]) -> Result<String>;

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

/// A machine that is expected: what it will be told that it is.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Its Ethernet address.
    pub mac: String,
    hostname: String,
    rack: String,
}

/// Gives a cluster the kernel, the initramfs, the profile and the template.
///
/// `padding_mib` makes the kernel that much longer, so that its download takes long enough to be disturbed; Linux does not look at
/// what follows its image.
///
/// # Errors
/// When a file is missing or the cluster refuses it.
pub fn provide(client: Client<'_>, evidence: &Evidence, padding_mib: usize) -> Result<()> {
    let kernel = Kernel::find()?;
    let packed = evidence.file("initramfs");
    fs::write(&packed, initramfs::build(&kernel)?).context("write the initramfs")?;
    let image = evidence.file("vmlinuz");
    fs::copy(&kernel.image, &image).context("copy the kernel")?;
    let mut file = fs::File::options().append(true).open(&image).context("open the kernel's copy")?;
    for _ in 0..padding_mib {
        file.write_all(&[0; 1 << 20]).context("lengthen the kernel")?;
    }
    client(&["asset", "put", KERNEL_ASSET, &image.to_string_lossy()])?;
    client(&["asset", "put", INITRAMFS_ASSET, &packed.to_string_lossy()])?;
    apply(client, evidence, "shared", &[profile(), template()])
}

fn apply(client: Client<'_>, evidence: &Evidence, name: &str, documents: &[Value]) -> Result<()> {
    let directory = evidence.file(name);
    fs::create_dir_all(&directory).context("make a directory to apply")?;
    for (number, document) in documents.iter().enumerate() {
        let text = serde_json::to_string_pretty(document).context("write a document")?;
        fs::write(directory.join(format!("{number}.json")), text).context("write a document")?;
    }
    client(&["apply", "-f", &directory.to_string_lossy()])?;
    Ok(())
}

/// Adds the machine with this number to the cluster's groups.
///
/// # Errors
/// When the cluster refuses it.
pub fn expect(client: Client<'_>, evidence: &Evidence, lab: &Lab, firmware: Firmware, number: u8) -> Result<Expected> {
    let mac = format!("52:54:00:88:00:{number:02x}");
    // Says nothing the machine could guess: only the rendered template can tell it.
    let hostname = format!("{firmware}-{number}-of-{}", lab.name());
    let rack = format!("rack-{number}");
    apply(client, evidence, &format!("machine-{number}"), &[group(number, &mac, &hostname, &rack)])?;
    Ok(Expected { mac, hostname, rack })
}

/// Waits for a machine's report and checks that it became what it was told to be.
///
/// # Errors
/// When it does not boot, boots another way than its firmware should, or reports another identity than it was given.
pub fn confirm(client: Client<'_>, machine: &mut Machine, firmware: Firmware, expected: &Expected) -> Result<Booted> {
    let mac = &expected.mac;
    let (report, took) = machine.report(BOOT_MAX)?;
    let own = |key: &str| report.value(key).unwrap_or_default().to_owned();
    ensure!(report.mac == *mac, "booted as {} instead of {mac}", report.mac);
    ensure!(report.profile == PROFILE, "booted profile {}", report.profile);
    ensure!(own("hostname") == expected.hostname, "hostname {:?} instead of {}", own("hostname"), expected.hostname);
    ensure!(own("rack") == expected.rack, "rack {:?} instead of {}", own("rack"), expected.rack);
    // The machine asks with hyphens, as iPXE does; templates see the label in normal form.
    ensure!(own("asked-as") == *mac, "config asked as {:?}", own("asked-as"));
    let known = || Ok(client(&["machine", "list", "-o", "json"])?.contains(mac).then_some(()));
    until("the node knows the machine", RECORDED_MAX, known)?;
    Ok(Booted { firmware, hostname: own("hostname"), took, milestones: machine.passed().to_vec(), report })
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
