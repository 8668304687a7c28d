//! Drives the sockets: receive, ask, decide, send, count, tell.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::Questions;
use super::counters::Counters;
use super::decide::{Arrival, Reply, Silence, decide, names_nobody};
use super::limit::RateLimit;
use super::repeats::{Heard, Repeats};
use super::reply_limit::ReplyLimit;
use super::request::Request;
use super::sighting::Sighting;
use super::socket::{Endpoint, PortSocket, RECEIVE_BUFFER_BYTES, Sockets};

/// How long to wait after the kernel refuses to receive, as it does when the interface goes down.
const RECEIVE_ERROR_PAUSE: Duration = Duration::from_millis(200);
/// Errors in a row, ten seconds' worth, before the server gives up: an interface that is gone does not come back
/// under the same socket.
const RECEIVE_ERRORS_MAX: u32 = 50;
/// Shortest time between two warnings about replies that were not sent: a forger must not fill the log.
const UNSENT_WARNING_PAUSE: Duration = Duration::from_secs(10);

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
    let mut endpoint = socket.start()?;
    endpoint.ready_to_send().await?;
    info!(address = ?endpoint.local(), "dhcp is listening");
    let mut memory = Memory {
        machines: RateLimit::default(),
        replies: ReplyLimit::new(Instant::now()),
        repeats: Repeats::default(),
    };
    let mut warned_at = None;
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
            if let Some(reply) = answer(packet, &arrival, questions, counters, &mut memory) {
                send(&endpoint, &reply, counters, &mut warned_at);
            }
        }
    }
}

/// What is remembered of those who ask on one port.
struct Memory {
    machines: RateLimit,
    replies: ReplyLimit,
    repeats: Repeats,
}

/// One packet's way from bytes to a reply.
fn answer(
    packet: &[u8],
    arrival: &Arrival,
    questions: &dyn Questions,
    counters: &Counters,
    memory: &mut Memory,
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
    let now = Instant::now();
    if !memory.machines.allow(mac, now) {
        counters.count_silent(Silence::RateLimited);
        debug!(%mac, source = %arrival.source, "dhcp client asks too often");
        return None;
    }
    let heard = if names_nobody(&request, arrival) {
        memory.repeats.hear(mac, request.xid, request.secs, now)
    } else {
        Heard::First
    };
    let machine = questions.machine(mac, request.uuid());
    let decision = decide(&request, arrival, &questions.facts(), machine.as_ref(), heard);
    if let Ok(reply) = &decision.reply
        && !memory.replies.allow(*reply.destination.ip(), *arrival.source.ip(), now)
    {
        counters.count_silent(Silence::RateLimited);
        debug!(%mac, source = %arrival.source, to = %reply.destination, "dhcp replies to this address are too many");
        return None;
    }
    log(&decision.sighting);
    questions.seen(decision.sighting);
    decision.reply.inspect_err(|silence| counters.count_silent(*silence)).ok()
}

/// Details for who looks for a fault; what matters of a sighting, [`Questions::seen`] tells.
fn log(sighting: &Sighting) {
    let Sighting { mac, stage, message, port, outcome, architecture, vendor_class, .. } = sighting;
    debug!(%mac, ?stage, request = message, ?port, ?outcome, ?architecture, ?vendor_class, "dhcp heard");
}

fn send(endpoint: &Endpoint, reply: &Reply, counters: &Counters, warned_at: &mut Option<Instant>) {
    let Err(error) = endpoint.send(reply) else {
        return counters.count_sent(reply.message);
    };
    counters.count_unsent();
    let (from, to) = (reply.source, reply.destination);
    let now = Instant::now();
    let is_quiet = warned_at.is_some_and(|at| now.saturating_duration_since(at) < UNSENT_WARNING_PAUSE);
    if is_quiet {
        debug!(%error, %from, %to, "dhcp reply not sent");
    } else if error.kind() == io::ErrorKind::WouldBlock {
        *warned_at = Some(now);
        warn!(%from, %to, "dhcp reply dropped: many replies wait for addresses that do not answer; forged requests?");
    } else {
        *warned_at = Some(now);
        warn!(%error, %from, %to, "dhcp reply not sent: is the advertised address on this node's machine network?");
    }
}
