//! A DHCP server that is not ours, as found on a site: dnsmasq in the three ways people set it up.

use crate::evidence::Evidence;
use crate::lab::Host;
use crate::process::Process;
use crate::wait::until;
use anyhow::{Context, Result};
use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

/// dnsmasq reads one small file before it serves.
const READY_MAX: Duration = Duration::from_secs(20);

/// What the site's DHCP server says about booting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// It hands out addresses and knows nothing of booting.
    AddressesOnly,
    /// It names our node and a fixed file per firmware, also to iPXE (which must not loop).
    FixedBootFile,
    /// It sends options 66 and 67 naming our node, and our own proxy answers as well.
    BootOptions,
}

/// A running dnsmasq; ends when this value goes.
pub struct Dnsmasq {
    _process: Process,
}

impl Dnsmasq {
    /// Starts dnsmasq on `host`; `node` is the boot server it names where `site` wants one.
    ///
    /// # Errors
    /// When it does not start serving.
    pub fn start(host: &Host, site: Site, node: Ipv4Addr, evidence: &Evidence) -> Result<Self> {
        let config = evidence.file("dnsmasq.conf");
        let leases = evidence.file("dnsmasq.leases");
        let mut text = format!(
            "port=0\ninterface=eth0\nuser=root\nlog-dhcp\nlog-facility=-\nno-ping\n\
             dhcp-authoritative\ndhcp-range={},{},1h\ndhcp-leasefile={}\n",
            host.lab().address(110),
            host.lab().address(149),
            leases.display()
        );
        text.push_str(&boot_lines(site, node));
        fs::write(&config, text).context("write dnsmasq's configuration")?;
        let mut command = host.command("dnsmasq");
        command.args(["--keep-in-foreground", "--pid-file="]);
        command.arg(format!("--conf-file={}", config.display()));
        let mut process = Process::spawn("dnsmasq", command, &evidence.file("dnsmasq.log"))?;
        until("dnsmasq serves DHCP", READY_MAX, || {
            process.must_run()?;
            let log = fs::read_to_string(process.log()).unwrap_or_default();
            Ok(log.contains("DHCP, IP range").then_some(()))
        })?;
        Ok(Self { _process: process })
    }
}

/// Architectures 7 and 9 are both x64 UEFI in the field (RFC 4578 and its errata).
fn boot_lines(site: Site, node: Ipv4Addr) -> String {
    let matches = "dhcp-match=set:bios,option:client-arch,0\n\
                   dhcp-match=set:efi,option:client-arch,7\n\
                   dhcp-match=set:efi,option:client-arch,9\n";
    match site {
        Site::AddressesOnly => String::new(),
        Site::FixedBootFile => format!(
            "{matches}dhcp-boot=tag:bios,undionly.kpxe,,{node}\n\
             dhcp-boot=tag:efi,ipxe.efi,,{node}\n"
        ),
        // With a server name dnsmasq sends both as options; the address also fills siaddr, which
        // is all that iPXE looks at (it ignores option 66).
        Site::BootOptions => format!(
            "{matches}dhcp-boot=tag:bios,undionly.kpxe,{node},{node}\n\
             dhcp-boot=tag:efi,snponly.efi,{node},{node}\n"
        ),
    }
}
