//! The rules a config must keep, as Ignition itself would check them on the machine, where nobody sees why it failed.

use std::collections::BTreeSet;

use super::address::{check_http, check_source, scheme};
use super::item::{Item, Problem};
use super::storage::check_storage;

/// What a check comes to.
pub(super) type Check = Result<(), Problem>;

/// Checks a whole config of spec `3.minor`.
pub(super) fn check(config: &Item, minor: u8) -> Check {
    each(config, "ignition", |ignition| {
        each(ignition, "config", |references| {
            each(references, "merge", required_source)?;
            each(references, "replace", resource)
        })?;
        each(ignition, "proxy", |proxy| {
            ["httpProxy", "httpsProxy"].iter().try_for_each(|name| match proxy.text(name) {
                Some(address) => check_http(address).map_err(|problem| format!("{name}: {problem}")),
                None => Ok(()),
            })
        })?;
        each(ignition, "security", |security| {
            each(security, "tls", |tls| each(tls, "certificateAuthorities", required_source))
        })
    })?;
    each(config, "passwd", |passwd| {
        unique(passwd, "groups", "name")?;
        unique(passwd, "users", "name")
    })?;
    each(config, "storage", |storage| check_storage(storage, minor))?;
    each(config, "systemd", check_systemd)?;
    units_and_files(config)
}

/// Runs `check` on a member: on every element of a list, on an object once. Problems are told with the way to them.
pub(super) fn each(item: &Item, name: &str, check: impl Fn(&Item) -> Check) -> Check {
    let tell = |at: &str, problem: Problem| {
        let gap = if problem.split(' ').next().is_some_and(|word| word.ends_with(':')) { "." } else { ": " };
        format!("{name}{at}{gap}{problem}")
    };
    match item.get(name) {
        Some(Item::List(list)) => list
            .iter()
            .enumerate()
            .try_for_each(|(at, element)| check(element).map_err(|problem| tell(&format!("[{at}]"), problem))),
        Some(other) => check(other).map_err(|problem| tell("", problem)),
        None => Ok(()),
    }
}

/// No two elements of a list say the same of `key`.
pub(super) fn unique(item: &Item, list: &str, key: &str) -> Check {
    let mut seen = BTreeSet::new();
    for (at, element) in item.list(list).iter().enumerate() {
        let Some(text) = element.text(key) else { continue };
        if !seen.insert(text) {
            return Err(format!("{list}[{at}].{key}: `{text}` is there twice"));
        }
    }
    Ok(())
}

fn required_source(reference: &Item) -> Check {
    if reference.text("source").unwrap_or_default().is_empty() {
        return Err("source: missing".into());
    }
    resource(reference)
}

/// Checks something that is fetched.
pub(super) fn resource(resource: &Item) -> Check {
    let source = resource.text("source");
    if let Some(source) = source.filter(|source| !source.is_empty()) {
        check_source(source).map_err(|problem| format!("source: {problem}"))?;
    }
    if let Some(compression) = resource.text("compression")
        && !matches!(compression, "" | "gzip")
    {
        return Err(format!("compression: `{compression}` is not `gzip`"));
    }
    if let Some(hash) = resource.get("verification").and_then(|verification| verification.text("hash")) {
        check_hash(hash).map_err(|problem| format!("verification.hash: {problem}"))?;
        if source.is_none() {
            return Err("verification.hash: there is no source to verify".into());
        }
    }
    let headers = resource.list("httpHeaders");
    for (at, header) in headers.iter().enumerate() {
        if header.text("name").unwrap_or_default().is_empty() {
            return Err(format!("httpHeaders[{at}].name: empty"));
        }
        if header.text("value") == Some("") {
            return Err(format!("httpHeaders[{at}].value: empty"));
        }
    }
    unique(resource, "httpHeaders", "name")?;
    let over_http = source.and_then(|source| scheme(source).ok()).is_some_and(|scheme| scheme.starts_with("http"));
    if !headers.is_empty() && !over_http {
        return Err("httpHeaders: only http and https sources have headers".into());
    }
    Ok(())
}

