//! What becomes of boot files: `dhcp-boot` and `pxe-service`.

use std::collections::BTreeSet;

use super::line::Line;
use super::tags::{Tags, Who};
use super::{Told, Verdict};
use crate::dhcp::{Architecture, Facts};

/// A boot file as a line names it.
struct Named<'a> {
    /// A file name or a URL.
    file: &'a str,
    who: Who,
}

/// The systems that `pxe-service` knows, by their numbers in option 93.
const SYSTEMS: [(&str, u16); 12] = [
    ("x86PC", 0),
    ("PC98", 1),
    ("IA64_EFI", 2),
    ("Alpha", 3),
    ("Arc_x86", 4),
    ("Intel_Lean_Client", 5),
    ("IA32_EFI", 6),
    ("x86-64_EFI", 7),
    ("Xscale_EFI", 8),
    ("BC_EFI", 9),
    ("ARM32_EFI", 10),
    ("ARM64_EFI", 11),
];

/// The port of the boot service where nothing is configured.
const PORT: u16 = 8080;

/// Judges `dhcp-boot`.
pub(super) fn dhcp_boot(line: &Line, tags: &Tags) -> Told {
    let (fields, chosen) = line.without_tags();
    let file = fields.first().copied().unwrap_or_default();
    if file.is_empty() {
        return Told::new(Verdict::Unknown, "it names no file");
    }
    let mut who = tags.who(&chosen);
    if !who.ipxe && who.classes.is_empty() && who.others.is_empty() && !is_url(file) {
        // Without a tag it is for everybody who is left; the name tells who can run it.
        let class =
            if file.to_ascii_lowercase().trim_end_matches(".0").ends_with(".efi") { "uefi-x64" } else { "bios" };
        who.classes.insert(class);
    }
    judge(&Named { file, who })
}

/// Judges `pxe-service`; `before` are the systems that had one already.
pub(super) fn pxe_service(line: &Line, tags: &Tags, before: &mut BTreeSet<(String, String)>) -> Told {
    let (fields, chosen) = line.without_tags();
    let [system, _text, rest @ ..] = fields.as_slice() else {
        return Told::new(Verdict::Unknown, "it names no system and no text");
    };
    let known = SYSTEMS.iter().find(|(name, _)| name.eq_ignore_ascii_case(system)).map(|(_, code)| *code);
    let Some(code) = known.or_else(|| system.parse().ok()) else {
        return Told::new(Verdict::Unknown, format!("`{system}` is no system that dnsmasq knows"));
    };
    if !before.insert((code.to_string(), chosen.join(","))) {
        return Told::new(
            Verdict::None,
            "there is no PXE menu here: each kind of firmware gets one boot loader, and its group says what it boots",
        );
    }
    let file = rest.first().copied().unwrap_or_default();
    if file.is_empty() || file.bytes().all(|byte| byte.is_ascii_digit()) {
        let message = "there is no PXE menu here, and so no entry for the local disk. A machine that must not boot over the network is held: `raftboot machine set MAC hold=true`";
        return Told::new(Verdict::None, message);
    }
    let Some((architecture, _)) = Architecture::from_code(code) else {
        return Told::new(Verdict::None, format!("there are no boot loaders for {system}"));
    };
    let mut who = tags.who(&chosen);
    if !who.ipxe {
        who.classes.insert(architecture.name());
    }
    judge(&Named { file, who })
}

