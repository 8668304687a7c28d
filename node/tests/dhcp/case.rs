//! The language of the DHCP cases.
//!
//! A file is a preamble and cases. A case begins with `== NAME`, then says what comes in, one thing a line, then
//! `--`, then what comes out. Unless told otherwise a packet comes from 0.0.0.0:68 to 255.255.255.255 on port 67 (or
//! from 10.88.0.58:4011 to 10.88.0.2 when `port 4011`), the site server is 10.88.0.1 and we are 10.88.0.2.
//!
//! | line | meaning |
//! |---|---|
//! | `packet NAME` | start from a packet in `packets/` |
//! | `discover`, `request`, `message N` | start from an empty packet of that type |
//! | `option N VALUE` | set an option; a value is hexadecimal or `"text"` |
//! | `add N VALUE` | add one more option of that number |
//! | `drop N` | take an option out (255: the end) |
//! | `header AT HEX` | overwrite header bytes |
//! | `ciaddr A`, `giaddr A`, `mac M` | fill a header field |
//! | `cut N` | keep only the first N bytes |
//! | `port N`, `from A:P`, `to A`, `to everybody` | how it came in |
//! | `fact NAME VALUE` | change a setting |
//! | `loader ARCH [FILE]` | set a loader, or have none |
//! | `machine [WORD…]` | the sender is known: `hold`, `control`, `no-control`, `file=NAME` |
//! | `vip A` | the cluster's floating address |
//! | `turn holder`, `turn backup` | who holds it: we, another node |
//! | `turn shared THIS NODE…` | nobody is known to; which nodes may answer |
//! | `again` | the sender repeats itself |

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddrV4};

use raftboot::dhcp::{
    Arrival, Decision, Facts, Heard, MachineFacts, Malformed, Message, Mode, Outcome, Place, Port, Request, Stage,
    Turn, UnknownMachines, decide,
};

use super::packet::{Packet, fixture, unvalue};

/// Our own address in every case.
pub(crate) const ADVERTISED: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 2);

/// One packet, how it came in, and what we know.
pub(crate) struct Case {
    pub(crate) packet: Vec<u8>,
    pub(crate) arrival: Arrival,
    pub(crate) facts: Facts,
    machine: Option<MachineFacts>,
    heard: Heard,
}

/// Splits a file into its preamble and its cases, name first.
pub(crate) fn split(text: &str) -> (&str, Vec<(&str, &str)>) {
    let Some((preamble, _)) = text.split_once("== ") else {
        return (text, vec![]);
    };
    let cases = text[preamble.len()..].split("== ").skip(1).filter_map(|case| case.split_once('\n')).collect();
    (preamble, cases)
}

impl Case {
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut packet = Packet::request(1);
        let mut cut = usize::MAX;
        let boot = text.lines().any(|line| line == "port 4011");
        let mut case = Self {
            packet: vec![],
            arrival: arrival(if boot { Port::Boot } else { Port::Discover }),
            facts: Facts::proxy(ADVERTISED, 8080),
            machine: None,
            heard: Heard::First,
        };
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
            let address = || first.parse::<Ipv4Addr>().map_err(|error| error.to_string());
            let number = || first.parse::<u8>().map_err(|error| format!("{line}: {error}"));
            match word {
                "" | "#" => {}
                "packet" => packet = fixture(first)?,
                "discover" => packet = Packet::request(1),
                "request" => packet = Packet::request(3),
                "message" => packet = Packet::request(number()?),
                "option" => packet.set(number()?, unvalue(second)?),
                "add" => packet.add(number()?, unvalue(second)?),
                "drop" => {
                    let code = number()?;
                    packet.options.retain(|option| option.0 != code);
                }
                "header" => put(&mut packet, number()?.into(), &unvalue(second)?),
                "ciaddr" => put(&mut packet, 12, &address()?.octets()),
                "giaddr" => put(&mut packet, 24, &address()?.octets()),
                "mac" => put(&mut packet, 28, &unvalue(first)?),
                "cut" => cut = first.parse().map_err(|_| line)?,
                "port" => {}
                "from" => case.arrival.source = first.parse().map_err(|_| line)?,
                "to" => case.arrival.asked = if rest == "everybody" { None } else { Some(address()?) },
                "fact" => case.fact(first, second)?,
                "loader" => {
                    let architecture = first.parse().map_err(|_| line)?;
                    case.facts.loaders.remove(&architecture);
                    if !second.is_empty() {
                        case.facts.loaders.insert(architecture, second.to_owned());
                    }
                }
                "machine" => case.machine = Some(machine(rest)?),
                "vip" => case.facts.floating = Some(Place::new(address()?, 8080)),
                "turn" => case.facts.turn = turn(first, second)?,
                "again" => case.heard = Heard::Again,
                _ => return Err(format!("no such line: {line}")),
            }
        }
        case.packet = packet.bytes();
        case.packet.truncate(cut);
        Ok(case)
    }

    fn fact(&mut self, name: &str, value: &str) -> Result<(), String> {
        match (name, value) {
            ("mode", "off") => self.facts.mode = Mode::Off,
            ("unknown", "ignore") => self.facts.unknown_machines = UnknownMachines::Ignore,
            ("raspberry-pi", "off") => self.facts.raspberry_pi = false,
            ("script", url) => url.clone_into(&mut self.facts.own.script_url),
            ("loader-url", url) => url.clone_into(&mut self.facts.own.loader_url_base),
            _ => return Err(format!("no such fact: {name} {value}")),
        }
        Ok(())
    }

    pub(crate) fn decide(&self) -> Result<Decision, Malformed> {
        let request = Request::parse(&self.packet)?;
        Ok(decide(&request, &self.arrival, &self.facts, self.machine.as_ref(), self.heard))
    }

    /// What comes out, as text.
    pub(crate) fn run(&self) -> String {
        let decision = match self.decide() {
            Ok(decision) => decision,
            Err(malformed) => return format!("malformed: {malformed}\n"),
        };
        let mut text = String::new();
        if let Ok(reply) = &decision.reply {
            let kind = match reply.message {
                Message::Offer => "OFFER",
                Message::Acknowledgement => "ACK",
            };
            let (from, to, length) = (reply.source, reply.destination, reply.bytes.len());
            let _ = writeln!(text, "{kind} from {from} to {to}, {length} bytes");
            text += &Packet::read(&reply.bytes).expect("a reply that reads").show();
        }
        text + &seen(&decision)
    }
}

