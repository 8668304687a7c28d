//! Callers that connect and say nothing do not keep the others out.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::server::Server;

/// A connection from one of this host's loopback addresses.
fn connect(from: [u8; 4], server: &Server) -> TcpStream {
    let port: u16 = server.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a URL with a port");
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((from, 0)).into()).expect("a loopback address");
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).expect("the port is open");
    socket.into()
}

#[test]
fn silent_connections_do_not_hold_up_those_who_speak() {
    let server = Server::start();
    // More than there are handshakes at once.
    let _silent: Vec<TcpStream> = [2, 3, 4]
        .iter()
        .flat_map(|host| (0..48).map(move |_| [127, 0, 0, *host]))
        .map(|from| connect(from, &server))
        .collect();
    let asked = Instant::now();
    assert_eq!(server.get("/api/v1/status").status, 200);
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
}

#[test]
fn one_address_cannot_take_all_connections() {
    let server = Server::start();
    let _held: Vec<TcpStream> = (0..64).map(|_| connect([127, 0, 0, 2], &server)).collect();
    let mut more = connect([127, 0, 0, 2], &server);
    more.set_read_timeout(Some(Duration::from_secs(3))).expect("a socket");
    let closed = more.read(&mut [0; 1]);
    let is_reset = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
    assert!(matches!(&closed, Ok(0)) || closed.as_ref().is_err_and(is_reset), "{closed:?}");
    assert_eq!(server.get("/api/v1/status").status, 200, "others are served");
}
