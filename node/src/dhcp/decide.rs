//! The decision: which reply a request gets, if any.

use std::net::{Ipv4Addr, SocketAddrV4};

use dhcproto::v4::{CLIENT_PORT, MessageType, OptionCode, SERVER_PORT};

use super::architecture::{Architecture, Transport};
use super::client::Client;
use super::facts::{Facts, MachineFacts, Mode, Place, UnknownMachines};
use super::repeats::Heard;
use super::reply::{Contents, VendorClass, encode};
use super::request::Request;
use super::sighting::{Outcome, Sighting};
use super::turn::Turn;

/// How a reply ranks for iPXE (option 175.1) that names a node's own address: above 0, so that the script wins over a boot
/// file that the site's own DHCP names for everybody.
const PRIORITY_OWN: u8 = 1;
/// How one ranks that names the floating address. iPXE takes the later of two equal offers: a node that steps in must not
/// replace what the holder has said.
const PRIORITY_FLOATING: u8 = 2;

/// Which of the two ports a packet came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Port {
    /// 67, where clients look for servers.
    Discover,
    /// 4011, where PXE clients that have an address ask for their boot file.
    Boot,
}

/// How a packet came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The port it came to.
    pub port: Port,
    /// Our own address that it was sent to; `None` when it was sent to everybody, or to a group.
    pub asked: Option<Ipv4Addr>,
    /// Who sent it.
    pub source: SocketAddrV4,
}

/// The kind of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Message {
    /// To a DISCOVER.
    Offer,
    /// To a REQUEST.
    Acknowledgement,
}

/// A reply, ready to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The UDP payload.
    pub bytes: Vec<u8>,
    /// Where it goes.
    pub destination: SocketAddrV4,
    /// The address it must come from; the port is the one the request came to. iPXE ignores other ports, UEFI
    /// other addresses.
    pub source: Ipv4Addr,
    /// What it is.
    pub message: Message,
}

/// Why a well-formed request gets no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Silence {
    /// DHCP is switched off.
    Off,
    /// The client wants an address, not a boot file.
    NotNetworkBoot,
    /// A message a proxy has no part in.
    NotOurMessage,
    /// The client has chosen another server.
    OtherServer,
    /// The client wants an address from us, and a proxy has none.
    NoAddress,
    /// Firmware of an unknown kind.
    UnknownArchitecture,
    /// No loader is set for this kind of firmware.
    NoLoader,
    /// An operator holds the machine back.
    Held,
    /// The machine is not registered, and such machines are ignored.
    UnknownMachine,
    /// The relay's or the client's address cannot be answered.
    BadAddress,
    /// The boot file's name has more than 255 bytes, or the reply more than the client takes.
    TooLong,
    /// Another node of the cluster answers; we would if the client had to repeat itself.
    OtherNodeAnswers,
    /// The machine asks too often.
    RateLimited,
}

/// What is to be done about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The reply, or why there is none.
    pub reply: Result<Reply, Silence>,
    /// What was learnt about the machine.
    pub sighting: Sighting,
}

/// Decides about one request. `machine` is what [`super::Questions::machine`] knows of its sender, `heard` whether it
/// repeats itself.
#[must_use]
pub fn decide(
    request: &Request,
    arrival: &Arrival,
    facts: &Facts,
    machine: Option<&MachineFacts>,
    heard: Heard,
) -> Decision {
    let client = Client::recognise(request);
    let (reply, outcome) = match answer(request, arrival, facts, machine, &client, heard) {
        Ok((reply, boot_file)) => {
            let message = reply.message;
            (Ok(reply), Outcome::Answered { message, boot_file })
        }
        Err(silence) => (Err(silence), Outcome::Silent(silence)),
    };
    let sighting = Sighting::new(request, arrival, &client, outcome);
    Decision { reply, sighting }
}

