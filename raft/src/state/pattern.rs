//! Whether a value fits a pattern or lies in a network.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A value longer than this fits no pattern, in bytes: machines write values as long as they like.
pub(super) const MATCHED_BYTES_MAX: usize = 256;

/// Whether `pattern` fits the whole of `value`: `*` stands for any characters, `?` for one, all others for themselves.
#[must_use]
pub(super) fn glob(pattern: &str, value: &str) -> bool {
    if value.len() > MATCHED_BYTES_MAX {
        return false;
    }
    let (mut pattern, mut value) = (pattern.chars(), value.chars());
    // What follows the last star, and where it was tried last: only that star ever has to take more.
    let mut star = None;
    loop {
        let (wanted, found) = (pattern.clone().next(), value.clone().next());
        match (wanted, found) {
            (Some('*'), _) => {
                pattern.next();
                if pattern.as_str().is_empty() {
                    return true;
                }
                star = Some((pattern.clone(), value.clone()));
            }
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                pattern.next();
                value.next();
            }
            _ => {
                let Some((rest, tried)) = &mut star else { return false };
                if tried.next().is_none() {
                    return false;
                }
                (pattern, value) = (rest.clone(), tried.clone());
            }
        }
    }
}

/// A network in CIDR notation; a single address is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Subnet {
    address: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// Whether the network holds this address.
    #[must_use]
    pub(super) fn holds(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                cut(own.to_bits().into(), 32, self.prefix) == cut(other.to_bits().into(), 32, self.prefix)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                cut(own.to_bits(), 128, self.prefix) == cut(other.to_bits(), 128, self.prefix)
            }
            _ => false,
        }
    }
}

/// The first `prefix` of `width` bits.
fn cut(bits: u128, width: u8, prefix: u8) -> u128 {
    bits.checked_shr((width - prefix).into()).unwrap_or(0)
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let not = || format!("`{}` is no network in CIDR notation", text.escape_debug());
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| not())?;
        if address != address.to_canonical() {
            return Err(format!("`{text}` is an IPv4 network in disguise: machines in it have IPv4 addresses"));
        }
        let width: u8 = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => width,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().map_err(|_| not())?,
            Some(_) => return Err(not()),
        };
        if prefix > width {
            return Err(format!("`{text}` has a prefix longer than {width} bits"));
        }
        let first = match address {
            IpAddr::V4(own) => {
                let mask = u32::MAX.checked_shl((32 - prefix).into()).unwrap_or(0);
                IpAddr::from((own.to_bits() & mask).to_be_bytes())
            }
            IpAddr::V6(own) => {
                let mask = u128::MAX.checked_shl((128 - prefix).into()).unwrap_or(0);
                IpAddr::from((own.to_bits() & mask).to_be_bytes())
            }
        };
        if first != address {
            return Err(format!("`{text}` is a machine within the network {first}/{prefix}"));
        }
        Ok(Self { address, prefix })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_fit_whole_values() {
        for (pattern, value, want) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything at all", true),
            ("?", "", false),
            ("?", "é", true),
            ("??", "é", false),
            ("Dell*", "Dell Inc.", true),
            ("Dell*", "dell inc.", false),
            ("*R640", "PowerEdge R640", true),
            ("*R640", "PowerEdge R640xd", false),
            ("*R6?0*", "PowerEdge R650xs", true),
            ("a*b*c", "abbbc", true),
            ("a*b*c", "acbc", true),
            ("a*b*c", "acb", false),
            ("*ab", "aab", true),
            ("**", "x", true),
            ("a**", "a", true),
            ("52:54:00:*", "52:54:00:12:34:56", true),
            ("[a]", "a", false),
            ("[a]", "[a]", true),
            ("\\*", "\\x", true),
        ] {
            assert_eq!(glob(pattern, value), want, "{pattern} {value}");
        }
    }

    #[test]
    fn a_value_that_is_too_long_fits_nothing() {
        assert!(glob("*", &"a".repeat(MATCHED_BYTES_MAX)));
        assert!(!glob("*", &"a".repeat(MATCHED_BYTES_MAX + 1)));
    }

    /// The definition, without any thought for speed.
    fn plainly(pattern: &[char], value: &[char]) -> bool {
        match (pattern, value) {
            (['*', rest @ ..], _) => {
                plainly(rest, value) || value.split_first().is_some_and(|(_, more)| plainly(pattern, more))
            }
            (['?', rest @ ..], [_, more @ ..]) => plainly(rest, more),
            ([wanted, rest @ ..], [found, more @ ..]) => wanted == found && plainly(rest, more),
            ([], []) => true,
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn patterns_fit_by_definition(pattern in "[ab*?]{0,8}", value in "[abé]{0,10}") {
            let (letters, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), value.chars().collect());
            prop_assert_eq!(glob(&pattern, &value), plainly(&letters, &text), "{} {}", pattern, value);
        }
    }

    #[test]
    fn networks_are_read_strictly() {
        for (text, want) in [
            ("10.0.0.0/8", Ok("10.0.0.0/8")),
            ("0.0.0.0/0", Ok("0.0.0.0/0")),
            ("192.0.2.7", Ok("192.0.2.7/32")),
            ("2001:DB8::/32", Ok("2001:db8::/32")),
            ("::/0", Ok("::/0")),
            ("::1", Ok("::1/128")),
            ("10.0.0.5/8", Err("within the network 10.0.0.0/8")),
            ("2001:db8::1/64", Err("within the network 2001:db8::/64")),
            ("10.0.0.0/33", Err("longer than 32 bits")),
            ("10.0.0.0/256", Err("no network")),
            ("10.0.0.0/+8", Err("no network")),
            ("10.0.0.0/", Err("no network")),
            ("10.0/8", Err("no network")),
            ("", Err("no network")),
            ("::ffff:10.0.0.0/104", Err("in disguise")),
        ] {
            match (text.parse::<Subnet>(), want) {
                (Ok(found), Ok(want)) => assert_eq!(found.to_string(), want),
                (Err(error), Err(part)) => assert!(error.contains(part), "{text}: {error}"),
                (found, want) => panic!("{text}: {found:?}, not {want:?}"),
            }
        }
    }

    #[test]
    fn an_address_is_in_a_network_by_its_prefix() {
        for (network, address, want) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.1.0.0/30", "10.1.0.3", true),
            ("10.1.0.0/30", "10.1.0.4", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:1::", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
        ] {
            let subnet: Subnet = network.parse().unwrap();
            assert_eq!(subnet.holds(address.parse().unwrap()), want, "{network} {address}");
        }
    }
}
