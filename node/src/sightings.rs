//! Gathers what machines say about themselves into replicated machine records, a few writes at a time.
//!
//! Protocol servers hand over every observation without waiting; one worker compares it with what the cluster already
//! knows and proposes only news: a new machine, a changed fact, or a last-seen time older than the reporting interval.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use raft::Cluster;
use raft::command::{Command, Edit};
use raft::state::{Machine, Sighting, State};
use raft::types::{Digest, Mac, Timestamp};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// Observations waiting for the worker; beyond it they are dropped, the machine will be seen again.
const WAITING_MAX: usize = 4096;
/// Machines reported in one command.
const REPORT_MAX: usize = 256;
/// How long observations are gathered before they are proposed.
const GATHER: Duration = Duration::from_millis(500);
/// How old a last-seen time may become before a mere repetition is written.
const REFRESH: Duration = Duration::from_mins(5);

/// Where protocol servers hand over what they saw.
#[derive(Debug, Clone)]
pub struct Sightings {
    sender: mpsc::Sender<Sighting>,
}

/// The worker's end.
#[derive(Debug)]
pub struct Reporter {
    receiver: mpsc::Receiver<Sighting>,
}

/// A connected pair.
#[must_use]
pub fn channel() -> (Sightings, Reporter) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (Sightings { sender }, Reporter { receiver })
}

impl Sightings {
    /// Hands over one observation; never waits.
    pub fn seen(&self, sighting: Sighting) {
        if self.sender.try_send(sighting).is_err() {
            debug!("too many machines are seen at once; one observation was dropped");
        }
    }
}

/// The wall clock, in milliseconds since 1970.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl Reporter {
    /// Works until told to stop.
    pub async fn run(mut self, cluster: Cluster, stop: CancellationToken) {
        while let Some(Some(first)) = stop.run_until_cancelled(self.receiver.recv()).await {
            if stop.run_until_cancelled(tokio::time::sleep(GATHER)).await.is_none() {
                return;
            }
            let news = self.gather(first, &cluster.read());
            if !news.is_empty() {
                report(&cluster, news).await;
            }
        }
    }

    /// The first observation and those that arrived since, one per card, without what is known already.
    fn gather(&mut self, first: Sighting, state: &State) -> Vec<Sighting> {
        let mut news: BTreeMap<Mac, Sighting> = BTreeMap::new();
        let mut next = Some(first);
        while let Some(sighting) = next {
            let known = state.machine(&sighting.mac);
            if known.is_none_or(|machine| is_news(machine, &sighting)) {
                merge(&mut news, sighting);
            }
            next = if news.len() < REPORT_MAX { self.receiver.try_recv().ok() } else { None };
        }
        news.into_values().collect()
    }
}

async fn report(cluster: &Cluster, news: Vec<Sighting>) {
    let state = cluster.read();
    for sighting in news.iter().filter(|sighting| state.machine(&sighting.mac).is_none()) {
        info!(mac = %sighting.mac, uuid = sighting.uuid, arch = sighting.arch, address = sighting.address, "a machine was seen for the first time");
    }
    let command = Command {
        actor: "node".into(),
        at: now(),
        idempotency_key: String::new(),
        fingerprint: Digest([0; 32]),
        edits: vec![Edit::Sightings(news).into()],
        replace: Vec::new(),
        allow_ties: false,
    };
    // Losing a report costs nothing: the machine will be seen again.
    if let Err(error) = cluster.propose(command).await {
        warn!(%error, "machines seen could not be recorded");
    }
}

fn is_news(machine: &Machine, sighting: &Sighting) -> bool {
    let differs = |known: &str, said: &str| !said.is_empty() && said != known;
    differs(&machine.uuid, &sighting.uuid)
        || differs(&machine.serial, &sighting.serial)
        || differs(&machine.arch, &sighting.arch)
        || differs(&machine.address, &sighting.address)
        || Duration::from_millis(sighting.at.0.saturating_sub(machine.last_seen.0)) > REFRESH
}

/// Keeps one sighting a card: the latest, with what only an earlier one said.
fn merge(news: &mut BTreeMap<Mac, Sighting>, mut latest: Sighting) {
    if let Some(earlier) = news.remove(&latest.mac) {
        for (field, before) in [
            (&mut latest.uuid, earlier.uuid),
            (&mut latest.serial, earlier.serial),
            (&mut latest.arch, earlier.arch),
            (&mut latest.address, earlier.address),
        ] {
            if field.is_empty() {
                *field = before;
            }
        }
    }
    news.insert(latest.mac.clone(), latest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sighting(mac: u8, uuid: &str, at: u64) -> Sighting {
        Sighting {
            mac: Mac::ethernet([2, 0, 0, 0, 0, mac]),
            uuid: uuid.into(),
            serial: String::new(),
            arch: String::new(),
            address: String::new(),
            at: Timestamp(at),
        }
    }

    fn known(sightings: Vec<Sighting>) -> State {
        let mut state = State::default();
        let command = Command {
            actor: "node".into(),
            at: Timestamp(1),
            idempotency_key: String::new(),
            fingerprint: Digest([0; 32]),
            edits: vec![Edit::Sightings(sightings).into()],
            replace: Vec::new(),
            allow_ties: false,
        };
        state.apply(raft::types::LogIndex(1), &command);
        state
    }

    #[test]
    fn what_is_known_already_is_not_written_again() {
        let (_sightings, mut reporter) = channel();
        let state = known(vec![sighting(1, "u", 1000)]);
        assert_eq!(reporter.gather(sighting(1, "u", 2000), &state), []);
        assert_eq!(reporter.gather(sighting(1, "", 2000), &state), []);
        assert_eq!(reporter.gather(sighting(1, "v", 2000), &state).len(), 1);
        assert_eq!(reporter.gather(sighting(2, "u", 2000), &state).len(), 1);
        assert_eq!(reporter.gather(sighting(1, "u", 1000 + 301_000), &state).len(), 1);
    }

    #[test]
    fn observations_of_one_card_are_merged() {
        let (sightings, mut reporter) = channel();
        sightings.seen(sighting(1, "", 30));
        let news = reporter.gather(sighting(1, "u", 20), &State::default());
        assert_eq!(news, [sighting(1, "u", 30)]);
    }

    #[test]
    fn a_flood_is_dropped_beyond_the_bound_and_reported_in_pieces() {
        let (sightings, mut reporter) = channel();
        for at in 0..2 * WAITING_MAX {
            let [high, low] = u16::try_from(at).expect("a small number").to_be_bytes();
            let mac = Mac::ethernet([2, 0, 0, 0, high, low]);
            sightings.seen(Sighting { mac, ..sighting(0, "", 1) });
        }
        let news = reporter.gather(sighting(0, "", 1), &State::default());
        assert_eq!(news.len(), REPORT_MAX);
        assert_eq!(reporter.receiver.len(), WAITING_MAX - REPORT_MAX);
    }
}
