//! The sockets, on loopback: where replies come from, and that nothing a peer sends ends the server.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use raftboot::dhcp::{
    BindError, ClientUuid, Counters, Facts, HardwareAddress, MachineFacts, Outcome, Port, Questions, Sighting, Silence,
    SocketConfig, Sockets, run,
};

use super::packet::{Packet, fixture};

struct Answers {
    facts: Arc<Facts>,
    seen: Mutex<Vec<Sighting>>,
}

impl Questions for Answers {
    fn facts(&self) -> Arc<Facts> {
        Arc::clone(&self.facts)
    }

    fn machine(&self, _: HardwareAddress, _: Option<ClientUuid>) -> Option<MachineFacts> {
        None
    }

    fn seen(&self, sighting: Sighting) {
        self.seen.lock().expect("no panic").push(sighting);
    }
}

/// Only the port for discovery, a high one.
fn discovery() -> SocketConfig {
    SocketConfig { discover_port: Some(0), boot_port: None, ..SocketConfig::default() }
}

fn config() -> SocketConfig {
    SocketConfig { discover_port: None, boot_port: Some(0), ..SocketConfig::default() }
}

/// Runs the server on a free port while `client` talks to it, then stops it.
fn serve(client: impl FnOnce(u16, &Counters) + Send + 'static) -> Arc<Answers> {
    serve_with(&config(), client)
}

fn serve_with(config: &SocketConfig, client: impl FnOnce(u16, &Counters) + Send + 'static) -> Arc<Answers> {
    let sockets = Sockets::bind(config).expect("loopback works");
    let port = sockets.addresses().next().expect("loopback works").port();
    let counters = sockets.counters();
    let answers =
        Arc::new(Answers { facts: Arc::new(Facts::proxy(Ipv4Addr::LOCALHOST, 8080)), seen: Mutex::default() });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("loopback works");
    runtime.block_on(async {
        let client = tokio::task::spawn_blocking(move || client(port, &counters));
        let shutdown = async { client.await.expect("loopback works") };
        run(sockets, Arc::clone(&answers) as Arc<dyn Questions>, shutdown).await.expect("loopback works");
    });
    answers
}

fn client(server: (Ipv4Addr, u16)) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback works");
    socket.set_read_timeout(Some(Duration::from_secs(1))).expect("loopback works");
    // Connected, so that a reply from another address or port is not received.
    socket.connect(SocketAddr::from(server)).expect("loopback works");
    socket
}

/// Sends until answered, as clients do: UDP may lose a packet even on loopback.
fn ask(socket: &UdpSocket, packet: &Packet) -> Packet {
    let mut buffer = [0; 1500];
    for _ in 0..10 {
        socket.send(&packet.bytes()).expect("loopback works");
        if let Ok(length) = socket.recv(&mut buffer) {
            return Packet::read(&buffer[..length]).expect("loopback works");
        }
    }
    panic!("no reply from the address and port that was asked");
}

/// Sends a packet and waits until the server has read it.
fn send(socket: &UdpSocket, packet: &[u8], counters: &Counters) {
    let before = counters.received();
    socket.send(packet).expect("loopback works");
    for _ in 0..1_000 {
        if counters.received() > before {
            return;
        }
        // This paces looking at a counter; the state is what is waited for.
        std::thread::park_timeout(Duration::from_millis(10));
    }
    panic!("the server reads no more: {counters:?}");
}

/// Waits until the server has dealt with everything sent before: packets keep their order on loopback, and only this
/// one is malformed.
fn settle(socket: &UdpSocket, counters: &Counters) {
    let before = counters.malformed();
    socket.send(b"the end").expect("loopback works");
    for _ in 0..1_000 {
        if counters.malformed() > before {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    panic!("the server reads no more: {counters:?}");
}

#[test]
fn a_reply_comes_from_the_address_and_port_that_was_asked() {
    let answers = serve(|port, counters| {
        let request = fixture("ovmf-request-4011").unwrap();
        for asked in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 9)] {
            let reply = ask(&client((asked, port)), &request);
            assert_eq!(reply.option(67), Some(b"snponly.efi".as_slice()));
        }
        assert_eq!(counters.received(), 2);
    });
    assert_eq!(answers.seen.lock().unwrap().len(), 2);
}

#[test]
fn garbage_costs_a_counter_and_the_server_goes_on() {
    serve(|port, counters| {
        let socket = client((Ipv4Addr::LOCALHOST, port));
        for garbage in [&b""[..], b"hello", &[1; 240], &[0xff; 1500], &[7; 9000]] {
            send(&socket, garbage, counters);
        }
        let mut system = Packet::request(3);
        system.set(60, b"MSFT 5.0".to_vec());
        send(&socket, &system.bytes(), counters);
        ask(&socket, &fixture("ovmf-request-4011").unwrap());
        // A reply may be here before it is counted; it is when the next packet is.
        send(&socket, b"the end", counters);
        assert!(counters.malformed() >= 5);
        assert_eq!(counters.silent(Silence::NotNetworkBoot), 1);
        assert!(counters.acknowledgements() >= 1);
    });
}

