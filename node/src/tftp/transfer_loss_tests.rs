//! Random loss, duplication and reordering between a transfer and a model of a client: the file always arrives whole,
//! and what is sent for it stays bounded.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::*;

/// How a client answers blocks it did not expect (RFC 7440 §4 leaves room).
#[derive(Debug, Clone, Copy)]
enum Manners {
    /// One acknowledgement per gap.
    Polite,
    /// One acknowledgement for each unexpected block, as EDK2 does.
    Chatty,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Flight {
    Block(u64),
    Ack(u64),
    ClientTimer(u32),
}

/// The network and the client, driven by simulated time in milliseconds.
struct World {
    random: u64,
    loss_percent: u64,
    duplicate_percent: u64,
    jitter: u64,
    queue: BinaryHeap<Reverse<(u64, u64, Flight)>>,
    serial: u64,
    now: u64,
}

impl World {
    fn roll(&mut self, below: u64) -> u64 {
        // Xorshift: small, and the same for the same seed.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below.max(1)
    }

    fn at(&mut self, at: u64, flight: Flight) {
        self.serial += 1;
        self.queue.push(Reverse((at, self.serial, flight)));
    }

    fn send(&mut self, flight: Flight) {
        let copies = if self.roll(100) < self.duplicate_percent { 2 } else { 1 };
        for _ in 0..copies {
            let delay = 1 + self.roll(self.jitter + 1);
            if self.roll(100) >= self.loss_percent {
                self.at(self.now + delay, flight);
            }
        }
    }
}

/// The receiver's side of RFC 7440: the next block it wants, and when it last acknowledged.
struct Receiver {
    manners: Manners,
    windowsize: u64,
    have: u64,
    acked_at: u64,
    gap_told: bool,
    timer: u32,
}

impl Receiver {
    fn acknowledge(&mut self, world: &mut World) {
        self.acked_at = self.have;
        self.timer += 1;
        world.send(Flight::Ack(self.have));
        // Firmware repeats its acknowledgement after seconds.
        world.at(world.now + 4000, Flight::ClientTimer(self.timer));
    }

