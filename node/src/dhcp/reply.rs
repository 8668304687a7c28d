//! Writes a reply byte by byte, in an order and with paddings that no known firmware trips over.

use std::net::Ipv4Addr;

use dhcproto::v4::{self, Encodable, Encoder, Flags, HType, MIN_PACKET_SIZE, MessageType, Opcode, OptionCode};

use super::decide::{Message, Silence};
use super::request::Request;

/// The longest boot file name: firmware does not join a split option 67.
const BOOT_FILE_MAX: usize = u8::MAX as usize;
/// The longest name for the BOOTP `file` field: 128 bytes with a NUL at the end.
const BOOTP_FILE_MAX: usize = 127;
/// PXE discovery control 8: no discovery, use the boot file of this offer (PXE 2.1 option 43.6).
const DISCOVERY_CONTROL: [u8; 3] = [6, 1, 8];
/// The menu a Raspberry Pi looks for: discovery control 3, prompt "PXE" without waiting (43.10), and one item of
/// type 0 (43.9), as dnsmasq writes it. The Pi compares the name, and wants the rest to be there.
const RASPBERRY_PI_MENU: &[u8] = b"\x06\x01\x03\x0a\x04\x00PXE\x09\x14\x00\x00\x11Raspberry Pi Boot";
/// iPXE's encapsulated option 1, one byte: the rank of this reply's settings.
const IPXE_PRIORITY: [u8; 2] = [1, 1];
/// Ends encapsulated options.
const END: u8 = 255;

/// How a reply introduces itself in option 60; a client ignores replies of the other kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VendorClass {
    /// To TFTP clients.
    Pxe,
    /// To HTTP clients.
    Http,
}

/// What differs between replies.
#[derive(Debug, Clone)]
pub(super) struct Contents {
    pub(super) class: VendorClass,
    pub(super) boot_file: Option<String>,
    pub(super) discovery_control: bool,
    pub(super) raspberry_pi_menu: bool,
    pub(super) boot_item: Option<[u8; 4]>,
    /// How the reply ranks for iPXE; 0: not said.
    pub(super) ipxe_priority: u8,
}

impl Contents {
    pub(super) fn new(class: VendorClass) -> Self {
        Self {
            class,
            boot_file: None,
            discovery_control: false,
            raspberry_pi_menu: false,
            boot_item: None,
            ipxe_priority: 0,
        }
    }

    /// Option 43, or nothing.
    fn vendor_options(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.raspberry_pi_menu {
            bytes.extend_from_slice(RASPBERRY_PI_MENU);
        } else if self.discovery_control {
            bytes.extend_from_slice(&DISCOVERY_CONTROL);
        }
        if let Some(item) = self.boot_item {
            bytes.extend_from_slice(&[71, 4]);
            bytes.extend_from_slice(&item);
        }
        if !bytes.is_empty() {
            bytes.push(END);
        }
        bytes
    }
}

/// What is left out, step by step, while a reply is too long for its client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shed {
    Nothing,
    ClientIdentifier,
    ServerName,
}

/// Writes the reply to `request`: `server` is the server identifier, `next` where files are fetched.
pub(super) fn encode(
    request: &Request,
    message: Message,
    server: Ipv4Addr,
    next: Ipv4Addr,
    contents: &Contents,
) -> Result<Vec<u8>, Silence> {
    if contents.boot_file.as_ref().is_some_and(|file| file.len() > BOOT_FILE_MAX) {
        return Err(Silence::TooLong);
    }
    [Shed::Nothing, Shed::ClientIdentifier, Shed::ServerName]
        .into_iter()
        .map(|shed| write(request, message, server, next, contents, shed))
        .find(|bytes| bytes.len() <= request.reply_max())
        .ok_or(Silence::TooLong)
}

