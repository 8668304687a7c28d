//! Messages of matchbox's interface from and to JSON, by field numbers of their own: not by the product's types.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// What a field holds.
#[derive(Clone, Copy)]
enum Holds {
    Text,
    Bytes,
    Texts,
    TextMap,
    One(Shape),
    Many(Shape),
}

type Shape = &'static [(u32, &'static str, Holds)];

const GROUP: Shape = &[
    (1, "id", Holds::Text),
    (2, "name", Holds::Text),
    (3, "profile", Holds::Text),
    (4, "selector", Holds::TextMap),
    (5, "metadata", Holds::Bytes),
];
const BOOT: Shape = &[(1, "kernel", Holds::Text), (2, "initrd", Holds::Texts), (4, "args", Holds::Texts)];
const PROFILE: Shape = &[
    (1, "id", Holds::Text),
    (2, "name", Holds::Text),
    (3, "ignition_id", Holds::Text),
    (4, "cloud_id", Holds::Text),
    (5, "boot", Holds::One(BOOT)),
    (6, "generic_id", Holds::Text),
];
const NOTHING: Shape = &[];
const ID: Shape = &[(1, "id", Holds::Text)];
const NAME: Shape = &[(1, "name", Holds::Text)];
const CONFIG: Shape = &[(1, "config", Holds::Bytes)];
const NAMED_CONFIG: Shape = &[(1, "name", Holds::Text), (2, "config", Holds::Bytes)];
const LABELS: Shape = &[(1, "labels", Holds::TextMap)];
const ONE_GROUP: Shape = &[(1, "group", Holds::One(GROUP))];
const ONE_PROFILE: Shape = &[(1, "profile", Holds::One(PROFILE))];
const GROUPS: Shape = &[(1, "groups", Holds::Many(GROUP))];
const PROFILES: Shape = &[(1, "profiles", Holds::Many(PROFILE))];

/// The request and the answer of a method.
fn shapes(method: &str) -> (Shape, Shape) {
    match method {
        "rpcpb.Groups/GroupPut" => (ONE_GROUP, NOTHING),
        "rpcpb.Groups/GroupGet" => (ID, ONE_GROUP),
        "rpcpb.Groups/GroupDelete" | "rpcpb.Profiles/ProfileDelete" => (ID, NOTHING),
        "rpcpb.Groups/GroupList" => (NOTHING, GROUPS),
        "rpcpb.Profiles/ProfilePut" => (ONE_PROFILE, NOTHING),
        "rpcpb.Profiles/ProfileGet" => (ID, ONE_PROFILE),
        "rpcpb.Profiles/ProfileList" => (NOTHING, PROFILES),
        "rpcpb.Ignition/IgnitionPut" | "rpcpb.Generic/GenericPut" => (NAMED_CONFIG, NOTHING),
        "rpcpb.Ignition/IgnitionGet" | "rpcpb.Generic/GenericGet" => (NAME, CONFIG),
        "rpcpb.Ignition/IgnitionDelete" | "rpcpb.Generic/GenericDelete" => (NAME, NOTHING),
        "rpcpb.Select/SelectGroup" => (LABELS, ONE_GROUP),
        "rpcpb.Select/SelectProfile" => (LABELS, ONE_PROFILE),
        _ => (NOTHING, NOTHING),
    }
}

/// A request as bytes.
pub(crate) fn request(method: &str, value: &Value) -> Vec<u8> {
    encode(shapes(method).0, value)
}

/// An answer as JSON: bytes in base64, what has its default left out.
pub(crate) fn answer(method: &str, bytes: &[u8]) -> Value {
    decode(shapes(method).1, bytes)
}

fn encode(shape: Shape, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    let fields = value.as_object().expect("a message is an object");
    for (name, value) in fields {
        let known = shape.iter().find(|(_, known, _)| known == name);
        let (number, _, holds) = known.unwrap_or_else(|| panic!("no field {name}"));
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        match holds {
            Holds::Text => field(&mut out, *number, text(value).as_bytes()),
            Holds::Bytes => field(&mut out, *number, &from_base64(&text(value))),
            Holds::Texts => {
                value.as_array().expect("a list").iter().for_each(|one| field(&mut out, *number, text(one).as_bytes()));
            }
            Holds::TextMap => {
                for (key, value) in value.as_object().expect("a map") {
                    let mut entry = Vec::new();
                    field(&mut entry, 1, key.as_bytes());
                    field(&mut entry, 2, text(value).as_bytes());
                    field(&mut out, *number, &entry);
                }
            }
            Holds::One(shape) => field(&mut out, *number, &encode(shape, value)),
            Holds::Many(_) => unreachable!("requests hold no lists of messages"),
        }
    }
    out
}

fn field(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    varint(out, u64::from(number << 3 | 2));
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Fields that carry a length; there are no others in this interface.
fn fields(mut bytes: &[u8]) -> Vec<(u32, &[u8])> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = take_varint(&mut bytes);
        assert_eq!(key & 7, 2, "a field of another kind");
        let length = usize::try_from(take_varint(&mut bytes)).expect("a length");
        let (value, rest) = bytes.split_at(length);
        found.push((u32::try_from(key >> 3).expect("a field number"), value));
        bytes = rest;
    }
    found
}

fn take_varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for at in 0.. {
        let byte = bytes[at];
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            *bytes = &bytes[at + 1..];
            break;
        }
    }
    number
}

fn decode(shape: Shape, bytes: &[u8]) -> Value {
    let mut out = Map::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    for (number, value) in fields(bytes) {
        let known = shape.iter().find(|(known, ..)| *known == number);
        let (_, name, holds) = known.unwrap_or_else(|| panic!("an unknown field {number}"));
        let slot = out.entry((*name).to_owned());
        match holds {
            Holds::Text => drop(slot.or_insert(json!(text(value)))),
            Holds::Bytes => drop(slot.or_insert(json!(to_base64(value)))),
            Holds::Texts => slot.or_insert(json!([])).as_array_mut().expect("a list").push(json!(text(value))),
            Holds::TextMap => {
                let entry: BTreeMap<u32, &[u8]> = fields(value).into_iter().collect();
                let part = |number| text(entry.get(&number).copied().unwrap_or_default());
                slot.or_insert(json!({}))[part(1)] = json!(part(2));
            }
            Holds::One(shape) => drop(slot.or_insert(decode(shape, value))),
            Holds::Many(shape) => {
                slot.or_insert(json!([])).as_array_mut().expect("a list").push(decode(shape, value));
            }
        }
    }
    Value::Object(out)
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(crate) fn to_base64(bytes: &[u8]) -> String {
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

pub(crate) fn from_base64(text: &str) -> Vec<u8> {
    let value = |digit: u8| DIGITS.iter().position(|known| *known == digit).expect("a base64 digit") as u32;
    let digits: Vec<u32> = text.bytes().filter(|digit| *digit != b'=').map(value).collect();
    let mut out = Vec::new();
    for group in digits.chunks(4) {
        let bits = group.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - group.len()));
        out.extend(&bits.to_be_bytes()[1..group.len()]);
    }
    out
}