    fn on_block(&mut self, block: u64, blocks: u64, world: &mut World) {
        if block == self.have + 1 {
            self.have = block;
            self.gap_told = false;
            if self.have - self.acked_at >= self.windowsize || self.have == blocks {
                self.acknowledge(world);
            }
        } else if matches!(self.manners, Manners::Chatty) || !self.gap_told {
            self.gap_told = true;
            self.acknowledge(world);
        }
    }
}

struct Link {
    seed: u64,
    loss_percent: u64,
    duplicate_percent: u64,
    jitter: u64,
}

/// Runs one transfer to its end; the outcome, the blocks the client has, and the blocks sent.
fn run(size: u64, windowsize: u16, manners: Manners, link: &Link) -> (Outcome, u64, u64) {
    let zero = Instant::now();
    let instant = |milliseconds: u64| zero + Duration::from_millis(milliseconds);
    let agreed = Agreed { size, blksize: 8, windowsize, timeout: None, answer: Some(Vec::new()) };
    let blocks = agreed.blocks();
    let mut world = World {
        random: link.seed | 1,
        loss_percent: link.loss_percent,
        duplicate_percent: link.duplicate_percent,
        jitter: link.jitter,
        queue: BinaryHeap::new(),
        serial: 0,
        now: 0,
    };
    let mut receiver =
        Receiver { manners, windowsize: u64::from(windowsize), have: 0, acked_at: 0, gap_told: false, timer: 0 };
    let (mut transfer, _) = Transfer::new(agreed, zero);
    // The option answer arrives; what is tested is the data.
    let mut step = transfer.on_packet(Heard::Ack(0), zero);
    world.at(4000, Flight::ClientTimer(0));
    loop {
        match step {
            Step::SendBlocks(range) => range.for_each(|block| world.send(Flight::Block(block))),
            Step::End(outcome, _) => return (outcome, receiver.have, transfer.blocks_sent()),
            Step::Wait | Step::SendAnswer => {}
        }
        let deadline = transfer.next_deadline().saturating_duration_since(zero);
        let deadline = u64::try_from(deadline.as_millis()).unwrap();
        let arrival = world.queue.peek().map(|Reverse((at, ..))| *at);
        step = match arrival {
            Some(at) if at <= deadline => {
                let Reverse((at, _, flight)) = world.queue.pop().unwrap();
                world.now = at;
                match flight {
                    Flight::Block(block) => {
                        receiver.on_block(block, blocks, &mut world);
                        Step::Wait
                    }
                    Flight::Ack(block) => transfer.on_packet(Heard::Ack(block as u16), instant(at)),
                    Flight::ClientTimer(timer) => {
                        if timer == receiver.timer && receiver.have < blocks {
                            receiver.acknowledge(&mut world);
                        }
                        Step::Wait
                    }
                }
            }
            _ => {
                // Deadlines have parts of milliseconds; the first whole one after counts.
                world.now = deadline + 1;
                transfer.on_timeout(instant(deadline + 1))
            }
        };
    }
}

#[test]
fn a_storm_of_acknowledgements_is_answered_with_data_once() {
    // The case behind 20 GB sent for a 1.7 MB file: every reordered block is acknowledged.
    let link = Link { seed: 7, loss_percent: 0, duplicate_percent: 0, jitter: 3 };
    let size = 8 * 5_000;
    let (outcome, have, sent) = run(size, 4, Manners::Chatty, &link);
    assert_eq!(outcome, Outcome::Finished { confirmed: true });
    assert_eq!(have, 5_001);
    assert!(sent < 5_001 * 4, "{sent} blocks sent for 5001");
}

#[test]
fn a_clean_link_carries_each_block_once() {
    let link = Link { seed: 1, loss_percent: 0, duplicate_percent: 0, jitter: 0 };
    for windowsize in [1, 4, 16, 64] {
        let (outcome, have, sent) = run(8 * 1_000, windowsize, Manners::Chatty, &link);
        assert_eq!(outcome, Outcome::Finished { confirmed: true });
        assert_eq!((have, sent), (1_001, 1_001), "window {windowsize}");
    }
}

#[test]
fn duplicated_packets_do_not_multiply() {
    let link = Link { seed: 11, loss_percent: 0, duplicate_percent: 100, jitter: 0 };
    for windowsize in [1, 4, 16] {
        let (outcome, have, sent) = run(8 * 1_000, windowsize, Manners::Chatty, &link);
        assert_eq!(outcome, Outcome::Finished { confirmed: true });
        assert_eq!(have, 1_001, "window {windowsize}");
        assert!(sent <= 1_001 * 5 / 4, "window {windowsize}: {sent} sent for 1001");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn the_file_arrives_whole_and_sends_stay_bounded(
        seed in any::<u64>(),
        blocks in 1u64..400,
        windowsize in prop_oneof![Just(1u16), Just(2), Just(4), Just(8), Just(16), Just(64)],
        loss_percent in 0u64..6,
        duplicate_percent in 0u64..20,
        jitter in 0u64..6,
        chatty in any::<bool>(),
    ) {
        let manners = if chatty { Manners::Chatty } else { Manners::Polite };
        let link = Link { seed, loss_percent, duplicate_percent, jitter };
        let (outcome, have, sent) = run(8 * (blocks - 1), windowsize, manners, &link);
        let bound = blocks * SENT_FACTOR_MAX + SENT_SLACK_WINDOWS * u64::from(windowsize);
        prop_assert!(sent <= bound, "{} sent for {} blocks", sent, blocks);
        match outcome {
            Outcome::Finished { confirmed: true } => prop_assert_eq!(have, blocks),
            // The last window or its acknowledgement was lost each time.
            Outcome::Finished { confirmed: false } => {
                prop_assert!(loss_percent > 0 && have + u64::from(windowsize) >= blocks);
            }
            // Reordering looks like loss to this client; a large window may then use up the bound, never more.
            Outcome::TooManyResends => prop_assert!(jitter > 0 && windowsize >= 16, "gave up on a fair link"),
            other => prop_assert!(false, "ended as {:?}", other),
        }
    }
}
