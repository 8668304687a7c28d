//! Profiles and groups in matchbox's JSON: the shape the admin API speaks, and the lenient reader for matchbox's files.
//!
//! The serde types are strict (unknown fields are refused, so that a typing error is seen) and know `match`, which
//! matchbox does not; `group_of_file` and `profile_of_file` read what Go's `encoding/json` reads: names in any case, unknown names ignored, `null` for nothing.

use std::collections::BTreeMap;

use raft::state::{Group, NetBoot, Profile};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::go_json::{fields, folded, go_text};
use crate::match_json::{self, AlternativeJson};

/// A group as matchbox writes it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GroupJson {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// A name for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Id of the profile.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub profile: String,
    /// Labels that must be equal.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub selector: BTreeMap<String, String>,
    /// Beside them, at least one of these must hold; ours alone.
    #[serde(rename = "match", skip_serializing_if = "Vec::is_empty", deserialize_with = "match_json::at_least_one")]
    pub rules: Vec<AlternativeJson>,
    /// Values for templates: a JSON object, kept byte for byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Box<RawValue>>,
}

/// A profile as matchbox writes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileJson {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// A name for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Template of kind `ignition`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ignition_id: String,
    /// Template of kind `cloud`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cloud_id: String,
    /// What to load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<BootJson>,
    /// Template of kind `generic`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub generic_id: String,
}

/// The `boot` object of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BootJson {
    /// A path on this service or a URL.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kernel: String,
    /// One `initrd` line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub initrd: Vec<String>,
    /// Kernel arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
}

impl From<GroupJson> for Group {
    fn from(json: GroupJson) -> Self {
        let metadata = json.metadata.map(|raw| metadata_text(&raw)).unwrap_or_default();
        let rules = match_json::rules_of(json.rules);
        Self { id: json.id, name: json.name, profile: json.profile, selector: json.selector, metadata, rules }
    }
}

impl From<&Group> for GroupJson {
    fn from(group: &Group) -> Self {
        Self {
            id: group.id.clone(),
            name: group.name.clone(),
            profile: group.profile.clone(),
            selector: group.selector.clone(),
            rules: match_json::json_of(&group.rules),
            // Stored metadata has been checked to be a JSON object.
            metadata: RawValue::from_string(group.metadata.clone()).ok(),
        }
    }
}

impl From<ProfileJson> for Profile {
    fn from(json: ProfileJson) -> Self {
        let boot = json.boot.map(|boot| NetBoot { kernel: boot.kernel, initrd: boot.initrd, args: boot.args });
        Self {
            id: json.id,
            name: json.name,
            boot,
            ignition_id: json.ignition_id,
            cloud_id: json.cloud_id,
            generic_id: json.generic_id,
        }
    }
}

impl From<&Profile> for ProfileJson {
    fn from(profile: &Profile) -> Self {
        let boot = profile.boot.as_ref().map(|boot| BootJson {
            kernel: boot.kernel.clone(),
            initrd: boot.initrd.clone(),
            args: boot.args.clone(),
        });
        Self {
            id: profile.id.clone(),
            name: profile.name.clone(),
            ignition_id: profile.ignition_id.clone(),
            cloud_id: profile.cloud_id.clone(),
            boot,
            generic_id: profile.generic_id.clone(),
        }
    }
}

/// `{}` and `null` are no metadata, as matchbox stores them.
fn metadata_text(raw: &RawValue) -> String {
    let text = raw.get().trim();
    let empty = text == "null" || text.strip_prefix('{').is_some_and(|rest| rest.trim_start() == "}");
    if empty { String::new() } else { text.to_owned() }
}

/// Reads a matchbox group file. Its `id` is as written there; matchbox goes by the file name.
///
/// # Errors
/// Where the JSON is broken, or which value has the wrong type.
pub fn group_of_file(bytes: &[u8]) -> Result<Group, serde_json::Error> {
    let mut json = GroupJson::default();
    let mut metadata: Option<serde_json::Map<String, serde_json::Value>> = None;
    let text = go_text(bytes);
    for (key, value) in fields(&text)? {
        match folded(&key).as_str() {
            "id" => set(&mut json.id, &value)?,
            "name" => set(&mut json.name, &value)?,
            "profile" => set(&mut json.profile, &value)?,
            // A key that comes twice adds to the map, as in Go; a null value is an empty string.
            "selector" => match decode::<Option<BTreeMap<String, Option<String>>>>(&value)? {
                Some(more) => {
                    json.selector.extend(more.into_iter().map(|(key, value)| (key, value.unwrap_or_default())))
                }
                None => json.selector.clear(),
            },
            "metadata" => match decode(&value)? {
                Some(more) => {
                    let more: serde_json::Map<String, serde_json::Value> = more;
                    // Only two objects together need writing anew; one is kept byte for byte.
                    json.metadata = if metadata.is_some() { None } else { Some(value) };
                    metadata.get_or_insert_default().extend(more);
                }
                None => (metadata, json.metadata) = (None, None),
            },
            _ => {}
        }
    }
    if let (Some(merged), None) = (metadata, &json.metadata) {
        json.metadata = Some(serde_json::value::to_raw_value(&merged)?);
    }
    Ok(json.into())
}

