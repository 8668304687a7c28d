//! The rules for disks, file systems, files and links.

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};

use super::address::check_http;
use super::check::{Check, each, resource, unique};
use super::item::Item;
use crate::boot::path;

/// Checks disks, file systems and files of a config of spec `3.minor`.
pub(super) fn check_storage(storage: &Item, minor: u8) -> Check {
    each(storage, "directories", node)?;
    each(storage, "files", |file| {
        node(file)?;
        each(file, "append", resource)?;
        each(file, "contents", resource)?;
        let source = file.get("contents").and_then(|contents| contents.text("source"));
        if file.is_true("overwrite") && source.is_none() {
            return Err("overwrite: there is no source to overwrite the file with".into());
        }
        Ok(())
    })?;
    each(storage, "links", node)?;
    check_paths(storage, minor)?;
    each(storage, "disks", check_disk)?;
    unique(storage, "disks", "device")?;
    each(storage, "filesystems", check_filesystem)?;
    unique(storage, "filesystems", "device")?;
    each(storage, "luks", |luks| check_luks(luks, minor))?;
    unique(storage, "luks", "name")?;
    each(storage, "raid", check_raid)?;
    unique(storage, "raid", "name")
}

fn node(node: &Item) -> Check {
    absolute(node.text("path").unwrap_or_default()).map_err(|problem| format!("path: {problem}"))?;
    if let Some(mode) = node.int("mode")
        && !(0..=0o7777).contains(&mode)
    {
        return Err(format!("mode: {mode} is no file mode; JSON has no octal numbers, 0644 is written 420"));
    }
    ["user", "group"].iter().try_for_each(|owner| {
        let Some(item) = node.get(owner) else { return Ok(()) };
        let named = item.text("name").is_some_and(|name| !name.is_empty());
        if item.int("id").is_some() && named { Err(format!("{owner}: both `id` and `name`")) } else { Ok(()) }
    })
}

fn absolute(text: &str) -> Check {
    if text.is_empty() {
        return Err("missing".into());
    }
    let clean = text == "/" || text.strip_prefix('/').is_some_and(|rest| !rest.is_empty() && path::below(rest) == rest);
    if clean { Ok(()) } else { Err(format!("`{text}` is no absolute path without `.`, `..` and doubled slashes")) }
}

/// No path twice among files, directories and links, and none that goes through a link.
fn check_paths(storage: &Item, minor: u8) -> Check {
    let mut seen = BTreeSet::new();
    let outermost = outermost(storage.list("links"));
    for list in ["directories", "files", "links"] {
        for (at, node) in storage.list(list).iter().enumerate() {
            let path = node.text("path").unwrap_or_default();
            if !seen.insert(path) {
                return Err(format!("{list}[{at}].path: `{path}` is there twice"));
            }
            let before = outermost.range::<str, _>((Unbounded, Excluded(path))).next_back();
            if !before.is_some_and(|link| path.starts_with(link.as_str())) {
                continue;
            }
            let through = |link: &&Item| path.starts_with(&format!("{}/", link.text("path").unwrap_or_default()));
            if let Some(link) = storage.list("links").iter().find(through) {
                let link = link.text("path").unwrap_or_default();
                return Err(format!("{list}[{at}].path: `{path}` goes through the link `{link}`"));
            }
        }
    }
    let directories: BTreeSet<&str> =
        storage.list("directories").iter().filter_map(|directory| directory.text("path")).collect();
    for (at, link) in storage.list("links").iter().enumerate() {
        let target = link.text("target").unwrap_or_default();
        if target.is_empty() && minor >= 3 {
            return Err(format!("links[{at}].target: missing"));
        }
        if link.is_true("hard") && directories.contains(target) {
            return Err(format!("links[{at}].target: a hard link cannot lead to the directory `{target}`"));
        }
    }
    Ok(())
}

