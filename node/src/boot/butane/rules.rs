//! What Butane itself refuses, and what cannot be had here: files beside the config. Ignition's own rules come after.

use super::boot_device::wants_luks;
use super::nested;
use super::scalar::shown;
use super::value::Value;

/// The disk that Fedora CoreOS is on may be encrypted with these on s390x, by the letters of its name.
const ECKD_DISK: &str = "/dev/dasd";
const ZFCP_DISK: &str = "/dev/sd";

type Check = Result<(), String>;

/// Checks a config before anything is made of it.
///
/// # Errors
/// What is wrong, and where.
pub(super) fn check(config: &Value, generation: u8, minor: u8) -> Check {
    resources(config, &mut String::new(), &mut |resource, way| check_resource(resource, way, minor))?;
    each(config, "passwd.users", |user, way| {
        let local = !user.list("ssh_authorized_keys_local").is_empty();
        refuse(local, || format!("{way}.ssh_authorized_keys_local: {NO_FILES} `ssh_authorized_keys`"))
    })?;
    each(config, "storage.trees", |_, way| Err(format!("{way}: {NO_FILES} `storage.files`")))?;
    each(config, "systemd.units", |unit, way| {
        check_unit(unit, way)?;
        let mut dropins = unit.list("dropins").iter().enumerate();
        dropins.try_for_each(|(at, dropin)| check_unit(dropin, &format!("{way}.dropins[{at}]")))
    })?;
    each(config, "storage.filesystems", |filesystem, way| check_mount(filesystem, way, generation))?;
    each(config, "grub.users", |user, way| {
        let missing = ["name", "password_hash"].into_iter().find(|name| user.filled(name).is_none());
        missing.map_or(Ok(()), |name| Err(format!("{way}.{name}: missing")))
    })?;
    config.get("boot_device").map_or(Ok(()), |device| check_boot_device(device, generation))
}

/// Why what lies in files beside a config is refused.
pub(super) const NO_FILES: &str = "there is no folder of files beside a template here; put what is in it under";

/// Checks what a variant has no use for.
///
/// # Errors
/// Where such a thing stands.
pub(super) fn check_absent(config: &Value, unsupported: &[&str], variant: &str) -> Check {
    for path in unsupported {
        let refused = match path.strip_prefix("storage.luks.") {
            Some(name) => config
                .at("storage")
                .map(|storage| storage.list("luks"))
                .unwrap_or_default()
                .iter()
                .position(|luks| luks.get(name).is_some_and(|value| !value.is_nothing()))
                .map(|at| format!("storage.luks[{at}].{name}")),
            None => config.at(path).filter(|value| !value.is_nothing()).map(|_| (*path).to_owned()),
        };
        if let Some(way) = refused {
            return Err(format!("{way}: variant `{variant}` of this version does not support it"));
        }
    }
    Ok(())
}

fn each(config: &Value, path: &str, check: impl Fn(&Value, &str) -> Check) -> Check {
    let Some(Value::List(list)) = config.at(path) else { return Ok(()) };
    list.iter().enumerate().try_for_each(|(at, value)| check(value, &format!("{path}[{at}]")))
}

fn refuse(refused: bool, why: impl Fn() -> String) -> Check {
    if refused { Err(why()) } else { Ok(()) }
}

/// Runs `check` on everything that is fetched.
fn resources(value: &Value, way: &mut String, check: &mut impl FnMut(&Value, &str) -> Check) -> Check {
    let length = way.len();
    match value {
        Value::List(list) => {
            for (at, value) in list.iter().enumerate() {
                way.push_str(&format!("[{at}]"));
                resources(value, way, check)?;
                way.truncate(length);
            }
        }
        Value::Object(members) => {
            if ["inline", "local", "source"].iter().any(|name| value.get(name).is_some()) {
                check(value, way)?;
            }
            for (name, value) in members {
                way.extend([if length == 0 { "" } else { "." }, name]);
                resources(value, way, check)?;
                way.truncate(length);
            }
        }
        Value::Text(_) | Value::Bytes(_) | Value::Int(_) | Value::Bool(_) => {}
    }
    Ok(())
}

