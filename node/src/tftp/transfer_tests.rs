//! Transfers as scripts: at a time, an event, and the step it must bring.

use super::*;

fn agreed(size: u64, blksize: u16, windowsize: u16) -> Agreed {
    Agreed { size, blksize, windowsize, timeout: None, answer: Some(vec![0, 6]) }
}

fn show(step: &Step) -> String {
    match step {
        Step::Wait => "wait".into(),
        Step::SendAnswer => "answer".into(),
        Step::SendBlocks(range) => format!("send {}-{}", range.start(), range.end()),
        Step::End(outcome, error) => match (outcome, error) {
            (Outcome::Finished { confirmed: true }, None) => "finished".into(),
            (Outcome::Finished { confirmed: false }, None) => "finished unconfirmed".into(),
            (Outcome::Aborted { code, text }, None) => format!("aborted {code} {text}"),
            (other, error) => format!("{other:?} error={}", error.is_some()),
        },
    }
}

/// Runs `script`: lines of `MILLISECONDS EVENT => STEP`, where an event is `new`, `resume ACKED N` (another node's transfer
/// that has come to ACKED at least, continued at `ack N`), `ack N`, `error N TEXT`, `request` (again) or `tick` (the deadline, which must be due exactly then).
fn check(agreed: Agreed, script: &str) -> Transfer {
    let zero = Instant::now();
    let mut started: Option<Transfer> = None;
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (event, expected) = line.split_once(" => ").expect("a step");
        let (at, event) = event.split_once(' ').expect("a time");
        let now = zero + Duration::from_millis(at.parse().expect("milliseconds"));
        let step = if event == "new" {
            let (transfer, step) = Transfer::new(agreed.clone(), now);
            started = Some(transfer);
            step
        } else if let Some(words) = event.strip_prefix("resume ") {
            let (acked, number) = words.split_once(' ').expect("two numbers");
            let (acked, number) = (acked.parse().unwrap(), number.parse().unwrap());
            let (transfer, step) = Transfer::resume(agreed.clone(), acked, number, now).expect("a block of the file");
            started = Some(transfer);
            step
        } else {
            let transfer = started.as_mut().expect("started by `new`");
            let words: Vec<_> = event.splitn(3, ' ').collect();
            match words[..] {
                ["ack", number] => transfer.on_packet(Heard::Ack(number.parse().unwrap()), now),
                ["error", code, text] => {
                    transfer.on_packet(Heard::Error { code: code.parse().unwrap(), text: text.into() }, now)
                }
                ["request"] => transfer.on_request_repeated(now),
                ["tick"] => {
                    let due = transfer.next_deadline().saturating_duration_since(zero);
                    assert_eq!(due.as_millis().to_string(), at, "deadline at: {line}");
                    transfer.on_timeout(now)
                }
                _ => panic!("unknown event: {line}"),
            }
        };
        assert_eq!(show(&step), expected, "{line}");
    }
    started.expect("a script starts with `new`")
}

#[test]
fn a_file_goes_block_by_block_without_options() {
    let plain = Agreed { answer: None, ..agreed(1100, 512, 1) };
    check(
        plain,
        "0 new => send 1-1
         1 ack 1 => send 2-2
         2 ack 2 => send 3-3
         3 ack 3 => finished",
    );
}

#[test]
fn an_option_answer_is_acknowledged_as_block_zero() {
    check(
        agreed(4096, 512, 4),
        "0 new => answer
         1 ack 1 => wait
         2 ack 0 => send 1-4
         3 ack 4 => send 5-8
         4 ack 8 => send 9-9
         5 ack 9 => finished",
    );
}

#[test]
fn empty_files_and_exact_multiples_end_with_an_empty_block() {
    check(
        agreed(0, 512, 1),
        "0 new => answer
         1 ack 0 => send 1-1
         2 ack 1 => finished",
    );
    check(
        agreed(16, 8, 8),
        "0 new => answer
         1 ack 0 => send 1-3
         2 ack 3 => finished",
    );
}

#[test]
fn repeated_acknowledgements_do_not_repeat_blocks() {
    check(
        agreed(2048, 512, 1),
        "0 new => answer
         1 ack 0 => send 1-1
         2 ack 0 => wait
         3 ack 0 => wait
         4 ack 1 => send 2-2
         5 ack 1 => wait
         6 ack 0 => wait
         7 ack 1 => wait
         8 ack 2 => send 3-3",
    );
}

#[test]
fn acknowledgements_of_blocks_never_sent_are_ignored() {
    check(
        agreed(100_000, 512, 4),
        "0 new => answer
         1 ack 0 => send 1-4
         2 ack 5 => wait
         2 ack 65535 => wait
         2 ack 32768 => wait
         3 ack 4 => send 5-8
         4 ack 3 => wait
         5 ack 8 => send 9-12",
    );
}