/// The links that lie below no other link, each with a slash behind it. None of them begins with another, so the one
/// that a path goes through, if there is one, stands right before it in order: one look-up a path, however many links.
fn outermost(links: &[Item]) -> BTreeSet<String> {
    let all: BTreeSet<String> =
        links.iter().map(|link| format!("{}/", link.text("path").unwrap_or_default())).collect();
    let mut kept: BTreeSet<String> = BTreeSet::new();
    for link in all {
        if !kept.last().is_some_and(|outer| link.starts_with(outer.as_str())) {
            kept.insert(link);
        }
    }
    kept
}

fn check_disk(disk: &Item) -> Check {
    absolute(disk.text("device").unwrap_or_default()).map_err(|problem| format!("device: {problem}"))?;
    each(disk, "partitions", |partition| {
        let (label, number) = (partition.text("label"), partition.int("number"));
        if label.is_none() && number.is_none() {
            return Err("number: neither a number nor a label".into());
        }
        if label.is_some_and(|label| label.len() > 36 || label.contains(':')) {
            return Err("label: longer than 36 bytes, or with a colon in it".into());
        }
        for name in ["guid", "typeGuid"] {
            if partition.text(name).is_some_and(|guid| !is_guid(guid)) {
                return Err(format!("{name}: not 8-4-4-4-12 hexadecimal digits"));
            }
        }
        let filled = |name: &&str| partition.text(name).is_some_and(|text| !text.is_empty() || *name == "label");
        let sized = partition.int("startMiB").is_some() || partition.int("sizeMiB").is_some();
        let gone = partition.get("shouldExist") == Some(&Item::Bool(false));
        if gone && (sized || ["label", "guid", "typeGuid"].iter().any(filled)) {
            return Err("shouldExist: false, but the partition is described".into());
        }
        Ok(())
    })?;
    unique(disk, "partitions", "label")?;
    let partitions = disk.list("partitions");
    for (at, one) in partitions.iter().enumerate() {
        for other in &partitions[..at] {
            if one.int("number").is_some() && one.int("number") == other.int("number") {
                return Err(format!("partitions[{at}].number: it is there twice"));
            }
            if let (Some(one), Some(other)) = (extent(one), extent(other))
                && one.0 <= other.1
                && other.0 <= one.1
            {
                return Err(format!("partitions[{at}].startMiB: it overlaps another partition"));
            }
        }
    }
    Ok(())
}

fn is_guid(text: &str) -> bool {
    let mut parts = text.split('-');
    let hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let fits =
        [8, 4, 4, 4, 12].iter().all(|length| parts.next().is_some_and(|part| part.len() == *length && hex(part)));
    text.is_empty() || fits && parts.next().is_none()
}

/// First and last MiB of a partition whose place is given.
fn extent(partition: &Item) -> Option<(i64, i64)> {
    let (start, size) = (partition.int("startMiB")?, partition.int("sizeMiB")?);
    // Size 0 means whatever is left.
    (start != 0).then(|| (start, start.saturating_add(size.max(1) - 1)))
}

fn check_filesystem(filesystem: &Item) -> Check {
    absolute(filesystem.text("device").unwrap_or_default()).map_err(|problem| format!("device: {problem}"))?;
    let filled = |name: &str| filesystem.text(name).is_some_and(|text| !text.is_empty());
    if filled("path") {
        absolute(filesystem.text("path").unwrap_or_default()).map_err(|problem| format!("path: {problem}"))?;
    }
    let format = filesystem.text("format").unwrap_or_default();
    let label_bytes_max = match format {
        "ext4" => 16,
        "btrfs" => 256,
        "xfs" => 12,
        "swap" => 15,
        "vfat" => 11,
        "none" => usize::MAX,
        "" => {
            let listed = ["mountOptions", "options"].iter().any(|name| !filesystem.list(name).is_empty());
            let described = ["path", "label", "uuid"].iter().any(|name| filled(name));
            return if listed || described || filesystem.is_true("wipeFilesystem") {
                Err("format: missing".into())
            } else {
                Ok(())
            };
        }
        other => return Err(format!("format: `{other}` is none of ext4, btrfs, xfs, swap, vfat, none")),
    };
    if filesystem.text("label").is_some_and(|label| label.len() > label_bytes_max) {
        return Err(format!("label: longer than {label_bytes_max} bytes, the most {format} takes"));
    }
    Ok(())
}