fn answer(
    request: &Request,
    arrival: &Arrival,
    facts: &Facts,
    machine: Option<&MachineFacts>,
    client: &Client,
    heard: Heard,
) -> Result<(Reply, Option<String>), Silence> {
    if facts.mode == Mode::Off {
        return Err(Silence::Off);
    }
    if *client == Client::Other {
        return Err(Silence::NotNetworkBoot);
    }
    let place = place(arrival, facts);
    let (message, server) = message(request, arrival, facts, place)?;
    match machine {
        Some(machine) if machine.hold => return Err(Silence::Held),
        None if facts.unknown_machines == UnknownMachines::Ignore => {
            return Err(Silence::UnknownMachine);
        }
        _ => {}
    }
    let destination = destination(request, arrival, message)?;
    let mut contents = contents(client, facts, place, machine, message)?;
    contents.boot_item = match message {
        Message::Acknowledgement => boot_item(request),
        Message::Offer => None,
    };
    if names_nobody(request, arrival) && !facts.turn.answers(request, client, heard) {
        return Err(Silence::OtherNodeAnswers);
    }
    let bytes = encode(request, message, server, place.address, &contents)?;
    let reply = Reply { bytes, destination, source: source(arrival, place), message };
    Ok((reply, contents.boot_file))
}

/// Whether a packet is for whoever hears it: only then do several nodes wonder who answers. One that was sent to an
/// address of ours, or names one as its server, is for us.
#[must_use]
pub fn names_nobody(request: &Request, arrival: &Arrival) -> bool {
    arrival.asked.is_none() && request.address(OptionCode::ServerIdentifier).is_none()
}

/// What the reply names. Who asked the floating address, or everybody while we hold it, is told the floating address, and
/// finds whichever node holds it by then. Who asked this node's own address is told that one even while a holder is known:
/// it may ask here because the holder does not answer it, and what is named now is used within seconds.
fn place<'a>(arrival: &Arrival, facts: &'a Facts) -> &'a Place {
    let floating = facts.floating.as_ref().filter(|floating| match arrival.asked {
        Some(asked) => asked == floating.address,
        None => facts.turn == Turn::Holder,
    });
    floating.unwrap_or(&facts.own)
}

/// The kind of reply, and the server identifier it carries.
fn message(request: &Request, arrival: &Arrival, facts: &Facts, place: &Place) -> Result<(Message, Ipv4Addr), Silence> {
    let chosen = request.address(OptionCode::ServerIdentifier);
    let known = [place.address, facts.own.address, source(arrival, place)];
    let ours = |server: Ipv4Addr| known.contains(&server);
    match (arrival.port, request.message) {
        (Port::Discover, MessageType::Discover) => Ok((Message::Offer, place.address)),
        // Selecting, renewing or rebinding with the server that hands out addresses.
        (Port::Discover, MessageType::Request) => match chosen.filter(|server| ours(*server)) {
            None => Err(Silence::OtherServer),
            // A client that has its address and wants only the boot file from us. One that wants the address too
            // took our offer for a lease: silence makes it choose again.
            Some(server)
                if !request.ciaddr.is_unspecified() && request.option(OptionCode::RequestedIpAddress).is_none() =>
            {
                Ok((Message::Acknowledgement, server))
            }
            Some(_) => Err(Silence::NoAddress),
        },
        // UEFI names no server here, iPXE the one whose offer it took, and it wants the same back.
        (Port::Boot, MessageType::Request) => match chosen {
            Some(server) if !ours(server) => Err(Silence::OtherServer),
            _ => Ok((Message::Acknowledgement, chosen.unwrap_or(place.address))),
        },
        _ => Err(Silence::NotOurMessage),
    }
}

