//! Records as text and what is concluded from them.

use super::*;

const A: Mac = Mac([2, 0, 0, 0, 0, 0xa]);
const B: Mac = Mac([2, 0, 0, 0, 0, 0xb]);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A line per sort of answer: who, `first..last` probe in milliseconds, how much later the answers came.
fn record(length: u64, lines: &[(Mac, Range<u64>, u64)]) -> Record {
    let sendings: Vec<Duration> = (0..length).step_by(10).map(ms).collect();
    let mut answers = Vec::new();
    for (who, probes, delay) in lines {
        for sent in sendings.iter().filter(|sent| (ms(probes.start)..ms(probes.end)).contains(sent)) {
            for path in Path::ALL {
                answers.push(Answer { path, sent: *sent, received: *sent + ms(*delay), who: *who });
            }
        }
    }
    answers.sort_by_key(|answer| answer.received);
    Record { sendings, answers }
}

#[track_caller]
fn check(lines: &[(Mac, Range<u64>, u64)], outage: u64, holders: usize, two: usize) -> Verdict {
    let record = record(3_000, lines);
    let verdict = judge(&record, &(ms(0)..ms(3_000)));
    let found = (verdict.outage(), verdict.holders_max(), verdict.two_responders());
    assert_eq!(found, (ms(outage), holders, two), "{verdict}");
    verdict
}

#[test]
fn one_holder_all_the_time() {
    check(&[(A, 0..3_000, 1)], 10, 1, 0);
}

#[test]
fn a_clean_failover_is_an_outage_and_nothing_else() {
    let verdict = check(&[(A, 0..1_000, 1), (B, 1_600..3_000, 1)], 610, 1, 0);
    assert_eq!(verdict.takeover(A, ms(1_005)), Some(ms(595)));
    assert_eq!(verdict.takeover(B, ms(1_005)), None);
}

#[test]
fn silence_at_the_end_of_the_window_counts() {
    check(&[(A, 0..1_000, 1)], 2_010, 1, 0);
    check(&[], 3_000, 0, 0);
}

#[test]
fn one_probe_that_two_nodes_answered_is_enough() {
    check(&[(A, 0..1_010, 1), (B, 1_000..3_000, 1)], 10, 2, 1);
}

#[test]
fn two_holders_for_ever_are_counted_for_ever() {
    check(&[(A, 0..3_000, 1), (B, 1_000..3_000, 1)], 10, 2, 200);
}

#[test]
fn answers_in_turns_are_two_holders_although_no_probe_was_answered_twice() {
    let mut lines = vec![(A, 0..1_000, 1)];
    for at in (1_000..1_200).step_by(20) {
        lines.push((B, at..at + 10, 1));
        lines.push((A, at + 10..at + 20, 1));
    }
    lines.push((A, 1_200..3_000, 1));
    check(&lines, 10, 2, 19);
}

#[test]
fn an_answer_that_waited_in_a_frozen_process_is_a_second_responder() {
    // A is frozen at 1 000; its last question is answered 700 ms later, when B already answers.
    let lines = [(A, 0..1_000, 1), (A, 1_000..1_010, 700), (B, 1_600..3_000, 1)];
    check(&lines, 600, 2, 11);
}

#[test]
fn a_holder_that_was_silent_and_came_back_without_another_between_is_no_overlap() {
    check(&[(A, 0..1_000, 1), (A, 1_500..3_000, 1)], 510, 1, 0);
    check(&[(A, 0..1_000, 1), (B, 1_500..2_000, 1), (A, 2_300..3_000, 1)], 510, 1, 0);
}

#[test]
fn the_worst_path_decides() {
    let mut record = record(3_000, &[(A, 0..3_000, 1)]);
    record.answers.retain(|answer| answer.path != Path::Udp || !(ms(500)..ms(800)).contains(&answer.sent));
    let verdict = judge(&record, &(ms(0)..ms(3_000)));
    assert_eq!(verdict.outage(), ms(310));
    assert_eq!((verdict.silence(Path::Arp), verdict.silence(Path::Udp)), (ms(10), ms(310)));
}

#[test]
fn a_pause_of_the_observer_makes_the_window_void_and_no_other() {
    let mut record = record(3_000, &[(A, 0..3_000, 1)]);
    record.sendings.retain(|sent| !(ms(1_000)..ms(1_030)).contains(sent));
    assert!(judge(&record, &(ms(0)..ms(3_000))).is_void());
    assert!(!judge(&record, &(ms(1_500)..ms(3_000))).is_void());
    assert!(judge(&Record::default(), &(ms(0)..ms(3_000))).is_void(), "an observer that did nothing saw nothing");
}