/// Later versions than 3.4 know more pins.
const PINS_KNOWN_UNTIL: u8 = 4;

fn check_luks(luks: &Item, minor: u8) -> Check {
    if luks.text("name").is_some_and(|name| name.contains('/')) {
        return Err("name: a slash in it".into());
    }
    if luks.text("label").is_some_and(|label| label.len() > 47) {
        return Err("label: longer than 47 bytes".into());
    }
    absolute(luks.text("device").unwrap_or_default()).map_err(|problem| format!("device: {problem}"))?;
    each(luks, "keyFile", resource)?;
    each(luks, "clevis", |clevis| {
        each(clevis, "tang", |tang| {
            check_http(tang.text("url").unwrap_or_default()).map_err(|problem| format!("url: {problem}"))?;
            if tang.text("thumbprint").unwrap_or_default().is_empty() {
                return Err("thumbprint: missing".into());
            }
            Ok(())
        })?;
        unique(clevis, "tang", "url")?;
        let Some(custom) = clevis.get("custom") else { return Ok(()) };
        let (pin, config) = (custom.text("pin").unwrap_or_default(), custom.text("config").unwrap_or_default());
        if pin.is_empty() && config.is_empty() && !custom.is_true("needsNetwork") {
            return Ok(());
        }
        if minor <= PINS_KNOWN_UNTIL && !matches!(pin, "tpm2" | "tang" | "sss") {
            return Err("custom.pin: none of tpm2, tang, sss".into());
        }
        if config.is_empty() {
            return Err("custom.config: missing".into());
        }
        let others =
            !clevis.list("tang").is_empty() || clevis.is_true("tpm2") || clevis.int("threshold").unwrap_or(0) != 0;
        if others { Err("custom.pin: not together with tang, tpm2 or threshold".into()) } else { Ok(()) }
    })
}

fn check_raid(raid: &Item) -> Check {
    match raid.text("level").unwrap_or_default() {
        "" => return Err("level: missing".into()),
        "linear" | "raid0" | "0" | "stripe" => {
            if raid.int("spares").unwrap_or(0) != 0 {
                return Err("spares: that level has none".into());
            }
        }
        "raid1" | "1" | "mirror" | "raid4" | "4" | "raid5" | "5" | "raid6" | "6" | "raid10" | "10" => {}
        other => return Err(format!("level: `{other}` is no RAID level")),
    }
    if raid.list("devices").is_empty() {
        return Err("devices: missing".into());
    }
    raid.list("devices").iter().enumerate().try_for_each(|(at, device)| match device {
        Item::Text(device) => absolute(device).map_err(|problem| format!("devices[{at}]: {problem}")),
        _ => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::reserialise;

    #[test]
    fn many_links_and_files_are_checked_in_time() {
        let list = |item: &dyn Fn(usize) -> String| (0..20_000).map(item).collect::<Vec<_>>().join(",");
        let links = list(&|at| format!(r#"{{"path":"/links/{at:05}","target":"/x"}}"#));
        let files = list(&|at| format!(r#"{{"path":"/links-{at:05}/file"}}"#));
        let config = |last: &str| {
            let storage = format!(r#"{{"links":[{links}],"files":[{files},{{"path":"{last}"}}]}}"#);
            format!(r#"{{"ignition":{{"version":"3.4.0"}},"storage":{storage}}}"#)
        };
        let start = Instant::now();
        assert!(reserialise(config("/links/0").as_bytes()).is_ok());
        let problem = reserialise(config("/links/19999/below").as_bytes()).unwrap_err();
        assert_eq!(problem, "storage.files[20000].path: `/links/19999/below` goes through the link `/links/19999`");
        assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
    }
}
