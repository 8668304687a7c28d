//! DHCP decisions as text: every case in `dhcp/*.txt` is a packet in and what comes out.
//!
//! `UPDATE_EXPECT=1` rewrites what the cases expect; read the difference before you keep it. The cases' language is
//! described where it is read, in `dhcp/case.rs`.

#[path = "dhcp/case.rs"]
mod case;
#[path = "dhcp/garbage.rs"]
mod garbage;
#[path = "dhcp/live.rs"]
mod live;
#[path = "dhcp/packet.rs"]
mod packet;

use std::fs;
use std::path::{Path, PathBuf};

use case::Case;

/// Where the cases are.
fn here() -> PathBuf {
    Path::new(packet::DIRECTORY).to_owned()
}

/// Runs every case of one file, or rewrites what they expect.
fn check(file: &str) {
    let path = here().join(file);
    let text = fs::read_to_string(&path).expect(file);
    let (preamble, cases) = case::split(&text);
    assert!(!cases.is_empty(), "{file} holds no case");
    let mut wrong = Vec::new();
    let mut rewritten = preamble.to_owned();
    for (name, body) in cases {
        let (input, expected) = body.split_once("--\n").unwrap_or((body, ""));
        let actual = Case::read(input).unwrap_or_else(|error| panic!("{file}: {name}: {error}"));
        let actual = actual.run();
        if actual.trim_end() != expected.trim_end() {
            wrong.push(format!("{name}\n--- expected\n{expected}\n--- got\n{actual}"));
        }
        rewritten += &format!("== {name}\n{input}--\n{}\n\n", actual.trim_end());
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, rewritten.trim_end().to_owned() + "\n").expect(file);
    } else {
        assert!(wrong.is_empty(), "{file}:\n{}", wrong.join("\n"));
    }
}

#[test]
fn every_case_file_is_run() {
    let mut files: Vec<_> = fs::read_dir(here())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".txt"))
        .collect();
    files.sort();
    assert_eq!(
        files,
        [
            "bios.txt",
            "cluster.txt",
            "http.txt",
            "ipxe.txt",
            "malformed.txt",
            "relay.txt",
            "settings.txt",
            "silence.txt",
            "small.txt",
            "uefi.txt"
        ]
    );
}

#[test]
fn bios() {
    check("bios.txt");
}

#[test]
fn cluster() {
    check("cluster.txt");
}

#[test]
fn http() {
    check("http.txt");
}

#[test]
fn ipxe() {
    check("ipxe.txt");
}

#[test]
fn malformed() {
    check("malformed.txt");
}

#[test]
fn relay() {
    check("relay.txt");
}

#[test]
fn settings() {
    check("settings.txt");
}

#[test]
fn silence() {
    check("silence.txt");
}

#[test]
fn u_boot_and_raspberry_pi() {
    check("small.txt");
}

#[test]
fn uefi() {
    check("uefi.txt");
}

#[test]
fn ovmf_is_offered_byte_for_byte_what_dnsmasq_offered_it() {
    let case = Case::read("packet ovmf-discover\n").unwrap();
    let reply = case.decide().unwrap().reply.unwrap();
    assert_eq!(reply.bytes, packet::fixture("dnsmasq-ovmf-offer").unwrap().bytes());
}

#[test]
fn a_raspberry_pi_is_offered_the_menu_that_dnsmasq_offered_it() {
    let case = Case::read("packet raspberry-pi-4-discover\n").unwrap();
    let reply = packet::Packet::read(&case.decide().unwrap().reply.unwrap().bytes).unwrap();
    let dnsmasq = packet::fixture("dnsmasq-raspberry-pi-offer").unwrap();
    for option in [43, 53, 54, 60, 97] {
        assert_eq!(reply.option(option), dnsmasq.option(option), "{option}");
    }
}
