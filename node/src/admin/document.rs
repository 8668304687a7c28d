//! Turns one object as a request writes it into the edit that stores it.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raft::command::{Edit, Guard, GuardedEdit};
use raft::state::{Asset, Settings, State, Template, TemplateKind};
use raft::types::Digest;
use serde::Deserialize;
use serde_json::Value;

use super::Context;
use super::error::{Answer, ApiError};
use super::json::Members;
use super::view::SettingsJson;
use crate::matchbox_json::{GroupJson, ProfileJson};

/// What an `apply` may hold.
const KINDS: [&str; 5] = ["profile", "group", "template", "asset", "settings"];

/// What the path of a request says about the object in its body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    /// Its kind.
    pub kind: &'static str,
    /// Its id or name.
    pub name: &'a str,
}

/// What is known of the bytes that assets name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bytes<'a> {
    /// They must be stored.
    Stored,
    /// So must they, or be one of these: a rehearsal before they are sent.
    Promised(&'a [Digest]),
    /// It does not matter: the change was made before and is only to be answered again.
    Any,
}

/// Reads an object. Its `kind` says what it is, unless `expected` does. May touch the disk, for assets.
///
/// # Errors
/// What is wrong with it, and where.
pub(super) fn read(
    context: &Context,
    state: &State,
    mut object: Members,
    expected: Option<Expected<'_>>,
    bytes: Bytes<'_>,
) -> Answer<GuardedEdit> {
    let said: Option<String> = object.take("kind")?;
    let kind = match (said.as_deref(), expected) {
        (Some(said), Some(expected)) if said != expected.kind => return Err(other_kind(said, expected.kind)),
        (Some(said), _) => said,
        (None, Some(expected)) => expected.kind,
        (None, None) => {
            let hint = format!("say which of these it is: {}", KINDS.join(", "));
            return Err(ApiError::unprocessable("invalid", "the object does not say what it is", hint).at("kind"));
        }
    };
    object.drop_read_only();
    let name = expected.map(|expected| expected.name);
    Ok(match kind {
        "profile" => {
            let mut json: ProfileJson = object.finish()?;
            named(&mut json.id, name)?;
            Edit::PutProfile(json.into()).into()
        }
        "group" => {
            let mut json: GroupJson = object.finish()?;
            named(&mut json.id, name)?;
            Edit::put_group(json.into()).into()
        }
        "template" => Edit::PutTemplate(template(object)?).into(),
        "asset" => Edit::PutAsset(asset(context, object, bytes)?).into(),
        "settings" => {
            let guard = state.settings().map_or(Guard::Absent, |stored| Guard::Revision(stored.revision));
            GuardedEdit { guard, edit: Edit::PutSettings(merged(context, state, object.finish()?)?) }
        }
        other => {
            let hint = format!("write one of {}", KINDS.join(", "));
            return Err(ApiError::unprocessable(
                "invalid",
                format!("`{}` is no kind of object", other.escape_debug()),
                hint,
            )
            .at("kind"));
        }
    })
}

fn other_kind(said: &str, expected: &str) -> ApiError {
    let message = format!("this is a {}, the path is that of a {expected}", said.escape_debug());
    ApiError::unprocessable("invalid", message, "send it to the path of its kind").at("kind")
}

/// A body of the only object of its kind, without what answers add to it.
///
/// # Errors
/// `invalid` if it says that it is something else.
pub(super) fn own_fields(bytes: &[u8], kind: &str) -> Answer<Value> {
    let mut members: Members = super::json::read(bytes)?;
    match members.take::<String>("kind")? {
        Some(said) if said != kind => Err(other_kind(&said, kind)),
        _ => {
            members.drop_read_only();
            members.finish()
        }
    }
}

