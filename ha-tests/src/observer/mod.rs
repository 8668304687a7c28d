//! Who answers for a floating address, asked every 10 ms over ARP, UDP and TCP by a host of its own.
//!
//! ARP asks everybody, as a client without an entry does. UDP and TCP probes are addressed to the Ethernet address of **each**
//! node, as the probes of a client with a static neighbour entry for that node would be, because a node that no longer answers
//! ARP may still answer those. Two threads with raised priority send and receive and never wait for anyone; whoever asks for a
//! verdict collects what they saw.

mod attribute;
mod frames;
mod prober;
mod socket;
mod verdict;

use crate::lab::{Host, Lab};
use crate::mac::Mac;
use crate::wait::until;
use anyhow::{Context, Result, ensure};
use prober::{Event, Prober};
use socket::PacketSocket;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use frames::Path;
pub use verdict::{Answer, Overlap, PAUSE_MAX, Record, TENURE_GAP, Tenure, Verdict, judge};

/// Time between two rounds of probes.
pub const INTERVAL: Duration = Duration::from_millis(10);
/// Events that may wait to be collected: about two minutes of three nodes.
const EVENTS_MAX: usize = 1 << 17;
/// How long one node must answer alone on every path before it counts as steady.
pub const STEADY: Duration = Duration::from_millis(300);
/// Silence of one path that is no interruption: probes are lost to a busy computer, not to a failover.
const STEADY_SILENCE_MAX: Duration = Duration::from_millis(60);
/// The observer's own address.
const OWN: u8 = 201;

/// What is asked, and of whom.
#[derive(Clone, Debug)]
pub struct Question {
    /// The floating address.
    pub vip: Ipv4Addr,
    /// Every node that might hold it, at most [`Question::NODES_MAX`].
    pub nodes: Vec<Mac>,
    /// The service that answers datagrams, and what makes it answer.
    pub udp: (u16, Vec<u8>),
    /// The service that accepts connections.
    pub tcp_port: u16,
}

impl Question {
    /// How many nodes have addresses to be asked from.
    pub const NODES_MAX: usize = 4;

    /// What every node of the product answers: a file that does not exist (RFC 1350, ERROR 1) and the boot HTTP port.
    #[must_use]
    pub fn boot_services(vip: Ipv4Addr, nodes: Vec<Mac>) -> Self {
        let mut request = vec![0, 1];
        request.extend(b"no-such-file-of-the-observer\0octet\0");
        Self { vip, nodes, udp: (69, request), tcp_port: 8080 }
    }
}

/// A running observer; its threads end when this value goes.
pub struct Observer {
    prober: Prober,
    began: Instant,
    store: Mutex<Store>,
}

struct Store {
    events: Receiver<Event>,
    record: Record,
}

impl Observer {
    /// Adds the observer's host to the lab and begins to ask.
    ///
    /// # Errors
    /// When the host, its addresses or its socket cannot be made.
    pub fn start(lab: &Lab, question: Question) -> Result<Self> {
        ensure!(question.nodes.len() <= Question::NODES_MAX, "the observer has addresses for {}", Question::NODES_MAX);
        let host = lab.host("observer", OWN)?;
        prober::prepare(&host, question.nodes.len())?;
        let (sender, events) = sync_channel(EVENTS_MAX);
        let began = Instant::now();
        let prober = Prober::start(&host, question, began, sender)?;
        Ok(Self { prober, began, store: Mutex::new(Store { events, record: Record::default() }) })
    }

