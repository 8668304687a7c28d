//! One transfer, pure: acknowledgements and the clock in, blocks to send and the end out.
//!
//! The rule that keeps this from the sorcerer's apprentice (RFC 1123 §4.2.3.1) and from EDK2's storm of repeated
//! acknowledgements: **an acknowledgement never causes a block to be sent a second time; only a timer does.** An
//! acknowledgement of a whole window starts the next one. An acknowledgement inside a window, or of nothing new,
//! tells of a gap: it starts one short timer, and if the gap is still there when that fires, the window is sent again
//! from the first missing block, once. However many acknowledgements a client sends for it, a lost block costs
//! one rewind.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::options::Agreed;
use super::packet::ErrorCode;

/// Times the first packet is sent before the client has said anything: the sender of a request may be forged.
pub const OPENING_SENDS_MAX: u32 = 4;
/// Times the last window is sent. A client that has the whole file may leave without a word.
pub const FINAL_SENDS_MAX: u32 = 4;
/// Retransmission interval before a round trip has been measured (RFC 1123 §4.2.3.2 asks for an adaptive one).
pub const INTERVAL_FIRST: Duration = Duration::from_secs(1);
/// Shortest retransmission interval. Some clients stop for good when a block arrives twice, so it is not hurried.
pub const INTERVAL_MIN: Duration = Duration::from_millis(500);
/// Longest retransmission interval, unless the client asked for more.
pub const INTERVAL_MAX: Duration = Duration::from_secs(8);
/// Shortest wait before a gap counts as loss: reordered packets fill most gaps sooner.
pub const GAP_DELAY_MIN: Duration = Duration::from_millis(5);
/// Longest wait before a gap counts as loss.
pub const GAP_DELAY_MAX: Duration = Duration::from_millis(200);
/// A transfer without progress for this long ends. EDK2 gives up after 6 times 4 s.
pub const IDLE_MAX: Duration = Duration::from_secs(30);
/// A transfer ends after this time plus its size at [`RATE_MIN_BYTES_PER_SECOND`].
pub const TOTAL_MAX: Duration = Duration::from_secs(600);
/// Slowest rate that is waited for, in bytes per second.
pub const RATE_MIN_BYTES_PER_SECOND: u64 = 16 * 1024;
/// A transfer ends when it has sent more than this many times its blocks, and [`SENT_SLACK_WINDOWS`] windows.
pub const SENT_FACTOR_MAX: u64 = 8;
/// Windows that may be sent on top of [`SENT_FACTOR_MAX`], so that tiny files survive a bad link.
pub const SENT_SLACK_WINDOWS: u64 = 16;

/// How a transfer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All blocks were sent; `confirmed` when the last acknowledgement came.
    Finished {
        /// Whether the client acknowledged the last block.
        confirmed: bool,
    },
    /// The client took the option answer and said goodbye: it wanted the size.
    Probed,
    /// The client ended it.
    Aborted {
        /// Code of its ERROR packet.
        code: u16,
        /// Text of its ERROR packet, printable.
        text: String,
    },
    /// The client never answered the first packet.
    NeverAnswered,
    /// The client fell silent in the middle.
    Silent,
    /// The total deadline passed.
    TooSlow,
    /// The link loses so much that sending on would only load it.
    TooManyResends,
}

/// What to do after an event; blocks count from 1 and do not wrap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Wait,
    /// Send the option answer.
    SendAnswer,
    /// Send these blocks, in order.
    SendBlocks(RangeInclusive<u64>),
    /// The transfer is over; send an ERROR first when there is one.
    End(Outcome, Option<(ErrorCode, &'static str)>),
}

/// What a client may say inside a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// ACK with its 16-bit block number.
    Ack(u16),
    /// ERROR.
    Error {
        /// The code.
        code: u16,
        /// The printable text.
        text: String,
    },
}

/// One file on its way to one client.
#[derive(Debug, Clone)]
pub struct Transfer {
    agreed: Agreed,
    blocks: u64,
    /// Blocks acknowledged: all up to this one.
    acked: u64,
    /// Blocks sent: all up to this one.
    sent: u64,
    /// The client has answered at least once.
    opened: bool,
    /// Sends since the last progress.
    sends: u32,
    /// Blocks `acked + 1 ..= sent` were sent once, so their acknowledgement measures a round trip (Karn).
    measurable: bool,
    round_trip: Option<Duration>,
    sent_at: Instant,
    progress_at: Instant,
    ends_by: Instant,
    gap_due: Option<Instant>,
    /// Acknowledged blocks when the last rewind happened.
    rewound_at: Option<u64>,
    /// Blocks put on the wire, repeats included.
    blocks_sent: u64,
}