/// An object in a path has its name from there; if it names itself too, both must agree.
fn named(id: &mut String, expected: Option<&str>) -> Answer<()> {
    let Some(expected) = expected else { return Ok(()) };
    if !id.is_empty() && id != expected {
        let message = format!("the body says `{id}`, the path `{expected}`");
        return Err(
            ApiError::unprocessable("invalid", message, "leave the id out of the body, or make both the same").at("id")
        );
    }
    expected.clone_into(id);
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TemplateJson {
    r#type: TemplateKind,
    name: String,
    content: Option<String>,
    content_base64: Option<String>,
    /// As answers show them; what is stored is computed.
    #[serde(rename = "size")]
    _size: Option<u64>,
    #[serde(rename = "sha256")]
    _sha256: Option<Digest>,
}

fn template(object: Members) -> Answer<Template> {
    let json: TemplateJson = object.finish()?;
    let content = match (json.content, json.content_base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(text)) => base64(&text).ok_or_else(|| {
            let hint = "write it as RFC 4648 §4 says, with padding";
            ApiError::unprocessable("invalid", "not base64", hint).at("content_base64")
        })?,
        (None, None) => {
            let hint = "write the text as `content`, or bytes that are no text as `content_base64`";
            return Err(ApiError::unprocessable("invalid", "the template has no content", hint).at("content"));
        }
        (Some(_), Some(_)) => {
            let message = "both `content` and `content_base64` are there";
            return Err(ApiError::unprocessable("invalid", message, "keep one of them").at("content"));
        }
    };
    Ok(Template { kind: json.r#type, name: json.name, content })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AssetJson {
    name: String,
    digest: String,
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    origin: String,
    /// As answers show them; what is stored is looked up.
    #[serde(rename = "size")]
    _size: Option<u64>,
    #[serde(rename = "stored")]
    _stored: Option<bool>,
    #[serde(rename = "copies")]
    _copies: Option<Vec<u64>>,
    #[serde(rename = "under_replicated")]
    _under_replicated: Option<bool>,
}

/// A name for bytes that some node has already.
fn asset(context: &Context, object: Members, bytes: Bytes<'_>) -> Answer<Asset> {
    let AssetJson { name, digest, media_type, origin, .. } = object.finish()?;
    let digest = parse_digest(&digest)?;
    let size = context.store.size(&digest).or_else(|| context.replicator.size_anywhere(&digest));
    let missing = match bytes {
        Bytes::Stored => None,
        Bytes::Promised(promised) => promised.contains(&digest).then_some(0),
        Bytes::Any => Some(0),
    };
    let size = size.or(missing).ok_or_else(|| {
        let hint = format!("upload the bytes first: PUT /api/v1/blobs/{digest}");
        ApiError::unprocessable("blob_missing", format!("no bytes with sha256 {digest} are stored"), hint).at("digest")
    })?;
    Ok(Asset { name, digest, size, media_type, origin })
}

/// Reads a digest that somebody wrote.
///
/// # Errors
/// `invalid` at `digest`.
pub(super) fn parse_digest(text: &str) -> Answer<Digest> {
    Digest::from_str(text).map_err(|error| {
        ApiError::unprocessable(
            "invalid",
            format!("`{}` is {error}", text.escape_debug()),
            "`sha256sum FILE` prints it",
        )
        .at("digest")
    })
}

/// The settings in force with `patch` put over them (RFC 7396: `null` is the default again).
///
/// # Errors
/// What is wrong with the result.
pub(super) fn merged(context: &Context, state: &State, patch: Value) -> Answer<Settings> {
    let now = state.settings().map(|stored| SettingsJson::from(&stored.value)).unwrap_or_default();
    let mut value = serde_json::to_value(now).expect("settings are JSON");
    // `null` for what does not exist would go unnoticed: it takes away nothing.
    let known = |name: &String| value.get(name).is_some();
    if let Some(name) = patch.as_object().and_then(|patch| patch.keys().find(|name| !known(name))) {
        let hint = "`raftboot settings get` shows what can be set";
        let message = format!("unknown field `{}`", name.escape_debug());
        return Err(ApiError::unprocessable("invalid", message, hint).at(name.clone()));
    }
    known_classes(context, patch["loaders"].as_object().into_iter().flat_map(|loaders| loaders.keys()))?;
    merge(&mut value, patch);
    settings(context, &value)
}

/// Reads settings strictly.
///
/// # Errors
/// `invalid`, with the field's path.
pub(super) fn settings(context: &Context, value: &Value) -> Answer<Settings> {
    let json: SettingsJson = super::json::read(value.to_string().as_bytes())?;
    known_classes(context, json.loaders.keys())?;
    Ok(json.into())
}

fn known_classes<'a>(context: &Context, mut named: impl Iterator<Item = &'a String>) -> Answer<()> {
    let classes = &context.checks.loader_classes;
    let unknown = named.find(|class| !classes.is_empty() && !classes.contains(class));
    unknown.map_or(Ok(()), |class| {
        let hint = format!("write one of {}", classes.join(", "));
        let message = format!("`{}` is no class of firmware", class.escape_debug());
        Err(ApiError::unprocessable("invalid", message, hint).at(format!("loaders.{class}")))
    })
}

/// JSON Merge Patch (RFC 7396 §2). Only as deep as the patch is, which the JSON reader bounds.
pub(super) fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(&key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// RFC 4648 §4, with padding; line breaks are allowed.
fn base64(text: &str) -> Option<Vec<u8>> {
    let letters: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(letters).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_rfc_4648_writes_it() {
        for (text, bytes) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9v\nYmE=", "fooba"), ("Zm9vYmFy", "foobar")]
        {
            assert_eq!(base64(text).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        assert_eq!(base64("//79").unwrap(), [0xff, 0xfe, 0xfd]);
        for text in ["Z", "Zg", "Zg=", "Z===", "====", "Zh==", "Zm9=", "Z!==", "=Zg="] {
            assert_eq!(base64(text), None, "{text}");
        }
    }

    #[test]
    fn a_patch_is_put_over_what_is_there() {
        let mut value = serde_json::json!({"a": {"b": 1, "c": 2}, "d": [1]});
        merge(&mut value, serde_json::json!({"a": {"b": null, "e": {"f": null}}, "d": [2], "g": "h"}));
        assert_eq!(value, serde_json::json!({"a": {"c": 2, "e": {}}, "d": [2], "g": "h"}));
    }
}
