//! What a computer says of itself: kernel, memory, network, disk. Only read, and nothing is run.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Entries of a folder that are looked at.
const ENTRIES_MAX: usize = 200_000;
/// Lines of a text of the kernel that are kept.
const LINES_MAX: usize = 60;

/// Kernel, distribution, processors, memory, limits.
pub(super) fn computer() -> String {
    let name = rustix::system::uname();
    let word = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let mut text = format!("kernel: {} {} {}\n", word(name.sysname()), word(name.release()), word(name.version()));
    let _infallible = writeln!(text, "machine: {}", word(name.machine()));
    let processors = std::thread::available_parallelism().map_or_else(|_| "unknown".into(), |count| count.to_string());
    let _infallible = writeln!(text, "processors: {processors}");
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("unknown");
    let _infallible = writeln!(text, "system: {}", pretty.trim_matches('"'));
    for (what, file) in [
        ("load", "/proc/loadavg"),
        ("seconds since boot", "/proc/uptime"),
        ("memory", "/proc/meminfo"),
        ("pressure on processors", "/proc/pressure/cpu"),
        ("pressure on disks", "/proc/pressure/io"),
        ("pressure on memory", "/proc/pressure/memory"),
        ("this process", "/proc/self/status"),
        ("its limits", "/proc/self/limits"),
    ] {
        section(&mut text, what, file);
    }
    text
}

/// Interfaces with their addresses and counters, and the fence of the VIP as the kernel has it.
pub(super) async fn network() -> String {
    let mut text = String::new();
    match netlink::read().await {
        Ok(links) => {
            for link in links.links {
                let addresses: Vec<String> =
                    link.addresses.iter().map(|at| format!("{}/{}", at.address, at.prefix)).collect();
                let state = if link.up { "up" } else { "down" };
                let gateway = if links.default_route == Some(link.index) { ", leads to the gateway" } else { "" };
                let carrier = fs::read_to_string(format!("/sys/class/net/{}/carrier", link.name)).unwrap_or_default();
                let carrier = if carrier.trim() == "1" { ", carrier" } else { "" };
                let _infallible = writeln!(text, "{}: {state}{carrier}{gateway} {}", link.name, addresses.join(" "));
            }
        }
        Err(error) => {
            let _infallible = writeln!(text, "the kernel does not list its interfaces: {error}");
        }
    }
    let fence = tokio::task::spawn_blocking(netlink::vip::fence_found).await;
    match fence {
        Ok(Ok(found)) if found.is_empty() => text.push_str("fence: none is installed\n"),
        Ok(Ok(found)) => {
            for (family, chains, rules) in found {
                let _infallible =
                    writeln!(text, "fence: table {family} raftboot_vip has {chains} chains and {rules} rules");
            }
        }
        Ok(Err(error)) => {
            let _infallible = writeln!(text, "fence: cannot be looked at: {error}");
        }
        Err(_) => {}
    }
    for (what, file) in [
        ("counters", "/proc/net/dev"),
        ("neighbours", "/proc/net/arp"),
        ("routes", "/proc/net/route"),
        ("UDP sockets", "/proc/net/udp"),
        ("sockets", "/proc/net/sockstat"),
    ] {
        section(&mut text, what, file);
    }
    text
}

/// How much of the disk each part of the data directory takes. Names of files are not told, only of the first level.
pub(super) fn disk(data_dir: &Path) -> String {
    let mut text = String::new();
    if let Ok(disk) = rustix::fs::statvfs(data_dir) {
        let (free, total) = (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize);
        let _infallible = writeln!(text, "disk: {free} of {total} bytes free, {} inodes free", disk.f_favail);
    }
    let Ok(entries) = fs::read_dir(data_dir) else { return text + "the data directory cannot be read\n" };
    let mut rows: Vec<(String, u64, usize)> = entries
        .flatten()
        .map(|entry| {
            let (bytes, files) = size(&entry.path());
            (entry.file_name().to_string_lossy().into_owned(), bytes, files)
        })
        .collect();
    rows.sort();
    for (name, bytes, files) in rows {
        let _infallible = writeln!(text, "{name}: {bytes} bytes in {files} files");
    }
    text
}

/// Bytes and files below a path; links are not followed.
fn size(path: &Path) -> (u64, usize) {
    let (mut bytes, mut files) = (0, 0);
    let mut left = vec![path.to_owned()];
    while let Some(path) = left.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            let inside = fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path());
            left.extend(inside.take(ENTRIES_MAX.saturating_sub(left.len())));
        } else {
            bytes += meta.len();
            files += 1;
        }
        if files >= ENTRIES_MAX {
            break;
        }
    }
    (bytes, files)
}

fn section(text: &mut String, what: &str, file: &str) {
    let Ok(all) = fs::read_to_string(file) else { return };
    let _infallible = writeln!(text, "\n{what} ({file})");
    for line in all.lines().take(LINES_MAX) {
        let _infallible = writeln!(text, "  {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_computer_says_what_it_is_and_how_full_a_folder_is() {
        let said = computer();
        for word in ["kernel: Linux", "processors: ", "MemTotal", "Max open files"] {
            assert!(said.contains(word), "{word}: {said}");
        }
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("raft/deep")).unwrap();
        fs::write(folder.path().join("raft/deep/a"), [0; 10]).unwrap();
        fs::write(folder.path().join("raft/b"), [0; 5]).unwrap();
        let said = disk(folder.path());
        assert!(said.contains("raft: 15 bytes in 2 files\n") && said.contains("bytes free"), "{said}");
    }

    #[tokio::test]
    async fn a_computer_says_what_interfaces_it_has() {
        let said = network().await;
        assert!(said.contains("lo: ") && said.contains("fence: "), "{said}");
    }
}
