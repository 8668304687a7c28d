//! The package and the Ansible role on Debian hosts with systemd, and what is left standing when one of them goes.

use anyhow::{Context, Result, ensure};
use raftboot_ha_tests::deploy::container::Container;
use raftboot_ha_tests::deploy::package::later;
use raftboot_ha_tests::deploy::page::{self, ALL_HOSTS, Page};
use raftboot_ha_tests::deploy::site::{Site, VIP, WHOLE_MAX};
use raftboot_ha_tests::deploy::{ansible, old_pair};
use raftboot_ha_tests::firmware::Firmware;
use raftboot_ha_tests::process::run;
use raftboot_ha_tests::wait::until;
use serde_json::json;
use std::fs;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Three hosts and a machine are all that a small computer can take.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
const THREE: [&str; 3] = ["mgmt-01", "mgmt-02", "mgmt-03"];
/// The VIP moves once in a rolling restart, in order; this allows for a busy computer.
const SILENT_MAX: Duration = Duration::from_secs(5);

/// Runs `work` on a fresh site; what the hosts said is kept when it fails.
fn on_site(test: &str, hosts: u8, work: impl FnOnce(&mut Site) -> Result<()>) -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let repeat = format!("ha-tests/verify --test deploy -- --include-ignored --exact {test}");
    let mut site = Site::start(test, hosts, &repeat)?;
    match work(&mut site) {
        Ok(()) => site.evidence.passed(),
        Err(error) => {
            site.keep_journals();
            return Err(error);
        }
    }
    Ok(())
}

#[test]
fn the_role_is_clean_at_the_production_profile() -> Result<()> {
    let mut lint = Command::new("ansible-lint");
    ansible::furnish(&mut lint)?;
    lint.args(["--offline", "--profile", "production", "-q"]);
    run(lint).map(drop)
}

#[test]
fn what_the_role_decides_is_as_its_own_tests_say() -> Result<()> {
    let mut tests = Command::new("python3");
    ansible::furnish(&mut tests)?;
    tests.args(["-B", "-m", "unittest", "discover", "-s", "tests"]);
    run(tests).map(drop)
}

/// The short form of the whole: deployed, booted, deployed again, a host killed, booted, the network restarted.
#[test]
fn three_hosts_are_deployed_and_boot_machines_while_one_is_killed() -> Result<()> {
    on_site("three_hosts_are_deployed_and_boot_machines_while_one_is_killed", 3, |site| {
        ensure!(site.converge("site.yml", &[])? > 0, "nothing was done on fresh hosts");
        let holder = site.until_whole(&THREE)?;
        site.provide()?;
        site.boot(Firmware::BiosIpxe)?;
        ensure!(site.converge("site.yml", &[])? == 0, "the second run changed something");

        site.hosts[holder].pull_the_plug()?;
        site.until_held()?;
        site.boot(Firmware::UefiPxe)?;
        site.hosts[holder].power_on()?;
        let holder = site.until_whole(&THREE)?;

        // What manages the network knows nothing of the VIP and may remove it; the node puts it back.
        let host = &site.hosts[holder];
        host.ssh("systemctl restart systemd-networkd")?;
        until("the address is back", WHOLE_MAX, || {
            let addresses = host.ssh("ip -4 address show dev host0")?;
            Ok(addresses.contains(&format!("inet {VIP}/")).then_some(()))
        })?;
        let holder = site.until_whole(&THREE)?;
        killed_and_not_started_again(&site.hosts[holder])?;
        site.until_whole(&THREE)?;
        ensure!(site.converge("site.yml", &[])? == 0, "something was left to do after all that");
        Ok(())
    })
}

/// What systemd runs after a process that was killed takes the address off, though nothing starts again.
fn killed_and_not_started_again(host: &Container) -> Result<()> {
    let keep_down = "run/systemd/system/raftboot.service.d/down.conf";
    host.bash(&format!(
        "mkdir -p \"$(dirname /{keep_down})\"\nprintf '[Service]\\nRestart=no\\n' > /{keep_down}\nsystemctl daemon-reload\n\
         systemctl kill --kill-whom=main --signal=KILL raftboot"
    ))?;
    until("the unit has failed", WHOLE_MAX, || {
        Ok(host.bash("systemctl is-failed raftboot || true")?.contains("failed").then_some(()))
    })?;
    let after = host.bash("systemctl show --property ExecStopPost raftboot; ip -4 address show dev host0")?;
    ensure!(after.contains("code=exited ; status=0"), "what runs after the process failed: {after}");
    ensure!(!after.contains(&format!("inet {VIP}/")), "the address was left: {after}");
    host.bash(&format!(
        "rm /{keep_down}\nsystemctl daemon-reload\nsystemctl reset-failed raftboot\nsystemctl start raftboot"
    ))
    .map(drop)
}

