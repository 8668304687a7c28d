//! The boot loaders firmware is sent: iPXE's binaries, found on this machine and held in memory.
//!
//! They are served unpatched: what to boot is told by DHCP and by `autoexec.ipxe`, so signed builds work too. An asset
//! imported under a loader's name takes its place; whoever answers requests looks for assets first.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// Largest boot loader that is loaded, in bytes. iPXE's are below 1.1 MB.
pub const LOADER_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Where packages put iPXE: Debian and Ubuntu, their EFI build, Fedora.
pub const DIRECTORIES_DEFAULT: &[&str] = &["/usr/lib/ipxe", "/boot", "/usr/share/ipxe"];

/// The boot loader for BIOS clients: drives the card through the PXE stack that loaded it.
pub const BIOS_DEFAULT: &str = "undionly.kpxe";
/// The boot loader for x64 UEFI: drives only the card it came from, through the firmware. `ipxe.efi` brings its own drivers, which
/// hang on many cards.
pub const EFI_X64_DEFAULT: &str = "snponly.efi";
/// The boot loader for 32-bit UEFI.
pub const EFI_IA32_DEFAULT: &str = "snponly-ia32.efi";
/// The boot loader for arm64 UEFI.
pub const EFI_ARM64_DEFAULT: &str = "snponly-arm64.efi";

/// Directories that site DHCP servers put in front of a loader and that name no architecture.
pub const DIRECTORIES_NEUTRAL: &[&str] = &["boot", "efi", "ipxe", "loaders", "pxe", "tftp", "tftpboot", "uefi"];

/// Directories by which packages tell architectures apart: what they hold, and how our flat names say so.
const ARCHITECTURE_DIRECTORIES: &[(&[&str], Firmware, &str)] = &[
    (&["x86_64", "x86_64-efi", "x64", "amd64"], Firmware::EfiX64, ""),
    (&["i386", "i386-efi", "ia32"], Firmware::EfiIa32, "-ia32"),
    (&["arm64", "arm64-efi", "aarch64"], Firmware::EfiArm64, "-arm64"),
];

/// Which firmware can run a boot loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Firmware {
    /// PC BIOS.
    Bios,
    /// UEFI on x86-64.
    EfiX64,
    /// UEFI on 32-bit x86.
    EfiIa32,
    /// UEFI on 64-bit ARM.
    EfiArm64,
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bios => "BIOS",
            Self::EfiX64 => "UEFI x64",
            Self::EfiIa32 => "UEFI ia32",
            Self::EfiArm64 => "UEFI arm64",
        })
    }
}

struct Known {
    /// The name it is served by.
    name: &'static str,
    firmware: Firmware,
    /// Debian's package has it, and the defaults need it.
    essential: bool,
    /// Where it may lie, below each directory; the first that fits counts.
    files: &'static [&'static str],
}