/// How packets usually come in.
pub(crate) fn arrival(port: Port) -> Arrival {
    let (asked, source) = match port {
        Port::Discover => (None, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68)),
        Port::Boot => (Some(ADVERTISED), SocketAddrV4::new(Ipv4Addr::new(10, 88, 0, 58), 4011)),
    };
    Arrival { port, asked, source }
}

fn put(packet: &mut Packet, at: usize, bytes: &[u8]) {
    packet.header[at..at + bytes.len()].copy_from_slice(bytes);
}

fn turn(word: &str, numbers: &str) -> Result<Turn, String> {
    let numbers: Result<Vec<u64>, _> = numbers.split_whitespace().map(str::parse).collect();
    match (word, numbers.map_err(|error| error.to_string())?.split_first()) {
        ("holder", None) => Ok(Turn::Holder),
        ("backup", None) => Ok(Turn::Backup),
        ("shared", Some((this, nodes))) => Ok(Turn::Shared { this: *this, nodes: nodes.to_vec() }),
        _ => Err(format!("no such turn: {word}")),
    }
}

fn machine(words: &str) -> Result<MachineFacts, String> {
    let mut machine = MachineFacts::default();
    for word in words.split_whitespace() {
        match word.split_once('=') {
            Some(("file", name)) => machine.boot_file = Some(name.to_owned()),
            None if word == "hold" => machine.hold = true,
            None if word == "control" => machine.discovery_control = Some(true),
            None if word == "no-control" => machine.discovery_control = Some(false),
            _ => return Err(format!("no such machine fact: {word}")),
        }
    }
    Ok(machine)
}

/// The sighting, without what the case itself says.
fn seen(decision: &Decision) -> String {
    let sighting = &decision.sighting;
    let stage = match sighting.stage {
        Stage::Firmware => "firmware",
        Stage::Ipxe => "ipxe",
        Stage::OperatingSystem => "operating-system",
    };
    let mut text = format!("seen {stage} {}", sighting.message);
    if let Some(architecture) = sighting.architecture {
        let _ = write!(text, " {architecture}");
    }
    for (name, class) in [("class", &sighting.vendor_class), ("user", &sighting.user_class)] {
        if let Some(class) = class {
            let _ = write!(text, " {name} \"{class}\"");
        }
    }
    for (name, address) in [("address", sighting.address), ("chose", sighting.chosen_server), ("relay", sighting.relay)]
    {
        if let Some(address) = address {
            let _ = write!(text, " {name} {address}");
        }
    }
    if let Some(uuid) = sighting.uuid {
        let _ = write!(text, " uuid {uuid}");
    }
    let _ = match &sighting.outcome {
        Outcome::Silent(silence) => writeln!(text, ": silent, {}", silence.name()),
        Outcome::Answered { boot_file: Some(file), .. } => writeln!(text, ": answered, {file}"),
        Outcome::Answered { boot_file: None, .. } => writeln!(text, ": answered"),
    };
    text
}