#[test]
fn a_lost_block_is_repeated_by_the_timer_with_back_off() {
    check(
        agreed(2048, 512, 1),
        "0 new => answer
         10 ack 0 => send 1-1
         510 tick => send 1-1
         1510 tick => send 1-1
         3510 tick => send 1-1
         7510 tick => send 1-1
         8000 ack 1 => send 2-2
         8010 ack 2 => send 3-3
         8510 tick => send 3-3",
    );
}

#[test]
fn the_interval_follows_the_round_trip_and_the_option() {
    check(
        agreed(2048, 512, 1),
        "0 new => answer
         300 ack 0 => send 1-1
         1500 tick => send 1-1",
    );
    let asked = Agreed { timeout: Some(Duration::from_secs(3)), ..agreed(2048, 512, 1) };
    check(
        asked,
        "0 new => answer
         10 ack 0 => send 1-1
         3010 tick => send 1-1
         9010 tick => send 1-1
         17010 tick => send 1-1",
    );
}

#[test]
fn a_block_lost_inside_a_window_costs_one_rewind_whatever_the_client_repeats() {
    check(
        agreed(100_000, 512, 8),
        "0 new => answer
         1 ack 0 => send 1-8
         2 ack 3 => wait
         2 ack 3 => wait
         3 ack 3 => wait
         4 ack 3 => wait
         7 tick => send 4-11
         7 ack 3 => wait
         8 ack 3 => wait
         9 ack 3 => wait
         10 ack 11 => send 12-19",
    );
}

#[test]
fn the_first_block_of_a_window_lost_costs_one_rewind() {
    check(
        agreed(100_000, 512, 4),
        "0 new => answer
         1 ack 0 => send 1-4
         2 ack 4 => send 5-8
         3 ack 4 => wait
         4 ack 4 => wait
         8 tick => send 5-8
         9 ack 4 => wait
         20 ack 4 => wait
         1008 tick => send 5-8",
    );
}

#[test]
fn reordered_packets_are_no_loss() {
    check(
        agreed(100_000, 512, 4),
        "0 new => answer
         1 ack 0 => send 1-4
         2 ack 1 => wait
         3 ack 2 => wait
         4 ack 4 => send 5-8
         5 ack 8 => send 9-12",
    );
}

#[test]
fn a_delayed_acknowledgement_moves_on_once() {
    check(
        agreed(100_000, 512, 4),
        "0 new => answer
         1 ack 0 => send 1-4
         501 tick => send 1-4
         502 ack 4 => send 5-8
         503 ack 4 => wait
         504 ack 8 => send 9-12",
    );
}

#[test]
fn block_numbers_wrap_to_zero() {
    let size = 8 * 70_000;
    let zero = Instant::now();
    let (mut transfer, _) = Transfer::new(agreed(size, 8, 64), zero);
    let mut step = transfer.on_packet(Heard::Ack(0), zero);
    let mut wrapped = false;
    let last = loop {
        let Step::SendBlocks(range) = &step else {
            panic!("no blocks: {step:?}");
        };
        wrapped |= range.contains(&65_536) && range.start() < &65_536;
        let end = *range.end();
        step = transfer.on_packet(Heard::Ack(end as u16), zero);
        if let Step::End(outcome, _) = step {
            assert_eq!(outcome, Outcome::Finished { confirmed: true });
            break end;
        }
    };
    assert_eq!(last, 70_001);
    assert!(wrapped, "no window crossed the wrap");
    assert_eq!(transfer.blocks_sent(), 70_001);
}

#[test]
fn a_gap_at_the_wrap_is_found() {
    let zero = Instant::now();
    let (mut transfer, _) = Transfer::new(agreed(8 * 70_000, 8, 64), zero);
    transfer.on_packet(Heard::Ack(0), zero);
    while transfer.acked() < 65_472 {
        let sent = transfer.acked() + 64;
        transfer.on_packet(Heard::Ack(sent as u16), zero);
    }
    // 65473 to 65536 are out; 65536 is written as 0.
    assert_eq!(transfer.on_packet(Heard::Ack(65_535), zero), Step::Wait);
    let due = transfer.next_deadline();
    assert_eq!(transfer.on_timeout(due), Step::SendBlocks(65_536..=65_599));
    assert_eq!(transfer.on_packet(Heard::Ack(63), due), Step::SendBlocks(65_600..=65_663));
}

#[test]
fn a_size_probe_ends_quietly() {
    check(
        agreed(74_213, 1432, 1),
        "0 new => answer
         1 error 8 User aborted the transfer => Probed error=false",
    );
}

