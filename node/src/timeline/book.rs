//! The events of many machines, each list and their number bounded; the clock is the caller's.
//!
//! TFTP and the download of a file name no MAC. They count as the doing of the machine that last spoke from that address,
//! for a while; until somebody does they are kept under the address, apart, so that whoever forges addresses drives out no
//! machine.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use raft::types::{Mac, Timestamp};
use serde::{Deserialize, Serialize};

/// Events kept of one machine: several boots.
pub const EVENTS_MAX: usize = 64;
/// Machines remembered; the one that has been silent longest goes. All lists full, each text as long as it may be: about 80 MB.
pub const MACHINES_MAX: usize = 4096;
/// Addresses remembered of which no machine is known.
const STRANGERS_MAX: usize = 1024;
/// How long a detail may be, in characters: a template's complaint with its place.
pub const DETAIL_CHARS_MAX: usize = 200;
/// An event that equals one of so many before it is counted there: a machine in a loop repeats some steps, not one.
const REPEATED_AMONG: usize = 4;
/// Unless that one was longer ago than this: then the machine was started again.
const REPEATED_WITHIN: Duration = Duration::from_mins(5);
/// How long an address stands for the machine that spoke from it last; a lease may be another's after that.
const HOME_FOR: Duration = Duration::from_mins(10);

/// Whose doing something is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Who<'a> {
    /// The card that was named, if one was.
    pub mac: Option<&'a Mac>,
    /// Where it was said from, if that is known.
    pub address: Option<IpAddr>,
}

/// One thing that a machine did, or was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, for the first time, in milliseconds since 1970 by the clock of the node.
    pub at: Timestamp,
    /// When for the last time.
    pub last: Timestamp,
    /// How often.
    pub times: u64,
    /// What it was, in one word: `script`, `refused`.
    pub what: Cow<'static, str>,
    /// Of what, or why; printable, and at most [`DETAIL_CHARS_MAX`] characters.
    pub detail: String,
}

/// One machine in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Brief {
    /// The card.
    pub machine: Mac,
    /// When it did something last.
    pub last: Timestamp,
    /// What that was.
    pub last_what: String,
    /// How often it did what.
    pub what: BTreeMap<String, u64>,
}

/// What this node has noted.
#[derive(Debug)]
pub(super) struct Book {
    machines: Lines<Mac>,
    strangers: Lines<IpAddr>,
    /// Who spoke last from an address, and when; only of machines that are remembered, one address each.
    homes: HashMap<IpAddr, (Mac, Timestamp)>,
    home_of: HashMap<Mac, IpAddr>,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            machines: Lines::new(MACHINES_MAX),
            strangers: Lines::new(STRANGERS_MAX),
            homes: HashMap::new(),
            home_of: HashMap::new(),
        }
    }
}

impl Book {
    pub(super) fn note(&mut self, who: Who<'_>, what: &'static str, detail: &str, now: Timestamp) {
        if let (Some(mac), Some(address)) = (who.mac, who.address) {
            self.met(mac, address, now);
        }
        let detail = printable(detail);
        match (who.mac.cloned().or_else(|| self.at_home(who.address?, now)), who.address) {
            (Some(mac), _) => add(self.line(&mac), what, detail, now),
            (None, Some(address)) => add(self.strangers.line(&address), what, detail, now),
            (None, None) => {}
        }
    }

    pub(super) fn met(&mut self, mac: &Mac, address: IpAddr, now: Timestamp) {
        if self.home_of.get(mac) != Some(&address) {
            self.leave(mac);
            self.home_of.insert(mac.clone(), address);
        }
        if let Some((before, _)) = self.homes.insert(address, (mac.clone(), now))
            && before != *mac
        {
            self.home_of.remove(&before);
        }
        let earlier = self.strangers.take(&address);
        let line = self.line(mac);
        if earlier.back().is_some_and(|event| since(event.last, now) <= HOME_FOR) {
            line.extend(earlier);
            line.make_contiguous().sort_by_key(|event| event.at);
            while line.len() > EVENTS_MAX {
                line.pop_front();
            }
        }
    }