    /// The time on the observer's own scale, which all its records use.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// A monotonic instant on the observer's scale.
    #[must_use]
    pub fn at(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.began)
    }

    /// What was seen of probes sent in `window`.
    ///
    /// # Errors
    /// When the observer failed or lost events.
    pub fn record(&self, window: &Range<Duration>) -> Result<Record> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        self.collect(&mut store)?;
        let record = &store.record;
        let sendings = &record.sendings;
        let (from, to) = (
            sendings.partition_point(|sent| *sent < window.start),
            sendings.partition_point(|sent| *sent < window.end),
        );
        let first = record.answers.partition_point(|answer| answer.received < window.start);
        let inside = |answer: &&Answer| window.contains(&answer.sent);
        Ok(Record {
            sendings: sendings[from..to].to_vec(),
            answers: record.answers[first..].iter().filter(inside).copied().collect(),
        })
    }

    /// The verdict on a window of time.
    ///
    /// # Errors
    /// When the observer failed or lost events.
    pub fn judge(&self, window: &Range<Duration>) -> Result<Verdict> {
        Ok(judge(&self.record(window)?, window))
    }

    /// The node that answered alone on every path during the last [`STEADY`], if there is one.
    ///
    /// # Errors
    /// When the observer failed or lost events.
    pub fn steady(&self) -> Result<Option<Mac>> {
        let now = self.now();
        let window = now.saturating_sub(STEADY)..now;
        let verdict = self.judge(&window)?;
        let nodes: BTreeSet<Mac> = verdict.tenures.iter().map(|tenure| tenure.who).collect();
        let gaps = verdict.silences.values().map(|span| span.end - span.start);
        let whole = window.start > Duration::ZERO && gaps.max().is_some_and(|gap| gap <= STEADY_SILENCE_MAX);
        Ok(nodes.first().copied().filter(|_| whole && nodes.len() == 1))
    }

    /// Waits until one node, and with `other_than` another one, is steady.
    ///
    /// # Errors
    /// When that does not come within `limit`; the message holds the last verdict.
    pub fn until_steady(&self, other_than: Option<Mac>, limit: Duration) -> Result<Mac> {
        let begun = self.now();
        let what = match other_than {
            Some(mac) => format!("another node than {mac} answers alone"),
            None => "one node answers alone".to_owned(),
        };
        until(&what, limit, || Ok(self.steady()?.filter(|mac| Some(*mac) != other_than))).with_context(|| {
            match self.judge(&(begun..self.now())) {
                Ok(verdict) => verdict.to_string(),
                Err(error) => error.to_string(),
            }
        })
    }

    /// Forgets what was seen before `time`.
    ///
    /// # Errors
    /// When the observer failed or lost events.
    pub fn forget_before(&self, time: Duration) -> Result<()> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        self.collect(&mut store)?;
        // The moduli of `attribute` count from the first sending, so sendings stay: 8 bytes each, 100 a second.
        store.record.answers.retain(|answer| answer.sent >= time);
        Ok(())
    }

    fn collect(&self, store: &mut Store) -> Result<()> {
        self.prober.must_be_whole()?;
        let mut arrived = Vec::new();
        for event in store.events.try_iter() {
            match event {
                Event::Sent(at) => store.record.sendings.push(at),
                Event::Heard(heard, at) => arrived.push((heard, at)),
            }
        }
        let Record { sendings, answers } = &mut store.record;
        answers.extend(arrived.into_iter().filter_map(|(heard, at)| attribute::answer(sendings, &heard, at)));
        // Both threads put into one queue, each in order; answers alone are in order of arrival.
        Ok(())
    }
}

/// Waits for the next announcement of `vip` (RFC 5227: an ARP request whose sender and target it is) and answers who made it.
///
/// # Errors
/// When none comes within `limit`.
pub fn until_announced(host: &Host, vip: Ipv4Addr, limit: Duration) -> Result<Mac> {
    let socket = PacketSocket::open(&host.netns())?;
    until(&format!("{vip} is announced"), limit, || {
        // Reads wait by themselves, so that what comes is seen at once.
        let begun = Instant::now();
        while begun.elapsed() < STEADY {
            let announced = socket.receive()?.and_then(|frame| frames::announced(frame.bytes(), vip));
            if announced.is_some() {
                return Ok(announced);
            }
        }
        Ok(None)
    })
}
