//! An address that moves between two nodes while machines are in the middle of something, in network namespaces.
//!
//! Needs root, as the other tests of the lab do. Three namespaces: the client's, with a bridge, and two nodes'.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use raft::state::State;
use raft::types::Digest;
use raftboot::{boot, dhcp, tftp};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio_util::sync::CancellationToken;

const FLOATING: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 10);
const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for an answer that would come, on a busy computer.
const QUIET: Duration = Duration::from_millis(300);
const TFTP_PORT: u16 = 69;
const HTTP_PORT: u16 = 8080;
const BOOT_PORT: u16 = 4011;
/// Firmware asks from there, and is answered there.
const FIRMWARE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 9, 0, 1), 4011);

/// A network namespace, kept by a process that ends with it.
struct Space {
    keeper: Child,
    file: File,
}

impl Space {
    fn new() -> Self {
        let keeper = Command::new("unshare").args(["--net", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
        let path = format!("/proc/{}/ns/net", keeper.id());
        let ours = std::fs::read_link("/proc/self/ns/net").unwrap();
        let until = Instant::now() + PATIENCE;
        while std::fs::read_link(&path).is_ok_and(|theirs| theirs == ours) {
            assert!(Instant::now() < until, "unshare made no namespace; these tests run as root");
            std::thread::park_timeout(Duration::from_millis(1));
        }
        Self { file: File::open(path).unwrap(), keeper }
    }

    /// Runs something inside, on a thread of its own.
    fn inside<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let entered = scope.spawn(|| {
                move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                run()
            });
            entered.join().unwrap()
        })
    }

    fn ip(&self, command: &str) {
        let words: Vec<&str> = command.split(' ').collect();
        let output = self.inside(|| Command::new("ip").args(&words).output().unwrap());
        assert!(output.status.success(), "ip {command}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// A client and two nodes on one link.
struct Lab {
    client: Space,
    nodes: [Space; 2],
    holder: Option<usize>,
}

impl Lab {
    fn new() -> Self {
        let (client, nodes) = (Space::new(), [Space::new(), Space::new()]);
        for command in
            ["link set lo up", "link add br0 type bridge", "link set br0 up", "address add 10.9.0.1/24 dev br0"]
        {
            client.ip(command);
        }
        for (at, node) in nodes.iter().enumerate() {
            client.ip(&format!("link add v{at} type veth peer name eth0 netns {}", node.keeper.id()));
            client.ip(&format!("link set v{at} master br0 up"));
            for command in ["link set lo up", "link set eth0 up"] {
                node.ip(command);
            }
            node.ip(&format!("address add 10.9.0.{}/24 dev eth0", at + 2));
        }
        Self { client, nodes, holder: None }
    }

    /// Takes the floating address away, and gives it to another node; the client learns of it as from a gratuitous ARP.
    fn give_to(&mut self, holder: Option<usize>) {
        if let Some(old) = self.holder {
            self.nodes[old].ip(&format!("address del {FLOATING}/32 dev eth0"));
        }
        if let Some(new) = holder {
            self.nodes[new].ip(&format!("address add {FLOATING}/32 dev eth0"));
        }
        self.client.ip("neighbour flush dev br0");
        self.holder = holder;
    }

    fn udp(&self, from: SocketAddrV4, port: u16) -> UdpSocket {
        self.client.inside(|| {
            let socket = UdpSocket::bind(from).unwrap();
            socket.set_read_timeout(Some(QUIET)).unwrap();
            // Connected, so that it hears "port unreachable", and no answer from elsewhere.
            socket.connect((FLOATING, port)).unwrap();
            socket
        })
    }
}

/// The same on every node.
struct World(Arc<[u8]>);

impl tftp::Questions for World {
    fn open(&self, _: &tftp::Name, _: &tftp::Client) -> tftp::Lookup {
        tftp::Lookup::Bytes(Arc::clone(&self.0))
    }

    fn event(&self, _: tftp::Event) {}
}

impl boot::Questions for World {
    fn state(&self) -> Arc<State> {
        Arc::default()
    }

    fn whereabouts(&self) -> boot::Whereabouts {
        boot::Whereabouts::default()
    }

    fn open(&self, _: &Digest) -> Result<File, boot::BlobError> {
        Err(boot::BlobError::Missing)
    }

    fn loader(&self, _: &str, _: boot::LoaderClient) -> Option<boot::Loader> {
        None
    }

    fn seen(&self, _: boot::Seen<'_>) {}
}

impl dhcp::Questions for World {
    fn facts(&self) -> Arc<dhcp::Facts> {
        let floating = Some(dhcp::Place::new(FLOATING, HTTP_PORT));
        let own = dhcp::Facts::proxy(Ipv4Addr::new(10, 9, 0, 2), HTTP_PORT);
        Arc::new(dhcp::Facts { floating, turn: dhcp::Turn::Backup, ..own })
    }

    fn machine(&self, _: dhcp::HardwareAddress, _: Option<dhcp::ClientUuid>) -> Option<dhcp::MachineFacts> {
        None
    }

    fn seen(&self, _: dhcp::Sighting) {}
}

fn world() -> Arc<World> {
    Arc::new(World((0..60_000_u32).map(|at| (at / 512) as u8).collect()))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Tells the other node of every transfer at the floating address.
struct Wire(tftp::Inherited);

impl tftp::Handoff for Wire {
    fn concerns(&self, local: IpAddr) -> bool {
        local == FLOATING
    }

    fn publish(&self, transfer: &tftp::Shared) {
        self.0.adopt(transfer.clone(), Instant::now());
    }
}

fn serve_tftp(lab: &Lab, runtime: &tokio::runtime::Runtime, sharings: [tftp::Sharing; 2]) {
    for (node, sharing) in lab.nodes.iter().zip(sharings) {
        let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, TFTP_PORT));
        let sockets = node.inside(|| tftp::Sockets::bind(&[everywhere]).unwrap());
        runtime.spawn(async move { tftp::run(sockets, world(), sharing, std::future::pending()).await.unwrap() });
    }
}

/// Whether nothing came, and no word of a port that nobody listens on either.
fn is_silence(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Asks until answered; the address may have just moved.
fn ask(socket: &UdpSocket, packet: &[u8]) -> Vec<u8> {
    let until = Instant::now() + PATIENCE;
    let mut buffer = [0; 2048];
    while Instant::now() < until {
        socket.send(packet).unwrap();
        match socket.recv(&mut buffer) {
            Ok(length) => return buffer[..length].to_vec(),
            Err(error) => assert!(is_silence(&error), "{error}"),
        }
    }
    panic!("no answer from {FLOATING}");
}

#[test]
fn a_tftp_transfer_follows_the_address_from_node_to_node() {
    let (mut lab, runtime) = (Lab::new(), runtime());
    let inherited = [tftp::Inherited::default(), tftp::Inherited::default()];
    let wire = |to: usize, own: usize| tftp::Sharing {
        handoff: Arc::new(Wire(inherited[to].clone())),
        inherited: inherited[own].clone(),
    };
    serve_tftp(&lab, &runtime, [wire(1, 0), wire(0, 1)]);
    lab.give_to(Some(0));
    let socket = lab.udp(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), TFTP_PORT);
    let mut packet = ask(&socket, b"\0\x01loader\0octet\0");
    let mut content = Vec::new();
    let (mut block, mut since) = (0_u16, Instant::now());
    loop {
        assert_eq!(packet[..2], [0, 3], "{packet:?}");
        assert!(since.elapsed() < PATIENCE, "firmware would have given up at block {block}");
        // A block that was sent again is no news.
        if packet[2..4] == (block + 1).to_be_bytes() {
            (block, since) = (block + 1, Instant::now());
            content.extend_from_slice(&packet[4..]);
            match block {
                20 | 80 => lab.give_to(Some(1)),
                50 => lab.give_to(Some(0)),
                _ => {}
            }
            if packet.len() < 516 {
                break;
            }
        }
        let [high, low] = block.to_be_bytes();
        packet = ask(&socket, &[0, 4, high, low]);
    }
    assert!(content == *world().0, "{} bytes differ", content.len());
}

#[test]
fn a_new_holder_says_nothing_that_would_end_a_tftp_transfer_it_does_not_know() {
    let (mut lab, runtime) = (Lab::new(), runtime());
    serve_tftp(&lab, &runtime, [tftp::Sharing::default(), tftp::Sharing::default()]);
    lab.give_to(Some(1));
    let socket = lab.udp(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), TFTP_PORT);
    for _ in 0..3 {
        socket.send(&[0, 4, 0, 9]).unwrap();
        let error = socket.recv(&mut [0; 64]).unwrap_err();
        assert!(is_silence(&error), "{error}");
    }
    // That this client would have heard: a port that nobody listens on.
    let other = lab.udp(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), TFTP_PORT + 1);
    other.send(&[0, 4, 0, 9]).unwrap();
    assert_eq!(other.recv(&mut [0; 64]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_connection_is_reset_when_the_address_has_moved_and_a_new_one_is_served() {
    let (mut lab, runtime) = (Lab::new(), runtime());
    let stop = CancellationToken::new();
    for node in &lab.nodes {
        let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, HTTP_PORT));
        let _entered = runtime.enter();
        let handle = runtime.handle().clone();
        let server = node.inside(move || {
            let _entered = handle.enter();
            boot::bind(everywhere).unwrap()
        });
        runtime.spawn(server.serve(world(), stop.clone()));
    }
    lab.give_to(Some(0));
    let connect = || {
        let stream = lab.client.inside(|| TcpStream::connect_timeout(&(FLOATING, HTTP_PORT).into(), PATIENCE).unwrap());
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let ask = |stream: &mut TcpStream| {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")?;
        let mut answer = vec![0; 12];
        stream.read_exact(&mut answer).map(|()| String::from_utf8(answer).unwrap())
    };
    let mut old = connect();
    assert_eq!(ask(&mut old).unwrap(), "HTTP/1.1 200");
    lab.give_to(Some(1));
    let mut rest = [0; 1024];
    let _ = old.set_read_timeout(Some(QUIET));
    while old.read(&mut rest).is_ok_and(|length| length > 0) {}
    old.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(ask(&mut old).unwrap_err().kind(), ErrorKind::ConnectionReset, "a client that speaks learns it at once");
    let connect = || lab.client.inside(|| TcpStream::connect_timeout(&(FLOATING, HTTP_PORT).into(), PATIENCE).unwrap());
    assert_eq!(ask(&mut connect()).unwrap(), "HTTP/1.1 200");
    stop.cancel();
}

#[test]
fn dhcp_answers_from_an_address_that_came_at_run_time_and_not_once_it_has_gone() {
    let (mut lab, runtime) = (Lab::new(), runtime());
    let config =
        dhcp::SocketConfig { discover_port: None, boot_port: Some(BOOT_PORT), ..dhcp::SocketConfig::default() };
    let sockets = lab.nodes[0].inside(|| dhcp::Sockets::bind(&config).unwrap());
    let counters = sockets.counters();
    runtime.spawn(dhcp::run(sockets, world(), std::future::pending()));
    let socket = lab.udp(FIRMWARE, BOOT_PORT);
    let request = request_on_4011();
    for _ in 0..2 {
        lab.give_to(Some(0));
        let reply = ask(&socket, &request);
        assert_eq!(reply[20..24], FLOATING.octets(), "it names the address that was asked");
        lab.give_to(None);
        while socket.recv(&mut [0; 1500]).is_ok() {}
        let answered = counters.acknowledgements();
        // Nobody has the address: the client's own kernel may say so.
        let _ = socket.send(&request);
        assert!(socket.recv(&mut [0; 1500]).is_err());
        assert_eq!(counters.acknowledgements(), answered);
    }
}

/// A UEFI client's request for its boot file.
fn request_on_4011() -> Vec<u8> {
    let mut packet = vec![0; 240];
    packet[..8].copy_from_slice(&[1, 1, 6, 0, 0xca, 0xfe, 0xf0, 0x0d]);
    packet[12..16].copy_from_slice(&FIRMWARE.ip().octets());
    packet[28..34].copy_from_slice(&[0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    packet[236..].copy_from_slice(&[99, 130, 83, 99]);
    packet.extend_from_slice(&[53, 1, 3, 60, 9]);
    packet.extend_from_slice(b"PXEClient");
    packet.extend_from_slice(&[93, 2, 0, 7, 255]);
    packet
}