/// What the reply holds, by client. BIOS and U-Boot take the boot file from the offer. UEFI must not find it (nor
/// option 43) there, so that every vintage of it asks port 4011, where it does.
fn contents(
    client: &Client,
    facts: &Facts,
    place: &Place,
    machine: Option<&MachineFacts>,
    message: Message,
) -> Result<Contents, Silence> {
    let override_file = machine.and_then(|machine| machine.boot_file.as_deref());
    match client {
        Client::Ipxe => Ok(Contents {
            boot_file: Some(place.script_url.clone()),
            ipxe_priority: if facts.floating.as_ref() == Some(place) { PRIORITY_FLOATING } else { PRIORITY_OWN },
            ..Contents::new(VendorClass::Pxe)
        }),
        Client::RaspberryPi if facts.raspberry_pi => Ok(Contents {
            boot_file: override_file.map(str::to_owned),
            raspberry_pi_menu: true,
            ..Contents::new(VendorClass::Pxe)
        }),
        Client::RaspberryPi => Err(Silence::NoLoader),
        Client::Firmware { transport, architectures } => {
            let (architecture, file) = loader(architectures, facts, override_file)?;
            if *transport == Transport::Http {
                return Ok(Contents { boot_file: Some(place.loader_url(file)), ..Contents::new(VendorClass::Http) });
            }
            let control =
                machine.and_then(|machine| machine.discovery_control).unwrap_or(architecture == Architecture::Bios);
            let offer = message == Message::Offer;
            let later = offer && architecture.is_uefi() && !control;
            Ok(Contents {
                boot_file: (!later).then(|| file.to_owned()),
                discovery_control: offer && control,
                ..Contents::new(VendorClass::Pxe)
            })
        }
        Client::Other => Err(Silence::NotNetworkBoot),
    }
}

/// The first architecture that there is a loader for.
fn loader<'a>(
    architectures: &[Architecture],
    facts: &'a Facts,
    override_file: Option<&'a str>,
) -> Result<(Architecture, &'a str), Silence> {
    let first = *architectures.first().ok_or(Silence::UnknownArchitecture)?;
    if let Some(file) = override_file {
        return Ok((first, file));
    }
    architectures
        .iter()
        .find_map(|architecture| Some((*architecture, facts.loader(*architecture)?)))
        .ok_or(Silence::NoLoader)
}

/// The boot server type and layer a client asks for (PXE 2.1 option 43.71), which the answer must repeat.
fn boot_item(request: &Request) -> Option<[u8; 4]> {
    let mut rest = request.option(OptionCode::VendorExtensions)?;
    while let Some((&code, after)) = rest.split_first() {
        match code {
            0 => rest = after,
            255 => break,
            _ => {
                let (&length, after) = after.split_first()?;
                let (bytes, after) = after.split_at_checked(usize::from(length))?;
                if code == 71 {
                    return bytes.try_into().ok();
                }
                rest = after;
            }
        }
    }
    None
}

/// Where the reply goes: to the relay if there is one, on 4011 to the very sender, else to everybody, because a
/// client without an address hears nothing else.
fn destination(request: &Request, arrival: &Arrival, message: Message) -> Result<SocketAddrV4, Silence> {
    let everybody = Ipv4Addr::BROADCAST;
    let destination = match (arrival.port, message) {
        (Port::Boot, _) if arrival.source.ip().is_unspecified() => {
            return Ok(SocketAddrV4::new(everybody, arrival.source.port()));
        }
        (Port::Boot, _) => arrival.source,
        (Port::Discover, _) if !request.giaddr.is_unspecified() => SocketAddrV4::new(request.giaddr, SERVER_PORT),
        (Port::Discover, Message::Acknowledgement) => SocketAddrV4::new(request.ciaddr, CLIENT_PORT),
        (Port::Discover, Message::Offer) => return Ok(SocketAddrV4::new(everybody, CLIENT_PORT)),
    };
    if is_host(*destination.ip()) && destination.port() != 0 { Ok(destination) } else { Err(Silence::BadAddress) }
}

/// The address asked, or the one the reply names when everybody was asked.
fn source(arrival: &Arrival, place: &Place) -> Ipv4Addr {
    arrival.asked.filter(|asked| is_host(*asked)).unwrap_or(place.address)
}

/// Whether one machine can have this address.
fn is_host(address: Ipv4Addr) -> bool {
    let class_e = address.octets()[0] >= 240;
    !(address.is_unspecified() || address.is_multicast() || class_e)
}