#[test]
#[ignore = "minutes long: ha-tests/verify --deploy"]
fn a_cluster_is_upgraded_repaired_and_taken_away() -> Result<()> {
    on_site("a_cluster_is_upgraded_repaired_and_taken_away", 3, |site| {
        said_but_not_done(site)?;
        site.converge("site.yml", &[])?;
        site.until_whole(&THREE)?;
        secrets_stay_secret(site)?;
        site.provide()?;
        rolled_on(site)?;
        replaced(site)?;
        site.boot(Firmware::BiosIpxe)?;
        taken_away(site)
    })
}

/// `--check` on fresh hosts tells and touches nothing; on a running cluster it finds nothing to do.
fn said_but_not_done(site: &mut Site) -> Result<()> {
    ensure!(site.converge("site.yml", &["--check", "--diff"])? > 0, "nothing would be done on fresh hosts");
    for host in &site.hosts {
        host.ssh("test ! -e /usr/bin/raftboot && test ! -e /var/cache/raftboot")?;
    }
    Ok(())
}

/// The token is kept as told, and neither it nor a join token is in anything that Ansible or the hosts printed.
fn secrets_stay_secret(site: &mut Site) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    ensure!(site.converge("site.yml", &["--check", "--diff", "-vvv"])? == 0, "something would be changed");
    let file = site.evidence.file("admin.token");
    let mode = fs::metadata(&file).context("look at the kept token")?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "the token's file has mode {mode:o}");
    let token = fs::read_to_string(&file).context("read the kept token")?;
    let mut said = String::new();
    for entry in fs::read_dir(site.evidence.directory()).context("list what was said")? {
        let path = entry.context("list what was said")?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ansible-")) {
            said.push_str(&fs::read_to_string(&path).context("read what was said")?);
        }
    }
    for host in &site.hosts {
        said.push_str(&host.ssh("journalctl --no-pager -b")?);
    }
    ensure!(!said.contains(token.trim()), "the admin token was printed");
    ensure!(!said.contains("rbj_"), "a join token was printed");
    Ok(())
}

/// A later package, node by node, while somebody asks all the time; then nothing is left to do. Not begun with a node down.
fn rolled_on(site: &mut Site) -> Result<()> {
    let leader = site.status()?.leader();
    let asking = site.ask_all_the_time()?;
    site.package = later(&site.package, site.evidence.directory())?;
    ensure!(site.converge("upgrade.yml", &[])? > 0, "nothing was upgraded");
    let silent = asking.longest_silence()?;
    ensure!(silent < SILENT_MAX, "the VIP was silent for {silent:?}");
    site.until_whole(&THREE)?;
    ensure!(site.status()?.leader() != leader, "the leader was restarted without handing over");
    for host in &site.hosts {
        let version = host.ssh("dpkg-query -W -f '${Version}' raftboot")?;
        ensure!(version.ends_with(".later1"), "{} has {version}", host.name());
        host.ssh("! readlink /proc/$(systemctl show -P MainPID raftboot)/exe | grep deleted")?;
    }
    ensure!(site.converge("upgrade.yml", &[])? == 0, "the second upgrade changed something");
    Ok(())
}

/// A follower's host is lost and comes back empty.
fn replaced(site: &mut Site) -> Result<()> {
    site.refused("replace.yml", &["-e", "raftboot_replace=mgmt-02"], "answers its cluster")?;
    let holder = site.until_whole(&THREE)?;
    // Not the first: it has the first admin token, and so tells how the cluster is.
    let lost = if holder == 1 { 2 } else { 1 };
    let name = site.hosts[lost].name().to_owned();
    site.hosts[lost].pull_the_plug()?;
    let (recap, _) = site.playbook("upgrade.yml", &[])?;
    ensure!(recap.values().any(|counts| counts.unreachable > 0), "nobody missed {name}");
    ensure!(recap.values().all(|counts| counts.changed == 0), "an upgrade was begun without {name}: {recap:?}");
    site.hosts[lost].install()?;
    site.hosts[lost].power_on()?;
    site.converge("replace.yml", &["-e", &format!("raftboot_replace={name}")])?;
    site.until_whole(&THREE)?;
    ensure!(site.converge("site.yml", &[])? == 0, "something was left to do after the replacement");
    Ok(())
}

