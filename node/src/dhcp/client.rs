//! Recognises who sent a request: iPXE, firmware, a Raspberry Pi, or an operating system that wants no boot file.

use dhcproto::v4::OptionCode;

use super::architecture::{Architecture, Transport};
use super::request::{HardwareAddress, Request};

/// Raspberry Pi's address blocks: its boot loader says it is a PC BIOS (option 93 = 0), so nothing else tells.
const RASPBERRY_PI_PREFIXES: [[u8; 3]; 7] = [
    [0x28, 0xcd, 0xc1],
    [0x2c, 0xcf, 0x67],
    [0x88, 0xa2, 0x9e],
    [0xb8, 0x27, 0xeb],
    [0xd8, 0x3a, 0xdd],
    [0xdc, 0xa6, 0x32],
    [0xe4, 0x5f, 0x01],
];
/// What newer Raspberry Pi boot loaders put where the UUID begins: `RPi4`, `RPi5`, or an early magic number.
const RASPBERRY_PI_MAGICS: [[u8; 4]; 4] = [*b"RPi4", *b"RPi5", [0x80, 0x01, 0x75, 0x90], [0x90, 0x75, 0x01, 0x80]];
/// iPXE's own encapsulated options (also sent by gPXE and Etherboot).
const IPXE_ENCAPSULATED: OptionCode = OptionCode::Unknown(175);
/// Option 94 as U-Boot writes it whatever it pretends to be; UEFI and BIOS send a real UNDI version.
const UBOOT_NETWORK_INTERFACE: [u8; 3] = [1, 0, 0];
/// How class identifiers of network-booting firmware begin.
const PXE_CLASS: &[u8] = b"PXEClient";
const HTTP_CLASS: &[u8] = b"HTTPClient";
const UBOOT_CLASS: &[u8] = b"U-Boot";

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Client {
    /// iPXE, on any architecture: it wants a script.
    Ipxe,
    /// A Raspberry Pi's boot loader: it wants a menu of a fixed name, and finds its files alone.
    RaspberryPi,
    /// Firmware that fetches a loader.
    Firmware {
        /// How it will fetch it.
        transport: Transport,
        /// What it can run, most preferred first; empty when it said nothing we know.
        architectures: Vec<Architecture>,
    },
    /// Anything else, above all operating systems: never answered.
    Other,
}

impl Client {
    /// Recognises the sender of `request`.
    #[must_use]
    pub fn recognise(request: &Request) -> Self {
        if is_ipxe(request) {
            return Self::Ipxe;
        }
        let class = request.option(OptionCode::ClassIdentifier).unwrap_or_default();
        let codes: Vec<u16> = match request.architectures().collect::<Vec<_>>() {
            none if none.is_empty() => architecture_in_class(class).into_iter().collect(),
            codes => codes,
        };
        if is_raspberry_pi(request, class, &codes) {
            return Self::RaspberryPi;
        }
        let transport = if class.starts_with(HTTP_CLASS) {
            Transport::Http
        } else if class.starts_with(PXE_CLASS) {
            Transport::Tftp
        } else if class.starts_with(UBOOT_CLASS) && !codes.is_empty() {
            // U-Boot's `dhcp` command has this class too, but says no architecture unless it is to network-boot.
            Transport::Tftp
        } else {
            return Self::Other;
        };
        Self::Firmware { transport, architectures: architectures(request, transport, &codes) }
    }
}

/// User class `iPXE`, raw as iPXE sends it or framed as RFC 3004 wants it; without a user class, option 175.
/// gPXE sends 175 too but cannot run iPXE scripts: with its own user class it counts as the firmware it runs on,
/// so that it loads iPXE.
fn is_ipxe(request: &Request) -> bool {
    match request.option(OptionCode::UserClass) {
        Some(class) if user_classes(class).any(|one| one == b"iPXE") => true,
        Some(class) if user_classes(class).any(|one| one == b"gPXE") => false,
        _ => request.option(IPXE_ENCAPSULATED).is_some(),
    }
}

/// The user classes in option 77: the whole of it, and the parts if it is framed by lengths (RFC 3004 §4).
pub(super) fn user_classes(option: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut framed = Vec::new();
    let mut rest = option;
    while let Some((&length, after)) = rest.split_first() {
        let Some((one, after)) = after.split_at_checked(usize::from(length)) else {
            framed.clear();
            break;
        };
        framed.push(one);
        rest = after;
    }
    std::iter::once(option).chain(framed)
}

/// The number in `PXEClient:Arch:00007:UNDI:003000`, for clients that leave option 93 out.
fn architecture_in_class(class: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(class).ok()?;
    let (_, after) = text.split_once(":Arch:")?;
    after.split(':').next()?.parse().ok()
}

/// A Raspberry Pi that boots by its own loader; with UEFI or U-Boot on it, it says so in option 93.
fn is_raspberry_pi(request: &Request, class: &[u8], codes: &[u16]) -> bool {
    if codes.first().is_some_and(|code| !matches!(code, 0 | 41)) {
        return false;
    }
    let magic = request.option(OptionCode::ClientMachineIdentifier).and_then(|id| id.get(1..5));
    let HardwareAddress([a, b, c, ..]) = request.mac();
    RASPBERRY_PI_MAGICS.iter().any(|known| magic == Some(known.as_slice()))
        || class.starts_with(PXE_CLASS) && (RASPBERRY_PI_PREFIXES.contains(&[a, b, c]) || codes == [41])
}

/// What the codes mean, those of the announced transport only if there are any.
fn architectures(request: &Request, transport: Transport, codes: &[u16]) -> Vec<Architecture> {
    let known: Vec<_> = codes.iter().filter_map(|code| Architecture::from_code(*code)).collect();
    let fitting = known.iter().any(|(_, by)| *by == transport);
    let uboot = request.option(OptionCode::ClientNetworkInterface) == Some(UBOOT_NETWORK_INTERFACE.as_slice());
    known
        .into_iter()
        .filter(|(_, by)| !fitting || *by == transport)
        .map(|(architecture, _)| match architecture {
            // U-Boot starting an EFI program claims to be UEFI, but takes the file from the offer like U-Boot.
            Architecture::UefiArm32 if uboot => Architecture::UBootArm32,
            Architecture::UefiArm64 if uboot => Architecture::UBootArm64,
            other => other,
        })
        .collect()
}
