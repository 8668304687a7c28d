//! Which probe an answer answers, told by the mark it repeats. Pure.

use super::frames::{Heard, Path};
use super::verdict::Answer;
use std::time::Duration;

/// ARP probes ask from this many addresses in turn, so an answer up to 160 ms late still names its probe.
pub(super) const ARP_SENDERS: usize = 16;
/// Last byte of the first of them.
pub(super) const ARP_SENDER_FIRST: u8 = 224;
/// UDP and TCP probes use this many source ports in turn: ten minutes.
pub(super) const PORTS: usize = 60_000;
/// The first of them; lower ones belong to services.
pub(super) const PORT_FIRST: u16 = 1024;
/// The kernel's stamp and our clock are read one after the other.
const STAMP_ERROR_MAX: Duration = Duration::from_millis(1);

/// The address byte of probe `number`.
pub(super) fn arp_sender(number: usize) -> u8 {
    ARP_SENDER_FIRST + u8::try_from(number % ARP_SENDERS).expect("less than 16")
}

/// The source port of probe `number`.
pub(super) fn port(number: usize) -> u16 {
    PORT_FIRST + u16::try_from(number % PORTS).expect("less than 60 000")
}

/// The answer with its probe's time of sending: the last probe with that mark sent before the answer came.
pub(super) fn answer(sendings: &[Duration], heard: &Heard, received: Duration) -> Option<Answer> {
    let (mark, modulus) = match heard.path {
        Path::Arp => (usize::from(heard.mark).checked_sub(usize::from(ARP_SENDER_FIRST))?, ARP_SENDERS),
        Path::Udp | Path::Tcp => (usize::from(heard.mark).checked_sub(usize::from(PORT_FIRST))?, PORTS),
    };
    if mark >= modulus {
        return None;
    }
    let sent_by_then = sendings.partition_point(|sent| *sent <= received + STAMP_ERROR_MAX);
    let last = sent_by_then.checked_sub(1)?;
    let back = (last % modulus + modulus - mark) % modulus;
    let sent = sendings[last.checked_sub(back)?];
    Some(Answer { path: heard.path, sent, received: received.max(sent), who: heard.who })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mac::Mac;

    #[track_caller]
    fn check(path: Path, mark: u16, received: u64, sent: Option<u64>) {
        let sendings: Vec<Duration> = (0..100).map(|number| Duration::from_millis(10 * number)).collect();
        let heard = Heard { path, mark, who: Mac([2; 6]), acknowledged: 0, asked_from: [10, 88, 0, 160].into() };
        let found = answer(&sendings, &heard, Duration::from_millis(received)).map(|answer| answer.sent);
        assert_eq!(found, sent.map(Duration::from_millis));
    }

    #[test]
    fn an_answer_belongs_to_the_last_probe_with_its_mark() {
        check(Path::Arp, 224, 1, Some(0));
        check(Path::Arp, 224 + 15, 151, Some(150));
        check(Path::Arp, 224, 161, Some(160));
        check(Path::Arp, 224 + 15, 300, Some(150));
        check(Path::Udp, 1024 + 5, 700, Some(50));
        check(Path::Tcp, 1024 + 99, 991, Some(990));
    }

    #[test]
    fn marks_of_nobody_and_of_the_future_are_no_answers() {
        check(Path::Arp, 223, 500, None);
        check(Path::Arp, 240, 500, None);
        check(Path::Udp, 1023, 500, None);
        check(Path::Udp, 61_024, 500, None);
        check(Path::Tcp, 1024 + 80, 500, None);
        check(Path::Arp, 225, 5, None);
    }

    #[test]
    fn marks_of_probes_come_back_as_their_numbers() {
        for number in [0, 15, 16, 60_001, 1_000_000] {
            assert_eq!(usize::from(arp_sender(number) - ARP_SENDER_FIRST), number % ARP_SENDERS);
            assert_eq!(usize::from(port(number) - PORT_FIRST), number % PORTS);
        }
    }
}
