//! What a record of probes and answers proves: how long nobody answered, and whether two did at once. Pure.
//!
//! **Outage** of a path: the longest time between the sendings of two probes that were answered, with none answered between.
//! A node's **tenure**: its answers over all paths, none more than [`TENURE_GAP`] apart by the sending of their probes; it lasts
//! from the sending of its first probe to the arrival of its last answer, so a late answer (a packet that waited in a frozen
//! process) prolongs it. **Two responders**: every probing instant that lies in the tenures of two nodes, and at least one where
//! two tenures touch at all.

use super::frames::Path;
use crate::mac::Mac;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

/// Silence of one node that ends its tenure: no two handovers follow each other faster.
pub const TENURE_GAP: Duration = Duration::from_millis(150);
/// A round in which the observer paused longer proves nothing.
pub const PAUSE_MAX: Duration = Duration::from_millis(30);

/// One answered probe. Times are since the observer began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What was asked.
    pub path: Path,
    /// When the probe was sent.
    pub sent: Duration,
    /// When the answer arrived.
    pub received: Duration,
    /// Who answered.
    pub who: Mac,
}

/// What an observer saw.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// When each round of probes was sent, in order.
    pub sendings: Vec<Duration>,
    /// All answers, in order of arrival.
    pub answers: Vec<Answer>,
}

/// A time when two nodes answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// Whose tenure began first.
    pub first: Mac,
    /// Who answered as well.
    pub second: Mac,
    /// From when to when.
    pub span: Range<Duration>,
    /// Probing instants in it.
    pub instants: usize,
}

/// One uninterrupted time of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// The node.
    pub who: Mac,
    /// The sending of the first probe it answered.
    pub begin: Duration,
    /// The sending of the last probe it answered.
    pub last_sent: Duration,
    /// The arrival of its last answer.
    pub end: Duration,
}

/// What the record proves about a window of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The longest silence of each path.
    pub silences: BTreeMap<Path, Range<Duration>>,
    /// All tenures, in order.
    pub tenures: Vec<Tenure>,
    /// All times with two responders.
    pub overlaps: Vec<Overlap>,
    /// The longest pause of the observer itself.
    pub paused: Duration,
}

impl Verdict {
    /// The longest silence of any path: what a client that needs the worst one saw.
    #[must_use]
    pub fn outage(&self) -> Duration {
        self.silences.values().map(length).max().unwrap_or_default()
    }

    /// The longest silence of one path.
    #[must_use]
    pub fn silence(&self, path: Path) -> Duration {
        self.silences.get(&path).map(length).unwrap_or_default()
    }

    /// Probing instants with two responders.
    #[must_use]
    pub fn two_responders(&self) -> usize {
        self.overlaps.iter().map(|overlap| overlap.instants).sum()
    }

    /// The most nodes that answered at one time.
    #[must_use]
    pub fn holders_max(&self) -> usize {
        let at = |time: Duration| self.tenures.iter().filter(|t| t.begin <= time && time <= t.end).count();
        self.tenures.iter().map(|tenure| at(tenure.begin)).max().unwrap_or(0)
    }

    /// Whether the observer paused so long that this proves nothing.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.paused > PAUSE_MAX
    }

    /// When another node than `old` first answered after `fault`, counted from `fault`.
    #[must_use]
    pub fn takeover(&self, old: Mac, fault: Duration) -> Option<Duration> {
        let new = self.tenures.iter().find(|tenure| tenure.who != old && tenure.begin >= fault)?;
        Some(new.begin - fault)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |path| self.silence(path).as_millis();
        write!(
            f,
            "outage_ms={} (arp {}, udp {}, tcp {}) holders_max={} two_responders={} observer_paused_ms={}",
            self.outage().as_millis(),
            ms(Path::Arp),
            ms(Path::Udp),
            ms(Path::Tcp),
            self.holders_max(),
            self.two_responders(),
            self.paused.as_millis()
        )?;
        for tenure in &self.tenures {
            write!(
                f,
                "\n  {} from {:.3} s to {:.3} s",
                tenure.who,
                tenure.begin.as_secs_f64(),
                tenure.end.as_secs_f64()
            )?;
        }
        for overlap in &self.overlaps {
            let (from, to) = (overlap.span.start.as_secs_f64(), overlap.span.end.as_secs_f64());
            write!(f, "\n  BOTH {} and {} from {from:.3} s to {to:.3} s", overlap.first, overlap.second)?;
        }
        Ok(())
    }
}

fn length(span: &Range<Duration>) -> Duration {
    span.end.saturating_sub(span.start)
}

/// Judges the probes sent within `window` and all answers to them, whenever those came.
#[must_use]
pub fn judge(record: &Record, window: &Range<Duration>) -> Verdict {
    let from = record.sendings.partition_point(|sent| *sent < window.start);
    let to = record.sendings.partition_point(|sent| *sent < window.end);
    let sendings = &record.sendings[from..to];
    let mut answers: Vec<Answer> = record.answers.iter().filter(|a| window.contains(&a.sent)).copied().collect();
    answers.sort_by_key(|answer| (answer.sent, answer.received));
    let tenures = tenures(&answers);
    Verdict {
        silences: Path::ALL.into_iter().map(|path| (path, silence(&answers, path, window))).collect(),
        overlaps: overlaps(&tenures, sendings),
        tenures,
        paused: sendings.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(window.end - window.start),
    }
}

/// The edges of the window count as answered: a silence that reaches one is at least as long as what is seen of it.
fn silence(answers: &[Answer], path: Path, window: &Range<Duration>) -> Range<Duration> {
    let answered = answers.iter().filter(|answer| answer.path == path).map(|answer| answer.sent);
    let mut longest = window.start..window.start;
    let mut last = window.start;
    for sent in answered.chain([window.end]) {
        if sent.saturating_sub(last) > length(&longest) {
            longest = last..sent;
        }
        last = sent;
    }
    longest
}

fn tenures(answers: &[Answer]) -> Vec<Tenure> {
    let mut tenures: Vec<Tenure> = Vec::new();
    for answer in answers {
        let open = tenures.iter_mut().rev().find(|tenure| tenure.who == answer.who);
        match open {
            Some(tenure) if answer.sent - tenure.last_sent <= TENURE_GAP => {
                tenure.last_sent = answer.sent;
                tenure.end = tenure.end.max(answer.received);
            }
            _ => tenures.push(Tenure {
                who: answer.who,
                begin: answer.sent,
                last_sent: answer.sent,
                end: answer.received,
            }),
        }
    }
    tenures
}

fn overlaps(tenures: &[Tenure], sendings: &[Duration]) -> Vec<Overlap> {
    let mut overlaps = Vec::new();
    for (at, first) in tenures.iter().enumerate() {
        for second in &tenures[at + 1..] {
            let (start, end) = (first.begin.max(second.begin), first.end.min(second.end));
            if first.who != second.who && start <= end {
                let inside = sendings.iter().filter(|sent| (start..=end).contains(sent)).count();
                overlaps.push(Overlap {
                    first: first.who,
                    second: second.who,
                    span: start..end,
                    instants: inside.max(1),
                });
            }
        }
    }
    overlaps
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
