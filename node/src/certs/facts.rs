//! What a certificate says: whose it is, until when it is good, and what its holder may do.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use raft::state::Role;
use raft::types::Timestamp;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{DirectoryString, GeneralName};

use super::files::certificates;

/// What comes before a role in a subject's organizational unit.
pub const ROLE_PREFIX: &str = "raftboot:";
/// The end of a node's name in its certificate.
const NODE_SUFFIX: &str = ".raftboot.internal";
/// RFC 4519 §2.22.
const ORGANIZATIONAL_UNIT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.11");
/// Characters of a name that are kept.
const NAME_CHARS_MAX: usize = 64;

/// What a certificate says of itself; whether that is true is for others to verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The common name of its subject, without control characters; empty if it has none.
    pub name: String,
    /// Its serial number, as [`serial`] writes it.
    pub serial: String,
    /// From when it is good.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
    /// The roles it says its holder has.
    roles: Vec<String>,
    /// Whether it is one of those nodes show each other.
    is_node: bool,
    /// The bits of its public key.
    pub(super) public_key: Vec<u8>,
}

/// Why nobody can call with a certificate, however well it is signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is one of those nodes show each other.
    #[error("it is the certificate of a node, not of a client")]
    Node,
    /// Its role is none that we know, or it has several.
    #[error("its role is written as `{0}`; it is one of raftboot:read, raftboot:operate and raftboot:admin")]
    Role(String),
}

impl Facts {
    /// Reads a certificate as it is sent (DER).
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(der: &[u8]) -> Result<Self, String> {
        let certificate = Certificate::from_der(der).map_err(|error| format!("it cannot be read: {error}"))?;
        let signed = certificate.tbs_certificate();
        let common_name = signed.subject().common_name().ok().flatten();
        let common_name = common_name.as_ref().map(|name| name.value().into_owned()).unwrap_or_default();
        let units = signed.subject().iter().filter(|attribute| attribute.oid == ORGANIZATIONAL_UNIT);
        let units = units.filter_map(|attribute| attribute.value.decode_as::<DirectoryString>().ok());
        let roles = units.filter_map(|unit| unit.value().strip_prefix(ROLE_PREFIX).map(printable)).collect();
        let is_node = match signed.get_extension::<SubjectAltName>() {
            Ok(Some((_, names))) => names.0.iter().any(is_node_name),
            Ok(None) => false,
            Err(error) => return Err(format!("its names cannot be read: {error}")),
        };
        let time = |time: Duration| Timestamp(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        Ok(Self {
            name: printable(&common_name),
            serial: digits(signed.serial_number().as_bytes()),
            not_before: time(signed.validity().not_before.to_unix_duration()),
            not_after: time(signed.validity().not_after.to_unix_duration()),
            roles,
            is_node,
            public_key: signed.subject_public_key_info().subject_public_key.raw_bytes().to_vec(),
        })
    }

    /// The first certificate of a PEM file.
    ///
    /// # Errors
    /// What is wrong with it, without its name.
    pub fn of_file(file: &Path) -> Result<Self, String> {
        Self::read(&certificates(file)?[0])
    }

    /// What its holder may do, as it says; `None` if it says nothing.
    ///
    /// # Errors
    /// When it is no certificate to call with.
    pub fn role(&self) -> Result<Option<Role>, Unfit> {
        if self.is_node {
            return Err(Unfit::Node);
        }
        match &self.roles[..] {
            [] => Ok(None),
            [role] if role == "read" => Ok(Some(Role::Read)),
            [role] if role == "operate" => Ok(Some(Role::Operate)),
            [role] if role == "admin" => Ok(Some(Role::Admin)),
            others => Err(Unfit::Role(others.join(", "))),
        }
    }

    /// How long it is good in all.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        Duration::from_millis(self.not_after.0.saturating_sub(self.not_before.0))
    }
}

fn is_node_name(name: &GeneralName) -> bool {
    matches!(name, GeneralName::DnsName(name) if name.as_str().to_ascii_lowercase().ends_with(NODE_SUFFIX))
}

fn printable(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(NAME_CHARS_MAX).collect()
}

fn digits(bytes: &[u8]) -> String {
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len().saturating_sub(1));
    bytes[first..].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A serial number as people write it (`0A:1b`, `a1b`), as it is compared: lower-case digits, two to a byte, without
/// leading zero bytes.
#[must_use]
pub fn serial(text: &str) -> Option<String> {
    let mut plain: String = text.trim().chars().filter(|letter| *letter != ':').collect();
    plain.make_ascii_lowercase();
    if plain.is_empty()
        || plain.len() > raft::state::SERIAL_DIGITS_MAX
        || !plain.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        return None;
    }
    if plain.len() % 2 == 1 {
        plain.insert(0, '0');
    }
    while plain.len() > 2 && plain.starts_with("00") {
        plain.drain(..2);
    }
    Some(plain)
}

/// A moment as the replicated state counts it.
pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_compared_however_they_are_written() {
        for (text, same) in [("0A:1b", "0a1b"), ("a1b", "0a1b"), ("00:00:7F", "7f"), ("0", "00"), (" 7f\n", "7f")] {
            assert_eq!(serial(text).as_deref(), Some(same), "{text}");
        }
        for text in ["", ":", "xyz", "client.crt", &"a".repeat(81)] {
            assert_eq!(serial(text), None, "{text}");
        }
        assert_eq!(digits(&[0, 0xa1, 0x0b]), "a10b");
        assert_eq!(digits(&[0]), "00");
    }
}