/// One leaves, all go to sleep, the data stays until it is told to go.
fn taken_away(site: &mut Site) -> Result<()> {
    // Of the two that stay none may fail.
    site.converge("uninstall.yml", &["--limit", "mgmt-01", "-e", "raftboot_force=true"])?;
    site.until_whole(&THREE[1..])?;
    site.converge("uninstall.yml", &[])?;
    for host in &site.hosts {
        host.ssh("! systemctl is-active raftboot && test ! -e /usr/bin/raftboot && test -d /var/lib/raftboot/raft")?;
        let addresses = host.ssh("ip -4 address show")?;
        ensure!(!addresses.contains(&VIP.to_string()), "{} still has the VIP", host.name());
    }
    site.converge("uninstall.yml", &["-e", "raftboot_remove_data=true"])?;
    for host in &site.hosts {
        host.ssh("test ! -e /var/lib/raftboot && test ! -e /etc/raftboot")?;
    }
    ensure!(site.converge("uninstall.yml", &["-e", "raftboot_remove_data=true"])? == 0, "taken away twice");
    Ok(())
}

#[test]
#[ignore = "minutes long: ha-tests/verify --deploy"]
fn what_cannot_work_is_refused_before_anything_is_changed() -> Result<()> {
    on_site("what_cannot_work_is_refused_before_anything_is_changed", 2, |site| {
        let refuse = |site: &mut Site, variables: serde_json::Value, why: &str| {
            site.variables = variables;
            site.refused("site.yml", &[], why)
        };
        refuse(site, json!({"raftboot_vip": "10.0.20.11"}), "is an address of mgmt-01 itself")?;
        refuse(site, json!({"raftboot_vip": "10.0.21.5"}), "is not in the network of host0")?;
        refuse(site, json!({"raftboot_interface": "eno1"}), "the interface eno1 is missing")?;
        refuse(site, json!({"raftboot_clock_skew_max": -1}), "The clocks of these nodes differ")?;
        refuse(site, json!({"raftboot_survivor": true, "raftboot_witness": true}), "Possible: one node")?;
        refuse(site, json!({"talos_cli_url": "file:///usr/bin/true"}), "talos_cli_sha256 must be")?;
        site.hosts[1].ssh("systemd-run --unit=other python3 -m http.server 8080")?;
        until("the other service listens", WHOLE_MAX, || {
            Ok(site.hosts[1].ssh("ss -Hltn sport = :8080 | grep -q 8080").ok())
        })?;
        refuse(site, json!({}), "tcp/8080 is taken by python3")?;
        site.hosts[1].ssh("systemctl stop other")?;
        site.hosts[1].ssh("nft add table inet t && nft 'add chain inet t c { type filter hook input priority 0; }' && nft add rule inet t c tcp dport 7443 drop")?;
        refuse(site, json!({}), "mgmt-01 cannot reach 10.0.20.12")?;
        site.hosts[1].ssh("nft delete table inet t")?;
        for host in &site.hosts {
            host.ssh("test ! -e /usr/bin/raftboot")?;
        }
        // A host that is not looked at might belong to a cluster already.
        site.refused("site.yml", &["--limit", "mgmt-01"], "A cluster is founded only when")
    })
}