    /// The events of a machine with these cards and this address, in the order in which they began; the last
    /// [`EVENTS_MAX`] of them.
    pub(super) fn of(&self, macs: &[Mac], address: Option<IpAddr>) -> Vec<Event> {
        let stranger = address.and_then(|address| self.strangers.get(&address));
        let mut events: Vec<Event> =
            macs.iter().filter_map(|mac| self.machines.get(mac)).chain(stranger).flatten().cloned().collect();
        events.sort_by_key(|event| event.at);
        events.drain(..events.len().saturating_sub(EVENTS_MAX));
        events
    }

    /// Every machine in the order of its MAC.
    pub(super) fn summary(&self) -> Vec<Brief> {
        let brief = |(mac, (_, line)): (&Mac, &(u64, VecDeque<Event>))| {
            let last = line.iter().max_by_key(|event| event.last)?;
            let what: BTreeMap<String, u64> = line.iter().fold(BTreeMap::new(), |mut counts, event| {
                *counts.entry(event.what.to_string()).or_default() += event.times;
                counts
            });
            Some(Brief { machine: mac.clone(), last: last.last, last_what: last.what.to_string(), what })
        };
        let mut all: Vec<Brief> = self.machines.lines.iter().filter_map(brief).collect();
        all.sort_by(|one, other| one.machine.cmp(&other.machine));
        all
    }

    /// The machine that spoke from there not long ago. That it goes on there says that it still has the address.
    fn at_home(&mut self, address: IpAddr, now: Timestamp) -> Option<Mac> {
        let (mac, at) = self.homes.get_mut(&address)?;
        if since(*at, now) > HOME_FOR {
            return None;
        }
        *at = now;
        Some(mac.clone())
    }

    fn line(&mut self, mac: &Mac) -> &mut VecDeque<Event> {
        if self.machines.get(mac).is_none()
            && let Some(gone) = self.machines.make_room()
        {
            self.leave(&gone);
        }
        self.machines.line(mac)
    }

    /// A machine is no longer where it was.
    fn leave(&mut self, mac: &Mac) {
        let Some(address) = self.home_of.remove(mac) else { return };
        if self.homes.get(&address).is_some_and(|(lives, _)| lives == mac) {
            self.homes.remove(&address);
        }
    }
}

/// Adds an event, or counts it.
fn add(line: &mut VecDeque<Event>, what: &'static str, detail: String, now: Timestamp) {
    let same = line
        .iter_mut()
        .rev()
        .take(REPEATED_AMONG)
        .find(|event| event.what == what && event.detail == detail && since(event.last, now) <= REPEATED_WITHIN);
    if let Some(event) = same {
        event.times = event.times.saturating_add(1);
        event.last = event.last.max(now);
        return;
    }
    if line.len() >= EVENTS_MAX {
        line.pop_front();
    }
    line.push_back(Event { at: now, last: now, times: 1, what: Cow::Borrowed(what), detail });
}

/// None at all if the clock was set back.
fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::from_millis(now.0.saturating_sub(then.0))
}

/// One line of text that moves no cursor, cut to a length.
fn printable(text: &str) -> String {
    let text = text.trim();
    let cut = text.chars().nth(DETAIL_CHARS_MAX).is_some().then_some('…');
    let kept = text.chars().take(DETAIL_CHARS_MAX - usize::from(cut.is_some()));
    let plain = kept.map(|letter| match letter {
        '"' | '\'' | '\\' => letter,
        _ if letter.is_whitespace() => ' ',
        _ if letter.escape_debug().len() > 1 => char::REPLACEMENT_CHARACTER,
        _ => letter,
    });
    plain.chain(cut).collect()
}

/// Lists by key, of which the one that was silent longest is dropped.
#[derive(Debug)]
struct Lines<K> {
    most: usize,
    /// With the turn in which it was written last.
    lines: HashMap<K, (u64, VecDeque<Event>)>,
    by_turn: BTreeMap<u64, K>,
    turn: u64,
}

impl<K: Clone + Eq + Hash> Lines<K> {
    fn new(most: usize) -> Self {
        Self { most, lines: HashMap::new(), by_turn: BTreeMap::new(), turn: 0 }
    }

