//! Drives the sockets: receive, ask, decide, send, count, tell.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::Questions;
use super::counters::Counters;
use super::decide::{Arrival, Reply, Silence, decide};
use super::limit::RateLimit;
use super::request::Request;
use super::sighting::{Sighting, Stage};
use super::socket::{Endpoint, PortSocket, RECEIVE_BUFFER_BYTES, Sockets};

/// How long to wait after the kernel refuses to receive, as it does when the interface goes down.
const RECEIVE_ERROR_PAUSE: Duration = Duration::from_millis(200);
/// Errors in a row, ten seconds' worth, before the server gives up: an interface that is gone does not come back
/// under the same socket.
const RECEIVE_ERRORS_MAX: u32 = 50;

/// Serves DHCP until `shutdown` completes. Without any socket it just waits for that.
///
/// # Errors
/// When a socket cannot be handed to the runtime or keeps failing. A packet never ends the server.
pub async fn run(
    sockets: Sockets,
    questions: Arc<dyn Questions>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let counters = sockets.counters();
    let serving = async {
        tokio::try_join!(serve(sockets.discover, &*questions, &counters), serve(sockets.boot, &*questions, &counters),)
    };
    tokio::select! {
        biased;
        () = shutdown => Ok(()),
        served = serving => served.map(|_| ()),
    }
}

async fn serve(socket: Option<PortSocket>, questions: &dyn Questions, counters: &Counters) -> io::Result<()> {
    let Some(socket) = socket else {
        return std::future::pending().await;
    };
    let endpoint = socket.start()?;
    info!(address = ?endpoint.local(), "dhcp is listening");
    let mut limit = RateLimit::default();
    let mut buffer = vec![0; RECEIVE_BUFFER_BYTES];
    let mut errors = 0;
    loop {
        let (arrival, packets) = match endpoint.receive(&mut buffer).await {
            Ok(received) => received,
            Err(error) if errors < RECEIVE_ERRORS_MAX => {
                errors += 1;
                warn!(%error, address = ?endpoint.local(), "dhcp cannot receive, trying again");
                tokio::time::sleep(RECEIVE_ERROR_PAUSE).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        errors = 0;
        let Some(arrival) = arrival else { continue };
        for packet in packets {
            counters.count_received();
            if let Some(reply) = answer(packet, &arrival, questions, counters, &mut limit) {
                send(&endpoint, &reply, counters).await;
            }
        }
    }
}

/// One packet's way from bytes to a reply.
fn answer(
    packet: &[u8],
    arrival: &Arrival,
    questions: &dyn Questions,
    counters: &Counters,
    limit: &mut RateLimit,
) -> Option<Reply> {
    let request = match Request::parse(packet) {
        Ok(request) => request,
        Err(error) => {
            counters.count_malformed();
            debug!(%error, source = %arrival.source, bytes = packet.len(), "dhcp packet dropped");
            return None;
        }
    };
    let mac = request.mac();
    if !limit.allow(mac, Instant::now()) {
        counters.count_silent(Silence::RateLimited);
        debug!(%mac, source = %arrival.source, "dhcp client asks too often");
        return None;
    }
    let machine = questions.machine(mac, request.uuid());
    let decision = decide(&request, arrival, &questions.facts(), machine.as_ref());
    log(&decision.sighting);
    questions.seen(decision.sighting);
    decision.reply.inspect_err(|silence| counters.count_silent(*silence)).ok()
}

/// Operating systems are heard all day, so only what boots from the network is worth a line by default.
fn log(sighting: &Sighting) {
    let Sighting { mac, stage, message, port, outcome, vendor_class, .. } = sighting;
    if *stage == Stage::OperatingSystem {
        debug!(%mac, message, ?port, ?outcome, ?vendor_class, "dhcp heard");
    } else {
        info!(%mac, ?stage, message, ?port, ?outcome, architecture = ?sighting.architecture, "dhcp heard");
    }
}

async fn send(endpoint: &Endpoint, reply: &Reply, counters: &Counters) {
    match endpoint.send(reply).await {
        Ok(()) => counters.count_sent(reply.message),
        Err(error) => {
            counters.count_unsent();
            warn!(
                %error, from = %reply.source, to = %reply.destination,
                "dhcp reply not sent: is the advertised address on this node's machine network?"
            );
        }
    }
}