#[test]
#[ignore = "minutes long: ha-tests/verify --deploy"]
fn two_hosts_and_a_witness_go_on_when_one_is_killed() -> Result<()> {
    on_site("two_hosts_and_a_witness_go_on_when_one_is_killed", 3, |site| {
        site.host_variables = json!({"mgmt-02": {"raftboot_witness": true}});
        // With the firewall, and tools from a file that was brought along.
        let digest = site.hosts[0].ssh("sha256sum /usr/bin/curl")?;
        site.variables = json!({
            "raftboot_firewall": true,
            "raftboot_admin_networks": ["10.0.20.9"],
            "raftboot_dns_names": ["boot.example.org"],
            "raftboot_settings": {"extra_kernel_args": ["console=ttyS0"], "loaders": {"bios": "undionly.kpxe"}},
            "talos_cli_url": "file:///usr/bin/curl",
            "talos_cli_sha256": digest.split_whitespace().next().context("a digest")?,
        });
        site.converge("site.yml", &[])?;
        let holder = site.until_whole(&THREE)?;
        ensure!(site.converge("site.yml", &[])? == 0, "the second run changed something");
        let settings = site.client(&["settings", "get", "-o", "json"])?;
        ensure!(settings.contains("console=ttyS0") && settings.contains("undionly.kpxe"), "{settings}");
        let settings = site.client(&["cluster", "get", "-o", "json"])?;
        ensure!(settings.contains("witness") && settings.contains("boot.example.org"), "{settings}");
        for host in &site.hosts {
            host.ssh("test -x /usr/local/bin/talosctl && nft list table inet raftboot_ports")?;
        }
        ensure!(holder != 1, "the witness holds the VIP");
        site.provide()?;
        site.hosts[holder].pull_the_plug()?;
        site.until_held()?;
        site.boot(Firmware::BiosIpxe)?;
        site.hosts[holder].power_on()?;
        site.until_whole(&THREE)?;
        site.variables["raftboot_firewall"] = json!(false);
        site.converge("site.yml", &[])?;
        site.hosts[0].ssh("! nft list table inet raftboot_ports")?;
        Ok(())
    })
}

#[test]
#[ignore = "minutes long: ha-tests/verify --deploy"]
fn one_host_becomes_two_of_which_one_survives() -> Result<()> {
    on_site("one_host_becomes_two_of_which_one_survives", 2, |site| {
        let second = site.hosts.pop().context("two hosts")?;
        site.converge("site.yml", &[])?;
        site.until_whole(&THREE[..1])?;
        ensure!(site.converge("site.yml", &[])? == 0, "the second run changed something");
        site.hosts.push(second);
        site.variables = json!({"raftboot_survivor": true});
        site.converge("site.yml", &[])?;
        let holder = site.until_whole(&THREE[..2])?;
        ensure!(site.converge("site.yml", &[])? == 0, "the second run with two changed something");
        site.provide()?;
        site.hosts[holder].pull_the_plug()?;
        until("the one left answers at the VIP", WHOLE_MAX, || {
            Ok(site.hosts[1 - holder].ssh(&format!("curl -sf http://{VIP}:8080/boot.ipxe")).ok())
        })?;
        Ok(())
    })
}

/// keepalived, dnsmasq, lsyncd and matchbox's place are taken step by step, nothing is gone on with that is wrong, and back again.
#[test]
#[ignore = "minutes long: ha-tests/verify --deploy"]
fn a_running_pair_is_taken_over_and_given_back() -> Result<()> {
    on_site("a_running_pair_is_taken_over_and_given_back", 2, |site| {
        let pair = old_pair::start(site)?;
        let hosts: serde_json::Map<_, _> =
            pair.iter().map(|host| (host.name().to_owned(), json!({"ansible_host": host.address()}))).collect();
        let variables = json!({
            "matchbox_user": "root",
            "matchbox_dnsmasq_files": ["/etc/dnsmasq.d/pxe-boot.conf"],
        });
        site.groups = json!({"matchbox": {"hosts": hosts, "vars": variables}});
        site.variables = json!({
            "raftboot_survivor": true,
            "matchbox_url": format!("http://{VIP}:8080"),
        });
        taken_over(site, &pair)?;
        site.converge("take-over-back.yml", &[])?;
        pair[0].bash(&format!("timeout 30 sh -c 'until ip -4 address show | grep {VIP}/; do sleep 0.2; done'"))?;
        for host in &pair {
            host.ssh("systemctl is-active matchbox && systemctl is-active keepalived && pgrep -x dnsmasq && grep -q rack1 /var/lib/matchbox/groups/rack1-n1.json")?;
            host.ssh("ls -d /var/lib/matchbox/before-raftboot-back-* && ! ls -d /var/tmp/raftboot-take-over-*")?;
        }
        site.hosts[0].ssh(&format!("! ip -4 address show | grep {VIP}/"))?;
        Ok(())
    })
}

