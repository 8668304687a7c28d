//! A machine with real firmware in QEMU: power it on, follow its console, read its report.

use crate::evidence::Evidence;
use crate::guest::Report;
use crate::lab::Lab;
use crate::process::Process;
use crate::wait::until;
use anyhow::{Context, Result, bail};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A boot takes 20–40 s in software emulation on one idle core; this allows for a busy computer.
pub const BOOT_MAX: Duration = Duration::from_secs(240);
/// Memory of a machine: OVMF, the kernel and its initramfs with room to spare.
const MEMORY_MIB: u32 = 768;
/// Chooses QEMU's accelerator; the default is `tcg`, which works everywhere.
pub const ACCELERATOR_VARIABLE: &str = "RAFTBOOT_LAB_ACCEL";
const OVMF_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const OVMF_VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// The firmware a machine starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS and the iPXE ROM of the network card: iPXE from the first packet on.
    BiosIpxe,
    /// OVMF whose own PXE loads a boot file by TFTP; the card has no ROM.
    UefiPxe,
    /// OVMF told to boot by HTTP only.
    UefiHttp,
}

impl Firmware {
    /// Each kind once.
    pub const ALL: [Self; 3] = [Self::BiosIpxe, Self::UefiPxe, Self::UefiHttp];

    /// Whether the machine runs UEFI.
    #[must_use]
    pub fn is_uefi(self) -> bool {
        self != Self::BiosIpxe
    }

    /// What the console must show, in this order, when this firmware and no other did the work:
    /// a name and the text.
    #[must_use]
    pub fn milestones(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::BiosIpxe => &[("bios", "SeaBIOS"), ("ipxe", "iPXE initialising devices"), ("linux", "Linux version")],
            Self::UefiPxe => &[
                ("firmware pxe", "Start PXE over IPv4"),
                ("boot file", "NBP file downloaded successfully"),
                ("ipxe", "iPXE initialising devices"),
                ("linux", "Linux version"),
            ],
            Self::UefiHttp => &[
                ("firmware http", "Start HTTP Boot over IPv4"),
                ("ipxe", "iPXE initialising devices"),
                ("linux", "Linux version"),
            ],
        }
    }

    /// Text by which the firmware says that what it tried has failed and that it goes on.
    #[must_use]
    pub fn surrender(self) -> &'static str {
        if self.is_uefi() {
            // The first boot option is the one under test; the others only cost time.
            "BdsDxe: failed to"
        } else {
            "No bootable device"
        }
    }
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BiosIpxe => "bios-ipxe",
            Self::UefiPxe => "uefi-pxe",
            Self::UefiHttp => "uefi-http",
        })
    }
}

/// A machine that is switched on; switched off when this value goes.
pub struct Machine {
    firmware: Firmware,
    mac: String,
    console: PathBuf,
    process: Process,
    started: Instant,
    passed: Vec<(&'static str, Duration)>,
}

impl Machine {
    /// Switches on a machine with `firmware` and `mac` on the lab's bridge.
    ///
    /// # Errors
    /// When QEMU or the firmware's files are missing.
    pub fn power_on(lab: &Lab, evidence: &Evidence, firmware: Firmware, mac: &str) -> Result<Self> {
        let name = format!("{firmware}-{}", mac.replace(':', ""));
        let console = evidence.file(&format!("{name}.console"));
        let tap = lab.tap()?;
        let mut command = lab.switch_command("qemu-system-x86_64");
        common_arguments(&mut command, &name, mac);
        command.args(["-accel", accelerator()?.as_str()]);
        command.args(["-chardev", &format!("file,id=console,path={}", console.display())]);
        command.args(["-serial", "chardev:console"]);
        let netdev = format!("tap,id=net0,ifname={tap},script=no,downscript=no");
        command.args(["-netdev", &netdev]);
        let mut card = format!("virtio-net-pci,netdev=net0,mac={mac},bootindex=1");
        if firmware.is_uefi() {
            // QEMU's ROM is an iPXE too and would take the firmware's place.
            card.push_str(",romfile=");
            uefi_arguments(&mut command, evidence, &name)?;
        }
        if firmware == Firmware::UefiHttp {
            for version in ["IPv4", "IPv6"] {
                let switch = format!("name=opt/org.tianocore/{version}PXESupport,string=n");
                command.args(["-fw_cfg", &switch]);
            }
        }
        command.args(["-device", &card]);
        let log = evidence.file(&format!("{name}.qemu.log"));
        let started = Instant::now();
        Ok(Self {
            firmware,
            mac: mac.to_owned(),
            console,
            process: Process::spawn(&format!("QEMU {name}"), command, &log)?,
            started,
            passed: Vec::new(),
        })
    }

    /// The machine's MAC, with colons.
    #[must_use]
    pub fn mac(&self) -> &str {
        &self.mac
    }

    /// The file with everything the machine printed.
    #[must_use]
    pub fn console(&self) -> &Path {
        &self.console
    }

