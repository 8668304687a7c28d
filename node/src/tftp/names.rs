//! File names off the wire, made into names of a virtual directory: never into paths of this machine.

use std::fmt;

use super::packet::printable;

/// Longest name accepted, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Most directories in a name.
pub const NAME_DEPTH_MAX: usize = 16;
/// The script iPXE asks for beside its own binary.
pub const AUTOEXEC: &str = "autoexec.ipxe";
/// The script by the name that matchbox users put into their DHCP.
pub const BOOT_SCRIPT: &str = "boot.ipxe";

/// A name of the virtual directory: relative, `/` between parts, no empty, `.` or `..` part, printable ASCII.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name(String);

/// Why a name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Nothing is left of it.
    #[error("the file name is empty")]
    Empty,
    /// Longer than [`NAME_BYTES_MAX`] or deeper than [`NAME_DEPTH_MAX`].
    #[error("the file name is too long")]
    TooLong,
    /// Has a `..` part.
    #[error("the file name leaves the directory")]
    Escapes,
    /// Has bytes other than printable ASCII.
    #[error("the file name has unprintable characters")]
    Unprintable,
}

/// What a name means when no imported asset has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// The boot script: `autoexec.ipxe` in any directory, or `boot.ipxe`.
    Script,
    /// A file; `.0` suffix of a boot loader or script already taken off.
    File(&'a str),
}

impl Name {
    /// Reads a name off the wire. Leading and doubled slashes and backslashes are forgiven, and so are bytes 0xff at
    /// the end, which some firmware copies from behind DHCP option 67.
    ///
    /// # Errors
    /// [`BadName`]; the name must not be used then.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadName> {
        let end = bytes.iter().rposition(|byte| *byte != 0xff).map_or(0, |last| last + 1);
        let bytes = &bytes[..end];
        if bytes.len() > NAME_BYTES_MAX {
            return Err(BadName::TooLong);
        }
        if !bytes.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(BadName::Unprintable);
        }
        let text = printable(bytes, NAME_BYTES_MAX).replace('\\', "/");
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if parts.contains(&"..") {
            return Err(BadName::Escapes);
        }
        if parts.len() > NAME_DEPTH_MAX {
            return Err(BadName::TooLong);
        }
        if parts.is_empty() {
            return Err(BadName::Empty);
        }
        Ok(Self(parts.join("/")))
    }

    /// The whole name, case as sent: what an imported asset is looked up by, before [`Self::meaning`].
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the last slash.
    #[must_use]
    pub fn file(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// What the name means. BIOS clients ask for `undionly.kpxe.0` where dnsmasq's `pxe-service` named
    /// `undionly.kpxe`: it appends the boot menu's layer.
    #[must_use]
    pub fn meaning(&self) -> Meaning<'_> {
        let without_layer = |text: &'_ str| -> usize {
            match text.strip_suffix(".0") {
                Some(rest) if is_ipxe_file(rest) => rest.len(),
                _ => text.len(),
            }
        };
        let file = self.file();
        let file = &file[..without_layer(file)];
        if file.eq_ignore_ascii_case(AUTOEXEC) || file.eq_ignore_ascii_case(BOOT_SCRIPT) {
            return Meaning::Script;
        }
        Meaning::File(&self.0[..without_layer(&self.0)])
    }
}

/// Names that get a `.0` appended by mistake; `pxelinux.0` is a name of its own.
fn is_ipxe_file(name: &str) -> bool {
    let extension = name.rsplit('.').next().unwrap_or_default();
    ["kpxe", "kkpxe", "kkkpxe", "pxe", "ipxe", "efi", "lkrn"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(wire: &[u8]) -> String {
        match Name::parse(wire) {
            Ok(name) => match name.meaning() {
                Meaning::Script => format!("{name}: script"),
                Meaning::File(file) => format!("{name}: file {file}"),
            },
            Err(bad) => bad.to_string(),
        }
    }

    #[test]
    fn names_become_virtual_names() {
        let cases: &[(&[u8], &str)] = &[
            (b"undionly.kpxe", "undionly.kpxe: file undionly.kpxe"),
            (b"/undionly.kpxe", "undionly.kpxe: file undionly.kpxe"),
            (b"\\Boot\\x64\\wdsnbp.com", "Boot/x64/wdsnbp.com: file Boot/x64/wdsnbp.com"),
            (b"//a///b/./c", "a/b/c: file a/b/c"),
            (b"undionly.kpxe.0", "undionly.kpxe.0: file undionly.kpxe"),
            (b"/ipxe/SNPONLY.EFI.0", "ipxe/SNPONLY.EFI.0: file ipxe/SNPONLY.EFI"),
            (b"pxelinux.0", "pxelinux.0: file pxelinux.0"),
            (b"undionly.kpxe\xff", "undionly.kpxe: file undionly.kpxe"),
            (b"autoexec.ipxe", "autoexec.ipxe: script"),
            (b"/arm64/Autoexec.IPXE", "arm64/Autoexec.IPXE: script"),
            (b"boot.ipxe", "boot.ipxe: script"),
            (b"boot.ipxe.0", "boot.ipxe.0: script"),
            (b"a..b", "a..b: file a..b"),
            (b"", "the file name is empty"),
            (b"/", "the file name is empty"),
            (b"./.", "the file name is empty"),
            (b"\xff\xff", "the file name is empty"),
            (b"..", "the file name leaves the directory"),
            (b"/../../etc/passwd", "the file name leaves the directory"),
            (b"..\\..\\boot.ini", "the file name leaves the directory"),
            (b"a/b/../c", "the file name leaves the directory"),
            (b"a\nb", "the file name has unprintable characters"),
            (b"\xc3\xa9.efi", "the file name has unprintable characters"),
            (b"a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q", "the file name is too long"),
        ];
        for (wire, expected) in cases {
            assert_eq!(&check(wire), expected, "{}", printable(wire, 99));
        }
        assert_eq!(check(&[b'a'; NAME_BYTES_MAX + 1]), "the file name is too long");
    }

    proptest! {
        #[test]
        fn no_name_ever_leaves_the_virtual_directory(wire in proptest::collection::vec(
            prop_oneof![any::<u8>(), Just(b'.'), Just(b'/'), Just(b'\\')], 0..300)
        ) {
            if let Ok(name) = Name::parse(&wire) {
                prop_assert!(name.as_str().len() <= NAME_BYTES_MAX);
                prop_assert!(!name.as_str().starts_with('/'));
                prop_assert!(!name.as_str().contains('\\'));
                prop_assert!(name.as_str().split('/').all(|part| !["", ".", ".."].contains(&part)));
                prop_assert_eq!(Name::parse(name.as_str().as_bytes()), Ok(name));
            }
        }
    }
}
