//! The sockets, on loopback: where replies come from, and that nothing a peer sends ends the server.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use raftboot::dhcp::{
    BindError, ClientUuid, Counters, Facts, HardwareAddress, MachineFacts, Questions, Sighting, Silence, SocketConfig,
    Sockets, run,
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

fn config() -> SocketConfig {
    SocketConfig { discover_port: None, boot_port: Some(0), ..SocketConfig::default() }
}

/// Runs the server on a free port while `client` talks to it, then stops it.
fn serve(client: impl FnOnce(u16, &Counters) + Send + 'static) -> Arc<Answers> {
    let sockets = Sockets::bind(&config()).expect("loopback works");
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
        assert_eq!(counters.malformed(), 5);
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