const fn known(name: &'static str, firmware: Firmware, essential: bool, files: &'static [&'static str]) -> Known {
    Known { name, firmware, essential, files }
}

/// Every boot loader known by name.
const KNOWN: &[Known] = &[
    known(BIOS_DEFAULT, Firmware::Bios, true, &["undionly.kpxe"]),
    known("undionly.kkpxe", Firmware::Bios, false, &["undionly.kkpxe"]),
    known("ipxe.pxe", Firmware::Bios, false, &["ipxe.pxe"]),
    known("ipxe.lkrn", Firmware::Bios, false, &["ipxe.lkrn"]),
    known(
        EFI_X64_DEFAULT,
        Firmware::EfiX64,
        true,
        &["snponly.efi", "x86_64-efi/snponly.efi", "ipxe-snponly-x86_64.efi"],
    ),
    known("ipxe.efi", Firmware::EfiX64, true, &["ipxe.efi", "x86_64-efi/ipxe.efi", "ipxe-x86_64.efi"]),
    known("snp.efi", Firmware::EfiX64, false, &["snp.efi", "x86_64-efi/snp.efi"]),
    known(
        EFI_IA32_DEFAULT,
        Firmware::EfiIa32,
        false,
        &["i386/snponly.efi", "i386-efi/snponly.efi", "snponly-ia32.efi"],
    ),
    known(
        "ipxe-ia32.efi",
        Firmware::EfiIa32,
        false,
        &["i386/ipxe.efi", "i386-efi/ipxe.efi", "ipxe-i386.efi", "ipxe-ia32.efi"],
    ),
    known(
        EFI_ARM64_DEFAULT,
        Firmware::EfiArm64,
        false,
        &["arm64/snponly.efi", "arm64-efi/snponly.efi", "snponly-arm64.efi"],
    ),
    known("ipxe-arm64.efi", Firmware::EfiArm64, false, &["arm64/ipxe.efi", "arm64-efi/ipxe.efi", "ipxe-arm64.efi"]),
    known("snp-arm64.efi", Firmware::EfiArm64, false, &["arm64/snp.efi", "arm64-efi/snp.efi", "snp-arm64.efi"]),
];

/// One boot loader in memory.
#[derive(Debug, Clone)]
pub struct Loader {
    /// The name it is served by.
    pub name: &'static str,
    /// Who can run it.
    pub firmware: Firmware,
    /// Where it was found.
    pub path: PathBuf,
    /// Its bytes, shared by all transfers.
    pub bytes: Arc<[u8]>,
    /// Digest of the bytes.
    pub sha256: [u8; 32],
}

/// A boot loader that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The name it would be served by.
    pub name: &'static str,
    /// Who cannot boot without it.
    pub firmware: Firmware,
    /// Whether the defaults need it; otherwise nothing may be wrong.
    pub essential: bool,
    /// What to do, as a sentence.
    pub remedy: String,
}

/// A file that looks like a boot loader and cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It cannot be read.
    #[error("cannot read boot loader {0}")]
    Unreadable(PathBuf, #[source] io::Error),
    /// It is larger than [`LOADER_BYTES_MAX`].
    #[error("boot loader {0} is larger than {LOADER_BYTES_MAX} bytes, so it is not served")]
    TooLarge(PathBuf),
    /// It is made for other firmware.
    #[error("boot loader {path} is {is}, not for {wanted}, so it is not served")]
    Unfit {
        /// Where it is.
        path: PathBuf,
        /// What it is.
        is: String,
        /// What its name promises.
        wanted: Firmware,
    },
}

/// All boot loaders of this machine.
#[derive(Debug, Default)]
pub struct Loaders {
    found: BTreeMap<&'static str, Loader>,
    unusable: Vec<Unusable>,
}

impl Loaders {
    /// Looks for every known boot loader below `directories`, the first place counts, and loads it. Blocks on the disk; for
    /// the start of the program. What is missing or unusable is for the caller to report.
    #[must_use]
    pub fn find<P: AsRef<Path>>(directories: &[P]) -> Self {
        let mut loaders = Self::default();
        for known in KNOWN {
            let places = directories
                .iter()
                .flat_map(|directory| known.files.iter().map(move |file| directory.as_ref().join(file)));
            for path in places {
                match load(known, path) {
                    Ok(Some(loader)) => {
                        loaders.found.insert(known.name, loader);
                        break;
                    }
                    Ok(None) => {}
                    Err(unusable) => loaders.unusable.push(unusable),
                }
            }
        }
        loaders
    }