impl Transfer {
    /// Starts a transfer; the step is the first packet: the option answer, or block 1 when nothing was agreed on.
    #[must_use]
    pub fn new(agreed: Agreed, now: Instant) -> (Self, Step) {
        let blocks = agreed.blocks();
        let total = TOTAL_MAX + Duration::from_secs(agreed.size / RATE_MIN_BYTES_PER_SECOND);
        let mut transfer = Self {
            agreed,
            blocks,
            acked: 0,
            sent: 0,
            opened: false,
            sends: 0,
            measurable: true,
            round_trip: None,
            sent_at: now,
            progress_at: now,
            ends_by: now + total,
            gap_due: None,
            rewound_at: None,
            blocks_sent: 0,
        };
        let step = if transfer.agreed.answer.is_some() {
            transfer.sends = 1;
            Step::SendAnswer
        } else {
            transfer.send_window(now)
        };
        (transfer, step)
    }

    /// Goes on with a transfer that another node began, at the client's acknowledgement `number`; `acked` blocks were
    /// acknowledged at least. `None` if it acknowledges what the file does not have.
    #[must_use]
    pub fn resume(agreed: Agreed, acked: u64, number: u16, now: Instant) -> Option<(Self, Step)> {
        let acked = acked + u64::from(number.wrapping_sub(acked as u16));
        let (mut transfer, _) = Self::new(Agreed { answer: None, ..agreed }, now);
        if acked > transfer.blocks {
            return None;
        }
        (transfer.acked, transfer.sent, transfer.opened) = (acked, acked, true);
        (transfer.sends, transfer.blocks_sent) = (0, acked);
        if acked == transfer.blocks {
            return Some((transfer, Step::End(Outcome::Finished { confirmed: true }, None)));
        }
        let step = transfer.send_window(now);
        Some((transfer, step))
    }

    /// What was agreed on.
    #[must_use]
    pub fn agreed(&self) -> &Agreed {
        &self.agreed
    }

    /// Blocks of the file.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Blocks the client has, without a gap.
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// Whether an acknowledgement of `number` can be meant for what has been sent.
    #[must_use]
    pub fn is_in_flight(&self, number: u16) -> bool {
        u64::from(number.wrapping_sub(self.acked as u16)) <= self.sent - self.acked
    }

    /// Whether the client has answered at least once.
    #[must_use]
    pub fn opened(&self) -> bool {
        self.opened
    }

    /// Whether everything has been sent at least once.
    #[must_use]
    pub fn all_sent(&self) -> bool {
        self.sent == self.blocks
    }

    /// Blocks put on the wire so far, repeats included.
    #[must_use]
    pub fn blocks_sent(&self) -> u64 {
        self.blocks_sent
    }

    /// When the client was last heard with news.
    #[must_use]
    pub fn progress_at(&self) -> Instant {
        self.progress_at
    }

    /// A packet of the client's.
    pub fn on_packet(&mut self, heard: Heard, now: Instant) -> Step {
        match heard {
            Heard::Ack(number) => self.on_ack(number, now),
            Heard::Error { .. } if self.sent == 0 => Step::End(Outcome::Probed, None),
            Heard::Error { code, text } => Step::End(Outcome::Aborted { code, text }, None),
        }
    }

    /// The same request again, before the first acknowledgement: our first packet may be lost. A request costs its
    /// sender nothing, so repeats come out of the same few sends as our own.
    pub fn on_request_repeated(&mut self, now: Instant) -> Step {
        let recent = now.saturating_duration_since(self.sent_at) < GAP_DELAY_MAX;
        if self.opened || recent || self.sends >= OPENING_SENDS_MAX {
            return Step::Wait;
        }
        self.resend(now)
    }

    /// The clock reached [`Self::next_deadline`].
    pub fn on_timeout(&mut self, now: Instant) -> Step {
        if now >= self.ends_by {
            let error = (ErrorCode::Undefined, "the transfer takes too long");
            return Step::End(Outcome::TooSlow, Some(error));
        }
        if self.gap_due.is_some_and(|due| now >= due) {
            return self.rewind(now);
        }
        let interval_over = now >= self.sent_at + self.interval();
        if interval_over && !self.opened && self.sends >= OPENING_SENDS_MAX {
            return Step::End(Outcome::NeverAnswered, None);
        }
        if interval_over && self.all_sent() && self.sends >= FINAL_SENDS_MAX {
            return Step::End(Outcome::Finished { confirmed: false }, None);
        }
        if now >= self.progress_at + self.idle() {
            return Step::End(Outcome::Silent, None);
        }
        if interval_over {
            return self.resend(now);
        }
        Step::Wait
    }

