//! Clients that change replicated objects through any node and remember what they were told.
//!
//! No two writers write one object, and none writes an object again whose last write may or may not have happened, so what must
//! be there afterwards is known without guessing: what was acknowledged last, or an unknown write after it.

mod ledger;

use crate::admin::{Admin, Outcome};
use crate::netns;
use crate::wait::{pace, until};
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use ledger::{Fate, Tally, Violation, check, percentile};

/// The kind of object written: small, and nothing depends on it.
const KIND: &str = "profiles";
/// How often a write with an unknown outcome is sent again, with the same idempotency key, to the next node.
const REPEATS_MAX: usize = 3;
/// Pause after a refusal: a cluster without a leader is not helped by thousands of questions.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);
/// Violations that an error message lists.
const LISTED_MAX: usize = 20;

static RUNS: AtomicU32 = AtomicU32::new(0);

/// How to write.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Clients at once.
    pub writers: usize,
    /// Writes a second of all together; `None` for as fast as they are answered.
    pub per_second: Option<u32>,
    /// Whether unknown outcomes are asked for again; one that is acknowledged then must be there once.
    pub repeat_unknown: bool,
    /// Whether each write makes a new object; otherwise a writer changes its own one, and the state does not grow.
    pub new_objects: bool,
}

impl Plan {
    /// What runs beside every fault: a few writers, each write a new object.
    pub const BESIDE: Self = Self { writers: 8, per_second: Some(80), repeat_unknown: true, new_objects: true };

    /// As many writes as `writers` get answered, without growth.
    #[must_use]
    pub fn full(writers: usize) -> Self {
        Self { writers, per_second: None, repeat_unknown: false, new_objects: false }
    }
}

/// Running writers; they end when this value goes.
pub struct Writers {
    admin: Admin,
    prefix: String,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<Memory>>>,
    began: Instant,
}

/// What ended writers remember.
pub struct History {
    admin: Admin,
    prefix: String,
    /// Every object.
    pub fates: Vec<Fate>,
    tally: Tally,
    latencies: Vec<Duration>,
    /// From first to last.
    pub lasted: Duration,
}

impl Writers {
    /// Starts writing through `nodes`, each writer at another one first.
    ///
    /// # Errors
    /// When threads cannot be made.
    pub fn start(admin: &Admin, nodes: &[Ipv4Addr], plan: Plan) -> Result<Self> {
        let prefix = format!("lab-{}-", RUNS.fetch_add(1, Ordering::Relaxed));
        let stop = Arc::new(AtomicBool::new(false));
        let began = Instant::now();
        let mut own = Self { admin: admin.clone(), prefix, stop, threads: Vec::with_capacity(plan.writers), began };
        for number in 0..plan.writers {
            let writer = Writer {
                admin: admin.clone(),
                nodes: nodes.to_vec(),
                at: number % nodes.len(),
                name: format!("{}{number}-", own.prefix),
                plan,
                began,
            };
            let stop = own.stop.clone();
            let work = move || Ok(writer.run(&stop));
            own.threads.push(netns::spawn(&format!("writer-{number}"), admin.netns(), work)?);
        }
        Ok(own)
    }

    /// Ends them and answers what they remember.
    ///
    /// # Errors
    /// When a writer failed by itself.
    pub fn stop(mut self) -> Result<History> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Memory::default();
        for thread in self.threads.drain(..) {
            let one = netns::join(thread)?;
            all.fates.extend(one.fates);
            all.tally.add(one.tally);
            all.latencies.extend(one.latencies);
        }
        all.latencies.sort_unstable();
        let Memory { fates, tally, latencies } = all;
        let lasted = self.began.elapsed();
        Ok(History { admin: self.admin.clone(), prefix: self.prefix.clone(), fates, tally, latencies, lasted })
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // Nobody asked what they remember.
            let _ = thread.join();
        }
    }
}

/// What one writer remembers.
#[derive(Default)]
struct Memory {
    fates: Vec<Fate>,
    tally: Tally,
    latencies: Vec<Duration>,
}

struct Writer {
    admin: Admin,
    nodes: Vec<Ipv4Addr>,
    at: usize,
    name: String,
    plan: Plan,
    began: Instant,
}

