//! The two threads of an observer: one asks on time, one listens; neither ever waits for anybody.

use super::attribute::{self, arp_sender, port};
use super::frames::{Ends, Heard, Path, datagram, heard, rst, syn, who_has};
use super::socket::PacketSocket;
use super::{INTERVAL, Question};
use crate::lab::Host;
use crate::netns::raise_priority;
use crate::process::run_with_input;
use anyhow::{Context, Result, bail};
use rustix::thread::clock_nanosleep_absolute;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Addresses each node is asked from in turn: a server that answers one client only so often (TFTP errors: one in 60 ms)
/// must not look dead.
const SOURCES: u8 = 8;
/// Last byte of the first address of the first node's, and the distance to the next node's.
const SOURCE_FIRST: u8 = 160;
const SOURCE_STEP: u8 = 16;

/// What the threads tell, on the scale of the observer.
pub(super) enum Event {
    /// A round of probes is about to be sent.
    Sent(Duration),
    /// Something spoke for the address.
    Heard(Heard, Duration),
}

/// The threads.
pub(super) struct Prober {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    socket: PacketSocket,
    question: Question,
    began: Instant,
    events: SyncSender<Event>,
    stop: AtomicBool,
    lost: AtomicBool,
    failed: AtomicBool,
}

/// Gives the host the addresses nodes are asked from, and keeps its kernel from answering the answers.
pub(super) fn prepare(host: &Host, nodes: usize) -> Result<()> {
    let mut batch = String::new();
    for node in 0..nodes {
        for number in 0..SOURCES {
            writeln!(batch, "address add {}/32 dev eth0", source(node, usize::from(number)))?;
        }
    }
    let mut ip = std::process::Command::new("ip");
    ip.args(["-n", &host.netns(), "-batch", "-"]);
    run_with_input(ip, &batch)?;
    let first = source(0, 0);
    let quiet = format!(
        "table ip quiet {{\n chain output {{\n  type filter hook output priority 0; policy accept;\n  \
         ip saddr {first}-{} drop\n }}\n}}\n",
        source(Question::NODES_MAX - 1, usize::from(SOURCES) - 1)
    );
    let mut nft = host.command("nft");
    nft.args(["-f", "-"]);
    run_with_input(nft, &quiet).context("silence the observer's own kernel")?;
    Ok(())
}

/// The address from which probe `number` asks the node with this index.
fn source(node: usize, number: usize) -> Ipv4Addr {
    let node = u8::try_from(node).expect("at most four nodes");
    let number = u8::try_from(number % usize::from(SOURCES)).expect("less than eight");
    Ipv4Addr::new(10, 88, 0, SOURCE_FIRST + SOURCE_STEP * node + number)
}

impl Prober {
    pub(super) fn start(host: &Host, question: Question, began: Instant, events: SyncSender<Event>) -> Result<Self> {
        let socket = PacketSocket::open(&host.netns())?;
        let [stop, lost, failed] = [(); 3].map(|()| AtomicBool::new(false));
        let shared = Arc::new(Shared { socket, question, began, events, stop, lost, failed });
        let mut prober = Self { shared: shared.clone(), threads: Vec::with_capacity(2) };
        prober.thread("observer-listens", {
            let shared = shared.clone();
            move || shared.listen()
        })?;
        prober.thread("observer-asks", move || shared.ask())?;
        Ok(prober)
    }

    fn thread(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
        let prioritised = move || {
            raise_priority();
            work();
        };
        self.threads
            .push(Builder::new().name(name.to_owned()).spawn(prioritised).context("start an observer's thread")?);
        Ok(())
    }

    /// Fails when something was seen that could not be told.
    pub(super) fn must_be_whole(&self) -> Result<()> {
        if self.shared.failed.load(Ordering::Relaxed) {
            bail!("the observer could no longer read its socket");
        }
        if self.shared.lost.load(Ordering::Relaxed) {
            bail!("the observer saw more than it could keep; collect its records more often");
        }
        Ok(())
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has failed its test already.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn tell(&self, event: Event) {
        if self.events.try_send(event).is_err() && !self.stop.load(Ordering::Relaxed) {
            self.lost.store(true, Ordering::Relaxed);
        }
    }

    fn ask(&self) {
        let clock = || clock_gettime(ClockId::Monotonic);
        let mut due = clock();
        for number in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            self.tell(Event::Sent(self.began.elapsed()));
            self.probe(number);
            due = later(due, INTERVAL);
            let now = clock();
            if now > due {
                // After a pause the next probe is due from now on; catching up would hide the pause.
                due = later(now, INTERVAL);
            }
            // Interrupted: one probe comes early, which harms nothing.
            let _ = clock_nanosleep_absolute(ClockId::Monotonic, &due);
        }
    }

    fn probe(&self, number: usize) {
        let (own, question) = (self.socket.mac, &self.question);
        let sender = Ipv4Addr::new(10, 88, 0, arp_sender(number));
        self.socket.send(&who_has(own, sender, question.vip));
        for (index, node) in question.nodes.iter().enumerate() {
            let from = source(index, number);
            let to = |to_port| Ends {
                from_mac: own,
                to_mac: *node,
                from,
                to: question.vip,
                from_port: port(number),
                to_port,
            };
            self.socket.send(&datagram(&to(question.udp.0), &question.udp.1));
            // The first number is the probe's, so that two probes of one port are never one connection.
            let sequence = u32::try_from(number % (1 << 31)).expect("below 2^31");
            self.socket.send(&syn(&to(question.tcp_port), sequence));
        }
    }

    fn listen(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let frame = match self.socket.receive() {
                Ok(Some(frame)) => frame,
                Ok(None) => continue,
                Err(_) => return self.failed.store(true, Ordering::Relaxed),
            };
            let Some(answer) = heard(frame.bytes(), self.question.vip, self.socket.mac) else {
                continue;
            };
            if answer.path == Path::Tcp {
                self.close(&answer);
            }
            if is_ours(&answer) {
                let at = frame.at.saturating_duration_since(self.began);
                self.tell(Event::Heard(answer, at));
            }
        }
    }

    /// Ends the half-open connection at the node that offered it.
    fn close(&self, answer: &Heard) {
        let ends = Ends {
            from_mac: self.socket.mac,
            to_mac: answer.who,
            from: answer.asked_from,
            to: self.question.vip,
            from_port: answer.mark,
            to_port: self.question.tcp_port,
        };
        self.socket.send(&rst(&ends, answer.acknowledged));
    }
}

/// Whether the answer is to a probe, not to something the host's kernel asked.
fn is_ours(answer: &Heard) -> bool {
    let last = answer.asked_from.octets()[3];
    match answer.path {
        Path::Arp => last >= attribute::ARP_SENDER_FIRST,
        Path::Udp | Path::Tcp => (SOURCE_FIRST..attribute::ARP_SENDER_FIRST).contains(&last),
    }
}

fn later(time: Timespec, by: Duration) -> Timespec {
    let nanoseconds = time.tv_nsec + i64::from(by.subsec_nanos());
    let seconds = time.tv_sec + i64::try_from(by.as_secs()).expect("an interval is short");
    Timespec { tv_sec: seconds + nanoseconds / 1_000_000_000, tv_nsec: nanoseconds % 1_000_000_000 }
}