#[test]
fn a_machine_that_asks_without_end_is_answered_some_times_and_others_still_are() {
    serve(|port, counters| {
        let socket = client((Ipv4Addr::LOCALHOST, port));
        let mut request = fixture("ovmf-request-4011").unwrap();
        for _ in 0..60 {
            send(&socket, &request.bytes(), counters);
        }
        assert!(counters.silent(Silence::RateLimited) > 0, "{counters:?}");
        request.header[33] ^= 1;
        ask(&client((Ipv4Addr::LOCALHOST, port)), &request);
    });
}

#[test]
fn a_taken_port_is_named_with_the_likely_culprit_and_the_remedy() {
    let holder = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = holder.local_addr().unwrap().port();
    let config = SocketConfig { boot_port: Some(port), ..config() };
    let error = Sockets::bind(&config).unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }), "{error:?}");
    let text = error.to_string();
    for part in [&format!("port {port}"), "dnsmasq", "ss -ulpn"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    let config = SocketConfig { interface: Some("no-such-nic".to_owned()), ..config() };
    let error = Sockets::bind(&config).unwrap_err();
    assert!(matches!(error, BindError::Interface { .. }), "{error:?}");
    assert!(error.to_string().contains("no-such-nic"));
}

/// Replies to a DISCOVER go to port 68 of everybody or 67 of a relay, which a test cannot have. What it sees is what
/// the server counts, and what it says it heard.
#[test]
fn a_discover_is_answered_whichever_of_our_addresses_or_everybody_was_asked() {
    let answers = serve_with(&discovery(), |port, counters| {
        let mut discover = fixture("ovmf-discover").unwrap();
        // To a relay on loopback: the kernel takes it whether or not anybody listens there.
        discover.header[24..28].copy_from_slice(&[127, 0, 0, 1]);
        for asked in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 127), Ipv4Addr::new(127, 0, 1, 255)] {
            send(&client((asked, port)), &discover.bytes(), counters);
        }
        let everybody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        everybody.set_broadcast(true).unwrap();
        everybody.connect((Ipv4Addr::new(127, 255, 255, 255), port)).unwrap();
        send(&everybody, &discover.bytes(), counters);
        // The last one is sent just after it is counted as received.
        let mut request = fixture("ovmf-request-4011").unwrap();
        request.header[33] ^= 1;
        send(&everybody, &request.bytes(), counters);
        assert_eq!((counters.offers(), counters.unsent()), (4, 0), "{counters:?}");
    });
    let seen = answers.seen.lock().unwrap();
    assert!(seen.len() >= 4);
    assert!(seen.iter().all(|sighting| sighting.port == Port::Discover));
    assert_eq!(seen.iter().filter(|sighting| matches!(sighting.outcome, Outcome::Answered { .. })).count(), 4);
}

#[test]
fn forged_relays_cost_counters_and_the_server_still_hears_and_answers() {
    let answers = serve_with(&discovery(), |port, counters| {
        let socket = client((Ipv4Addr::LOCALHOST, port));
        let mut discover = fixture("ovmf-discover").unwrap();
        for number in 0..600_u16 {
            let [high, low] = number.to_be_bytes();
            discover.header[24..28].copy_from_slice(&[127, 7, high, low]);
            discover.header[32..34].copy_from_slice(&[high, low]);
            if number % 50 == 0 {
                send(&socket, &discover.bytes(), counters);
            } else {
                socket.send(&discover.bytes()).unwrap();
            }
        }
        settle(&socket, counters);
        assert!(counters.silent(Silence::RateLimited) > 300, "{counters:?}");
        let answered = counters.offers();
        // The sender's own address as relay: no stranger, and known soon.
        discover.header[24..28].copy_from_slice(&[127, 0, 0, 1]);
        discover.header[28] ^= 4;
        socket.send(&discover.bytes()).unwrap();
        settle(&socket, counters);
        assert!(counters.offers() > answered, "{counters:?}");
    });
    assert!(answers.seen.lock().unwrap().len() < 300, "what is not answered for its number is not told either");
}

#[test]
fn a_port_of_ours_is_not_shared_with_another_program_that_would() {
    let sockets = Sockets::bind(&discovery()).unwrap();
    let port = sockets.addresses().next().unwrap().port();
    let other = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    other.set_reuse_address(true).unwrap();
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    assert!(other.bind(&address.into()).is_err(), "the port was left open to others");
}
