//! What the DHCP server has done since it started, as numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::decide::{Message, Silence};

/// Every reason for silence with its name in metrics.
const SILENCES: [(Silence, &str); 13] = [
    (Silence::Off, "off"),
    (Silence::NotNetworkBoot, "not_network_boot"),
    (Silence::NotOurMessage, "not_our_message"),
    (Silence::OtherServer, "other_server"),
    (Silence::NoAddress, "no_address"),
    (Silence::UnknownArchitecture, "unknown_architecture"),
    (Silence::NoLoader, "no_loader"),
    (Silence::Held, "held"),
    (Silence::UnknownMachine, "unknown_machine"),
    (Silence::BadAddress, "bad_address"),
    (Silence::TooLong, "too_long"),
    (Silence::OtherNodeAnswers, "other_node_answers"),
    (Silence::RateLimited, "rate_limited"),
];

impl Silence {
    /// The reason's name in metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        SILENCES[self.index()].1
    }

    fn index(self) -> usize {
        SILENCES.iter().position(|(silence, _)| *silence == self).expect("every silence has a row")
    }
}

/// Packets counted since the start. All counters only grow.
#[derive(Debug, Default)]
pub struct Counters {
    received: AtomicU64,
    malformed: AtomicU64,
    offers: AtomicU64,
    acknowledgements: AtomicU64,
    unsent: AtomicU64,
    silent: [AtomicU64; SILENCES.len()],
}

impl Counters {
    pub(super) fn count_received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_malformed(&self) {
        self.malformed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_silent(&self, silence: Silence) {
        self.silent[silence.index()].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_sent(&self, message: Message) {
        let counter = match message {
            Message::Offer => &self.offers,
            Message::Acknowledgement => &self.acknowledgements,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_unsent(&self) {
        self.unsent.fetch_add(1, Ordering::Relaxed);
    }

    /// Packets that came in; each also counts as malformed, silent, sent or unsent.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Packets dropped because they could not be read.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }

    /// Offers sent.
    #[must_use]
    pub fn offers(&self) -> u64 {
        self.offers.load(Ordering::Relaxed)
    }

    /// Acknowledgements sent.
    #[must_use]
    pub fn acknowledgements(&self) -> u64 {
        self.acknowledgements.load(Ordering::Relaxed)
    }

    /// Replies the kernel would not send, or had no room for.
    #[must_use]
    pub fn unsent(&self) -> u64 {
        self.unsent.load(Ordering::Relaxed)
    }

    /// Requests not answered, by reason.
    #[must_use]
    pub fn silent(&self, silence: Silence) -> u64 {
        self.silent[silence.index()].load(Ordering::Relaxed)
    }

    /// Every reason for silence with its name and count, for metrics.
    pub fn silences(&self) -> impl Iterator<Item = (&'static str, u64)> {
        SILENCES.iter().map(|(silence, name)| (*name, self.silent(*silence)))
    }
}
