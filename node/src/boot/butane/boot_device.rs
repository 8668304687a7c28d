//! The disks, arrays, encryption and file systems that `boot_device` stands for.
//!
//! Sizes and types repeat the partition table of the Fedora CoreOS image; a root file system that is moved to a mirror
//! or into encryption must find its neighbours as large as they were.

use super::value::{Value, text};

const RESERVED: (&str, i64, Option<&str>) = ("reserved", 1, Some("8DA63339-0007-60C0-C436-083AC8230908"));
const BIOS: (&str, i64, Option<&str>) = ("bios", 1, Some("21686148-6449-6E6F-744E-656564454649"));
const PREP: (&str, i64, Option<&str>) = ("prep", 4, Some("9E1A2D38-C612-4316-AA26-8B49521E5A8B"));
const ESP: (&str, i64, Option<&str>) = ("esp", 127, Some("C12A7328-F81F-11D2-BA4B-00A0C93EC93B"));
const BOOT: (&str, i64, Option<&str>) = ("boot", 384, None);

/// What `boot_device` stands for, as a config to merge the rest into; none if it asks for nothing.
pub(super) fn boot_device(config: &Value) -> Option<Value> {
    let device = config.get("boot_device")?;
    let layout = device.text("layout").unwrap_or("x86_64");
    let mirror = device.get("mirror").map(|mirror| mirror.list("devices")).unwrap_or_default();
    let luks = device.get("luks").filter(|luks| wants_luks(luks));
    if mirror.is_empty() && luks.is_none() {
        return None;
    }
    let mut filesystems = Vec::new();
    let mut storage = Vec::new();
    if !mirror.is_empty() {
        let (first, second) = match layout {
            "aarch64" => (RESERVED, ESP),
            "ppc64le" => (PREP, RESERVED),
            _ => (BIOS, ESP),
        };
        let numbered = || mirror.iter().zip(1..);
        storage.push(("disks", list(numbered().map(|(device, number)| disk(device, number, [first, second])))));
        if second == ESP {
            let label = |number| format!("esp-{number}");
            filesystems.extend(
                numbered().map(|(_, number)| filesystem(&partition_path(&label(number)), "vfat", &label(number))),
            );
        }
        filesystems.push(filesystem("/dev/md/md-boot", "ext4", "boot"));
    }
    let root = if luks.is_some() { "/dev/mapper/root" } else { "/dev/md/md-root" };
    filesystems.push(filesystem(root, "xfs", "root"));
    storage.push(("filesystems", Value::List(filesystems)));
    if let Some(luks) = luks {
        storage.push(("luks", list([encryption(luks, layout, !mirror.is_empty())])));
    }
    if !mirror.is_empty() {
        // With its superblock at the end, an array is a file system to firmware that does not know arrays.
        let options = ("options", list([text("--metadata=1.0")]));
        storage.push(("raid", list([array("boot", mirror.len(), Some(options)), array("root", mirror.len(), None)])));
    }
    Some(Value::Object(vec![("storage", Value::Object(storage))]))
}

/// Whether a way to unlock the root file system is given.
pub(super) fn wants_luks(luks: &Value) -> bool {
    luks.is_true("tpm2") || !luks.list("tang").is_empty() || luks.get("cex").is_some_and(|cex| cex.is_true("enabled"))
}

fn list(values: impl IntoIterator<Item = Value>) -> Value {
    Value::List(values.into_iter().collect())
}

fn partition_path(label: &str) -> String {
    format!("/dev/disk/by-partlabel/{label}")
}

fn disk(device: &Value, number: usize, firmware: [(&str, i64, Option<&str>); 2]) -> Value {
    let [first, second] = firmware;
    let sized = [first, second, BOOT].map(|(label, size_mib, type_guid)| {
        let mut partition = vec![("label", text(format!("{label}-{number}"))), ("size_mib", Value::Int(size_mib))];
        partition.extend(type_guid.map(|guid| ("type_guid", text(guid))));
        Value::Object(partition)
    });
    let root = Value::Object(vec![("label", text(format!("root-{number}")))]);
    Value::Object(vec![
        ("device", device.clone()),
        ("partitions", list(sized.into_iter().chain([root]))),
        ("wipe_table", Value::Bool(true)),
    ])
}

fn filesystem(device: &str, format: &str, label: &str) -> Value {
    Value::Object(vec![
        ("device", text(device)),
        ("format", text(format)),
        ("label", text(label)),
        ("wipe_filesystem", Value::Bool(true)),
    ])
}

fn array(label: &str, disks: usize, options: Option<(&'static str, Value)>) -> Value {
    let devices = (1..=disks).map(|number| text(partition_path(&format!("{label}-{number}"))));
    let mut members = vec![("devices", list(devices)), ("level", text("raid1")), ("name", text(format!("md-{label}")))];
    members.extend(options);
    Value::Object(members)
}

fn encryption(luks: &Value, layout: &str, mirrored: bool) -> Value {
    let disk = luks.text("device").unwrap_or_default();
    let device = match layout {
        // The partition of the root file system, on the disks that the machine has there.
        "s390x-eckd" => format!("{disk}2"),
        "s390x-zfcp" => format!("{disk}4"),
        _ if mirrored => "/dev/md/md-root".into(),
        _ => partition_path("root"),
    };
    let mut members = Vec::new();
    match luks.get("cex").filter(|cex| cex.is_true("enabled")) {
        Some(cex) => members.push(("cex", cex.clone())),
        None => {
            let copied = ["tang", "threshold", "tpm2"].map(|name| luks.get(name).map(|value| (name, value.clone())));
            members.push(("clevis", Value::Object(copied.into_iter().flatten().collect())));
        }
    }
    members.push(("device", text(device)));
    members.extend(luks.get("discard").map(|discard| ("discard", discard.clone())));
    members.push(("label", text("luks-root")));
    members.push(("name", text("root")));
    members.push(("wipe_volume", Value::Bool(true)));
    Value::Object(members)
}
