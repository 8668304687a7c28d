//! Packs the guest's initramfs: a static busybox, the network card's modules and our init.

use crate::guest::Kernel;
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Debian's `busybox-static`.
const BUSYBOX: &str = "/usr/bin/busybox";
/// What a virtio network card on PCI needs; dependencies follow from the modules themselves.
const MODULES: [&str; 2] = ["virtio_pci", "virtio_net"];
const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;

/// The initramfs for `kernel`, as one uncompressed cpio archive ("newc").
///
/// # Errors
/// When busybox or a module is missing or unreadable.
pub fn build(kernel: &Kernel) -> Result<Vec<u8>> {
    let busybox = fs::read(BUSYBOX).with_context(|| format!("read {BUSYBOX} (Debian package busybox-static)"))?;
    let mut archive = Archive::default();
    for directory in ["bin", "modules"] {
        archive.add(directory, DIRECTORY, &[]);
    }
    archive.add("bin/busybox", PROGRAM, &busybox);
    archive.add("init", PROGRAM, include_bytes!("../guest/init"));
    archive.add("dhcp", PROGRAM, include_bytes!("../guest/dhcp"));
    let mut order = String::new();
    for (name, bytes) in modules_in_order(&kernel.modules)? {
        archive.add(&format!("modules/{name}.ko"), FILE, &bytes);
        order.push_str(&name);
        order.push_str(".ko\n");
    }
    archive.add("modules/order", FILE, order.as_bytes());
    Ok(archive.finish())
}

/// The modules to insert, each after those it depends on; what is built in is left out.
fn modules_in_order(directory: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let built_in = built_in(directory)?;
    let mut files = BTreeMap::new();
    collect(&directory.join("kernel"), &mut files)?;
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    for root in MODULES {
        insert(root, &files, &built_in, &mut seen, &mut order)?;
    }
    Ok(order)
}

fn insert(
    name: &str,
    files: &BTreeMap<String, PathBuf>,
    built_in: &BTreeSet<String>,
    seen: &mut BTreeSet<String>,
    order: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    if built_in.contains(name) || !seen.insert(name.to_owned()) {
        return Ok(());
    }
    let Some(path) = files.get(name) else {
        bail!("the kernel has no module {name}.ko and it is not built in");
    };
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    for dependency in dependencies(&bytes) {
        insert(&dependency, files, built_in, seen, order)?;
    }
    order.push((name.to_owned(), bytes));
    Ok(())
}

/// A module carries its own dependencies (`depends=a,b` in its section `.modinfo`), so no
/// `modules.dep` is needed, which only an installed kernel has.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(start) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = &module[start + KEY.len()..];
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(0);
    String::from_utf8_lossy(&value[..end]).split(',').filter(|name| !name.is_empty()).map(plain).collect()
}

fn built_in(directory: &Path) -> Result<BTreeSet<String>> {
    let path = directory.join("modules.builtin");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    Ok(text.lines().filter_map(|line| Path::new(line).file_stem()?.to_str().map(plain)).collect())
}

fn collect(directory: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))?;
    for entry in entries {
        let path = entry.context("list modules")?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "ko")
            && let Some(stem) = path.file_stem().and_then(|stem| stem.to_str())
        {
            files.insert(plain(stem), path.clone());
        }
    }
    Ok(())
}

/// The kernel writes one module's name with `-` here and `_` there.
fn plain(name: &str) -> String {
    name.replace('-', "_")
}

/// A cpio archive in the "newc" format the kernel unpacks (`buffer-format.rst` of its sources).
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        let size = u32::try_from(content.len()).expect("files of the guest are far below 4 GiB");
        let name_size = u32::try_from(name.len() + 1).expect("names are short");
        self.inode += 1;
        let links = if mode == DIRECTORY { 2 } else { 1 };
        self.bytes.extend_from_slice(b"070701");
        let fields = [self.inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// Headers and contents begin at multiples of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_come_from_the_module_itself() {
        let module = b"\x7fELF\0license=GPL\0depends=net-failover,virtio\0name=virtio_net\0";
        assert_eq!(dependencies(module), ["net_failover", "virtio"]);
        assert!(dependencies(b"\x7fELF\0depends=\0name=virtio\0").is_empty());
        assert!(dependencies(b"\x7fELF").is_empty());
    }

    #[test]
    fn entries_are_aligned_and_the_archive_is_closed() {
        let mut archive = Archive::default();
        archive.add("a", FILE, b"12345");
        let bytes = archive.finish();
        assert_eq!(&bytes[..6], b"070701");
        assert_eq!(&bytes[54..62], b"00000005", "file size");
        assert_eq!(&bytes[94..102], b"00000002", "name size with its NUL");
        assert_eq!(&bytes[110..112], b"a\0");
        assert_eq!(&bytes[112..117], b"12345");
        assert_eq!(&bytes[120..126], b"070701", "next header at a multiple of four");
        assert!(bytes.len().is_multiple_of(4));
        assert!(bytes.windows(11).any(|window| window == b"TRAILER!!!\0"));
    }
}