    fn get(&self, key: &K) -> Option<&VecDeque<Event>> {
        self.lines.get(key).map(|(_, line)| line)
    }

    /// The list of a key, to write into.
    fn line(&mut self, key: &K) -> &mut VecDeque<Event> {
        if !self.lines.contains_key(key) {
            self.make_room();
        }
        self.turn += 1;
        let (turn, line) = self.lines.entry(key.clone()).or_default();
        self.by_turn.remove(turn);
        *turn = self.turn;
        self.by_turn.insert(self.turn, key.clone());
        line
    }

    /// Drops the list that was silent longest if there is no room for another; answers whose it was.
    fn make_room(&mut self) -> Option<K> {
        if self.lines.len() < self.most {
            return None;
        }
        let (_, key) = self.by_turn.pop_first()?;
        self.lines.remove(&key);
        Some(key)
    }

    fn take(&mut self, key: &K) -> VecDeque<Event> {
        let Some((turn, line)) = self.lines.remove(key) else { return VecDeque::new() };
        self.by_turn.remove(&turn);
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: [u8; 4] = [10, 0, 0, 1];
    const MINUTE: u64 = 60_000;

    fn mac(number: usize) -> Mac {
        let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
        Mac::ethernet([2, 0, 0, 0, high, low])
    }

    fn named(mac: &Mac) -> Who<'_> {
        Who { mac: Some(mac), address: None }
    }

