//! What one packet tells about a machine, for its timeline and for the log.

use std::net::Ipv4Addr;

use dhcproto::v4::{MessageType, OptionCode};

use super::architecture::Architecture;
use super::client::{Client, user_classes};
use super::decide::{Arrival, Message, Port, Silence};
use super::request::{ClientUuid, HardwareAddress, Request};

/// The longest text kept from a packet, in characters.
const TEXT_MAX: usize = 64;

/// How far a machine has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Its firmware looks for a loader.
    Firmware,
    /// iPXE looks for a script.
    Ipxe,
    /// An operating system, or something else that wants no boot file, asks for an address.
    OperatingSystem,
}

/// What came of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A reply was made.
    Answered {
        /// Offer or acknowledgement.
        message: Message,
        /// What it names; none when the file follows on port 4011, or the machine knows its files.
        boot_file: Option<String>,
    },
    /// No reply, and why.
    Silent(Silence),
}

/// One packet heard from a machine. Texts are shortened and hold printable ASCII only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The card's address.
    pub mac: HardwareAddress,
    /// The machine's UUID, if it sent a real one.
    pub uuid: Option<ClientUuid>,
    /// How far the machine has come.
    pub stage: Stage,
    /// What its firmware is; iPXE's is that of the firmware below it.
    pub architecture: Option<Architecture>,
    /// Option 93 as sent.
    pub architecture_codes: Vec<u16>,
    /// Option 60.
    pub vendor_class: Option<String>,
    /// Option 77.
    pub user_class: Option<String>,
    /// The DHCP message, such as `DISCOVER`.
    pub message: &'static str,
    /// Which port it came to.
    pub port: Port,
    /// The transaction it belongs to.
    pub xid: u32,
    /// Seconds since the client began, as it says; iPXE and some firmware put other things here.
    pub secs: u16,
    /// The address the client has or asks for.
    pub address: Option<Ipv4Addr>,
    /// The server the client has chosen (option 54): with ours silent, who else answers here.
    pub chosen_server: Option<Ipv4Addr>,
    /// The relay it came through.
    pub relay: Option<Ipv4Addr>,
    /// What came of it.
    pub outcome: Outcome,
}

impl Sighting {
    pub(super) fn new(request: &Request, arrival: &Arrival, client: &Client, outcome: Outcome) -> Self {
        let text = |code| request.option(code).map(printable);
        let known = |address: Ipv4Addr| (!address.is_unspecified()).then_some(address);
        let architecture_codes: Vec<u16> = request.architectures().collect();
        let architecture = match client {
            Client::RaspberryPi => Some(Architecture::RaspberryPi),
            Client::Firmware { architectures, .. } => architectures.first().copied(),
            Client::Ipxe | Client::Other => architecture_codes
                .iter()
                .find_map(|code| Architecture::from_code(*code))
                .map(|(architecture, _)| architecture),
        };
        Self {
            mac: request.mac,
            uuid: request.uuid(),
            stage: match client {
                Client::Ipxe => Stage::Ipxe,
                Client::RaspberryPi | Client::Firmware { .. } => Stage::Firmware,
                Client::Other => Stage::OperatingSystem,
            },
            architecture,
            architecture_codes,
            vendor_class: text(OptionCode::ClassIdentifier),
            user_class: request
                .option(OptionCode::UserClass)
                .map(|class| printable(user_classes(class).last().unwrap_or(class))),
            message: message_name(request.message),
            port: arrival.port,
            xid: request.xid,
            secs: request.secs,
            address: known(request.ciaddr).or_else(|| request.address(OptionCode::RequestedIpAddress)),
            chosen_server: request.address(OptionCode::ServerIdentifier),
            relay: known(request.giaddr),
            outcome,
        }
    }
}

fn message_name(message: MessageType) -> &'static str {
    match message {
        MessageType::Discover => "DISCOVER",
        MessageType::Offer => "OFFER",
        MessageType::Request => "REQUEST",
        MessageType::Decline => "DECLINE",
        MessageType::Ack => "ACK",
        MessageType::Nak => "NAK",
        MessageType::Release => "RELEASE",
        MessageType::Inform => "INFORM",
        _ => "other",
    }
}

/// Text from the network, made safe for a log line or a terminal.
fn printable(bytes: &[u8]) -> String {
    let shown = bytes.iter().take(TEXT_MAX);
    shown
        .map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        })
        .collect()
}
