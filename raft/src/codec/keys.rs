//! Where each thing is filed in the storage engine: byte keys whose order is the order of the log or of names.

use super::Kind;
use crate::state::{RecordKey, TemplateKind};

/// Greater than every record key.
pub const RECORDS_END: &[u8] = &[0xff];

/// The key of a log entry: big endian, so that byte order is log order.
#[must_use]
pub fn log_key(index: u64) -> [u8; 8] {
    index.to_be_bytes()
}

/// The index a log key stands for; `None` if it is not one.
#[must_use]
pub fn log_index(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

/// The key of a record: its kind, then its name.
#[must_use]
pub fn record_key(key: &RecordKey) -> Vec<u8> {
    let (kind, name): (Kind, &[u8]) = match key {
        RecordKey::Profile(id) => (Kind::Profile, id.as_bytes()),
        RecordKey::Group(id) => (Kind::Group, id.as_bytes()),
        RecordKey::Template(kind, name) => {
            return [&[Kind::Template as u8, template_tag(*kind)], name.as_bytes()].concat();
        }
        RecordKey::Asset(name) => (Kind::Asset, name.as_bytes()),
        RecordKey::Token(id) => (Kind::Token, id.as_bytes()),
        RecordKey::Settings => (Kind::Settings, &[]),
        RecordKey::Machine(mac) => (Kind::Machine, mac.octets()),
        RecordKey::Replay(key) => (Kind::Replay, key.as_bytes()),
        RecordKey::Member(id) => return [&[Kind::Member as u8], &id.to_be_bytes()[..]].concat(),
        RecordKey::Roster => (Kind::Roster, &[]),
        RecordKey::Cluster => (Kind::Cluster, &[]),
        RecordKey::Vip => (Kind::Vip, &[]),
        RecordKey::Blob(digest) => (Kind::Blob, &digest.0),
        RecordKey::JoinToken(id) => (Kind::JoinToken, id.as_bytes()),
        RecordKey::Certificate(serial) => (Kind::Certificate, serial.as_bytes()),
        RecordKey::Ca => (Kind::Ca, &[]),
        RecordKey::FormerSecret(id) => (Kind::FormerSecret, id.as_bytes()),
    };
    [&[kind as u8], name].concat()
}

fn template_tag(kind: TemplateKind) -> u8 {
    match kind {
        TemplateKind::Generic => 0,
        TemplateKind::Ignition => 1,
        TemplateKind::Cloud => 2,
    }
}
