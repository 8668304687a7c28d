//! Small value types that keep digests, MAC addresses and times from being mixed up with bare strings and integers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The sha256 of some bytes: the identity of a blob.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{self}")
    }
}

/// Why a text is not a sha256 digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a sha256 digest: 64 hexadecimal digits are needed, optionally after `sha256:`")]
pub struct DigestError;

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text).as_bytes();
        if hex.len() != 64 {
            return Err(DigestError);
        }
        let mut out = [0; 32];
        for (byte, pair) in out.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = hex_digit(pair[0]).ok_or(DigestError)? << 4 | hex_digit(pair[1]).ok_or(DigestError)?;
        }
        Ok(Self(out))
    }
}

/// Text for people (JSON), 32 bytes for storage (bincode).
impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Self)
        }
    }
}

/// A hardware address as clients and operators write it, held in one form: 6, 8 or 20 octets.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(Vec<u8>);

/// Why a text is not a hardware address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a MAC address: write 6 octets as 52:54:00:12:34:56, 52-54-00-12-34-56 or 5254.0012.3456")]
pub struct MacError(String);

impl Mac {
    /// The address of an Ethernet card.
    #[must_use]
    pub fn ethernet(octets: [u8; 6]) -> Self {
        Self(octets.to_vec())
    }

    /// Sorts before every address; not one itself.
    pub(crate) fn lowest() -> Self {
        Self(Vec::new())
    }

    /// The octets, most significant first: 6, 8 or 20 of them.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// `52-54-00-12-34-56`, the form iPXE's `${mac:hexhyp}` sends.
    #[must_use]
    pub fn hyphenated(&self) -> String {
        self.to_string().replace(':', "-")
    }
}

impl FromStr for Mac {
    type Err = MacError;

    /// Reads what matchbox reads: pairs joined by `:` or `-`, or dotted groups of four digits; 6, 8 or 20 octets;
    /// bare digits are refused because they cannot be told from other numbers.
    fn from_str(text: &str) -> Result<Self, MacError> {
        let fail = || MacError(text.chars().take(64).collect());
        let bytes = text.as_bytes();
        let (separator, digits) = match (bytes.get(2), bytes.get(4)) {
            (Some(mark @ (b':' | b'-')), _) => (*mark, 2),
            (_, Some(b'.')) => (b'.', 4),
            _ => return Err(fail()),
        };
        let mut octets = Vec::with_capacity(8);
        for group in bytes.split(|byte| *byte == separator) {
            if group.len() != digits || octets.len() >= 20 {
                return Err(fail());
            }
            for pair in group.chunks_exact(2) {
                let high = hex_digit(pair[0]).ok_or_else(fail)?;
                octets.push(high << 4 | hex_digit(pair[1]).ok_or_else(fail)?);
            }
        }
        if matches!(octets.len(), 6 | 8 | 20) { Ok(Self(octets)) } else { Err(fail()) }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, octet) in self.0.iter().enumerate() {
            write!(f, "{}{octet:02x}", if at == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return String::deserialize(deserializer)?.parse().map_err(de::Error::custom);
        }
        let octets = Vec::<u8>::deserialize(deserializer)?;
        if matches!(octets.len(), 6 | 8 | 20) {
            Ok(Self(octets))
        } else {
            Err(de::Error::custom("a MAC address has 6, 8 or 20 octets"))
        }
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// A wall-clock time, milliseconds since 1970 UTC, as proposed by the leader; never read from a clock while applying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Timestamp(pub u64);

/// A position in the replicated log; also the revision of the object that entry changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct LogIndex(pub u64);

impl fmt::Display for LogIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses_are_read_in_every_form_matchbox_reads() {
        for (text, want) in [
            ("52:54:00:12:AB:56", Some("52:54:00:12:ab:56")),
            ("52-54-00-12-ab-56", Some("52:54:00:12:ab:56")),
            ("5254.0012.ab56", Some("52:54:00:12:ab:56")),
            ("00:00:5e:00:53:01:02:03", Some("00:00:5e:00:53:01:02:03")),
            ("52540012ab56", None),
            ("52:54:00:12:ab", None),
            ("52:54:00-12:ab:56", None),
            ("52:54:00:12:ab:5g", None),
            ("52:54:00:12:ab:56:", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Mac>().ok().map(|mac| mac.to_string()).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn a_digest_survives_text_and_back() {
        let digest = Digest::of(b"kernel");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(format!("sha256:{digest}").parse(), Ok(digest));
        assert_eq!("abc".parse::<Digest>(), Err(DigestError));
    }
}