    /// The boot loader of a requested name. Case does not matter, nor do directories in front of a BIOS loader. One
    /// of UEFI is found below directories that say nothing ([`DIRECTORIES_NEUTRAL`]) and below those of its
    /// architecture: `arm64/snponly.efi` is `snponly-arm64.efi`. Below any other there is nothing, because that may
    /// name an architecture we do not know.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Loader> {
        let name = name.to_ascii_lowercase();
        let (directories, file) = name.rsplit_once('/').unwrap_or(("", &name));
        let Some(stem) = file.strip_suffix(".efi") else {
            return self.found.get(file);
        };
        let says_something = |directory: &&str| !directory.is_empty() && !DIRECTORIES_NEUTRAL.contains(directory);
        let mut telling = directories.split('/').filter(says_something);
        let Some(directory) = telling.next() else {
            return self.found.get(file);
        };
        let (_, firmware, suffix) = ARCHITECTURE_DIRECTORIES.iter().find(|row| row.0.contains(&directory))?;
        if telling.next().is_some() {
            return None;
        }
        let loader = if stem.ends_with(suffix) {
            self.found.get(file)
        } else {
            self.found.get(format!("{stem}{suffix}.efi").as_str())
        };
        loader.filter(|loader| loader.firmware == *firmware)
    }

    /// All boot loaders, by name.
    pub fn list(&self) -> impl Iterator<Item = &Loader> {
        self.found.values()
    }

    /// What is not there, with remedies.
    #[must_use]
    pub fn missing(&self) -> Vec<Missing> {
        let absent = KNOWN.iter().filter(|known| !self.found.contains_key(known.name));
        let missing = |known: &Known| Missing {
            name: known.name,
            firmware: known.firmware,
            essential: known.essential,
            remedy: remedy(known),
        };
        absent.map(missing).collect()
    }

    /// Files that were found and cannot be used.
    #[must_use]
    pub fn unusable(&self) -> &[Unusable] {
        &self.unusable
    }
}

fn remedy(known: &Known) -> String {
    let Known { name, firmware, .. } = known;
    if known.essential {
        format!("{firmware} clients need {name}: run `apt-get install ipxe`, or import one as the asset {name}")
    } else {
        format!("to boot {firmware} clients with {name}, import it as the asset {name}")
    }
}

fn load(known: &Known, path: PathBuf) -> Result<Option<Loader>, Unusable> {
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // A directory in the list that is no directory.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(None),
        Err(error) => return Err(Unusable::Unreadable(path, error)),
    };
    let mut bytes = Vec::new();
    if let Err(error) = file.take(LOADER_BYTES_MAX + 1).read_to_end(&mut bytes) {
        return Err(Unusable::Unreadable(path, error));
    }
    if bytes.len() as u64 > LOADER_BYTES_MAX {
        return Err(Unusable::TooLarge(path));
    }
    if let Err(is) = check_fit(known.firmware, &bytes) {
        let wanted = known.firmware;
        return Err(Unusable::Unfit { path, is, wanted });
    }
    Ok(Some(Loader {
        name: known.name,
        firmware: known.firmware,
        path,
        sha256: Sha256::digest(&bytes).into(),
        bytes: bytes.into(),
    }))
}

/// Whether the bytes are for the firmware the name promises; otherwise what they are.
fn check_fit(wanted: Firmware, bytes: &[u8]) -> Result<(), String> {
    let machine = pe_machine(bytes);
    let expected = match wanted {
        Firmware::Bios if bytes.is_empty() => return Err("empty".into()),
        // BIOS loaders have no common mark, but they are no EFI programs. `ipxe.lkrn` may be both.
        Firmware::Bios => return Ok(()),
        Firmware::EfiX64 => 0x8664,
        Firmware::EfiIa32 => 0x014c,
        Firmware::EfiArm64 => 0xaa64,
    };
    match machine {
        Some(machine) if machine == expected => Ok(()),
        Some(machine) => Err(format!("an EFI program for machine type {machine:#06x}")),
        None => Err("no EFI program".into()),
    }
}

/// The machine type of a PE image (PE/COFF specification, "Machine Types").
fn pe_machine(bytes: &[u8]) -> Option<u16> {
    if !bytes.starts_with(b"MZ") {
        return None;
    }
    let offset = bytes.get(0x3c..)?.first_chunk::<4>()?;
    let header = bytes.get(usize::try_from(u32::from_le_bytes(*offset)).ok()?..)?;
    let machine = header.strip_prefix(b"PE\0\0")?.first_chunk::<2>()?;
    Some(u16::from_le_bytes(*machine))
}

#[cfg(test)]
#[path = "loaders_tests.rs"]
mod tests;