fn check_hash(hash: &str) -> Check {
    let length = match hash.split_once('-') {
        Some(("sha512", _)) => 128,
        Some(("sha256", _)) => 64,
        Some((other, _)) => return Err(format!("`{other}` is neither sha256 nor sha512")),
        None => return Err("write it as `sha256-` or `sha512-` and the digest".into()),
    };
    let digits = hash.len() - "sha256-".len();
    if digits == length { Ok(()) } else { Err(format!("{digits} digits, {length} are needed")) }
}

const UNIT_TYPES: [&str; 12] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "snapshot",
    "slice",
    "scope",
];

fn check_systemd(systemd: &Item) -> Check {
    each(systemd, "units", |unit| {
        let name = unit.text("name").unwrap_or_default();
        if !name.rsplit_once('.').is_some_and(|(_, kind)| UNIT_TYPES.contains(&kind)) {
            return Err(format!("name: `{name}` does not end in a kind of systemd unit, such as `.service`"));
        }
        unit_text(unit)?;
        each(unit, "dropins", |dropin| {
            let name = dropin.text("name").unwrap_or_default();
            if !name.ends_with(".conf") {
                return Err(format!("name: `{name}` does not end in `.conf`"));
            }
            unit_text(dropin)
        })?;
        unique(unit, "dropins", "name")
    })?;
    unique(systemd, "units", "name")
}

/// A unit file is sections, options and comments, read as Ignition reads it: what stands before the first section does not
/// count, and an option or a comment that ends in a backslash goes on in the next line.
fn unit_text(unit: &Item) -> Check {
    let text = unit.text("contents").unwrap_or_default();
    let mut rest = text;
    let mut in_section = false;
    loop {
        rest = if in_section { rest.trim_start() } else { rest.trim_start_matches(|letter| !"[#;".contains(letter)) };
        let problem = |what: &str| {
            let at = text[..text.len() - rest.len()].matches('\n').count() + 1;
            Err(format!("contents: line {at} {what}"))
        };
        if rest.is_empty() {
            return Ok(());
        }
        if let Some(section) = rest.strip_prefix('[') {
            let Some((_, after)) = section.split_once(']') else {
                return problem("is neither a section nor an option");
            };
            let (garbage, next) = first_line(after);
            if !garbage.trim().is_empty() {
                return problem("goes on after the section");
            }
            (rest, in_section) = (next, true);
            continue;
        }
        let (mut line, mut next) = first_line(rest);
        let comment = rest.starts_with(['#', ';']);
        if !comment && !line.contains('=') {
            return problem("is neither a section nor an option");
        }
        while line.strip_suffix(' ').filter(|_| comment).unwrap_or(line).ends_with('\\') && !next.is_empty() {
            (line, next) = first_line(next);
        }
        rest = next;
    }
}

fn first_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

/// A file must not be where a unit of the same config is written.
fn units_and_files(config: &Item) -> Check {
    let (Some(systemd), Some(storage)) = (config.get("systemd"), config.get("storage")) else { return Ok(()) };
    let mut paths = BTreeSet::new();
    let filled = |item: &Item| item.text("contents").is_some_and(|contents| !contents.is_empty());
    for unit in systemd.list("units") {
        let name = unit.text("name").unwrap_or_default();
        if filled(unit) {
            paths.insert(format!("/etc/systemd/system/{name}"));
        }
        for dropin in unit.list("dropins").iter().filter(|dropin| filled(dropin)) {
            paths.insert(format!("/etc/systemd/system/{name}.d/{}", dropin.text("name").unwrap_or_default()));
        }
    }
    for list in ["files", "directories", "links"] {
        for (at, node) in storage.list(list).iter().enumerate() {
            if node.text("path").is_some_and(|path| paths.contains(path)) {
                return Err(format!("storage.{list}[{at}].path: a unit of this config is written there"));
            }
        }
    }
    Ok(())
}
