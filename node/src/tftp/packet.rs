//! The bytes of TFTP: requests and acknowledgements in, data, option answers and errors out (RFC 1350, RFC 2347).

use std::fmt::Write as _;

/// Longest request we read, in bytes. RFC 2347 allows 512; the rest is for firmware that pads.
pub const REQUEST_BYTES_MAX: usize = 1024;
/// Most options in one request that are looked at.
pub const OPTIONS_MAX: usize = 16;
/// Longest option name or value, in bytes.
pub const OPTION_BYTES_MAX: usize = 64;
/// Longest error text we send or keep, in bytes.
pub const ERROR_TEXT_BYTES_MAX: usize = 128;
/// Bytes in front of the payload of a DATA packet.
pub const DATA_HEADER_BYTES: usize = 4;

const OPCODE_READ: u16 = 1;
const OPCODE_WRITE: u16 = 2;
const OPCODE_DATA: u16 = 3;
const OPCODE_ACK: u16 = 4;
const OPCODE_ERROR: u16 = 5;
const OPCODE_OACK: u16 = 6;

/// Error codes of RFC 1350 (appendix) and RFC 2347 (8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum ErrorCode {
    /// 0: see the text.
    Undefined = 0,
    /// 1: no such file.
    FileNotFound = 1,
    /// 2: the server does not allow it.
    AccessViolation = 2,
    /// 4: an operation this server does not know.
    IllegalOperation = 4,
    /// 5: no transfer belongs to this port.
    UnknownTransfer = 5,
    /// 8: options could not be agreed on.
    OptionsRefused = 8,
}

/// How the client wants the bytes (RFC 1350 §1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As they are.
    Octet,
    /// As text of the network virtual terminal: line ends become CR LF.
    Netascii,
}

/// One option as the client wrote it, name in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedOption {
    /// Name, lower case.
    pub name: String,
    /// Value, as sent.
    pub value: String,
}

/// A read request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The file name as sent, without its NUL.
    pub name: Vec<u8>,
    /// Transfer mode.
    pub mode: Mode,
    /// Options in the order sent, at most [`OPTIONS_MAX`].
    pub options: Vec<RequestedOption>,
}

/// A packet a server may receive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// RRQ.
    Read(Request),
    /// WRQ; always refused.
    Write,
    /// ACK with its block number.
    Ack(u16),
    /// ERROR with its code and printable text.
    Error {
        /// The code as sent.
        code: u16,
        /// The text, cut to [`ERROR_TEXT_BYTES_MAX`], control characters replaced.
        text: String,
    },
    /// DATA or OACK: nothing a server asked for.
    Unexpected,
}

/// Why bytes are not a TFTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Fewer bytes than the fixed part.
    #[error("packet of {0} bytes is too short")]
    TooShort(usize),
    /// More bytes than a request may have.
    #[error("request of {0} bytes is too long")]
    TooLong(usize),
    /// An operation code that does not exist.
    #[error("unknown operation {0}")]
    Opcode(u16),
    /// A string without its closing NUL.
    #[error("a string of the request is not closed")]
    Unterminated,
    /// A mode other than octet and netascii.
    #[error("unknown transfer mode")]
    Mode,
}

impl Packet {
    /// Reads one datagram.
    ///
    /// # Errors
    /// [`Malformed`] says what is wrong; nothing of the packet is usable then.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (opcode, rest) = split_u16(bytes).ok_or(Malformed::TooShort(bytes.len()))?;
        match opcode {
            OPCODE_READ => parse_request(bytes.len(), rest).map(Self::Read),
            OPCODE_WRITE => Ok(Self::Write),
            OPCODE_DATA | OPCODE_OACK => Ok(Self::Unexpected),
            // Some firmware sends trailing bytes after the block number.
            OPCODE_ACK => split_u16(rest).map(|(block, _)| Self::Ack(block)).ok_or(Malformed::TooShort(bytes.len())),
            OPCODE_ERROR => {
                let (code, text) = split_u16(rest).ok_or(Malformed::TooShort(bytes.len()))?;
                // EDK2 and others leave the NUL out, so the end of the packet closes the text too.
                let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
                let text = printable(text, ERROR_TEXT_BYTES_MAX);
                Ok(Self::Error { code, text })
            }
            other => Err(Malformed::Opcode(other)),
        }
    }
}

impl Request {
    /// The value of an option, `name` in lower case; the first one counts.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        let found = self.options.iter().find(|option| option.name == name)?;
        Some(&found.value)
    }
}

fn parse_request(length: usize, rest: &[u8]) -> Result<Request, Malformed> {
    if length > REQUEST_BYTES_MAX {
        return Err(Malformed::TooLong(length));
    }
    let (name, rest) = split_string(rest)?;
    let (mode, mut rest) = split_string(rest)?;
    let mode = if mode.eq_ignore_ascii_case(b"octet") {
        Mode::Octet
    } else if mode.eq_ignore_ascii_case(b"netascii") {
        Mode::Netascii
    } else {
        return Err(Malformed::Mode);
    };
    let mut options = Vec::new();
    while !rest.is_empty() && options.len() < OPTIONS_MAX {
        // A damaged option list is padding of some ROM more often than an attack: what was read so far counts.
        let Ok((option, after)) = split_string(rest) else {
            break;
        };
        let Ok((value, after)) = split_string(after) else {
            break;
        };
        if option.is_empty() {
            break;
        }
        rest = after;
        if option.len() <= OPTION_BYTES_MAX && value.len() <= OPTION_BYTES_MAX {
            options.push(RequestedOption {
                name: printable(option, OPTION_BYTES_MAX).to_ascii_lowercase(),
                value: printable(value, OPTION_BYTES_MAX),
            });
        }
    }
    Ok(Request { name: name.to_vec(), mode, options })
}

fn split_u16(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*head), rest))
}

fn split_string(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let end = bytes.iter().position(|byte| *byte == 0).ok_or(Malformed::Unterminated)?;
    Ok((&bytes[..end], &bytes[end + 1..]))
}

/// Bytes from the wire as text that is safe to log: ASCII, at most `limit` bytes, anything else as `?`.
#[must_use]
pub fn printable(bytes: &[u8], limit: usize) -> String {
    let visible = |byte: &u8| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '?',
    };
    bytes.iter().take(limit).map(visible).collect()
}

/// The four bytes in front of block `block`'s payload.
#[must_use]
pub fn data_header(block: u16) -> [u8; DATA_HEADER_BYTES] {
    let [op_high, op_low] = OPCODE_DATA.to_be_bytes();
    let [high, low] = block.to_be_bytes();
    [op_high, op_low, high, low]
}

/// An ERROR packet; the text is cut to [`ERROR_TEXT_BYTES_MAX`].
#[must_use]
pub fn error(code: ErrorCode, text: &str) -> Vec<u8> {
    let mut packet = Vec::with_capacity(5 + text.len());
    packet.extend(OPCODE_ERROR.to_be_bytes());
    packet.extend((code as u16).to_be_bytes());
    packet.extend(printable(text.as_bytes(), ERROR_TEXT_BYTES_MAX).bytes());
    packet.push(0);
    packet
}

/// An OACK packet (RFC 2347) with the options in the order given.
#[must_use]
pub fn option_answer(options: &[(&str, u64)]) -> Vec<u8> {
    let mut text = String::new();
    for (name, value) in options {
        // Writing to a String cannot fail.
        let _ = write!(text, "{name}\0{value}\0");
    }
    let mut packet = OPCODE_OACK.to_be_bytes().to_vec();
    packet.extend(text.bytes());
    packet
}

#[cfg(test)]
#[path = "packet_tests.rs"]
mod tests;