    fn from(address: impl Into<IpAddr>) -> Who<'static> {
        Who { mac: None, address: Some(address.into()) }
    }

    fn note(book: &mut Book, who: Who<'_>, what: &'static str, at: u64) {
        book.note(who, what, "", Timestamp(at));
    }

    /// What a machine did, in order, with how often if it was more than once.
    fn of(book: &Book, number: usize) -> String {
        words(&book.of(&[mac(number)], None))
    }

    fn words(events: &[Event]) -> String {
        let word = |event: &Event| match event.times {
            1 => event.what.to_string(),
            times => format!("{}*{times}", event.what),
        };
        events.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn events_are_told_in_order_and_the_oldest_go() {
        let mut book = Book::default();
        let details: Vec<String> = (0..EVENTS_MAX + 10).map(|at| at.to_string()).collect();
        for (at, detail) in (1..).zip(&details) {
            book.note(named(&mac(1)), "asset", detail, Timestamp(at));
        }
        let told: Vec<String> = book.of(&[mac(1)], None).into_iter().map(|event| event.detail).collect();
        assert_eq!(told, details[10..]);
        assert_eq!(of(&book, 2), "");
    }

    #[test]
    fn what_is_repeated_is_counted_even_within_a_loop_of_some_steps() {
        let mut book = Book::default();
        for round in 0..20 {
            for (step, what) in (0..).zip(["dhcp_answered", "tftp_sent", "script", "refused"]) {
                note(&mut book, named(&mac(1)), what, 1000 + round * 4000 + step);
            }
        }
        assert_eq!(of(&book, 1), "dhcp_answered*20 tftp_sent*20 script*20 refused*20");
        let refused = &book.of(&[mac(1)], None)[3];
        assert_eq!((refused.at, refused.last), (Timestamp(1003), Timestamp(77_003)));
        book.note(named(&mac(1)), "refused", "for another reason", Timestamp(77_004));
        note(&mut book, named(&mac(1)), "script", 77_000 + 6 * MINUTE);
        assert_eq!(
            of(&book, 1),
            "dhcp_answered*20 tftp_sent*20 script*20 refused*20 refused script",
            "another detail is another event, and long after it is another boot"
        );
    }

    #[test]
    fn the_machine_that_was_silent_longest_goes() {
        let mut book = Book::default();
        for number in 0..MACHINES_MAX {
            let address = IpAddr::from(u32::try_from(number).unwrap().to_be_bytes());
            let mac = mac(number);
            note(&mut book, Who { mac: Some(&mac), address: Some(address) }, "held", 1);
        }
        note(&mut book, named(&mac(0)), "script", 2);
        note(&mut book, named(&mac(MACHINES_MAX)), "held", 3);
        assert_eq!((of(&book, 0), of(&book, 1)), ("held script".into(), String::new()));
        assert_eq!(of(&book, MACHINES_MAX), "held");
        assert_eq!(book.machines.lines.len(), MACHINES_MAX);
        assert_eq!(book.machines.by_turn.len(), MACHINES_MAX);
        assert_eq!((book.homes.len(), book.home_of.len()), (MACHINES_MAX - 1, MACHINES_MAX - 1));
        for number in 0..u32::try_from(2 * STRANGERS_MAX).unwrap() {
            note(&mut book, from((number | 1 << 30).to_be_bytes()), "asset", 4);
        }
        assert_eq!(book.strangers.lines.len(), STRANGERS_MAX);
        assert_eq!(of(&book, 0), "held script", "forged addresses drive out no machine");
    }

    #[test]
    fn what_names_no_mac_is_the_doing_of_who_last_spoke_from_there() {
        let (mut book, one, two) = (Book::default(), mac(1), mac(2));
        note(&mut book, from(ONE), "tftp_sent", 1000);
        note(&mut book, Who { mac: Some(&one), ..from(ONE) }, "script", 2000);
        note(&mut book, from(ONE), "asset", 3000);
        assert_eq!(of(&book, 1), "tftp_sent script asset", "also what it did just before it said who it is");
        book.met(&two, ONE.into(), Timestamp(4000));
        note(&mut book, from(ONE), "loader", 5000);
        assert_eq!((of(&book, 1), of(&book, 2)), ("tftp_sent script asset".into(), "loader".into()));
        note(&mut book, from(ONE), "refused", 5000 + 11 * MINUTE);
        assert_eq!(of(&book, 2), "loader", "the address may be another's by now");
        assert_eq!(words(&book.of(&[mac(2)], Some(ONE.into()))), "loader refused", "unless the reader knows better");
        note(&mut book, Who { mac: Some(&one), ..from(ONE) }, "held", 5000 + 40 * MINUTE);
        assert_eq!(of(&book, 1), "tftp_sent script asset held", "what is long past is nobody's");
    }

    #[test]
    fn the_cards_of_one_machine_are_told_together() {
        let mut book = Book::default();
        note(&mut book, named(&mac(2)), "script", 2);
        note(&mut book, named(&mac(1)), "dhcp_silent", 1);
        note(&mut book, named(&mac(1)), "held", 3);
        assert_eq!(words(&book.of(&[mac(1), mac(2)], None)), "dhcp_silent script held");
    }

    #[test]
    fn in_short_a_machine_has_no_details() {
        let mut book = Book::default();
        book.note(named(&mac(2)), "config", "generic secret-name", Timestamp(5));
        note(&mut book, named(&mac(1)), "script", 1);
        note(&mut book, named(&mac(1)), "script", 3);
        note(&mut book, named(&mac(1)), "refused", 2);
        let all = book.summary();
        assert_eq!(all.iter().map(|brief| brief.machine.clone()).collect::<Vec<_>>(), [mac(1), mac(2)]);
        assert_eq!((all[0].last, all[0].last_what.as_str(), all[0].what["script"]), (Timestamp(3), "script", 2));
        assert!(!serde_json::to_string(&all).unwrap().contains("secret-name"));
    }

    #[test]
    fn details_are_short_and_printable() {
        for (detail, want) in [
            (" template \"a\": it\'s \\d\n  bad\n", "template \"a\": it\'s \\d   bad"),
            ("\u{1b}[2J\u{202e}ü\0", "\u{fffd}[2J\u{fffd}ü\u{fffd}"),
        ] {
            assert_eq!(printable(detail), want);
        }
        assert_eq!(printable(&"ü".repeat(DETAIL_CHARS_MAX)), "ü".repeat(DETAIL_CHARS_MAX));
        assert_eq!(printable(&"ü".repeat(9000)), format!("{}…", "ü".repeat(DETAIL_CHARS_MAX - 1)));
    }
}