#[test]
fn a_client_may_abort_in_the_middle() {
    check(
        agreed(74_213, 1432, 1),
        "0 new => answer
         1 ack 0 => send 1-1
         2 error 3 disk full => aborted 3 disk full",
    );
}

#[test]
fn a_client_that_never_answers_gets_few_packets() {
    check(
        agreed(74_213, 1432, 64),
        "0 new => answer
         100 request => wait
         400 request => answer
         2400 tick => answer
         2500 request => wait
         6400 tick => answer
         8000 request => wait
         14400 tick => NeverAnswered error=false",
    );
}

#[test]
fn without_options_one_block_goes_out_until_the_first_answer() {
    let plain = Agreed { answer: None, ..agreed(74_213, 512, 1) };
    check(
        plain,
        "0 new => send 1-1
         1000 tick => send 1-1
         3000 tick => send 1-1
         7000 tick => send 1-1
         15000 tick => NeverAnswered error=false",
    );
}

#[test]
fn a_silent_client_is_given_up() {
    check(
        agreed(74_213, 1432, 4),
        "0 new => answer
         1 ack 0 => send 1-4
         501 tick => send 1-4
         1501 tick => send 1-4
         3501 tick => send 1-4
         7501 tick => send 1-4
         15501 tick => send 1-4
         23501 tick => send 1-4
         30001 tick => Silent error=false",
    );
}

#[test]
fn a_client_that_leaves_with_the_last_block_counts_as_served() {
    check(
        agreed(600, 512, 4),
        "0 new => answer
         1 ack 0 => send 1-2
         501 tick => send 1-2
         1501 tick => send 1-2
         3501 tick => send 1-2
         7501 tick => finished unconfirmed",
    );
}

#[test]
fn a_crawling_transfer_meets_the_total_deadline() {
    let zero = Instant::now();
    let (mut transfer, _) = Transfer::new(agreed(1_000_000, 8, 1), zero);
    let total = TOTAL_MAX + Duration::from_secs(1_000_000 / RATE_MIN_BYTES_PER_SECOND);
    let mut now = zero;
    for block in 0.. {
        let step =
            if now >= zero + total { transfer.on_timeout(now) } else { transfer.on_packet(Heard::Ack(block), now) };
        if let Step::End(outcome, error) = step {
            assert_eq!(outcome, Outcome::TooSlow);
            assert!(error.is_some());
            break;
        }
        now += Duration::from_millis(400);
    }
    assert!(now < zero + total + Duration::from_secs(1));
}

#[test]
fn another_nodes_transfer_goes_on_after_the_block_acknowledged() {
    check(
        agreed(5000, 512, 4),
        "
        0 resume 0 3 => send 4-7
        20 ack 7 => send 8-10
        40 ack 10 => finished",
    );
}

#[test]
fn another_nodes_transfer_whose_option_answer_was_acknowledged_begins_with_the_first_block() {
    check(agreed(1100, 512, 1), "0 resume 0 0 => send 1-1");
}

#[test]
fn another_nodes_transfer_that_was_all_but_confirmed_is_over() {
    check(agreed(1100, 512, 1), "0 resume 0 3 => finished");
}

#[test]
fn another_nodes_transfer_repeats_what_is_lost_and_ends_when_the_client_is_silent() {
    let script = "
        0 resume 0 1 => send 2-2
        1000 tick => send 2-2
        3000 tick => send 2-2
        3010 ack 2 => send 3-3";
    check(agreed(1100, 512, 1), script);
}

#[test]
fn the_block_is_found_after_the_numbers_have_come_round() {
    let large = || agreed(200_000 * 512, 512, 1);
    check(large(), "0 resume 65536 5 => send 65542-65542");
    check(large(), "0 resume 65530 3 => send 65540-65540");
    check(large(), "0 resume 131000 131 => send 131204-131204");
}

#[test]
fn a_block_that_the_file_has_not_is_not_continued() {
    let now = Instant::now();
    for (acked, number) in [(0, 4), (0, 65_535), (2, 1)] {
        assert!(Transfer::resume(agreed(1100, 512, 1), acked, number, now).is_none(), "{acked} {number}");
    }
}

#[test]
fn an_acknowledgement_is_for_what_was_sent_or_for_another_nodes_blocks() {
    let transfer = check(agreed(5000, 512, 4), "0 resume 0 3 => send 4-7");
    let (meant, not): (Vec<u16>, Vec<u16>) = (0..12).partition(|number| transfer.is_in_flight(*number));
    assert_eq!((meant, not), (vec![3, 4, 5, 6, 7], vec![0, 1, 2, 8, 9, 10, 11]));
}
