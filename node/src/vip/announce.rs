//! When to tell the link where the VIP is. The kernel does not do it, an announcement may be lost, and clients such as
//! iPXE never ask again: so several times at first, then for ever now and then.

use std::time::{Duration, Instant};

/// After the address was taken, in milliseconds.
const AFTER_MILLIS: [u64; 7] = [0, 50, 200, 500, 1000, 2000, 5000];
/// From then on.
const EVERY: Duration = Duration::from_secs(10);
/// Another one that claims it is answered, but not more often than this.
const CONTEST_PAUSE: Duration = Duration::from_millis(100);

/// The announcements of one time of holding.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    begun: Option<Instant>,
    sent: usize,
    last: Option<Instant>,
    contested: bool,
}

impl Announcements {
    /// The address was taken.
    pub(super) fn begin(&mut self, now: Instant) {
        *self = Self { begun: Some(now), ..Self::default() };
    }

    /// Somebody else claims it.
    pub(super) fn contest(&mut self, _now: Instant) {
        self.contested = true;
    }

    /// Whether to announce now; it counts as done then.
    pub(super) fn due(&mut self, now: Instant) -> bool {
        let Some(begun) = self.begun else { return false };
        let since_last = self.last.map(|last| now.duration_since(last));
        let planned = match AFTER_MILLIS.get(self.sent) {
            Some(millis) => now.duration_since(begun) >= Duration::from_millis(*millis),
            None => since_last.is_none_or(|since| since >= EVERY),
        };
        let contested = self.contested && since_last.is_none_or(|since| since >= CONTEST_PAUSE);
        if !planned && !contested {
            return false;
        }
        self.sent += usize::from(planned);
        self.contested = false;
        self.last = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_often_at_first_and_never_stops() {
        let begun = Instant::now();
        let mut announcements = Announcements::default();
        assert!(!announcements.due(begun), "nothing is held yet");
        announcements.begin(begun);
        let told: Vec<u64> = (0..30_000)
            .step_by(10)
            .filter(|millis| announcements.due(begun + Duration::from_millis(*millis)))
            .collect();
        assert_eq!(told, [0, 50, 200, 500, 1000, 2000, 5000, 15_000, 25_000]);
    }

    #[test]
    fn a_rival_is_answered_at_once_but_not_in_a_storm() {
        let begun = Instant::now();
        let mut announcements = Announcements::default();
        announcements.begin(begun);
        let at = |millis| begun + Duration::from_millis(millis);
        assert!(announcements.due(at(6000)));
        while announcements.due(at(6000)) {}
        let told: Vec<u64> = (6000..7000)
            .step_by(10)
            .filter(|millis| {
                announcements.contest(at(*millis));
                announcements.due(at(*millis))
            })
            .collect();
        assert_eq!(told.len(), 9, "{told:?}");
    }
}
