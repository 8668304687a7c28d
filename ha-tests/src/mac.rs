//! An Ethernet address as six bytes that read and print as text.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// To everybody on the link.
    pub const BROADCAST: Self = Self([0xff; 6]);
}

impl FromStr for Mac {
    type Err = anyhow::Error;

    /// Six hexadecimal bytes with colons.
    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.trim().split(':').collect();
        ensure!(parts.len() == 6, "{text:?} is no Ethernet address");
        let mut bytes = [0; 6];
        for (byte, part) in bytes.iter_mut().zip(parts) {
            *byte = u8::from_str_radix(part, 16).with_context(|| format!("{text:?} is no Ethernet address"))?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_are_the_same_address() {
        let mac: Mac = "02:88:00:00:00:fe".parse().unwrap();
        assert_eq!(mac, Mac([2, 0x88, 0, 0, 0, 0xfe]));
        assert_eq!(mac.to_string(), "02:88:00:00:00:fe");
        for wrong in ["", "02:88:00:00:00", "02:88:00:00:00:fe:00", "02:88:00:00:00:xy"] {
            assert!(wrong.parse::<Mac>().is_err(), "{wrong}");
        }
    }
}
