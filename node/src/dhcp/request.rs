//! A client's DHCP packet, checked and taken apart, with every length from the wire distrusted.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use dhcproto::v4::{HType, MAGIC, MessageType, Opcode, OptionCode, borrowed};

/// The longest packet looked at, in bytes: no client sends more than one Ethernet frame.
pub const PACKET_MAX: usize = 1_500;
/// Relays that pass a packet on more often than this have built a loop (RFC 1542 §4.1.1).
const HOPS_MAX: u8 = 16;
/// Where the options begin, after the BOOTP fields and the magic cookie.
const OPTIONS_AT: usize = 240;
/// The reply size every client accepts (RFC 2131 §2), headers of IP and UDP included.
const REPLY_SIZE_MIN: u16 = 576;
/// The reply size no reply exceeds: EDK2 ignores a packet of more than 1472 bytes without the headers.
const REPLY_SIZE_MAX: u16 = 1_500;
/// Headers of IP and UDP. Some clients count them in option 57, some do not; leaving room for them fits both.
const IP_AND_UDP_HEADERS: u16 = 28;

/// Why a packet was dropped unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not even the BOOTP fields and the cookie.
    #[error("shorter than the 240 bytes every DHCP packet has")]
    TooShort,
    /// More than [`PACKET_MAX`].
    #[error("longer than one Ethernet frame")]
    TooLong,
    /// A server's reply, or neither.
    #[error("not a request (op is not 1)")]
    NotARequest,
    /// Not Ethernet, or an address of another length.
    #[error("not an Ethernet hardware address (htype 1, hlen 6)")]
    HardwareAddress,
    /// A relay loop.
    #[error("relayed more than 16 times")]
    Hops,
    /// BOOTP without DHCP.
    #[error("no DHCP magic cookie")]
    Cookie,
    /// An option says it is longer than the packet.
    #[error("an option runs past the end of its field")]
    Options,
    /// Option 53 is missing or not one byte: plain BOOTP.
    #[error("no DHCP message type (option 53)")]
    MessageType,
    /// An option of fixed length has another.
    #[error("option {0} has a wrong length")]
    OptionLength(u8),
}

/// The address of an Ethernet card.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HardwareAddress(pub [u8; 6]);

impl fmt::Display for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The machine's UUID from option 97, in the order sent: the first three fields little-endian, as in SMBIOS
/// (RFC 4578 §2.3). [`fmt::Display`] writes it as the operating system does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientUuid(pub [u8; 16]);

impl fmt::Display for ClientUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
        for (at, from) in ORDER.into_iter().enumerate() {
            let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{:02x}", self.0[from])?;
        }
        Ok(())
    }
}

impl fmt::Debug for ClientUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A request that is well formed; what it wants is not judged here.
#[derive(Debug, Clone)]
pub struct Request {
    pub(super) message: MessageType,
    pub(super) xid: u32,
    pub(super) secs: u16,
    pub(super) flags: u16,
    pub(super) ciaddr: Ipv4Addr,
    pub(super) giaddr: Ipv4Addr,
    pub(super) mac: HardwareAddress,
    options: BTreeMap<u8, Vec<u8>>,
}

