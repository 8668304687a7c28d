//! DHCP packets for tests: taken apart, changed and put together again without the code under test.

use std::fmt::Write;
use std::fs;
use std::net::Ipv4Addr;

/// Where cases and packets are.
pub(crate) const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dhcp");

/// A packet as its fixed fields and its options in order. Pads and the end are options without bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) header: [u8; 240],
    pub(crate) options: Vec<(u8, Vec<u8>)>,
    /// Bytes after the end option.
    pub(crate) tail: Vec<u8>,
}

impl Packet {
    /// A request from 52:54:00:12:34:56 with nothing but its message type.
    pub(crate) fn request(message: u8) -> Self {
        let mut header = [0; 240];
        header[..8].copy_from_slice(&[1, 1, 6, 0, 0xca, 0xfe, 0xf0, 0x0d]);
        header[28..34].copy_from_slice(&[0x52, 0x54, 0x00, 0x12, 0x34, 0x56]);
        header[236..].copy_from_slice(&[99, 130, 83, 99]);
        Self { header, options: vec![(53, vec![message]), (255, vec![])], tail: vec![] }
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let (header, mut rest) = bytes.split_at_checked(240).ok_or("shorter than 240 bytes")?;
        let mut options = Vec::new();
        while let Some((&code, after)) = rest.split_first() {
            if matches!(code, 0 | 255) {
                options.push((code, vec![]));
                rest = after;
                if code == 255 {
                    break;
                }
            } else {
                let (&length, after) = after.split_first().ok_or("an option without a length")?;
                let (value, after) = after.split_at_checked(length.into()).ok_or("an option that runs past the end")?;
                options.push((code, value.to_vec()));
                rest = after;
            }
        }
        Ok(Self { header: header.try_into().map_err(|_| "shorter than 240 bytes")?, options, tail: rest.to_vec() })
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header.to_vec();
        for (code, value) in &self.options {
            bytes.push(*code);
            if !matches!(code, 0 | 255) {
                bytes.push(u8::try_from(value.len()).expect("an option of at most 255 bytes"));
                bytes.extend_from_slice(value);
            }
        }
        bytes.extend_from_slice(&self.tail);
        bytes
    }

    pub(crate) fn option(&self, code: u8) -> Option<&[u8]> {
        self.options.iter().find(|(other, _)| *other == code).map(|(_, value)| value.as_slice())
    }

    /// Replaces an option, or adds it before the end.
    pub(crate) fn set(&mut self, code: u8, value: Vec<u8>) {
        match self.options.iter_mut().find(|(other, _)| *other == code) {
            Some(option) => option.1 = value,
            None => self.add(code, value),
        }
    }

    /// Adds an option before the end, even if it is there already.
    pub(crate) fn add(&mut self, code: u8, value: Vec<u8>) {
        let end = self.options.iter().position(|(other, _)| *other == 255);
        let at = end.unwrap_or(self.options.len());
        self.options.insert(at, (code, value));
    }

    pub(crate) fn address(&self, at: usize) -> Ipv4Addr {
        let mut octets = [0; 4];
        octets.copy_from_slice(&self.header[at..at + 4]);
        octets.into()
    }

    /// The packet as text: header fields that are not zero, then every option in order.
    pub(crate) fn show(&self) -> String {
        let h = &self.header;
        let mut text = format!("  op {} xid {:02x}{:02x}{:02x}{:02x}", h[0], h[4], h[5], h[6], h[7]);
        let mac = h[28..34].iter().map(|byte| format!("{byte:02x}"));
        let _ = write!(text, " mac {}", mac.collect::<Vec<_>>().join(":"));
        for (name, at) in [("secs", 8), ("flags", 10)] {
            if h[at..at + 2] != [0, 0] {
                let _ = write!(text, " {name} {:02x}{:02x}", h[at], h[at + 1]);
            }
        }
        for (name, at) in [("ciaddr", 12), ("yiaddr", 16), ("siaddr", 20), ("giaddr", 24)] {
            if !self.address(at).is_unspecified() {
                let _ = write!(text, " {name} {}", self.address(at));
            }
        }
        text.push('\n');
        for (name, field) in [("sname", &h[44..108]), ("file", &h[108..236])] {
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
            if end > 0 {
                let _ = writeln!(text, "  {name} {}", value(&field[..end]));
            }
        }
        for (code, bytes) in &self.options {
            let _ = match code {
                0 => writeln!(text, "  pad"),
                255 => writeln!(text, "  end"),
                54 => writeln!(text, "  54 {}", bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(".")),
                _ => writeln!(text, "  {code} {}", value(bytes)),
            };
        }
        if self.tail.iter().any(|byte| *byte != 0) {
            let _ = writeln!(text, "  then {}", value(&self.tail));
        }
        text
    }
}

/// Text in quotes if it is text of some length, else hexadecimal digits.
fn value(bytes: &[u8]) -> String {
    if bytes.len() > 2 && bytes.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        format!("\"{}\"", String::from_utf8_lossy(bytes))
    } else {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Reads what [`value`] writes.
pub(crate) fn unvalue(text: &str) -> Result<Vec<u8>, String> {
    if let Some(quoted) = text.strip_prefix('"') {
        let inner = quoted.strip_suffix('"').ok_or("a quote is not closed")?;
        return Ok(inner.as_bytes().to_vec());
    }
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).map_err(|error| error.to_string())?;
            u8::from_str_radix(pair, 16).map_err(|error| error.to_string())
        })
        .collect()
}

/// A packet from `packets/NAME.hex`.
pub(crate) fn fixture(name: &str) -> Result<Packet, String> {
    let path = format!("{DIRECTORY}/packets/{name}.hex");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    Packet::read(&unvalue(&digits)?)
}

/// The names of all packets that clients sent.
pub(crate) fn client_fixtures() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(format!("{DIRECTORY}/packets"))
        .expect("packets")
        .filter_map(|entry| {
            let name = entry.expect("packets").file_name().into_string().ok()?;
            let name = name.strip_suffix(".hex")?.to_owned();
            (fixture(&name).expect("a packet").header[0] == 1).then_some(name)
        })
        .collect();
    names.sort();
    names
}