    /// When each milestone of [`Firmware::milestones`] was passed, since power on.
    #[must_use]
    pub fn passed(&self) -> &[(&'static str, Duration)] {
        &self.passed
    }

    /// Waits until the machine has reported and returns the report with the time since power on.
    ///
    /// # Errors
    /// When the firmware gives up, the guest fails, QEMU ends early, a milestone was never
    /// passed, or nothing came within `limit`. The message ends with the console's last lines.
    pub fn report(&mut self, limit: Duration) -> Result<(Report, Duration)> {
        let what = format!("the report of {} {}", self.firmware, self.mac);
        let report = until(&what, limit, || {
            // First the end, then the console: what was printed before the end is never missed.
            let ended = self.process.ended()?;
            let text = self.printed();
            self.follow(&text);
            if let Some(report) = Report::read(&text)? {
                return Ok(Some((report, self.started.elapsed())));
            }
            if text.contains(self.firmware.surrender()) {
                bail!("the firmware gave up ({:?})", self.firmware.surrender());
            }
            if let Some(status) = ended {
                bail!("the machine went off without a report (QEMU: {status})");
            }
            Ok(None)
        })
        .with_context(|| self.last_words())?;
        if let Some((name, text)) = self.firmware.milestones().get(self.passed.len()) {
            bail!("booted, but never passed {name:?} ({text:?}): {}", self.last_words());
        }
        Ok(report)
    }

    /// Waits until the machine has printed all of `texts`, one after the other.
    ///
    /// # Errors
    /// When QEMU ends or `limit` passes before that. The message ends with the console's last lines.
    pub fn prints(&mut self, texts: &[&str], limit: Duration) -> Result<()> {
        let what = format!("{} {} prints {texts:?}", self.firmware, self.mac);
        until(&what, limit, || {
            // First the end, then the console: what was printed before the end is never missed.
            let ended = self.process.ended()?;
            let printed = self.printed();
            let mut rest = printed.as_str();
            let all = texts.iter().all(|text| {
                let found = rest.find(text);
                rest = found.map_or("", |at| &rest[at + text.len()..]);
                found.is_some()
            });
            if let (false, Some(status)) = (all, ended) {
                bail!("the machine went off (QEMU: {status})");
            }
            Ok(all.then_some(()))
        })
        .with_context(|| self.last_words())
    }

    /// Everything printed so far, without the escape sequences of UEFI's text console.
    #[must_use]
    pub fn printed(&self) -> String {
        let bytes = fs::read(&self.console).unwrap_or_default();
        plain_text(&String::from_utf8_lossy(&bytes))
    }

    fn follow(&mut self, text: &str) {
        let milestones = self.firmware.milestones();
        let mut from = 0;
        for (index, (name, mark)) in milestones.iter().enumerate() {
            let Some(at) = text[from..].find(mark) else {
                return;
            };
            from += at + mark.len();
            if index == self.passed.len() {
                self.passed.push((name, self.started.elapsed()));
            }
        }
    }

    fn last_words(&self) -> String {
        let text = self.printed();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        format!(
            "{} {}, milestones passed: {:?}, console {}, last lines:\n{}",
            self.firmware,
            self.mac,
            self.passed.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            self.console.display(),
            lines[lines.len().saturating_sub(12)..].join("\n")
        )
    }
}

fn common_arguments(command: &mut Command, name: &str, mac: &str) {
    // A UUID of the machine's own, as real ones have; the last part is the MAC.
    let uuid = format!("7261f7b0-0000-4000-8000-{}", mac.replace(':', ""));
    command.args(["-name", name, "-uuid", &uuid]);
    // Without graphics SeaBIOS shows its screen, and with it iPXE's, on the serial line.
    command.args(["-machine", "q35,graphics=off", "-smp", "1"]);
    command.args(["-m", &MEMORY_MIB.to_string()]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none"]);
    // A machine that would start over ends instead, and one without anything to boot starts over.
    command.args(["-no-reboot", "-boot", "reboot-timeout=1"]);
    command.args(["-smbios", &format!("type=1,serial={}", mac.replace(':', ""))]);
}

/// UEFI's code is read-only and shared, its variables are the machine's own.
fn uefi_arguments(command: &mut Command, evidence: &Evidence, name: &str) -> Result<()> {
    let variables = evidence.file(&format!("{name}.vars.fd"));
    fs::copy(OVMF_VARIABLES, &variables).with_context(|| format!("copy {OVMF_VARIABLES} (Debian package ovmf)"))?;
    let code = format!("if=pflash,format=raw,unit=0,readonly=on,file={OVMF_CODE}");
    let variables = format!("if=pflash,format=raw,unit=1,file={}", variables.display());
    command.args(["-drive", &code, "-drive", &variables]);
    Ok(())
}

/// `tcg` unless [`ACCELERATOR_VARIABLE`] says otherwise. `/dev/kvm` alone proves nothing: on some
/// hosts it exists and a guest hangs in it, so it is used only on request.
///
/// # Errors
/// When the variable holds anything but `tcg` or `kvm`.
pub fn accelerator() -> Result<String> {
    let chosen = std::env::var(ACCELERATOR_VARIABLE).unwrap_or_else(|_| "tcg".to_owned());
    match chosen.as_str() {
        "tcg" | "kvm" => Ok(chosen),
        other => bail!("{ACCELERATOR_VARIABLE} is {other:?}; it may be tcg or kvm"),
    }
}

/// Removes ANSI control sequences (ECMA-48 CSI: escape, `[`, parameters, one final byte).
fn plain_text(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\u{1b}' {
            plain.push(character);
        } else if characters.next() == Some('[') {
            for control in characters.by_ref() {
                if matches!(control, '\u{40}'..='\u{7e}') {
                    break;
                }
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_sequences_leave_the_text() {
        assert_eq!(plain_text("\u{1b}[2J\u{1b}[01;01HBdsDxe\r\n"), "BdsDxe\r\n");
        assert_eq!(plain_text("a\u{1b}[0;37;40mb"), "ab");
    }

    #[test]
    fn every_firmware_ends_in_linux() {
        for firmware in Firmware::ALL {
            assert_eq!(firmware.milestones().last().unwrap().0, "linux");
        }
    }
}