impl Request {
    /// Reads a UDP payload.
    ///
    /// # Errors
    /// Names the first thing that makes the packet unusable. A missing end option is forgiven, an option that
    /// runs past the end is not.
    pub fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        if packet.len() > PACKET_MAX {
            return Err(Malformed::TooLong);
        }
        let header = borrowed::Message::new(packet).map_err(|_| Malformed::TooShort)?;
        if header.opcode() != Opcode::BootRequest {
            return Err(Malformed::NotARequest);
        }
        // Before any other field: the header's accessors trust hlen.
        if header.htype() != HType::Eth || header.hlen() != 6 {
            return Err(Malformed::HardwareAddress);
        }
        if header.hops() > HOPS_MAX {
            return Err(Malformed::Hops);
        }
        if packet[OPTIONS_AT - MAGIC.len()..OPTIONS_AT] != MAGIC {
            return Err(Malformed::Cookie);
        }
        let mut mac = [0; 6];
        mac.copy_from_slice(header.chaddr());
        let options = read_options(packet)?;
        let message = match options.get(&u8::from(OptionCode::MessageType)).map(Vec::as_slice) {
            Some([message]) => MessageType::from(*message),
            _ => return Err(Malformed::MessageType),
        };
        let request = Self {
            message,
            xid: header.xid(),
            secs: header.secs(),
            flags: header.flags().into(),
            ciaddr: header.ciaddr(),
            giaddr: header.giaddr(),
            mac: HardwareAddress(mac),
            options,
        };
        for code in [OptionCode::ServerIdentifier, OptionCode::RequestedIpAddress] {
            if request.option(code).is_some_and(|bytes| bytes.len() != 4) {
                return Err(Malformed::OptionLength(code.into()));
            }
        }
        Ok(request)
    }

    /// The client's hardware address.
    #[must_use]
    pub fn mac(&self) -> HardwareAddress {
        self.mac
    }

    /// The machine's UUID, unless it is missing, not a UUID, or one of the two fillers firmware sends for "none".
    #[must_use]
    pub fn uuid(&self) -> Option<ClientUuid> {
        let (0, uuid) =
            self.option(OptionCode::ClientMachineIdentifier)?.split_first().map(|(kind, rest)| (*kind, rest))?
        else {
            return None;
        };
        let uuid: [u8; 16] = uuid.try_into().ok()?;
        (uuid != [0; 16] && uuid != [0xff; 16]).then_some(ClientUuid(uuid))
    }

    /// An option's bytes, its parts joined (RFC 3396).
    pub(super) fn option(&self, code: OptionCode) -> Option<&[u8]> {
        self.options.get(&u8::from(code)).map(Vec::as_slice)
    }

    /// An option that holds one address.
    pub(super) fn address(&self, code: OptionCode) -> Option<Ipv4Addr> {
        let octets: [u8; 4] = self.option(code)?.try_into().ok()?;
        Some(octets.into())
    }

    /// The numbers of option 93, most preferred first.
    pub(super) fn architectures(&self) -> impl Iterator<Item = u16> {
        self.option(OptionCode::ClientSystemArchitecture)
            .unwrap_or_default()
            .chunks_exact(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    }

    /// The longest UDP payload the client takes.
    pub(super) fn reply_max(&self) -> usize {
        let wanted = match self.option(OptionCode::MaxMessageSize) {
            Some(&[high, low]) => u16::from_be_bytes([high, low]),
            _ => REPLY_SIZE_MIN,
        };
        usize::from(wanted.clamp(REPLY_SIZE_MIN, REPLY_SIZE_MAX) - IP_AND_UDP_HEADERS)
    }
}

/// Reads the options field and, when option 52 says so, the file and server name fields (RFC 3396 §5: in that
/// order). dhcproto's own reader stops in silence at a broken option, so the walk is done here.
fn read_options(packet: &[u8]) -> Result<BTreeMap<u8, Vec<u8>>, Malformed> {
    let mut options = BTreeMap::new();
    collect(&packet[OPTIONS_AT..], &mut options)?;
    let overload = match options.get(&u8::from(OptionCode::OptionOverload)).map(Vec::as_slice) {
        None => 0,
        Some([fields @ 1..=3]) => *fields,
        Some(_) => return Err(Malformed::OptionLength(OptionCode::OptionOverload.into())),
    };
    if overload & 1 != 0 {
        collect(&packet[108..236], &mut options)?;
    }
    if overload & 2 != 0 {
        collect(&packet[44..108], &mut options)?;
    }
    Ok(options)
}

fn collect(mut field: &[u8], options: &mut BTreeMap<u8, Vec<u8>>) -> Result<(), Malformed> {
    while let Some((&code, rest)) = field.split_first() {
        match OptionCode::from(code) {
            OptionCode::Pad => field = rest,
            OptionCode::End => return Ok(()),
            _ => {
                let (&length, rest) = rest.split_first().ok_or(Malformed::Options)?;
                let (bytes, rest) = rest.split_at_checked(usize::from(length)).ok_or(Malformed::Options)?;
                options.entry(code).or_default().extend_from_slice(bytes);
                field = rest;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_written_as_the_operating_system_writes_it() {
        let mut octets = [0; 16];
        octets.copy_from_slice(&(0..16).collect::<Vec<u8>>());
        assert_eq!(ClientUuid(octets).to_string(), "03020100-0504-0706-0809-0a0b0c0d0e0f");
    }
}
