//! Butane configs, the YAML that people write, translated into the Ignition configs that machines read.
//!
//! Every released version of the variants that give Ignition configs is translated as Butane translates it: inline
//! contents become data URLs, `with_mount_unit`, `boot_device` and `grub` what they stand for. Files beside the config
//! do not exist here, so `local` and `trees` are refused. Unknown fields are left out, as Butane does; [`check`] names
//! them, so that whoever stores a config can be told.

mod boot_device;
mod grub;
mod keys;
mod merge;
mod mount;
mod nested;
mod newer;
mod read;
mod resource;
mod rules;
mod scalar;
mod schema;
mod value;
mod yaml;

use super::ignition;
use read::Reader;
use schema::{COREOS, Field, HEADER, PLAIN};
use value::Value;

/// A version of a variant.
#[derive(Debug)]
struct Spec {
    variant: &'static str,
    version: [u64; 3],
    /// Of the fields in `schema`.
    generation: u8,
    /// The Ignition config it gives is of spec `3.minor`.
    minor: u8,
    schema: &'static [Field],
    unsupported: &'static [&'static str],
}

const fn spec(variant: &'static str, version: [u64; 3], generation: u8, minor: u8, schema: &'static [Field]) -> Spec {
    Spec { variant, version, generation, minor, schema, unsupported: &[] }
}

const fn without(unsupported: &'static [&'static str], spec: Spec) -> Spec {
    Spec { unsupported, ..spec }
}

const CLEVIS: &[&str] = &["storage.luks.clevis"];
const DISKS: &[&str] = &["kernel_arguments", "storage.disks", "storage.filesystems", "storage.luks", "storage.raid"];

const SPECS: &[Spec] = &[
    spec("fcos", [1, 0, 0], 1, 0, PLAIN),
    spec("fcos", [1, 1, 0], 2, 1, PLAIN),
    spec("fcos", [1, 2, 0], 3, 2, PLAIN),
    spec("fcos", [1, 3, 0], 3, 2, COREOS),
    spec("fcos", [1, 4, 0], 4, 3, COREOS),
    spec("fcos", [1, 5, 0], 5, 4, COREOS),
    spec("fcos", [1, 6, 0], 6, 5, COREOS),
    spec("fcos", [1, 7, 0], 7, 6, COREOS),
    without(CLEVIS, spec("flatcar", [1, 0, 0], 4, 3, PLAIN)),
    without(CLEVIS, spec("flatcar", [1, 1, 0], 5, 4, PLAIN)),
    without(DISKS, spec("r4e", [1, 0, 0], 4, 3, PLAIN)),
    without(DISKS, spec("r4e", [1, 1, 0], 5, 4, PLAIN)),
    without(DISKS, spec("fiot", [1, 0, 0], 5, 4, PLAIN)),
];

/// Why `openshift` is refused.
const FOR_CLUSTERS: &str = "gives what a cluster applies to its machines, which no machine can boot with";

/// The newest spec that [`ignition::reserialise`] knows the rules of; what is newer only adds to them.
const RULES_MINOR_MAX: u8 = 4;

/// Translates a rendered config into what is served for it: as matchbox does, spec 3.4.0 up to that version, and newer
/// ones as Butane gives them.
///
/// # Errors
/// What is wrong with it, where, and if it is in the YAML on which line.
pub(super) fn translate(rendered: &[u8]) -> Result<Vec<u8>, String> {
    translated(rendered).map(|(config, _)| config)
}

/// Translates a config to see whether it can be served, and names the fields that would be left out.
///
/// # Errors
/// Why it cannot be served.
pub(super) fn check(rendered: &[u8]) -> Result<Vec<String>, String> {
    translated(rendered).map(|(_, unknown)| unknown)
}

/// Whether a problem of [`check`] is not the config's but ours: Butane itself translates it, where it has the files.
#[must_use]
pub(super) fn is_ours(problem: &str) -> bool {
    problem.contains(rules::NO_FILES) || problem.contains(FOR_CLUSTERS)
}