/// Reads a matchbox profile file. Its `id` is as written there; matchbox goes by the file name.
///
/// # Errors
/// Where the JSON is broken, or which value has the wrong type.
pub fn profile_of_file(bytes: &[u8]) -> Result<Profile, serde_json::Error> {
    let mut profile = Profile::default();
    let text = go_text(bytes);
    for (key, value) in fields(&text)? {
        match folded(&key).as_str() {
            "id" => set(&mut profile.id, &value)?,
            "name" => set(&mut profile.name, &value)?,
            "ignition_id" => set(&mut profile.ignition_id, &value)?,
            "cloud_id" => set(&mut profile.cloud_id, &value)?,
            "generic_id" => set(&mut profile.generic_id, &value)?,
            "boot" if value.get() == "null" => profile.boot = None,
            "boot" => boot_of(value.get(), profile.boot.get_or_insert_default())?,
            _ => {}
        }
    }
    Ok(profile)
}

fn boot_of(text: &str, boot: &mut NetBoot) -> Result<(), serde_json::Error> {
    for (key, value) in fields(text)? {
        match folded(&key).as_str() {
            "kernel" => set(&mut boot.kernel, &value)?,
            "initrd" => boot.initrd = strings(&value)?,
            "args" => boot.args = strings(&value)?,
            _ => {}
        }
    }
    Ok(())
}

/// `null` leaves what is there, as in Go.
fn set(target: &mut String, value: &RawValue) -> Result<(), serde_json::Error> {
    if let Some(text) = decode(value)? {
        *target = text;
    }
    Ok(())
}

fn strings(value: &RawValue) -> Result<Vec<String>, serde_json::Error> {
    let list: Option<Vec<Option<String>>> = decode(value)?;
    Ok(list.unwrap_or_default().into_iter().map(Option::unwrap_or_default).collect())
}

fn decode<T: DeserializeOwned>(value: &RawValue) -> Result<T, serde_json::Error> {
    serde_json::from_str(value.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(text: &str) -> Result<Group, String> {
        group_of_file(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn names_match_in_any_case_and_unknown_names_are_ignored() {
        let read =
            group(r#"{"ID":"u","Profile":"p","ſelector":{"g":"x"},"METADATA":{"b":1, "a":2},"zzz":[]}"#).unwrap();
        assert_eq!((read.id.as_str(), read.profile.as_str()), ("u", "p"));
        assert_eq!(read.selector["g"], "x");
        assert_eq!(read.metadata, r#"{"b":1, "a":2}"#, "kept byte for byte");
    }

    #[test]
    fn match_is_a_name_that_matchbox_does_not_know() {
        assert_eq!(group(r#"{"id":"g","match":[{"os":"x"}]}"#).unwrap().rules, []);
    }

    #[test]
    fn values_of_the_wrong_type_are_refused_and_null_is_nothing() {
        assert!(group(r#"{"id":5}"#).is_err());
        assert!(group(r#"{"selector":{"n":5}}"#).is_err());
        assert!(group(r#"{"metadata":[]}"#).is_err());
        assert!(group(r#"{"id":"a"} {"id":"b"}"#).is_err());
        assert!(group(r#"["a"]"#).is_err());
        assert_eq!(group(r#"{"selector":{"n":null},"metadata":null}"#).unwrap().selector["n"], "");
        assert_eq!(group("null").unwrap(), Group::default());
    }

    #[test]
    fn a_selector_given_twice_adds_up() {
        let read =
            group(r#"{"selector":{"a":"1","b":"2"},"selector":{"b":"3"},"metadata":{"x":1},"metadata":{"y":2}}"#);
        let read = read.unwrap();
        assert_eq!((read.selector["a"].as_str(), read.selector["b"].as_str()), ("1", "3"));
        assert_eq!(read.metadata, r#"{"x":1,"y":2}"#);
    }

    #[test]
    fn empty_metadata_is_no_metadata() {
        assert_eq!(group(r#"{"metadata":{ }}"#).unwrap().metadata, "");
        let json: GroupJson = serde_json::from_str(r#"{"id":"g","metadata":{}}"#).unwrap();
        assert_eq!(Group::from(json).metadata, "");
    }

    #[test]
    fn a_profile_without_boot_differs_from_one_with_an_empty_boot() {
        assert_eq!(profile_of_file(br#"{"id":"p","boot":null}"#).unwrap().boot, None);
        assert_eq!(profile_of_file(br#"{"id":"p","boot":{}}"#).unwrap().boot, Some(NetBoot::default()));
        let boot =
            profile_of_file(br#"{"Boot":{"Kernel":"/k","initrd":["/i",null],"cmdline":{"a":""}}}"#).unwrap().boot;
        assert_eq!(boot.unwrap().initrd, ["/i", ""]);
    }

    #[test]
    fn the_strict_shape_survives_a_round_trip_and_refuses_typing_errors() {
        let text = r#"{"id":"g","profile":"p","selector":{"os":"x"},"metadata":{"n":1.0}}"#;
        let json: GroupJson = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&GroupJson::from(&Group::from(json))).unwrap(), text);
        assert!(serde_json::from_str::<GroupJson>(r#"{"id":"g","profil":"p"}"#).is_err());
        let text = r#"{"id":"g","selector":{"os":"x"},"match":[{"mac":["a","b"]}],"metadata":{"n":1}}"#;
        let json: GroupJson = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&GroupJson::from(&Group::from(json))).unwrap(), text);
        let text = r#"{"id":"p","boot":{"kernel":"/k","initrd":["/i"],"args":["a"]},"generic_id":"x"}"#;
        let json: ProfileJson = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&ProfileJson::from(&Profile::from(json))).unwrap(), text);
    }
}
