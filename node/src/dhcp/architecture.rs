//! The kinds of firmware that boot from the network, as option 93 numbers them.

use std::fmt;
use std::str::FromStr;

/// A kind of firmware, which decides the loader it can run. The numbers are IANA's "Processor Architecture Types".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Architecture {
    /// PC BIOS (0; 20 by HTTP).
    Bios,
    /// 32-bit x86 UEFI (6; 15 by HTTP).
    UefiIa32,
    /// 64-bit x86 UEFI (7 and 9, which RFC 4578 and the field swap; 16 and 17 by HTTP).
    UefiX64,
    /// 32-bit ARM UEFI (10; 18 by HTTP).
    UefiArm32,
    /// 64-bit ARM UEFI (11; 19 by HTTP).
    UefiArm64,
    /// 64-bit RISC-V UEFI (27; 28 by HTTP).
    UefiRiscv64,
    /// 64-bit LoongArch UEFI (39; 40 by HTTP).
    UefiLoong64,
    /// U-Boot on 32-bit ARM (21; 23 by HTTP).
    UBootArm32,
    /// U-Boot on 64-bit ARM (22; 24 by HTTP).
    UBootArm64,
    /// The Raspberry Pi's own boot loader (41; most send 0 and are recognised otherwise).
    RaspberryPi,
}

/// How a firmware fetches its loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// `PXEClient`: a file name, fetched by TFTP.
    Tftp,
    /// `HTTPClient`: a URL.
    Http,
}

/// Every architecture with its name in settings and its option 93 numbers.
const ARCHITECTURES: [(Architecture, &str, &[u16], &[u16]); 10] = [
    (Architecture::Bios, "bios", &[0], &[20]),
    (Architecture::UefiIa32, "uefi-ia32", &[6], &[15]),
    (Architecture::UefiX64, "uefi-x64", &[7, 9], &[16, 17]),
    (Architecture::UefiArm32, "uefi-arm32", &[10], &[18]),
    (Architecture::UefiArm64, "uefi-arm64", &[11], &[19]),
    (Architecture::UefiRiscv64, "uefi-riscv64", &[27], &[28]),
    (Architecture::UefiLoong64, "uefi-loong64", &[39], &[40]),
    (Architecture::UBootArm32, "uboot-arm32", &[21], &[23]),
    (Architecture::UBootArm64, "uboot-arm64", &[22], &[24]),
    (Architecture::RaspberryPi, "raspberry-pi", &[41], &[]),
];

impl Architecture {
    /// Reads one number of option 93; `None` for firmware nobody can be given a loader for.
    #[must_use]
    pub fn from_code(code: u16) -> Option<(Self, Transport)> {
        ARCHITECTURES.iter().find_map(|(architecture, _, tftp, http)| {
            if tftp.contains(&code) {
                Some((*architecture, Transport::Tftp))
            } else if http.contains(&code) {
                Some((*architecture, Transport::Http))
            } else {
                None
            }
        })
    }

    /// The name used in settings, such as `uefi-x64`.
    #[must_use]
    pub fn name(self) -> &'static str {
        ARCHITECTURES.iter().find(|row| row.0 == self).map(|row| row.1).expect("every architecture has a row")
    }

    /// Every name settings may use.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ARCHITECTURES.iter().map(|row| row.1)
    }

    /// Whether this is UEFI, which takes its boot file from port 4011 rather than from the offer.
    #[must_use]
    pub fn is_uefi(self) -> bool {
        matches!(
            self,
            Self::UefiIa32 | Self::UefiX64 | Self::UefiArm32 | Self::UefiArm64 | Self::UefiRiscv64 | Self::UefiLoong64
        )
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a text names no architecture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an architecture: write one of {names}", names = names())]
pub struct ParseArchitectureError(String);

fn names() -> String {
    ARCHITECTURES.map(|row| row.1).join(", ")
}

impl FromStr for Architecture {
    type Err = ParseArchitectureError;

    fn from_str(text: &str) -> Result<Self, ParseArchitectureError> {
        ARCHITECTURES
            .iter()
            .find(|row| row.1 == text)
            .map(|row| row.0)
            .ok_or_else(|| ParseArchitectureError(text.chars().take(64).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_and_every_number_is_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for (architecture, name, tftp, http) in ARCHITECTURES {
            assert_eq!(name.parse(), Ok(architecture));
            assert!(tftp.iter().chain(http).all(|code| seen.insert(*code)));
        }
        assert!("uefi-x86".parse::<Architecture>().is_err());
    }
}