fn judge(named: &Named<'_>) -> Told {
    let Named { file, who } = named;
    let last = file.rsplit('/').next().unwrap_or(file).split(['?', '#']).next().unwrap_or_default();
    // dnsmasq adds `.0` to names of `pxe-service` that have no dot; both are answered.
    let plain = last.strip_suffix(".0").unwrap_or(last);
    if plain == "boot.ipxe" {
        return script(file);
    }
    if who.ipxe || (is_url(file) && !is_program(plain)) {
        let message = "iPXE is always given /boot.ipxe of this service here, which asks for the machine's profile: a script of your own has no place before it";
        return Told::new(Verdict::None, message);
    }
    if !who.others.is_empty() {
        let tags: Vec<&str> = who.others.iter().map(String::as_str).collect();
        let message = format!(
            "boot loaders are chosen by firmware, or for one machine: `raftboot machine set MAC loader={plain}` for those that the tag `{}` chooses",
            tags.join("`, `")
        );
        return Told::new(Verdict::None, message);
    }
    loader(plain, &who.classes)
}

/// The script is what iPXE is told anyway; only the port may have to be set.
fn script(file: &str) -> Told {
    let told = Told::new(
        Verdict::Default,
        "iPXE is told http://ADDRESS:8080/boot.ipxe, and /boot.ipxe.0 is answered too; ADDRESS is the VIP",
    );
    match port(file) {
        Some(port) if port != PORT => {
            let message = format!("iPXE is told /boot.ipxe; it is at port {PORT} unless every node says another");
            Told::new(Verdict::Set, message).config(format!("listen.boot_http = \"0.0.0.0:{port}\""))
        }
        _ => told,
    }
}

fn loader(name: &str, classes: &BTreeSet<&'static str>) -> Told {
    let defaults = Facts::default_loaders();
    let default = |class: &str| defaults.iter().find(|(known, _)| known.name() == class).map(|(_, file)| file.as_str());
    let other: Vec<&str> = classes.iter().copied().filter(|class| default(class) != Some(name)).collect();
    let all: Vec<&str> = classes.iter().copied().collect();
    if other.is_empty() {
        return Told::new(Verdict::Default, format!("`{name}` is what {} gets", all.join(" and ")));
    }
    let lower = name.to_ascii_lowercase();
    if lower.starts_with("pxelinux") || lower.starts_with("lpxelinux") || lower.starts_with("syslinux") {
        let message =
            "PXELINUX and its pxelinux.cfg have no place here: firmware gets iPXE, and profiles say what to boot";
        return Told::new(Verdict::None, message);
    }
    let instead: Vec<String> =
        other.iter().map(|class| format!("{class}: {}", default(class).unwrap_or("none"))).collect();
    let source = if is_ipxe(&lower) {
        "it must lie in one of `loader_dirs`, or be an asset of that name"
    } else {
        "it must be an asset of that name: `raftboot asset put NAME FILE`"
    };
    let message = format!(
        "`{name}` is not the default ({}); {source}. Try the default first, unless you know why it was chosen",
        instead.join(", ")
    );
    other.iter().fold(Told::new(Verdict::Set, message), |told, class| {
        told.command(format!("raftboot settings set loaders.{class}={name}"))
    })
}

fn is_ipxe(name: &str) -> bool {
    ["ipxe", "snp", "undionly"].iter().any(|known| name.starts_with(known))
}

fn is_program(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [".efi", ".kpxe", ".kkpxe", ".pxe", ".lkrn"].iter().any(|end| name.ends_with(end))
}

fn is_url(file: &str) -> bool {
    file.contains("://")
}

fn port(url: &str) -> Option<u16> {
    let (tls, rest) = match url.strip_prefix("https://") {
        Some(rest) => (true, rest),
        None => (false, url.strip_prefix("http://")?),
    };
    let place = rest.split('/').next()?;
    match place.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => port.parse().ok(),
        _ => Some(if tls { 443 } else { 80 }),
    }
}

/// The host that a boot file's URL names.
pub(super) fn host(line: &Line) -> Option<String> {
    if !matches!(line.option.as_str(), "dhcp-boot" | "pxe-service") {
        return None;
    }
    let url = line.fields.iter().find_map(|field| field.strip_prefix("http://").or(field.strip_prefix("https://")))?;
    let place = url.split('/').next()?;
    let host = match place.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => place,
    };
    (!host.is_empty()).then(|| host.to_owned())
}
