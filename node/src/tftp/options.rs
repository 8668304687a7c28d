//! What a client asks for in options against what it gets (RFC 2347, 2348, 2349, 7440).

use std::time::Duration;

use super::packet::{self, DATA_HEADER_BYTES, Request};

/// Payload of a DATA packet when nothing else is agreed, in bytes (RFC 1350).
pub const BLKSIZE_DEFAULT: u16 = 512;
/// Smallest block size that can be agreed, in bytes (RFC 2348).
pub const BLKSIZE_MIN: u16 = 8;
/// Largest block size that can be agreed, in bytes (RFC 2348).
pub const BLKSIZE_MAX: u16 = 65464;
/// Most blocks sent without an acknowledgement. 64 fills a gigabit link; more only overruns small receivers.
pub const WINDOWSIZE_MAX: u16 = 64;
/// Most bytes sent without an acknowledgement; lowers the window of large blocks.
pub const WINDOW_BYTES_MAX: u64 = 128 * 1024;
/// Longest retransmission interval a client may ask for, in seconds; longer ones are not acknowledged,
/// because a silent client would hold its transfer for minutes.
pub const TIMEOUT_SECONDS_MAX: u64 = 30;
/// Largest packet of a link of which nothing is known, in bytes.
pub const MTU_DEFAULT: u32 = 1500;
/// Smallest packet size believed of a link, in bytes: what IPv4 requires of every host.
pub const MTU_MIN: u32 = 576;

/// IP and UDP headers in front of a DATA packet, in bytes.
const HEADERS_V4: u32 = 20 + 8;
const HEADERS_V6: u32 = 40 + 8;

/// All a transfer needs to know of the request it answers. Small and plain on purpose: together with the number of
/// acknowledged blocks it is the whole state of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// Bytes to send.
    pub size: u64,
    /// Payload of each block but the last, in bytes.
    pub blksize: u16,
    /// Blocks per acknowledgement.
    pub windowsize: u16,
    /// Retransmission interval, when the client asked for one.
    pub timeout: Option<Duration>,
    /// The OACK to send first; none when no option was agreed on (RFC 2347).
    pub answer: Option<Vec<u8>>,
}

/// The largest block that goes to the client in one unfragmented packet over a link of `mtu` bytes.
#[must_use]
pub fn blksize_for_link(mtu: u32, is_v6: bool) -> u16 {
    let headers = if is_v6 { HEADERS_V6 } else { HEADERS_V4 };
    let room = mtu.max(MTU_MIN) - headers - DATA_HEADER_BYTES as u32;
    u16::try_from(room).unwrap_or(BLKSIZE_MAX).min(BLKSIZE_MAX)
}

impl Agreed {
    /// Answers the options of `request` for a file of `size` bytes; no block gets larger than `blksize_limit`.
    ///
    /// Unknown options and values outside their RFC's range are left unacknowledged, which tells the client that they
    /// do not hold (RFC 2347). Options are answered in the order asked.
    #[must_use]
    pub fn new(request: &Request, size: u64, blksize_limit: u16, window_limit: u16) -> Self {
        let asked_blksize = number(request, "blksize").filter(|asked| *asked >= u64::from(BLKSIZE_MIN));
        let blksize = asked_blksize.map_or(BLKSIZE_DEFAULT, |asked| {
            let limit = blksize_limit.clamp(BLKSIZE_MIN, BLKSIZE_MAX);
            u16::try_from(asked).unwrap_or(limit).min(limit)
        });
        let asked_window = number(request, "windowsize").filter(|asked| (1..=65535).contains(asked));
        let fits = u64::from(WINDOWSIZE_MAX.min(window_limit)).min(WINDOW_BYTES_MAX / u64::from(blksize));
        let windowsize = asked_window.map_or(1, |asked| asked.min(fits).max(1));
        let asked_timeout = number(request, "timeout").filter(|asked| (1..=TIMEOUT_SECONDS_MAX).contains(asked));

        let mut options: Vec<(&str, u64)> = Vec::new();
        for option in &request.options {
            let answer = match option.name.as_str() {
                "blksize" => asked_blksize.map(|_| u64::from(blksize)),
                "windowsize" => asked_window.map(|_| windowsize),
                "timeout" => asked_timeout,
                "tsize" => number(request, "tsize").map(|_| size),
                _ => None,
            };
            let repeated = options.iter().any(|(name, _)| *name == option.name);
            if let (Some(value), false) = (answer, repeated) {
                options.push((&option.name, value));
            }
        }
        Self {
            size,
            blksize,
            windowsize: u16::try_from(windowsize).unwrap_or(WINDOWSIZE_MAX),
            timeout: asked_timeout.map(Duration::from_secs),
            answer: (!options.is_empty()).then(|| packet::option_answer(&options)),
        }
    }

