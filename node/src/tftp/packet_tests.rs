//! Cases for the packet reader: real requests, odd firmware, and anything at all.

use proptest::prelude::*;

use super::*;

/// A packet as text: `\0` for NUL, `\xNN` for other bytes.
fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('0') => out.push(0),
                Some('x') => {
                    let hex: String = chars.by_ref().take(2).collect();
                    out.push(u8::from_str_radix(&hex, 16).unwrap());
                }
                other => panic!("bad escape {other:?} in {text}"),
            },
            other => out.push(u8::try_from(u32::from(other)).unwrap()),
        }
    }
    out
}

fn show(packet: &Result<Packet, Malformed>) -> String {
    match packet {
        Ok(Packet::Read(request)) => {
            let options: Vec<_> =
                request.options.iter().map(|option| format!("{}={}", option.name, option.value)).collect();
            let name = printable(&request.name, 300);
            format!("read {name} {:?} [{}]", request.mode, options.join(" "))
        }
        Ok(Packet::Write) => "write".into(),
        Ok(Packet::Ack(block)) => format!("ack {block}"),
        Ok(Packet::Error { code, text }) => format!("error {code} {text}"),
        Ok(Packet::Unexpected) => "unexpected".into(),
        Err(malformed) => format!("bad: {malformed}"),
    }
}

#[test]
fn packets_are_read_as_sent() {
    let cases = [
        // Captured: iPXE 1.0.0+git-20190125, OVMF 2022.11 (probe, then request).
        (r"\0\x01undionly.kpxe\0octet\0blksize\01432\0tsize\00\0", "read undionly.kpxe Octet [blksize=1432 tsize=0]"),
        (
            r"\0\x01snponly.efi\0octet\0tsize\00\0blksize\01468\0windowsize\04\0",
            "read snponly.efi Octet [tsize=0 blksize=1468 windowsize=4]",
        ),
        (r"\0\x05\0\x08User aborted the transfer\0", "error 8 User aborted the transfer"),
        // Modes and option names in any case (RFC 1350 §1, RFC 2347).
        (r"\0\x01a\0OcTeT\0BlkSize\0512\0", "read a Octet [blksize=512]"),
        (r"\0\x01a\0netASCII\0", "read a Netascii []"),
        // Padding with zeros, an option without value, an unclosed value.
        (r"\0\x01a\0octet\0\0\0\0\0", "read a Octet []"),
        (r"\0\x01a\0octet\0tsize\0", "read a Octet []"),
        (r"\0\x01a\0octet\0tsize\00\0blksize\01432", "read a Octet [tsize=0]"),
        // Control characters never reach a log line.
        (r"\0\x05\0\x00a\x1b[31mb\x0a\0", "error 0 a?[31mb?"),
        (r"\0\x05\0\x03no end", "error 3 no end"),
        (r"\0\x05\0\x03", "error 3 "),
        (r"\0\x04\0\x07", "ack 7"),
        (r"\0\x04\xff\xff\0\0", "ack 65535"),
        (r"\0\x02a\0octet\0", "write"),
        (r"\0\x03\0\x01data", "unexpected"),
        (r"\0\x06tsize\00\0", "unexpected"),
        (r"\0\x01\0octet\0", "read  Octet []"),
        // Not packets.
        ("", "bad: packet of 0 bytes is too short"),
        (r"\0", "bad: packet of 1 bytes is too short"),
        (r"\0\x04\0", "bad: packet of 3 bytes is too short"),
        (r"\0\x05\0", "bad: packet of 3 bytes is too short"),
        (r"\0\x01", "bad: a string of the request is not closed"),
        (r"\0\x01name", "bad: a string of the request is not closed"),
        (r"\0\x01name\0octet", "bad: a string of the request is not closed"),
        (r"\0\x01name\0mail\0", "bad: unknown transfer mode"),
        (r"\0\x07x", "bad: unknown operation 7"),
        (r"\xff\xffx", "bad: unknown operation 65535"),
    ];
    for (packet, expected) in cases {
        assert_eq!(show(&Packet::parse(&bytes(packet))), expected, "{packet}");
    }
}

#[test]
fn a_request_is_bounded_in_length_and_options() {
    let mut long = bytes(r"\0\x01");
    long.extend(vec![b'a'; REQUEST_BYTES_MAX]);
    long.extend(b"\0octet\0");
    let length = long.len();
    assert_eq!(Packet::parse(&long), Err(Malformed::TooLong(length)));

    let mut many = bytes(r"\0\x01a\0octet\0");
    for number in 0..OPTIONS_MAX + 10 {
        many.extend(format!("o{number}\0{number}\0").bytes());
    }
    let Ok(Packet::Read(request)) = Packet::parse(&many) else {
        panic!("not a request");
    };
    assert_eq!(request.options.len(), OPTIONS_MAX);
}

#[test]
fn what_we_send_has_the_bytes_of_the_rfcs() {
    assert_eq!(data_header(0x1234), [0, 3, 0x12, 0x34]);
    assert_eq!(error(ErrorCode::FileNotFound, "no\nsuch"), b"\0\x05\0\x01no?such\0");
    assert_eq!(option_answer(&[("tsize", 74213), ("blksize", 1432)]), b"\0\x06tsize\x0074213\0blksize\x001432\0");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic_and_within_bounds(packet in proptest::collection::vec(any::<u8>(), 0..1500)) {
        if let Ok(Packet::Read(request)) = Packet::parse(&packet) {
            prop_assert!(packet.len() <= REQUEST_BYTES_MAX);
            prop_assert!(request.options.len() <= OPTIONS_MAX);
        }
    }

    #[test]
    fn a_truncated_request_never_gains_anything(cut in 0usize..70) {
        let whole = bytes(r"\0\x01snponly.efi\0octet\0tsize\00\0blksize\01468\0windowsize\04\0");
        let Ok(Packet::Read(full)) = Packet::parse(&whole) else { panic!("not a request") };
        let cut = cut.min(whole.len());
        if let Ok(Packet::Read(part)) = Packet::parse(&whole[..cut]) {
            prop_assert_eq!(&part.name, &full.name);
            prop_assert!(full.options.starts_with(&part.options));
        }
    }
}
