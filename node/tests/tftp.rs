//! TFTP over loopback: independent clients, a client that loses packets on purpose, and packets no client sends.
#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use raftboot::tftp::{
    self, BindError, Client, Ending, Event, Lookup, Name, Outcome, Questions, Refusal, Sharing, Sockets, What,
};

#[path = "tftp/takeover.rs"]
mod takeover;

/// Longest wait for anything in these tests.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Files {
    files: BTreeMap<String, Lookup>,
    events: Mutex<Vec<Event>>,
}

impl Questions for Files {
    fn open(&self, name: &Name, _client: &Client) -> Lookup {
        self.files.get(name.as_str()).cloned().unwrap_or(Lookup::NotFound)
    }

    fn event(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }
}

/// A server on loopback that stops when dropped.
struct Server {
    address: SocketAddr,
    files: Arc<Files>,
    dir: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    fn start(listen: &str) -> Self {
        Self::start_sharing(listen, Sharing::default())
    }

    fn start_sharing(listen: &str, sharing: Sharing) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::default();
        for (name, bytes) in samples() {
            let path = dir.path().join(format!("blob-{name}"));
            std::fs::write(&path, &bytes).unwrap();
            let size = bytes.len() as u64;
            files.files.insert(format!("file-{name}"), Lookup::File { path, size });
            files.files.insert(name.into(), Lookup::Bytes(bytes.into()));
        }
        let gone = dir.path().join("gone");
        files.files.insert("gone".into(), Lookup::File { path: gone, size: 9 });
        files.files.insert("busy".into(), Lookup::Busy);
        files.files.insert("ignored".into(), Lookup::Ignore);
        let files = Arc::new(files);

        let sockets = Sockets::bind(&[listen.parse().unwrap()]).unwrap();
        let mut address = sockets.addresses()[0];
        if address.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
            address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let questions: Arc<dyn Questions> = files.clone();
        runtime.spawn(async move {
            tftp::run(sockets, questions, sharing, std::future::pending()).await.unwrap();
        });
        Self { address, files, dir, _runtime: runtime }
    }

    fn content(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dir.path().join(format!("blob-{name}"))).unwrap()
    }

    /// Waits for an event, and returns it.
    fn event(&self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        let until = Instant::now() + PATIENCE;
        loop {
            let events = self.files.events.lock().unwrap().clone();
            if let Some(event) = events.iter().find(|event| wanted(event)) {
                return event.clone();
            }
            assert!(Instant::now() < until, "no event: {what}; got {events:?}");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    fn ended(&self, name: &str) -> (Ending, u64, u64) {
        let is_end = |event: &Event| event.name == name && matches!(event.what, What::Ended { .. });
        match self.event("ended", is_end).what {
            What::Ended { ending, bytes, blocks_resent, .. } => (ending, bytes, blocks_resent),
            other => panic!("{other:?}"),
        }
    }
}

const FINISHED: Ending = Ending::Protocol(Outcome::Finished { confirmed: true });

fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let noise = |size: usize| -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..size).map(|_| next()).collect()
    };
    vec![
        ("empty", Vec::new()),
        ("one", vec![7]),
        ("exact", noise(512 * 20)),
        ("text", b"#!ipxe\r\nchain x\nbare\rend\n".to_vec()),
        ("loader", noise(850_528)),
        ("large", noise(9_000_001)),
    ]
}

/// What curl exits with when it is told that there is no such file.
const CURL_NOT_FOUND: i32 = 68;

/// Runs a client that must be installed; its exit code and output when it fails.
fn client(program: &str, arguments: &[&str]) -> Result<(), (Option<i32>, String)> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed: apt-get install curl atftp tftp-hpa ({error})"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err((output.status.code(), text)) }
}

fn target(dir: &Path, name: &str) -> (PathBuf, String) {
    let path = dir.join(format!("got-{name}"));
    let text = path.display().to_string();
    (path, text)
}

#[test]
fn curl_fetches_files_of_every_size_from_memory_and_disk() {
    let server = Server::start("127.0.0.1:0");
    let port = server.address.port();
    for (name, content) in samples() {
        for name in [name.to_owned(), format!("file-{name}")] {
            for blksize in ["8", "512", "1432", "65464"] {
                if blksize == "8" && content.len() > 20_000 {
                    continue;
                }
                let (path, text) = target(server.dir.path(), &name);
                let url = format!("tftp://127.0.0.1:{port}//{name}");
                let mut arguments = vec!["-sS", "--tftp-blksize", blksize, "-o", &text, &url];
                if content.is_empty() {
                    // curl calls a size of 0 invalid, so it must not ask; and it makes no file.
                    arguments.push("--tftp-no-options");
                }
                client("curl", &arguments).unwrap();
                let got = std::fs::read(&path).unwrap_or_default();
                assert!(got == content, "{name} in blocks of {blksize} differs");
                let _ = std::fs::remove_file(path);
            }
        }
    }
    assert_eq!(server.ended("loader").0, FINISHED);
}

