//! The arithmetic of the VIP's lease. Pure; all of it scales with the heartbeat.
//!
//! ```text
//! something is sent that a quorum answers                                  0 ms
//! the holder renews its fence until                                      300 ms   lease - guard
//! the kernel mutes a holder that is dead or frozen, at the latest        500 ms   … + fence
//! the earliest a new leader can be elected                               350 ms   lease
//! the earliest it answers                                                510 ms   … + wait
//! ```

use std::time::{Duration, Instant};

use netlink::vip::{FENCE_TIMEOUT_MIN, FenceKind};
use raft::cluster::Timing;

/// The numbers of one timing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTiming {
    /// How long after something was sent that a quorum answered nobody else can be elected.
    pub lease: Duration,
    /// How much earlier the holder stops.
    pub guard: Duration,
    /// The longest that the fence stays open without being renewed.
    pub fence: Duration,
    /// How often it is renewed.
    pub renew: Duration,
    /// How long a new leader waits unless the old holder has let go.
    pub wait: Duration,
}

/// Without a fence only the kernel's own clock removes the address: a second after it was last renewed, measured up to
/// 1.16 s.
const LIFETIME_MAX: Duration = Duration::from_millis(1200);
/// What is added to the wait for the rounding of timers.
const WAIT_MARGIN: Duration = Duration::from_millis(10);

impl LeaseTiming {
    /// Of a Raft timing, and what mutes a holder that is dead or frozen.
    #[must_use]
    pub fn of(timing: Timing, kind: FenceKind) -> Self {
        let beat = timing.heartbeat;
        let wait = beat * 3 + WAIT_MARGIN;
        let wait = match kind {
            FenceKind::Nftables => wait,
            FenceKind::Lifetime => wait + LIFETIME_MAX,
        };
        Self { lease: timing.election_max, guard: beat, fence: beat * 4, renew: beat, wait }
    }

    /// Whether a holder is mute, whatever became of it, before another one may answer.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        let mute = self.lease - self.guard + self.fence;
        mute <= self.lease + self.wait && self.renew * 2 <= self.fence && self.fence > FENCE_TIMEOUT_MIN
    }

    /// How long the fence may stay open from `now`; `None`: not any more.
    ///
    /// `acked` is when something was sent that a quorum has answered.
    #[must_use]
    pub fn open_for(&self, acked: Instant, now: Instant) -> Option<Duration> {
        let left = (acked + (self.lease - self.guard)).checked_duration_since(now)?;
        (left >= FENCE_TIMEOUT_MIN).then(|| left.min(self.fence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_timings_keep_two_holders_apart() {
        for timing in [Timing::LAN, Timing::VM] {
            assert!(LeaseTiming::of(timing, FenceKind::Nftables).is_safe(), "{timing:?}");
            let lifetime = LeaseTiming::of(timing, FenceKind::Lifetime);
            assert!(lifetime.lease + lifetime.wait >= lifetime.lease - lifetime.guard + LIFETIME_MAX);
        }
        assert!(
            !LeaseTiming { wait: Duration::from_millis(149), ..LeaseTiming::of(Timing::LAN, FenceKind::Nftables) }
                .is_safe()
        );
    }

    #[test]
    fn the_fence_is_never_open_beyond_what_a_quorum_has_granted() {
        let lan = LeaseTiming::of(Timing::LAN, FenceKind::Nftables);
        let acked = Instant::now();
        let open_for =
            |after: u64| lan.open_for(acked, acked + Duration::from_millis(after)).map(|left| left.as_millis());
        assert_eq!(open_for(0), Some(200));
        assert_eq!(open_for(100), Some(200));
        assert_eq!(open_for(150), Some(150));
        assert_eq!(open_for(280), Some(20));
        assert_eq!(open_for(281), None);
        assert_eq!(open_for(5000), None);
    }

    /// A holder may be frozen between reading the clock and telling the kernel. The element that is still alive then
    /// bounds what a late renewal can do: whatever the pauses, the kernel mutes by deadline + fence.
    #[test]
    fn no_sequence_of_pauses_keeps_the_fence_open_beyond_the_bound() {
        let lan = LeaseTiming::of(Timing::LAN, FenceKind::Nftables);
        let acked = Instant::now();
        let bound = lan.lease - lan.guard + lan.fence;
        let at = |millis: u64| acked + Duration::from_millis(millis);
        for first in (0..300).step_by(10) {
            for pause in (0..200).step_by(10) {
                for second in (first + pause..first + pause + 300).step_by(10) {
                    for again in (0..200).step_by(10) {
                        let Some(open) = lan.open_for(acked, at(first)) else { continue };
                        // Applied after the pause, if an element opened before was alive still: at most one fence long.
                        let alive_until = at(first + pause) + open;
                        let Some(next) = lan.open_for(acked, at(second)) else { continue };
                        let applied = at(second + again);
                        if applied > alive_until {
                            continue;
                        }
                        assert!(applied + next <= acked + bound, "{first}+{pause}, {second}+{again}");
                    }
                }
            }
        }
    }
}