fn write(
    request: &Request,
    message: Message,
    server: Ipv4Addr,
    next: Ipv4Addr,
    contents: &Contents,
    shed: Shed,
) -> Vec<u8> {
    let server_name = next.to_string();
    // A reply that names files names their server too; without, the fields stay empty as PXE clients expect.
    let names_server = contents.boot_file.is_some() || contents.raspberry_pi_menu;
    let mut bytes = Vec::with_capacity(MIN_PACKET_SIZE);
    header(request, next, contents, names_server.then_some(&*server_name))
        .encode(&mut Encoder::new(&mut bytes))
        .expect("a buffer in memory takes every header");
    let kind = match message {
        Message::Offer => MessageType::Offer,
        Message::Acknowledgement => MessageType::Ack,
    };
    put(&mut bytes, OptionCode::MessageType, &[kind.into()]);
    put(&mut bytes, OptionCode::ServerIdentifier, &server.octets());
    let class: &[u8] = match contents.class {
        VendorClass::Pxe => b"PXEClient",
        VendorClass::Http => b"HTTPClient",
    };
    put(&mut bytes, OptionCode::ClassIdentifier, class);
    let echo = |code| request.option(code).unwrap_or_default();
    let machine = OptionCode::ClientMachineIdentifier;
    put(&mut bytes, machine, echo(machine));
    if shed < Shed::ClientIdentifier {
        // RFC 6842.
        let client = OptionCode::ClientIdentifier;
        put(&mut bytes, client, echo(client));
    }
    put(&mut bytes, OptionCode::VendorExtensions, &contents.vendor_options());
    if contents.ipxe_priority > 0 {
        let [option, length] = IPXE_PRIORITY;
        put(&mut bytes, OptionCode::Unknown(175), &[option, length, contents.ipxe_priority]);
    }
    if names_server && shed < Shed::ServerName {
        put(&mut bytes, OptionCode::TFTPServerName, server_name.as_bytes());
    }
    if let Some(file) = &contents.boot_file {
        put(&mut bytes, OptionCode::BootfileName, file.as_bytes());
        // Older EDK2 ends the name with a NUL of its own, on whatever byte follows: let it be a pad. The Raspberry
        // Pi has no such habit, and drops replies with pads.
        if !contents.raspberry_pi_menu {
            bytes.push(OptionCode::Pad.into());
        }
    }
    // RFC 3046 §2.2: as received, and last.
    let relay = OptionCode::RelayAgentInformation;
    put(&mut bytes, relay, echo(relay));
    bytes.push(END);
    if bytes.len() < MIN_PACKET_SIZE {
        bytes.resize(MIN_PACKET_SIZE, 0);
    }
    bytes
}

/// Appends an option, in parts when it is too long for one (RFC 3396), or nothing when it is empty.
fn put(bytes: &mut Vec<u8>, code: OptionCode, value: &[u8]) {
    for part in value.chunks(usize::from(u8::MAX)) {
        let length = u8::try_from(part.len()).expect("a part has at most 255 bytes");
        bytes.extend_from_slice(&[code.into(), length]);
        bytes.extend_from_slice(part);
    }
}

/// The BOOTP fields. `file` is filled beside option 67 because U-Boot and some ROMs read nothing else.
fn header(request: &Request, next: Ipv4Addr, contents: &Contents, server_name: Option<&str>) -> v4::Message {
    let none = Ipv4Addr::UNSPECIFIED;
    let mut header = v4::Message::new_with_id(request.xid, request.ciaddr, none, next, request.giaddr, &request.mac.0);
    // A relay unicasts to yiaddr unless told to broadcast, and in a proxy's reply that is 0.0.0.0.
    let flags = Flags::from(request.flags);
    header.set_opcode(Opcode::BootReply).set_htype(HType::Eth).set_flags(if request.ciaddr == none {
        flags.set_broadcast()
    } else {
        flags
    });
    if let Some(name) = server_name {
        header.set_sname_str(name);
    }
    if let Some(file) = contents.boot_file.as_ref().filter(|file| file.len() <= BOOTP_FILE_MAX) {
        header.set_fname_str(file);
    }
    header
}