#[test]
fn atftp_fetches_with_windows() {
    let server = Server::start("127.0.0.1:0");
    let port = server.address.port().to_string();
    for name in ["exact", "loader", "file-loader", "large", "file-large"] {
        for windowsize in ["1", "4", "16", "64"] {
            let (path, text) = target(server.dir.path(), name);
            let blksize = "blksize 1432";
            let window = format!("windowsize {windowsize}");
            let arguments = [
                "--option",
                blksize,
                "--option",
                &window,
                "--option",
                "tsize",
                "-g",
                "-r",
                name,
                "-l",
                &text,
                "127.0.0.1",
                &port,
            ];
            client("atftp", &arguments).unwrap();
            let content = server.content(name.trim_start_matches("file-"));
            assert!(std::fs::read(&path).unwrap() == content, "{name} with window {windowsize} differs");
            std::fs::remove_file(path).unwrap();
        }
    }
    let started = server.event("a window of 64", |event| matches!(event.what, What::Started { windowsize: 64, .. }));
    assert!(matches!(started.what, What::Started { blksize: 1432, .. }), "{started:?}");
}

#[test]
fn tftp_hpa_fetches_in_both_modes() {
    let server = Server::start("127.0.0.1:0");
    let port = server.address.port().to_string();
    for (mode, names) in
        [("binary", ["empty", "exact", "text", "large"]), ("netascii", ["empty", "exact", "text", "loader"])]
    {
        for name in names {
            let (path, text) = target(server.dir.path(), name);
            client("tftp", &["-m", mode, "127.0.0.1", &port, "-c", "get", name, &text]).unwrap();
            let got = std::fs::read(&path).unwrap();
            assert!(got == server.content(name), "{name} in {mode} differs");
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn clients_are_told_why_there_is_no_file() {
    let server = Server::start("127.0.0.1:0");
    let port = server.address.port();
    let fetch = |name: &str| {
        let url = format!("tftp://127.0.0.1:{port}/{name}");
        client("curl", &["-sS", "--path-as-is", "-o", "/dev/null", &url])
    };
    assert_eq!(fetch("nothing").unwrap_err().0, Some(CURL_NOT_FOUND));
    assert!(fetch("../../etc/passwd").is_err());
    assert!(fetch("gone").is_err());
    assert_eq!(server.ended("gone").0, Ending::SourceFailed);
    server.event("not found", |event| event.what == What::Refused(Refusal::NotFound));
    server.event("a bad name", |event| matches!(event.what, What::Refused(Refusal::BadName(_))));
    let upload = client("curl", &["-sS", "-T", "/etc/hostname", &format!("tftp://127.0.0.1:{port}/x")]);
    assert!(upload.is_err(), "an upload was accepted");
}

#[test]
fn a_busy_server_says_nothing_so_that_firmware_asks_again() {
    let server = Server::start("127.0.0.1:0");
    let peer = Peer::new("127.0.0.1:0");
    for _ in 0..200 {
        peer.send(server.address, &request("busy", &[("blksize", "1468")]));
    }
    server.event("busy", |event| event.what == What::Refused(Refusal::Busy));
    assert!(peer.drain(Duration::from_millis(200)).is_empty(), "an error ends a firmware's boot");
    // Waiting costs the client nothing: it is served as soon as there is something.
    peer.send(server.address, &request("one", &[]));
    assert_eq!(peer.receive().unwrap().0, [0, 3, 0, 1, 7]);
    let busy = |event: &&Event| event.what == What::Refused(Refusal::Busy);
    assert_eq!(server.files.events.lock().unwrap().iter().filter(busy).count(), 1, "one event for all repeats");
}

#[test]
fn forged_requests_that_fill_the_table_do_not_keep_a_client_out() {
    let server = Server::start("0.0.0.0:0");
    let port = server.address.port();
    let at = |third: u8, last: u8| SocketAddr::from(([127, 1, third, last], port));
    // Each client address may have 32 transfers, and the table 4096. A transfer is known by our address too.
    let peers: Vec<Peer> = (1..=135).map(|host| Peer::new(&format!("127.3.0.{host}:0"))).collect();
    for peer in &peers {
        for number in 0..32 {
            peer.send(at(0, number + 1), &request("exact", &[("blksize", "1024")]));
        }
        // Its last answer is there, so the server has read them all.
        for _ in 0..32 {
            peer.receive().expect("an answer");
        }
    }
    let evicted = |event: &Event| matches!(event.what, What::Ended { ending: Ending::Protocol(Outcome::NeverAnswered), duration, .. } if duration < PATIENCE);
    server.event("an evicted transfer", evicted);
    let honest = Peer::new("127.0.0.1:0");
    honest.send(server.address, &request("one", &[]));
    assert_eq!(honest.receive().unwrap().0, [0, 3, 0, 1, 7]);
}

#[test]
fn blind_acknowledgements_bring_a_share_of_bytes_and_no_more() {
    let server = Server::start("127.0.0.1:0");
    let victim = Peer::new("127.0.0.1:0");
    victim.send(server.address, &request("large", &[("blksize", "1432"), ("windowsize", "64")]));
    let answer = victim.receive().unwrap().0;
    assert_eq!(answer, b"\0\x06blksize\x001432\0windowsize\x008\0", "a stranger is granted small windows");
    // A forger sees nothing: he acknowledges window after window and hopes. The victim here only counts.
    let started = Instant::now();
    let (mut bytes, mut block) = (0, 0u16);
    while started.elapsed() < Duration::from_secs(1) {
        victim.send(server.address, &[0, 4, (block >> 8) as u8, block as u8]);
        victim.0.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        while let Some((packet, _)) = victim.receive() {
            bytes += packet.len();
            block = block.max(u16::from_be_bytes([packet[2], packet[3]]));
            if block.is_multiple_of(8) {
                break;
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let (burst, rate) = (tftp::flow::UNPROVEN_BURST_BYTES as f64, tftp::flow::UNPROVEN_BYTES_PER_SECOND as f64);
    assert!(bytes as f64 > burst / 2.0, "{bytes} bytes: the forger was not even tried");
    assert!((bytes as f64) < burst + rate * (seconds + 0.1), "{bytes} bytes in {seconds} s");
}

#[test]
fn the_asked_address_answers_on_a_wildcard_socket() {
    let server = Server::start("0.0.0.0:0");
    // All of 127/8 is this machine's, like a floating address beside the node's own.
    for last in [1, 2, 77] {
        let asked = SocketAddr::from(([127, 0, 0, last], server.address.port()));
        let peer = Peer::new("127.0.0.1:0");
        peer.send(asked, &request("one", &[("tsize", "0")]));
        let (packet, from) = peer.receive().expect("an answer");
        assert_eq!(from, asked);
        assert_eq!(packet, b"\0\x06tsize\x001\0");
        peer.send(asked, &[0, 4, 0, 0]);
        assert_eq!(peer.receive(), Some((vec![0, 3, 0, 1, 7], asked)));
        peer.send(asked, &[0, 4, 0, 1]);
    }
    let event = server.event("a started transfer", |event| event.client.local == IpAddr::from([127, 0, 0, 77]));
    assert!(matches!(event.what, What::Started { size: 1, .. }));
}

#[test]
fn ipv6_is_served_as_well() {
    let server = Server::start("[::1]:0");
    let peer = Peer::new("[::1]:0");
    peer.send(server.address, &request("one", &[]));
    assert_eq!(peer.receive(), Some((vec![0, 3, 0, 1, 7], server.address)));
    peer.send(server.address, &[0, 4, 0, 1]);
    assert_eq!(server.ended("one").0, FINISHED);
}

/// A client by hand.
struct Peer(UdpSocket);

impl Peer {
    fn new(address: &str) -> Self {
        let socket = UdpSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    fn send(&self, to: SocketAddr, packet: &[u8]) {
        self.0.send_to(packet, to).unwrap();
    }

    fn receive(&self) -> Option<(Vec<u8>, SocketAddr)> {
        let mut buffer = vec![0; 70_000];
        let (length, from) = self.0.recv_from(&mut buffer).ok()?;
        buffer.truncate(length);
        Some((buffer, from))
    }

    /// Everything that arrives until nothing has for `quiet`.
    fn drain(&self, quiet: Duration) -> Vec<Vec<u8>> {
        self.0.set_read_timeout(Some(quiet)).unwrap();
        let packets = std::iter::from_fn(|| self.receive()).map(|(packet, _)| packet).collect();
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        packets
    }
}

fn request(name: &str, options: &[(&str, &str)]) -> Vec<u8> {
    let mut packet = vec![0, 1];
    packet.extend(format!("{name}\0octet\0").bytes());
    for (option, value) in options {
        packet.extend(format!("{option}\0{value}\0").bytes());
    }
    packet
}

/// Fetches a file as EDK2 does, acknowledging every unexpected block, while data packets for which `loses` says so
/// (by count of packets) never arrive. The content, and how many data packets the server sent.
fn fetch_losing(server: &Server, name: &str, windowsize: u16, loses: impl Fn(usize) -> bool) -> (Vec<u8>, usize) {
    let peer = Peer::new("127.0.0.1:0");
    let window = windowsize.to_string();
    peer.send(server.address, &request(name, &[("blksize", "1432"), ("windowsize", &window)]));
    let (answer, _) = peer.receive().expect("an option answer");
    assert_eq!(answer[..2], [0, 6]);
    let acknowledge = |block: u64| {
        let [high, low] = (block as u16).to_be_bytes();
        peer.send(server.address, &[0, 4, high, low]);
    };
    acknowledge(0);
    let (mut content, mut have, mut acked, mut count) = (Vec::new(), 0u64, 0u64, 0);
    loop {
        let (packet, _) = peer.receive().expect("a block");
        assert_eq!(packet[..2], [0, 3]);
        count += 1;
        if loses(count) {
            continue;
        }
        let block = u16::from_be_bytes([packet[2], packet[3]]);
        if block != (have + 1) as u16 {
            acknowledge(have);
            acked = have;
            continue;
        }
        have += 1;
        content.extend(&packet[4..]);
        let is_last = packet.len() < 4 + 1432;
        if is_last || have - acked >= u64::from(windowsize) {
            acknowledge(have);
            acked = have;
        }
        if is_last {
            return (content, count);
        }
    }
}

#[test]
fn a_lossy_link_delivers_the_file_and_each_loss_costs_one_window() {
    let server = Server::start("127.0.0.1:0");
    let blocks = 850_528 / 1432 + 1;
    for (name, windowsize) in [("loader", 4), ("file-loader", 16), ("loader", 64)] {
        // Losses in the middle of windows; a rewind sends at most one window again.
        let lost: HashSet<usize> = [30, 141, 262, 263, 401].into();
        let (content, sent) = fetch_losing(&server, name, windowsize, |count| lost.contains(&count));
        assert!(content == server.content("loader"), "window {windowsize}: content differs");
        let bound = blocks + lost.len() * usize::from(windowsize);
        assert!(sent <= bound, "window {windowsize}: {sent} sent, at most {bound} expected");
    }
}

#[test]
fn a_lost_block_in_lockstep_is_repeated_once() {
    let server = Server::start("127.0.0.1:0");
    let (content, sent) = fetch_losing(&server, "loader", 1, |count| count == 100);
    assert!(content == server.content("loader"));
    assert_eq!(sent, 850_528 / 1432 + 1 + 1);
    let (ending, bytes, resent) = server.ended("loader");
    assert_eq!((ending, bytes, resent), (FINISHED, 850_528, 1));
}

#[test]
fn repeated_acknowledgements_bring_nothing() {
    let server = Server::start("127.0.0.1:0");
    let peer = Peer::new("127.0.0.1:0");
    peer.send(server.address, &request("exact", &[]));
    assert_eq!(peer.receive().unwrap().0[..4], [0, 3, 0, 1]);
    for _ in 0..50 {
        peer.send(server.address, &[0, 4, 0, 1]);
    }
    let got = peer.drain(Duration::from_millis(200));
    assert_eq!(got.len(), 1, "one block for fifty acknowledgements");
    assert_eq!(got[0][..4], [0, 3, 0, 2]);
}

#[test]
fn nothing_but_one_packet_goes_to_a_client_that_has_not_answered() {
    let server = Server::start("127.0.0.1:0");
    let peer = Peer::new("127.0.0.1:0");
    let asked = request("large", &[("windowsize", "64"), ("blksize", "1432")]);
    for _ in 0..20 {
        peer.send(server.address, &asked);
    }
    let got = peer.drain(Duration::from_millis(400));
    assert_eq!(got.len(), 1, "{got:?}");
    assert_eq!(got[0][..2], [0, 6]);
}

#[test]
fn a_size_probe_is_no_failure_and_the_port_may_be_used_again() {
    let server = Server::start("127.0.0.1:0");
    let peer = Peer::new("127.0.0.1:0");
    for _ in 0..3 {
        peer.send(server.address, &request("loader", &[("tsize", "0"), ("blksize", "1468")]));
        assert_eq!(peer.receive().unwrap().0, b"\0\x06tsize\x00850528\0blksize\x001468\0");
        peer.send(server.address, b"\0\x05\0\x08User aborted the transfer\0");
    }
    assert_eq!(server.ended("loader").0, Ending::Protocol(Outcome::Probed));
    assert!(peer.drain(Duration::from_millis(100)).is_empty(), "an error was answered");
    // A machine that reset in mid-transfer asks for something else from the same port.
    peer.send(server.address, &request("large", &[]));
    assert_eq!(peer.receive().unwrap().0[..4], [0, 3, 0, 1]);
    peer.send(server.address, &request("one", &[]));
    assert_eq!(peer.receive().unwrap().0, [0, 3, 0, 1, 7]);
    assert_eq!(server.ended("large").0, Ending::Replaced);
}

#[test]
fn strays_are_not_answered_and_disturb_no_transfer() {
    let server = Server::start("127.0.0.1:0");
    let peer = Peer::new("127.0.0.1:0");
    peer.send(server.address, &request("exact", &[]));
    assert_eq!(peer.receive().unwrap().0[..4], [0, 3, 0, 1]);
    // Another port acknowledges a block of a transfer that is not its own.
    let stray = Peer::new("127.0.0.1:0");
    for _ in 0..1000 {
        stray.send(server.address, &[0, 4, 0, 1]);
    }
    let answers = stray.drain(Duration::from_millis(300));
    assert!(answers.is_empty(), "it may be another node's transfer, which an error would end: {answers:?}");
    peer.send(server.address, &[0, 4, 0, 1]);
    assert_eq!(peer.receive().unwrap().0[..4], [0, 3, 0, 2]);
}

#[test]
fn bytes_that_are_no_request_change_nothing() {
    let server = Server::start("127.0.0.1:0");
    let peer = Peer::new("127.0.0.1:0");
    let mut state = 0x2545_f491_4f6c_dd1du64;
    for length in 0..1200usize {
        let mut packet = Vec::with_capacity(length);
        for _ in 0..length {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            packet.push((state >> 24) as u8);
        }
        if let Some(first) = packet.first_mut() {
            *first = 0;
        }
        peer.send(server.address, &packet);
    }
    peer.send(server.address, &request("ignored", &[]));
    peer.drain(Duration::from_millis(200));
    let fresh = Peer::new("127.0.0.1:0");
    fresh.send(server.address, &request("one", &[]));
    assert_eq!(fresh.receive().unwrap().0, [0, 3, 0, 1, 7]);
}

#[test]
fn a_port_in_use_says_what_where_and_what_to_do() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = Sockets::bind(&[address]).unwrap_err();
    assert!(matches!(error, BindError::InUse(at, _) if at == address));
    let said = error.to_string();
    assert!(said.contains(&address.to_string()) && said.contains("stop the other"), "{said}");
    let foreign = "192.0.2.1:6969".parse().unwrap();
    let error = Sockets::bind(&[foreign]).unwrap_err();
    assert!(matches!(error, BindError::NoSuchAddress(at, _) if at == foreign), "{error}");
}

#[test]
fn stopping_ends_transfers_and_says_so() {
    let files = Arc::new(Files {
        files: [("a".to_owned(), Lookup::Bytes(vec![0; 5000].into()))].into(),
        events: Mutex::default(),
    });
    let sockets = Sockets::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let address = sockets.addresses()[0];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let questions: Arc<dyn Questions> = files.clone();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let peer = Peer::new("127.0.0.1:0");
    let client = std::thread::spawn(move || {
        peer.send(address, &request("a", &[]));
        let first = peer.receive().unwrap().0;
        stop.send(()).unwrap();
        (first, peer.drain(Duration::from_millis(300)))
    });
    let shutdown = async move {
        let _ = stopped.await;
    };
    runtime.block_on(tftp::run(sockets, questions, Sharing::default(), shutdown)).unwrap();
    let (first, rest) = client.join().unwrap();
    assert_eq!(first[..4], [0, 3, 0, 1]);
    assert!(rest.is_empty(), "a stopping server told its client: another node may continue");
    let events = files.events.lock().unwrap();
    assert!(
        matches!(events.last().map(|event| &event.what), Some(What::Ended { ending: Ending::Stopped, .. })),
        "{events:?}"
    );
}