fn check_resource(resource: &Value, way: &str, minor: u8) -> Check {
    let given: Vec<&str> =
        ["inline", "local", "source"].into_iter().filter(|name| resource.get(name).is_some()).collect();
    match given.as_slice() {
        [_, second, ..] => Err(format!("{way}.{second}: there is `{}` already", given[0])),
        ["local"] if way.starts_with("storage.trees") => Ok(()),
        ["local"] => Err(format!("{way}.local: {NO_FILES} `inline`")),
        ["inline"] if way.starts_with("ignition.config") => match resource.get("inline") {
            Some(Value::Bytes(inline)) => {
                nested::check(inline, minor).map_err(|problem| format!("{way}.inline: {problem}"))
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn check_unit(unit: &Value, way: &str) -> Check {
    let both = unit.get("contents").is_some() && unit.get("contents_local").is_some();
    refuse(both, || format!("{way}.contents_local: there is `contents` already"))?;
    let local = unit.filled("contents_local").is_some();
    refuse(local, || format!("{way}.contents_local: {NO_FILES} `contents`"))
}

fn check_mount(filesystem: &Value, way: &str, generation: u8) -> Check {
    if !filesystem.is_true("with_mount_unit") {
        return Ok(());
    }
    let format = filesystem.filled("format");
    refuse(format.is_none(), || format!("{way}.format: missing, which a mount unit needs"))?;
    let is_swap = generation >= 4 && format == Some("swap");
    let path = filesystem.filled("path");
    refuse(path.is_none() && !is_swap, || format!("{way}.path: missing, which a mount unit needs"))?;
    let below = |folder: &str| {
        filesystem.text("path").is_none_or(|path| path == folder || path.starts_with(&format!("{folder}/")))
    };
    let allowed = generation < 6 || below("/etc") || below("/var");
    refuse(!allowed, || format!("{way}.path: only /etc, /var and what is below them can be mounted by a unit"))
}

fn check_boot_device(device: &Value, generation: u8) -> Check {
    let absent = Value::EMPTY;
    let luks = device.get("luks").unwrap_or(&absent);
    let mirror = device.get("mirror").map(|mirror| mirror.list("devices")).unwrap_or_default();
    let layout = device.text("layout");
    let s390x = layout.filter(|layout| generation >= 6 && layout.starts_with("s390x-"));
    match (layout, s390x) {
        (None | Some("x86_64" | "aarch64" | "ppc64le"), _) | (_, Some("s390x-virt")) => Ok(()),
        (_, Some("s390x-eckd")) => check_s390x_disk(luks, ECKD_DISK),
        (_, Some("s390x-zfcp")) => check_s390x_disk(luks, ZFCP_DISK),
        (Some(layout), _) => {
            let more = if generation >= 6 { ", s390x-eckd, s390x-virt, s390x-zfcp" } else { "" };
            Err(format!("boot_device.layout: `{}` is none of x86_64, aarch64, ppc64le{more}", shown(layout)))
        }
    }?;
    refuse(mirror.len() == 1, || "boot_device.mirror.devices: a mirror needs two disks".into())?;
    refuse(!mirror.is_empty() && s390x.is_some(), || "boot_device.mirror: s390x has no mirrored boot disk".into())?;
    let unsaid = generation >= 7 && !mirror.is_empty() && layout.is_none();
    refuse(unsaid, || "boot_device.layout: missing, which a mirror needs".into())?;
    let cex = luks.get("cex").is_some_and(|cex| cex.is_true("enabled"));
    refuse(cex && s390x.is_none(), || "boot_device.luks.cex: only s390x has it; name its layout".into())?;
    let others = !luks.list("tang").is_empty() || luks.is_true("tpm2");
    refuse(cex && others, || "boot_device.luks.cex: not together with tang or tpm2".into())?;
    let locked = generation < 7 || luks.filled("device").is_none() || wants_luks(luks);
    refuse(!locked, || "boot_device.luks: neither tang, tpm2 nor cex to unlock the device with".into())
}

/// The device must be a whole disk: the name that all of them have, and one letter.
fn check_s390x_disk(luks: &Value, prefix: &str) -> Check {
    let device = luks.filled("device");
    let whole = device
        .and_then(|device| device.rsplit_once(prefix))
        .is_some_and(|(_, letter)| letter.len() == 1 && letter.bytes().all(|byte| byte.is_ascii_lowercase()));
    refuse(!whole, || format!("boot_device.luks.device: must be a whole disk such as {prefix}a for this layout"))
}