fn translated(rendered: &[u8]) -> Result<(Vec<u8>, Vec<String>), String> {
    let text = std::str::from_utf8(rendered).map_err(|error| {
        let line = rendered[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("it is not UTF-8 on line {line}")
    })?;
    let document = yaml::Document::parse(text).map_err(|problem| format!("it is not YAML: {problem}"))?;
    let spec = choose(&Reader::new(&document, u8::MAX).read(HEADER)?)?;
    let mut reader = Reader::new(&document, spec.generation);
    let mut config = reader.read(spec.schema)?;
    rules::check(&config, spec.generation, spec.minor)?;
    resource::embed(&mut config, spec.generation);
    let generated =
        [mount::mount_units(&config, spec.generation), boot_device::boot_device(&config), grub::grub(&config)];
    for sugar in ["variant", "version", "boot_device", "grub"] {
        config.take(sugar);
    }
    let mut merged = config.clone();
    for generated in generated.iter().flatten() {
        merged = merge::merge(generated, merged, spec.generation);
    }
    let served = finish(merged, spec).map_err(|problem| {
        // Generated parts move the elements of lists; where they do not matter, tell where the config has them.
        finish(config, spec).err().unwrap_or(problem)
    })?;
    Ok((served, reader.unknown()))
}

/// The spec that a config asks for.
fn choose(header: &Value) -> Result<&'static Spec, String> {
    let variants = "known are fcos, flatcar, r4e and fiot";
    let variant = header.filled("variant").ok_or_else(|| format!("variant: missing; {variants}"))?;
    let versions: Vec<&Spec> = SPECS.iter().filter(|spec| spec.variant == variant).collect();
    if versions.is_empty() {
        let why = match variant {
            "openshift" => FOR_CLUSTERS,
            _ => "is unknown",
        };
        return Err(format!("variant: `{}` {why}; {variants}", scalar::shown(variant)));
    }
    let known = || {
        let known: Vec<String> =
            versions.iter().map(|spec| spec.version.map(|number| number.to_string()).join(".")).collect();
        format!("of {variant} known are {}", known.join(", "))
    };
    let text = header.filled("version").ok_or_else(|| format!("version: missing; {}", known()))?;
    let version = numbers(text);
    let spec = versions.iter().find(|spec| Some(spec.version) == version);
    spec.copied().ok_or_else(|| format!("version: `{}` is unknown; {}", scalar::shown(text), known()))
}

/// The three numbers of a version without any suffix.
fn numbers(version: &str) -> Option<[u64; 3]> {
    let mut parts = version.split('.').map(|part| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse().ok().filter(|_| digits)
    });
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

/// Checks a config by the rules of its version, and writes it by Ignition's names.
fn finish(mut config: Value, spec: &Spec) -> Result<Vec<u8>, String> {
    rules::check_absent(&config, spec.unsupported, spec.variant)?;
    keys::check_unique(&config)?;
    newer::check(&config, spec.minor)?;
    strip(&mut config);
    let reserialise = |config: &Value, minor| {
        ignition::reserialise(as_json(config, minor).as_bytes()).map_err(|problem| value::butane_names(&problem))
    };
    if spec.minor <= RULES_MINOR_MAX {
        return reserialise(&config, spec.minor);
    }
    let plain = as_json(&config, spec.minor);
    newer::remove(&mut config, spec.minor);
    reserialise(&config, RULES_MINOR_MAX)?;
    Ok(plain.into_bytes())
}

/// Takes out what is Butane's alone.
fn strip(value: &mut Value) {
    match value {
        Value::List(list) => list.iter_mut().for_each(strip),
        Value::Object(members) => {
            members.retain(|(name, _)| !["with_mount_unit", "contents_local", "trees"].contains(name));
            members.iter_mut().for_each(|(_, value)| strip(value));
        }
        Value::Text(_) | Value::Bytes(_) | Value::Int(_) | Value::Bool(_) => {}
    }
}

fn as_json(config: &Value, minor: u8) -> String {
    let mut ignition = config.get("ignition").cloned().unwrap_or(Value::EMPTY);
    if let Value::Object(members) = &mut ignition {
        members.push(("version", value::text(format!("3.{minor}.0"))));
    }
    let mut members = vec![("ignition", ignition)];
    if let Value::Object(others) = config {
        members.extend(others.iter().filter(|(name, _)| *name != "ignition").cloned());
    }
    let mut out = String::new();
    Value::Object(members).write(&mut out);
    out
}

#[cfg(test)]
mod tests;
