//! Stand-ins for the servers beside a foreign VIP manager: a UDP echo and a TCP listener bound to the floating address.

use crate::lab::Host;
use crate::netns;
use crate::process::run;
use anyhow::{Context, Result};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a read waits before it looks whether it should end.
const READ_MAX: Duration = Duration::from_millis(50);
/// The longest datagram echoed, in bytes.
const DATAGRAM_BYTES_MAX: usize = 1500;

/// Running stand-ins; they end with this value.
pub struct Services {
    stop: Arc<AtomicBool>,
    echo: Option<JoinHandle<Result<()>>>,
    _listener: TcpListener,
}

impl Services {
    /// Serves `vip` on `host`, whether or not the host has the address now.
    ///
    /// # Errors
    /// When the ports cannot be had.
    pub fn start(host: &Host, vip: Ipv4Addr, udp_port: u16, tcp_port: u16) -> Result<Self> {
        let mut sysctl = host.command("sysctl");
        sysctl.args(["-q", "-w", "net.ipv4.ip_nonlocal_bind=1"]);
        run(sysctl)?;
        let (socket, listener) = netns::run_in(&host.netns(), move || {
            let socket = UdpSocket::bind((vip, udp_port)).context("bind the echo")?;
            socket.set_read_timeout(Some(READ_MAX)).context("limit how long the echo waits")?;
            // Never accepts: the kernel completes what a SYN asks, and the observer resets it.
            let listener = TcpListener::bind((vip, tcp_port)).context("bind the listener")?;
            Ok((socket, listener))
        })?;
        let stop = Arc::new(AtomicBool::new(false));
        let ended = stop.clone();
        let echo = netns::spawn("echo", &host.netns(), move || echo(&socket, &ended))?;
        Ok(Self { stop, echo: Some(echo), _listener: listener })
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(echo) = self.echo.take() {
            // It ends within one read; what it failed with shows in the observer's verdict.
            let _ = echo.join();
        }
    }
}

fn echo(socket: &UdpSocket, stop: &AtomicBool) -> Result<()> {
    let mut bytes = [0; DATAGRAM_BYTES_MAX];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((length, from)) = socket.recv_from(&mut bytes) {
            // The address has just gone: then there is no answer, as it should be.
            let _ = socket.send_to(&bytes[..length], from);
        }
    }
    Ok(())
}