fn taken_over(site: &mut Site, pair: &[Container]) -> Result<()> {
    site.converge("take-over-1-silent.yml", &[])?;
    for host in &site.hosts {
        host.ssh("systemctl is-active raftboot && ! ss -Hlun sport = :67 | grep .")?;
    }
    // Two groups for one machine: chance decides there, and not here.
    pair[0].write(
        "var/lib/matchbox/groups/twin.json",
        &old_pair::group("rack1-n1").replace("\"id\":\"rack1-n1\"", "\"id\":\"twin\""),
    )?;
    site.refused("take-over-2-import.yml", &[], "Something would be left out or different")?;
    pair[0].ssh("rm /var/lib/matchbox/groups/twin.json")?;
    site.converge("take-over-2-import.yml", &[])?;
    site.converge("take-over-3-compare.yml", &[])?;
    // Somebody changes a group on the old side only.
    for (name, refused) in [("changed", true), ("rack1-n1", false)] {
        pair[0].write("root/group.json", &old_pair::group(name))?;
        pair[0].ssh("RAFTBOOT_TOKEN_FILE=/var/lib/old/admin.token RAFTBOOT_CA_FILE=/var/lib/old/ca.crt raftboot group put -f /root/group.json")?;
        if refused {
            site.refused("take-over-3-compare.yml", &[], "Some machine would get something else")?;
        } else {
            site.converge("take-over-3-compare.yml", &[])?;
        }
    }
    site.converge("take-over-4-dhcp.yml", &[])?;
    for host in &site.hosts {
        host.ssh("ss -Hlun sport = :67 | grep -q .")?;
    }
    site.converge("take-over-5-address.yml", &[])?;
    for host in pair {
        host.ssh(&format!(
            "! systemctl is-active keepalived lsyncd | grep -x active && ! pgrep -x dnsmasq && ! ip -4 address show | grep {VIP}/"
        ))?;
    }
    site.until_whole(&THREE[..2])?;
    site.hosts[0].ssh(&format!("curl -sf 'http://{VIP}:8080/ipxe?mac={}' | grep -q vmlinuz", old_pair::MAC))?;
    ensure!(site.converge("site.yml", &[])? == 0, "something was left to do after the take-over");
    Ok(())
}

/// Every command in the runbooks either says why no test can run it or is run here, page by page, from top to bottom.
#[test]
#[ignore = "minutes long: ha-tests/verify --deploy"]
fn the_commands_of_the_documentation_do_what_the_pages_say() -> Result<()> {
    on_site("the_commands_of_the_documentation_do_what_the_pages_say", 3, |site| {
        site.let_root_go_between_hosts()?;
        for host in &site.hosts {
            host.bring(&site.package, "root/raftboot.deb")?;
        }
        let mut pages = page::pages()?;
        // The first one makes the cluster that the others are about.
        let first = pages
            .iter()
            .position(|page| page.path.ends_with("operate/install.md"))
            .context("docs/operate/install.md")?;
        follow(site, &pages.remove(first))?;
        let upgraded = later(&site.package, site.evidence.directory())?;
        for host in &site.hosts {
            host.bring(&upgraded, "root/raftboot.deb")?;
        }
        pages.iter().filter(|page| page::is_chosen(page)).try_for_each(|page| follow(site, page))
    })
}

/// Executes the blocks of one page.
fn follow(site: &Site, page: &Page) -> Result<()> {
    for (name, on, script) in page.tested() {
        let hosts: Vec<_> = site.hosts.iter().filter(|host| on == ALL_HOSTS || host.name() == on).collect();
        ensure!(!hosts.is_empty(), "{}: {name}: there is no host {on}", page.path);
        for host in hosts {
            let printed = host.bash(script).with_context(|| format!("{}: {name} on {}", page.path, host.name()))?;
            let file = format!("{}-{name}-{}.txt", page.path.replace('/', "-"), host.name());
            fs::write(site.evidence.file(&file), printed).context("keep what was printed")?;
        }
    }
    Ok(())
}

#[test]
fn every_command_in_the_runbooks_says_whether_it_is_tested() -> Result<()> {
    let pages = page::pages()?;
    let tested: usize = pages.iter().map(|page| page.tested().count()).sum();
    ensure!(tested > 0, "no command of {} pages is tested", pages.len());
    let mistakes: Vec<String> = pages.iter().flat_map(Page::mistakes).collect();
    ensure!(mistakes.is_empty(), "{}", mistakes.join("\n"));
    Ok(())
}