    /// Blocks in the file. A file that fills its last block is followed by an empty one (RFC 1350 §6), so there is
    /// always at least one.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.size / u64::from(self.blksize) + 1
    }

    /// Offset and length in bytes of block `block`, counted from 1.
    #[must_use]
    pub fn span(&self, block: u64) -> (u64, usize) {
        let offset = (block - 1) * u64::from(self.blksize);
        let length = self.size.saturating_sub(offset).min(u64::from(self.blksize));
        (offset, usize::try_from(length).unwrap_or(0))
    }
}

/// An option's value as a number; RFC 2348 and its siblings write them in ASCII decimal.
fn number(request: &Request, name: &str) -> Option<u64> {
    let value = request.option(name)?;
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    // More digits than a u64 holds is still a number, and limits apply to it.
    digits.then(|| value.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::packet::Packet;
    use super::*;

    /// Options as asked, a file size and a block limit; the OACK as text.
    fn check(asked: &str, size: u64, limit: u16) -> String {
        let mut bytes = b"\0\x01f\0octet\0".to_vec();
        for word in asked.split(['=', ' ']).filter(|word| !word.is_empty()) {
            bytes.extend(word.bytes());
            bytes.push(0);
        }
        let Ok(Packet::Read(request)) = Packet::parse(&bytes) else {
            panic!("not a request: {asked}");
        };
        let agreed = Agreed::new(&request, size, limit, WINDOWSIZE_MAX);
        let answer = agreed.answer.as_ref().map_or("none".into(), |answer| {
            let words: Vec<_> = answer[2..].split(|byte| *byte == 0).collect();
            let pairs: Vec<_> = words
                .chunks_exact(2)
                .map(|pair| [packet::printable(pair[0], 99), packet::printable(pair[1], 99)].join("="))
                .collect();
            pairs.join(" ")
        });
        let seconds = agreed.timeout.map_or(0, |timeout| timeout.as_secs());
        format!("{answer} | {}x{} timeout {seconds}", agreed.blksize, agreed.windowsize)
    }

    #[test]
    fn options_are_answered_in_the_order_asked_and_within_limits() {
        let cases = [
            ("", "none | 512x1 timeout 0"),
            ("blksize=1432 tsize=0", "blksize=1432 tsize=5000 | 1432x1 timeout 0"),
            ("tsize=0 blksize=1468 windowsize=4", "tsize=5000 blksize=1468 windowsize=4 | 1468x4 timeout 0"),
            ("blksize=8", "blksize=8 | 8x1 timeout 0"),
            ("blksize=7", "none | 512x1 timeout 0"),
            ("blksize=65464", "blksize=1468 | 1468x1 timeout 0"),
            ("blksize=99999999999999999999999", "blksize=1468 | 1468x1 timeout 0"),
            ("blksize=-5 tsize=x", "none | 512x1 timeout 0"),
            ("blksize=+9", "none | 512x1 timeout 0"),
            ("windowsize=0", "none | 512x1 timeout 0"),
            ("windowsize=65535", "windowsize=64 | 512x64 timeout 0"),
            ("windowsize=65536", "none | 512x1 timeout 0"),
            ("timeout=3", "timeout=3 | 512x1 timeout 3"),
            ("timeout=0 tsize=0", "tsize=5000 | 512x1 timeout 0"),
            ("timeout=255", "none | 512x1 timeout 0"),
            ("multicast=1 utimeout=5 rollover=0", "none | 512x1 timeout 0"),
            ("blksize=600 blksize=700", "blksize=600 | 600x1 timeout 0"),
        ];
        for (asked, expected) in cases {
            assert_eq!(check(asked, 5000, 1468), expected, "{asked}");
        }
    }

    #[test]
    fn large_blocks_shrink_the_window() {
        assert_eq!(
            check("blksize=65464 windowsize=64", 1, BLKSIZE_MAX),
            "blksize=65464 windowsize=2 | 65464x2 timeout 0"
        );
        assert_eq!(check("blksize=1468 windowsize=64", 1, 1468), "blksize=1468 windowsize=64 | 1468x64 timeout 0");
    }

    #[test]
    fn blocks_fit_the_link_unfragmented() {
        let cases = [
            (1500, false, 1468),
            (1500, true, 1448),
            (9000, false, 8968),
            (1280, true, 1228),
            (65536, false, 65464),
            (0, false, 544),
            (0, true, 524),
        ];
        for (mtu, is_v6, expected) in cases {
            assert_eq!(blksize_for_link(mtu, is_v6), expected, "mtu {mtu} v6 {is_v6}");
        }
    }

    #[test]
    fn a_full_last_block_is_followed_by_an_empty_one() {
        let cases = [(0, 1, (0, 0)), (511, 1, (0, 511)), (512, 2, (512, 0)), (513, 2, (512, 1))];
        for (size, blocks, last) in cases {
            let agreed = Agreed { size, blksize: 512, windowsize: 1, timeout: None, answer: None };
            assert_eq!(agreed.blocks(), blocks, "{size}");
            assert_eq!(agreed.span(blocks), last, "{size}");
        }
    }
}