    /// When [`Self::on_timeout`] must be called next, if nothing else happens.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        let retransmit = self.sent_at + self.interval();
        let idle = self.progress_at + self.idle();
        let next = retransmit.min(idle).min(self.ends_by);
        self.gap_due.map_or(next, |due| due.min(next))
    }

    fn on_ack(&mut self, number: u16, now: Instant) -> Step {
        if self.sent == 0 {
            // Only the option answer is out; it is acknowledged as block 0 (RFC 2347).
            if number != 0 {
                return Step::Wait;
            }
            self.measure(now);
            self.progress(now);
            return self.send_window(now);
        }
        // Block numbers wrap to 0; a window is far smaller than half their range, so the distance from the last
        // acknowledged block tells which block is meant. Anything outside the window is old, or was never sent.
        let ahead = u64::from(number.wrapping_sub(self.acked as u16));
        let in_flight = self.sent - self.acked;
        if ahead > in_flight {
            return Step::Wait;
        }
        if ahead == 0 {
            let first_report = self.gap_due.is_none() && self.rewound_at != Some(self.acked);
            if self.agreed.windowsize > 1 && first_report {
                self.gap_due = Some(now + self.gap_delay());
            }
            return Step::Wait;
        }
        self.acked += ahead;
        if self.acked == self.blocks {
            self.opened = true;
            return Step::End(Outcome::Finished { confirmed: true }, None);
        }
        if ahead == in_flight {
            self.measure(now);
            self.progress(now);
            return self.send_window(now);
        }
        self.progress(now);
        self.sent_at = now;
        self.measurable = false;
        self.gap_due = Some(now + self.gap_delay());
        Step::Wait
    }

    fn progress(&mut self, now: Instant) {
        self.opened = true;
        self.progress_at = now;
        self.sends = 0;
        self.gap_due = None;
        self.rewound_at = None;
    }

    fn measure(&mut self, now: Instant) {
        if !self.measurable {
            return;
        }
        let sample = now.saturating_duration_since(self.sent_at);
        let smooth = |old: Duration| (old * 7 + sample) / 8;
        self.round_trip = Some(self.round_trip.map_or(sample, smooth));
    }

    /// The window after the last acknowledged block.
    fn send_window(&mut self, now: Instant) -> Step {
        // Without an answer from the client one packet goes out, whatever the window.
        let window = u64::from(self.agreed.windowsize);
        self.sent = (self.acked + window).min(self.blocks);
        self.measurable = true;
        self.send_unacknowledged(now)
    }

    fn rewind(&mut self, now: Instant) -> Step {
        self.rewound_at = Some(self.acked);
        let step = self.send_window(now);
        self.measurable = false;
        step
    }

    fn resend(&mut self, now: Instant) -> Step {
        self.measurable = false;
        if self.sent == 0 {
            self.sends += 1;
            self.sent_at = now;
            return Step::SendAnswer;
        }
        self.send_unacknowledged(now)
    }

    fn send_unacknowledged(&mut self, now: Instant) -> Step {
        let range = self.acked + 1..=self.sent;
        let count = self.sent - self.acked;
        let slack = SENT_SLACK_WINDOWS * u64::from(self.agreed.windowsize);
        if self.blocks_sent + count > self.blocks.saturating_mul(SENT_FACTOR_MAX) + slack {
            let error = (ErrorCode::Undefined, "too many blocks were lost");
            return Step::End(Outcome::TooManyResends, Some(error));
        }
        self.blocks_sent += count;
        self.sends += 1;
        self.sent_at = now;
        self.gap_due = None;
        Step::SendBlocks(range)
    }

    /// The retransmission interval, doubled with each send that brought no progress.
    fn interval(&self) -> Duration {
        let measured = self.round_trip.map(|round_trip| round_trip * 4);
        let adaptive = measured.unwrap_or(INTERVAL_FIRST).clamp(INTERVAL_MIN, INTERVAL_MAX / 2);
        let base = self.agreed.timeout.unwrap_or(adaptive);
        let doublings = self.sends.saturating_sub(1).min(8);
        (base * (1 << doublings)).min(INTERVAL_MAX.max(base))
    }

    fn idle(&self) -> Duration {
        let asked = self.agreed.timeout.unwrap_or_default() * 4;
        IDLE_MAX.max(asked)
    }

    fn gap_delay(&self) -> Duration {
        let round_trip = self.round_trip.unwrap_or_default() * 2;
        round_trip.clamp(GAP_DELAY_MIN, GAP_DELAY_MAX)
    }
}

#[cfg(test)]
#[path = "transfer_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "transfer_loss_tests.rs"]
mod loss_tests;
