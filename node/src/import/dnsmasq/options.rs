//! What becomes of the DHCP options that dnsmasq is told to send.

use super::line::Line;
use super::{Told, Verdict};

/// Names of the options that have to do with booting, as dnsmasq knows them.
const NAMES: [(&str, u16); 5] =
    [("vendor-class", 60), ("tftp-server", 66), ("bootfile-name", 67), ("vendor-encap", 43), ("user-class", 77)];

/// Judges `dhcp-option`, `dhcp-option-force` and `dhcp-option-pxe`.
pub(super) fn option(line: &Line) -> Told {
    let (fields, _) = line.without_tags();
    let mut around = "";
    let mut fields = fields.as_slice();
    while let [first, rest @ ..] = fields {
        if !["encap:", "vi-encap:", "vendor:"].iter().any(|prefix| first.starts_with(prefix)) {
            break;
        }
        (around, fields) = (first, rest);
    }
    let named = fields.first().copied().unwrap_or_default();
    let code = number(named);
    if around == "encap:175" {
        return inside_ipxe(code);
    }
    if around.starts_with("vendor:") {
        return inside_vendor(around, code);
    }
    if named.starts_with("option6:") || !around.is_empty() {
        return Told::new(Verdict::Dhcp, STAYS);
    }
    match code {
        Some(60) => Told::new(
            Verdict::Remove,
            "from a server of addresses, `PXEClient` sends UEFI machines to port 4011 of that server; here the answers that boot carry it",
        ),
        Some(66 | 67 | 150) => Told::new(
            Verdict::Remove,
            "boot answers carry it here, and some firmware prefers the other server's. Keep it only with `raftboot settings set dhcp_mode=off`, and then let it name the VIP",
        ),
        Some(43) => inside_vendor("", None),
        Some(175) => inside_ipxe(None),
        Some(208..=211) => {
            Told::new(Verdict::None, "PXELINUX is not configured by DHCP here; what to boot is said by profiles")
        }
        Some(_) => Told::new(Verdict::Dhcp, STAYS),
        None if named.starts_with("option:") => Told::new(Verdict::Dhcp, STAYS),
        None => Told::new(Verdict::Unknown, "it names no option"),
    }
}

const STAYS: &str = "what machines need besides booting comes from the server that gives them addresses; proxy answers carry none of it, dnsmasq's neither";

fn number(named: &str) -> Option<u16> {
    match named.strip_prefix("option:") {
        Some(name) => {
            NAMES.iter().find(|(known, _)| *known == name).map(|(_, code)| *code).or_else(|| name.parse().ok())
        }
        None => named.parse().ok(),
    }
}

/// Option 175, iPXE's own.
fn inside_ipxe(code: Option<u16>) -> Told {
    match code {
        Some(176) => Told::new(
            Verdict::Remove,
            "`no-pxedhcp` makes iPXE wait for no proxy, so it would never hear what to boot from here",
        ),
        _ => Told::new(
            Verdict::None,
            "settings of iPXE are not sent by DHCP here; scripts and kernel arguments take their place",
        ),
    }
}

/// Option 43, in which PXE keeps its own.
fn inside_vendor(around: &str, code: Option<u16>) -> Told {
    let pxe = around.is_empty() || around.starts_with("vendor:PXEClient") || around == "vendor:";
    match code {
        _ if !pxe => Told::new(Verdict::Dhcp, STAYS),
        Some(6) => Told::new(
            Verdict::Default,
            "discovery control is sent to BIOS and not to UEFI; for a machine that wants it, `raftboot machine set MAC discovery_control=true`",
        ),
        Some(9 | 10) => Told::new(
            Verdict::Default,
            "the menu that a Raspberry Pi looks for is sent to it, once its boot files are assets",
        ),
        _ => Told::new(
            Verdict::None,
            "there is no PXE menu here: each kind of firmware gets one boot loader, and its group says what it boots",
        ),
    }
}
