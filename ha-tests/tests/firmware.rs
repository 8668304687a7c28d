//! Real firmware boots a real kernel from the node, on the sites people have.

use anyhow::{Result, ensure};
use raftboot_ha_tests::dnsmasq::Site;
use raftboot_ha_tests::firmware::Firmware;
use raftboot_ha_tests::scenario::{DhcpMode, Scenario};

/// One machine of the given kind on the given site must boot and become what it was told to be.
#[track_caller]
fn boots(test: &str, site: Site, mode: DhcpMode, firmware: Firmware) -> Result<()> {
    let repeat = format!("ha-tests/verify --test firmware -- --exact {test}");
    let mut scenario = Scenario::start(test, site, mode, &repeat)?;
    scenario.boot(firmware)?;
    site_was_as_described(&scenario, site, mode)?;
    scenario.evidence.passed();
    Ok(())
}

/// A boot proves nothing about a site unless the wire shows that the site was so.
fn site_was_as_described(scenario: &Scenario, site: Site, mode: DhcpMode) -> Result<()> {
    let node = scenario.node.host().address();
    let ours = scenario.evidence.captured(&format!("udp and src {node} and (src port 67 or src port 4011)"))?;
    ensure!(ours.contains("BOOTP/DHCP") == (mode == DhcpMode::Proxy), "the node's own DHCP, in mode {mode:?}: {ours}");
    let theirs = scenario.evidence.captured(&format!("udp and src port 67 and not src {node}"))?;
    ensure!(theirs.contains("Your-IP"), "the site handed out nothing: {theirs}");
    let named = format!("Server-IP {node}");
    ensure!(
        (theirs.contains("BF (67)") && theirs.contains(&named)) == (site != Site::AddressesOnly),
        "boot file of the site {site:?}: {theirs}"
    );
    ensure!(theirs.contains("TFTP (66)") == (site == Site::BootOptions), "option 66 of the site {site:?}: {theirs}");
    Ok(())
}

macro_rules! boots {
    ($($test:ident: $site:ident, $mode:ident, $firmware:ident;)*) => {$(
        #[test]
        fn $test() -> Result<()> {
            boots(stringify!($test), Site::$site, DhcpMode::$mode, Firmware::$firmware)
        }
    )*};
}

boots! {
    bios_boots_beside_a_server_of_addresses: AddressesOnly, Proxy, BiosIpxe;
    uefi_pxe_boots_beside_a_server_of_addresses: AddressesOnly, Proxy, UefiPxe;
    uefi_http_boots_beside_a_server_of_addresses: AddressesOnly, Proxy, UefiHttp;
    bios_boots_from_a_router_with_a_fixed_boot_file: FixedBootFile, Off, BiosIpxe;
    uefi_boots_from_a_router_with_a_fixed_boot_file: FixedBootFile, Off, UefiPxe;
    bios_boots_with_boot_options_and_our_proxy_at_once: BootOptions, Proxy, BiosIpxe;
    uefi_boots_with_boot_options_and_our_proxy_at_once: BootOptions, Proxy, UefiPxe;
}

/// A machine nobody knows must be left to its own devices, on every kind of firmware.
#[track_caller]
fn leaves(test: &str, firmware: Firmware) -> Result<()> {
    let repeat = format!("ha-tests/verify --test firmware -- --exact {test}");
    let mut scenario = Scenario::start(test, Site::AddressesOnly, DhcpMode::Proxy, &repeat)?;
    scenario.boot_unknown(firmware)?;
    scenario.evidence.passed();
    Ok(())
}

#[test]
fn an_unknown_bios_machine_goes_on_to_its_next_boot_device() -> Result<()> {
    leaves("an_unknown_bios_machine_goes_on_to_its_next_boot_device", Firmware::BiosIpxe)
}

#[test]
fn an_unknown_uefi_machine_goes_on_to_its_next_boot_device() -> Result<()> {
    leaves("an_unknown_uefi_machine_goes_on_to_its_next_boot_device", Firmware::UefiPxe)
}
