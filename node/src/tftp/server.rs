//! The driver: packets in, transfers asked, packets out.

use std::io::{self, IoSliceMut};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt, try_join_all};
use futures::stream::{FuturesUnordered, StreamExt};
use quinn_udp::{BATCH_SIZE, RecvMeta};

use super::flow::Flow;
use super::guard::{self, Allowance};
use super::handoff::{Fingerprints, Sharing};
use super::packet::{self, DATA_HEADER_BYTES, ErrorCode, Malformed, Packet};
use super::patience::Patience;
use super::questions::{Ending, Questions, What};
use super::sessions::{Key, Session, Sessions};
use super::sockets::{Port, Sockets};
use super::source::{Read, ReadDone};
use super::transfer::{Heard, Outcome, Step};

/// Room for one received packet, in bytes; the kernel may join several of one client.
const PACKET_BYTES_MAX: usize = 4096;
/// Transfers woken before packets are looked at again.
const WAKES_PER_TURN_MAX: usize = 64;
/// Failed receives in a row after which the socket counts as broken.
const RECEIVE_FAILURES_MAX: u32 = 100;
/// Pause after a failed receive.
const RECEIVE_PAUSE: Duration = Duration::from_millis(10);

/// Why the server ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The runtime cannot watch a socket.
    #[error("cannot start the TFTP server")]
    Start(#[source] io::Error),
    /// A socket fails again and again.
    #[error("the TFTP socket fails")]
    Receive(#[source] io::Error),
}

/// Serves until `shutdown`, or until a socket is broken. Transfers under way at shutdown end without a word, so that another
/// node may continue them; `sharing` is how it learns of them.
///
/// The sockets must be bound before a floating address is claimed that they are to serve, and listen on every address: the
/// kernel answers a packet that finds no socket with "port unreachable", which ends a UEFI boot.
///
/// # Errors
/// [`RunError`]; the caller should end the process.
pub async fn run(
    sockets: Sockets,
    questions: Arc<dyn Questions>,
    sharing: Sharing,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    let ports = sockets.into_ports().map_err(RunError::Start)?;
    let mut drivers: Vec<Driver> =
        ports.into_iter().map(|port| Driver::new(port, Arc::clone(&questions), sharing.clone())).collect();
    let result = tokio::select! {
        result = try_join_all(drivers.iter_mut().map(Driver::serve)) => result.map(drop),
        () = shutdown => Ok(()),
    };
    drivers.iter_mut().for_each(Driver::stop);
    result
}

type Reading = BoxFuture<'static, (Key, u64, io::Result<ReadDone>)>;

/// One socket and its transfers.
pub(super) struct Driver {
    pub(super) port: Port,
    pub(super) questions: Arc<dyn Questions>,
    pub(super) sessions: Sessions,
    pub(super) allowance: Allowance,
    pub(super) flow: Flow,
    pub(super) patience: Patience,
    pub(super) sharing: Sharing,
    pub(super) fingerprints: Fingerprints,
    readings: FuturesUnordered<Reading>,
    /// Packets of one window, one behind the other.
    frames: Vec<u8>,
}

impl Driver {
    fn new(port: Port, questions: Arc<dyn Questions>, sharing: Sharing) -> Self {
        Self {
            port,
            questions,
            sessions: Sessions::default(),
            allowance: Allowance::default(),
            flow: Flow::default(),
            patience: Patience::default(),
            sharing,
            fingerprints: Fingerprints::default(),
            readings: FuturesUnordered::new(),
            frames: Vec::new(),
        }
    }

    async fn serve(&mut self) -> Result<(), RunError> {
        let mut storage = vec![[0u8; PACKET_BYTES_MAX]; BATCH_SIZE];
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let mut failures = 0;
        loop {
            let wake = self.sessions.next_wake();
            let mut buffers: Vec<_> = storage.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
            tokio::select! {
                received = self.port.receive(&mut buffers, &mut metas) => match received {
                    Ok(count) => {
                        failures = 0;
                        for (meta, buffer) in metas.iter().zip(&storage).take(count) {
                            self.on_received(meta, buffer).await;
                        }
                    }
                    Err(error) => {
                        failures += 1;
                        if failures >= RECEIVE_FAILURES_MAX {
                            return Err(RunError::Receive(error));
                        }
                        tracing::warn!(%error, "tftp receive failed");
                        tokio::time::sleep(RECEIVE_PAUSE).await;
                    }
                },
                Some((key, id, done)) = self.readings.next() => self.on_read(key, id, done).await,
                () = until(wake) => self.on_wake().await,
            }
        }
    }

    /// Ends every transfer without a word to its client.
    fn stop(&mut self) {
        for key in self.sessions.keys() {
            self.end(key, Ending::Stopped);
        }
    }

    async fn on_received(&mut self, meta: &RecvMeta, buffer: &[u8]) {
        // Without its destination a packet cannot be answered from there; it came before the socket was ready.
        let Some(local) = meta.dst_ip else { return };
        if let Err(reason) = guard::answerable(meta.addr, local) {
            tracing::debug!(client = %meta.addr, %local, %reason, "tftp packet ignored");
            return;
        }
        let filled = &buffer[..meta.len.min(buffer.len())];
        let now = Instant::now();
        for datagram in filled.chunks(meta.stride.max(1)) {
            let key = (meta.addr, local);
            self.on_datagram(key, meta.interface_index, datagram, now).await;
        }
    }

    async fn on_datagram(&mut self, key: Key, interface: Option<u32>, datagram: &[u8], now: Instant) {
        match Packet::parse(datagram) {
            Ok(Packet::Read(request)) => self.on_request(key, interface, &request, datagram, now).await,
            Ok(Packet::Ack(number)) => self.on_heard(key, interface, Heard::Ack(number), now).await,
            Ok(Packet::Error { code, text }) => {
                self.on_heard(key, interface, Heard::Error { code, text }, now).await;
            }
            Ok(Packet::Write) => {
                tracing::debug!(client = %key.0, "tftp write refused");
                self.refuse(key, ErrorCode::AccessViolation, "this server only reads", now).await;
            }
            Ok(Packet::Unexpected) => {
                self.refuse(key, ErrorCode::IllegalOperation, "not expected here", now).await;
            }
            Err(Malformed::Mode) => {
                self.refuse(key, ErrorCode::IllegalOperation, "ask in octet mode", now).await;
            }
            Err(malformed) => {
                tracing::debug!(client = %key.0, %malformed, "tftp packet not understood")
            }
        }
    }

    async fn on_heard(&mut self, key: Key, interface: Option<u32>, heard: Heard, now: Instant) {
        if self.is_elsewhere(key, &heard, now) {
            self.end(key, Ending::AddressGone);
        }
        let Some(session) = self.sessions.get(&key) else {
            return self.on_stranger(key, interface, heard, now).await;
        };
        let step = session.transfer.on_packet(heard, now);
        self.tell_progress(key);
        self.apply(key, step).await;
    }

    async fn on_wake(&mut self) {
        let now = Instant::now();
        for _ in 0..WAKES_PER_TURN_MAX {
            let Some(key) = self.sessions.pop_due(now) else {
                return;
            };
            let Some(session) = self.sessions.get(&key) else {
                continue;
            };
            if session.resume_at.take_if(|at| *at <= now).is_some() {
                self.push(key).await;
                self.sessions.schedule(&key);
                continue;
            }
            let step = session.transfer.on_timeout(now);
            self.apply(key, step).await;
        }
    }

    async fn on_read(&mut self, key: Key, id: u64, done: io::Result<ReadDone>) {
        let Some(session) = self.sessions.get(&key).filter(|session| session.id == id) else {
            return;
        };
        if let Err(error) = session.source.on_read(done) {
            tracing::error!(client = %key.0, name = session.name, error, "tftp cannot read a file it serves");
            self.send(key, &packet::error(ErrorCode::Undefined, "the file cannot be read")).await;
            return self.end(key, Ending::SourceFailed);
        }
        self.push(key).await;
    }

    pub(super) async fn apply(&mut self, key: Key, step: Step) {
        match step {
            Step::Wait => {}
            Step::SendAnswer => {
                let answer = self.sessions.get(&key).and_then(|session| session.transfer.agreed().answer.clone());
                if !self.send(key, &answer.unwrap_or_default()).await {
                    return self.end(key, Ending::AddressGone);
                }
            }
            Step::SendBlocks(range) => {
                if let Some(session) = self.sessions.get(&key) {
                    session.pending = Some(range);
                }
                self.push(key).await;
            }
            Step::End(outcome, error) => {
                if let Some((code, text)) = error {
                    self.send(key, &packet::error(code, text)).await;
                }
                return self.end(key, Ending::Protocol(outcome));
            }
        }
        self.sessions.schedule(&key);
    }

    /// Sends what is pending if its bytes are there, and has the next ones read.
    async fn push(&mut self, key: Key) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        let Some(range) = session.pending.clone() else {
            return;
        };
        let agreed = session.transfer.agreed();
        let blksize = u64::from(agreed.blksize);
        let (acked, needed) = ((range.start() - 1) * blksize, (range.end() * blksize).min(agreed.size));
        let ready = fill(&mut self.frames, session, &range);
        let is_first_send = !session.transfer.opened();
        let length = usize::from(agreed.blksize) + DATA_HEADER_BYTES;
        let read = session.source.next_read(acked, needed);
        let id = session.id;
        let now = Instant::now();
        let charged = if ready { self.flow.charge(key.0.ip(), self.frames.len() as u64, now) } else { Ok(()) };
        session.resume_at = charged.err();
        if session.resume_at.is_some() {
            self.sessions.schedule(&key);
        } else if ready {
            session.pending = None;
            let sent = self.port.send_many(key, &self.frames, length).await;
            if let Err(error) = sent {
                tracing::debug!(client = %key.0, local = %key.1, %error, "tftp data not sent");
                if is_first_send {
                    return self.end(key, Ending::AddressGone);
                }
                if is_address_gone(&error) {
                    return self.give_up_address(key);
                }
            }
        }
        if let Some(read) = read {
            self.readings.push(run_read(key, id, read));
        }
    }

    /// Sends one packet; what fails later is like loss, and the timers see to it.
    pub(super) async fn send(&mut self, key: Key, packet: &[u8]) -> bool {
        let sent = self.port.send(key, packet).await;
        if let Err(error) = &sent {
            tracing::debug!(client = %key.0, local = %key.1, %error, "tftp packet not sent");
        }
        sent.is_ok()
    }

    /// Answers a stray packet with an ERROR, if the client's allowance has one left.
    async fn refuse(&mut self, key: Key, code: ErrorCode, text: &str, now: Instant) {
        if self.allowance.take(key.0.ip(), now) {
            self.send(key, &packet::error(code, text)).await;
        }
    }

    pub(super) fn end(&mut self, key: Key, ending: Ending) {
        let Some(session) = self.sessions.remove(&key) else {
            return;
        };
        let duration = session.started_at.elapsed();
        let bytes = session.bytes_acked();
        let blocks_resent = session.transfer.blocks_sent().saturating_sub(session.transfer.blocks());
        let client = key.0;
        let name = session.name;
        match &ending {
            Ending::Protocol(Outcome::Finished { confirmed }) => {
                if *confirmed {
                    self.flow.complete(client.ip(), bytes, Instant::now());
                    self.allowance.give_back(client.ip());
                }
                tracing::debug!(%client, name, bytes, ?duration, blocks_resent, confirmed, "tftp file sent");
            }
            other => {
                tracing::debug!(%client, name, bytes, ?duration, ending = ?other, "tftp transfer ended")
            }
        }
        let what = What::Ended { ending, bytes, blocks_resent, duration };
        let client = session.client;
        self.tell_of(name, client, what);
    }
}

/// Whether the kernel says that we have not the address to send from.
fn is_address_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::InvalidInput)
}

/// Lays the packets of a range one behind the other; false when bytes are missing.
fn fill(frames: &mut Vec<u8>, session: &Session, range: &RangeInclusive<u64>) -> bool {
    frames.clear();
    for block in range.clone() {
        let (offset, length) = session.transfer.agreed().span(block);
        // Block numbers wrap to 0 after 65535, which is what clients that survive the wrap expect.
        frames.extend(packet::data_header(block as u16));
        let start = frames.len();
        frames.resize(start + length, 0);
        if !session.source.copy(offset, &mut frames[start..]) {
            return false;
        }
    }
    true
}

fn run_read(key: Key, id: u64, read: Read) -> Reading {
    let task = tokio::task::spawn_blocking(move || read.run());
    async move { (key, id, task.await.unwrap_or_else(|error| Err(io::Error::other(error)))) }.boxed()
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
