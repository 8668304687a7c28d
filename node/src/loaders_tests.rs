//! Cases for the search of boot loaders: names, places, and files that only look right.

use std::fs;

use super::*;

fn efi(machine: u16) -> Vec<u8> {
    let mut bytes = vec![0; 0x200];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[0x3c..0x40].copy_from_slice(&0x80u32.to_le_bytes());
    bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
    bytes[0x84..0x86].copy_from_slice(&machine.to_le_bytes());
    bytes
}

#[test]
fn boot_loaders_are_found_by_name_in_any_case_and_directory() {
    let dir = tempfile::tempdir().unwrap();
    let second = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("undionly.kpxe"), b"bios").unwrap();
    fs::write(dir.path().join("snponly.efi"), efi(0x8664)).unwrap();
    fs::write(second.path().join("snponly.efi"), b"not looked at").unwrap();
    fs::write(second.path().join("ipxe.efi"), efi(0x8664)).unwrap();
    fs::create_dir(second.path().join("arm64-efi")).unwrap();
    fs::write(second.path().join("arm64-efi/snponly.efi"), efi(0xaa64)).unwrap();
    let loaders = Loaders::find(&[dir.path(), second.path()]);
    let names: Vec<_> = loaders.list().map(|loader| loader.name).collect();
    assert_eq!(names, ["ipxe.efi", "snponly-arm64.efi", "snponly.efi", "undionly.kpxe"]);
    let cases = [
        ("undionly.kpxe", Some("undionly.kpxe")),
        ("UNDIONLY.KPXE", Some("undionly.kpxe")),
        ("tftpboot/ipxe/snponly.efi", Some("snponly.efi")),
        ("anywhere/undionly.kpxe", Some("undionly.kpxe")),
        ("x86_64-efi/snponly.efi", Some("snponly.efi")),
        ("snponly-arm64.efi", Some("snponly-arm64.efi")),
        ("arm64/snponly.efi", Some("snponly-arm64.efi")),
        ("arm64/SNPONLY-ARM64.EFI", Some("snponly-arm64.efi")),
        ("boot/arm64-efi/snponly.efi", Some("snponly-arm64.efi")),
        // Never the x64 binary for another architecture.
        ("arm64/ipxe.efi", None),
        ("i386/snponly.efi", None),
        ("ia32/ipxe.efi", None),
        ("riscv64/snponly.efi", None),
        ("arm64/riscv64/snponly.efi", None),
        ("i386/snponly-arm64.efi", None),
        ("x86_64-efi/snponly-arm64.efi", None),
        ("snponly.efi.0", None),
        ("", None),
    ];
    for (asked, expected) in cases {
        assert_eq!(loaders.get(asked).map(|loader| loader.name), expected, "{asked}");
    }
    let bios = loaders.get("undionly.kpxe").unwrap();
    assert_eq!(bios.sha256, <[u8; 32]>::from(Sha256::digest(b"bios")));
    assert!(loaders.unusable().is_empty());
}

#[test]
fn what_is_missing_comes_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let loaders = Loaders::find(&[dir.path()]);
    let missing = loaders.missing();
    let essential: Vec<_> = missing.iter().filter(|missing| missing.essential).map(|missing| missing.name).collect();
    assert_eq!(essential, [BIOS_DEFAULT, EFI_X64_DEFAULT, "ipxe.efi"]);
    let bios = missing.iter().find(|missing| missing.name == BIOS_DEFAULT).unwrap();
    assert!(bios.remedy.contains("apt-get install ipxe"), "{}", bios.remedy);
}

#[test]
fn files_for_other_firmware_are_named_and_not_served() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("snponly.efi"), efi(0xaa64)).unwrap();
    fs::write(dir.path().join("ipxe.efi"), b"#!ipxe").unwrap();
    fs::write(dir.path().join("undionly.kpxe"), b"").unwrap();
    fs::create_dir(dir.path().join("ipxe.pxe")).unwrap();
    let large = File::create(dir.path().join("ipxe.lkrn")).unwrap();
    large.set_len(LOADER_BYTES_MAX + 1).unwrap();
    let loaders = Loaders::find(&[dir.path()]);
    assert_eq!(loaders.list().count(), 0);
    let said: Vec<_> = loaders.unusable().iter().map(ToString::to_string).collect();
    let expected = [
        ("undionly.kpxe", "empty"),
        ("ipxe.pxe", "cannot read"),
        ("ipxe.lkrn", "larger than"),
        ("snponly.efi", "machine type 0xaa64, not for UEFI x64"),
        ("ipxe.efi", "no EFI program"),
    ];
    assert_eq!(said.len(), expected.len(), "{said:?}");
    for (said, (file, why)) in said.iter().zip(expected) {
        assert!(said.contains(file) && said.contains(why), "{said}");
    }
}

#[test]
fn damaged_headers_are_no_efi_programs() {
    for length in 0..0x90 {
        assert_eq!(pe_machine(&efi(0x8664)[..length]), (length >= 0x86).then_some(0x8664));
    }
    let mut far = efi(0x8664);
    far[0x3c..0x40].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(pe_machine(&far), None);
}

#[test]
fn every_name_is_one_that_settings_and_assets_take() {
    for missing in Loaders::find::<&Path>(&[]).missing() {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        assert!(missing.name.chars().all(fits), "{}", missing.name);
        assert!(missing.remedy.contains(&format!("the asset {}", missing.name)), "{}", missing.remedy);
    }
}