impl Writer {
    fn run(mut self, stop: &AtomicBool) -> Memory {
        let mut memory = Memory::default();
        let pause = self.plan.per_second.map(|rate| {
            let writers = u32::try_from(self.plan.writers).unwrap_or(u32::MAX);
            Duration::from_secs(1) * writers / rate.max(1)
        });
        let mut due = Instant::now();
        for number in 0_u64.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let outcome = self.write(number, &mut memory);
            if let Some(pause) = pause {
                due = (due + pause).max(Instant::now());
                pace(due);
            } else if matches!(outcome, Outcome::Refused(_)) {
                pace(Instant::now() + REFUSED_PAUSE);
            }
        }
        memory
    }

    fn write(&mut self, number: u64, memory: &mut Memory) -> Outcome {
        if self.plan.new_objects || memory.fates.last().is_none_or(Fate::is_open) {
            memory.fates.push(Fate::new(format!("{}{number}", self.name), self.nodes[self.at]));
        }
        let fate = memory.fates.last_mut().expect("one was just made if there was none");
        let value = format!("write {number}, {} us after the start", self.began.elapsed().as_micros());
        let body = format!("{{\"id\":\"{}\",\"name\":\"{value}\",\"boot\":{{\"kernel\":\"/assets/none\"}}}}", fate.key);
        let begun = Instant::now();
        let outcome = self.send(&format!("/{KIND}/{}", fate.key), &format!("{}{number}", self.name), &body);
        if outcome == Outcome::Acknowledged {
            memory.latencies.push(begun.elapsed());
        }
        memory.tally.count(&outcome);
        fate.note(value, self.nodes[self.at], &outcome);
        outcome
    }

    fn send(&mut self, path: &str, idempotency_key: &str, body: &str) -> Outcome {
        let mut unknown = None;
        for _ in 0..=REPEATS_MAX {
            match self.admin.put_here(self.nodes[self.at], path, idempotency_key, body) {
                Outcome::Acknowledged => return Outcome::Acknowledged,
                outcome => {
                    // The next one is sent to another node, as a client would that was told no.
                    self.at = (self.at + 1) % self.nodes.len();
                    if unknown.is_none() && matches!(outcome, Outcome::Refused(_)) {
                        return outcome;
                    }
                    // Refused the second time says nothing about the first.
                    let first = unknown.get_or_insert(outcome);
                    if !self.plan.repeat_unknown {
                        return first.clone();
                    }
                }
            }
        }
        unknown.expect("every other outcome was answered")
    }
}

impl History {
    /// How often each outcome came.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// How long acknowledged writes took, sorted.
    #[must_use]
    pub fn latencies(&self) -> &[Duration] {
        &self.latencies
    }

    /// Acknowledged writes a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count of writes is far below 2^52")]
    pub fn per_second(&self) -> f64 {
        self.tally().acknowledged as f64 / self.lasted.as_secs_f64()
    }

    /// Reads everything back from every node, until all agree with what was told or `limit` has passed.
    ///
    /// # Errors
    /// Every promise broken, and nodes that do not answer.
    pub fn count_back(&self, nodes: &[Ipv4Addr], limit: Duration) -> Result<Tally> {
        for node in nodes {
            let mut last = String::new();
            let agreed = until(&format!("{node} shows what was acknowledged"), limit, || {
                let violations = match self.compare(*node) {
                    Ok(violations) => violations,
                    Err(error) => {
                        last = format!("{error:#}");
                        return Ok(None);
                    }
                };
                last = violations.iter().take(LISTED_MAX).map(|violation| format!("\n  {violation}")).collect();
                Ok(violations.is_empty().then_some(()))
            });
            if let Err(error) = agreed {
                bail!("{error}; of {}: {last}", self.tally());
            }
        }
        Ok(self.tally())
    }

    fn compare(&self, node: Ipv4Addr) -> Result<Vec<Violation>> {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let found: BTreeMap<String, String> = self
            .admin
            .list(node, KIND, &self.prefix)?
            .iter()
            .map(|item| (text(&item["id"]), text(&item["name"])))
            .collect();
        Ok(check(&self.fates, &found))
    }
}
