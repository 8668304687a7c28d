//! Everything is lost but a backup: one host is restored, the others join it, and a machine boots as if nothing had happened.

use anyhow::{Context, Result, ensure};
use raftboot_ha_tests::boots;
use raftboot_ha_tests::cluster::{Cluster, Shape, WHOLE_MAX};
use raftboot_ha_tests::dnsmasq::{Dnsmasq, Site};
use raftboot_ha_tests::fault::{Machine as _, locked};
use raftboot_ha_tests::firmware::{Firmware, Machine};
use raftboot_ha_tests::node::READY_MAX;
use raftboot_ha_tests::wait::until;
use std::fs;
use std::time::{Duration, Instant};

/// From the first command of the restore until a machine has booted from three nodes, on a computer that does much else.
const BACK_MAX: Duration = Duration::from_secs(120);

#[test]
fn all_nodes_wiped_and_restored_from_a_backup_boot_machines() -> Result<()> {
    let test = "all_nodes_wiped_and_restored_from_a_backup_boot_machines";
    let mut cluster = Cluster::found(test, Shape::Three, None, "ha-tests/verify --test disaster")?;
    let router = cluster.lab().host("router", 1)?;
    let _dnsmasq = Dnsmasq::start(&router, Site::AddressesOnly, router.address(), &cluster.evidence)?;
    boots::provide(&|arguments| cluster.cli(0, arguments), &cluster.evidence, 0)?;
    let firmware = Firmware::BiosIpxe;
    let client = |arguments: &[&str]| cluster.cli(1, arguments);
    let expected = boots::expect(&client, &cluster.evidence, cluster.lab(), firmware, 1)?;
    cluster.until_whole(WHOLE_MAX)?;
    let old = cluster.status(1)?;
    let file = cluster.evidence.file("drill.backup").to_string_lossy().into_owned();
    cluster.cli(1, &["backup", &file, "--files"])?;
    cluster.cli(1, &["verify-backup", &file])?;

    for member in cluster.members() {
        let mut node = locked(&member.node);
        node.kill()?;
        node.wipe()?;
    }
    let begun = Instant::now();
    let mut steps = Vec::new();
    // Another host than the founder: any will do.
    let first = 1;
    {
        let member = &cluster.members()[first];
        let mut node = locked(&member.node);
        node.offline(&["restore", &file, "--name", member.host.name()])?;
        steps.push(("restored", begun.elapsed()));
        node.launch()?;
        node.until_ready(READY_MAX)?;
    }
    steps.push(("one node serves", begun.elapsed()));
    let token = until("the restored node leads", READY_MAX, || Ok(cluster.join_token().ok()))?;
    for other in [0, 2] {
        cluster.join(other, &token)?;
        // The next one may ask this one.
        cluster.until_ready(other)?;
    }
    cluster.until_whole(WHOLE_MAX)?;
    steps.push(("three nodes vote and hold all files", begun.elapsed()));
    let holder = until("somebody holds the VIP", READY_MAX, || Ok(cluster.status(first)?.holder()))?;

    let client = |arguments: &[&str]| cluster.cli(0, arguments);
    let mut machine = Machine::power_on(cluster.lab(), &cluster.evidence, firmware, &expected.mac)?;
    let booted = boots::confirm(&client, &mut machine, firmware, &expected).context("after the restore")?;
    steps.push(("a machine has booted", begun.elapsed()));
    for (what, after) in &steps {
        eprintln!("{:>6.1} s  {what}", after.as_secs_f64());
    }
    eprintln!("{:>6.1} s  of that for the machine; the VIP is held by {holder}", booted.took.as_secs_f64());
    ensure!(begun.elapsed() < BACK_MAX, "it took {:?}", begun.elapsed());

    let new = cluster.status(first)?;
    let ids = |status: &raftboot_ha_tests::cluster::Status| {
        status.members().iter().map(|row| row.id.clone()).collect::<Vec<_>>()
    };
    ensure!(ids(&new).iter().all(|id| !ids(&old).contains(id)), "old ids were given again: {:?}", ids(&new));
    ensure!(fs::metadata(&file)?.len() > 1 << 20, "the kernel is in it");
    cluster.evidence.passed();
    Ok(())
}
