//! A cluster under observation with writers beside it, and what is demanded when all is over.

use crate::cluster::{Cluster, Shape, WHOLE_MAX};
use crate::fault::Fault;
use crate::mishap::Mishap;
use crate::observer::{Observer, Verdict};
use crate::round::{BEFORE, STEADY_MAX, until_past};
use crate::wait::until;
use crate::writers::{Plan, Tally, Writers};
use anyhow::{Context, Result, ensure};
use std::fmt;
use std::time::Duration;

/// How long every node may take to show what was acknowledged, once the cluster is whole.
const COUNT_BACK_MAX: Duration = Duration::from_secs(20);
/// How often a mishap is repeated because the observer paused during it.
const VOID_MAX: usize = 10;

/// The trial. Ends in the order of its fields.
pub struct Trial {
    writers: Option<Writers>,
    /// Who sees everything.
    pub observer: Observer,
    /// What is tried.
    pub cluster: Cluster,
    begun: Duration,
    tally: Tally,
    plan: Plan,
}

/// What one mishap showed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// From shortly before the mishap until somebody was steady again, faults healed.
    pub verdict: Verdict,
    /// Index of the node that held the address before.
    pub before: usize,
    /// And after.
    pub after: usize,
}

/// What is known in the end.
#[derive(Clone, Debug)]
pub struct Report {
    /// About the address, from the first moment to the last.
    pub verdict: Verdict,
    /// About the writes, all counted back.
    pub tally: Tally,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.tally, self.verdict)
    }
}

impl Trial {
    /// Founds the cluster, waits until somebody holds the address, and lets `plan` write.
    ///
    /// # Errors
    /// When it does not come so far.
    pub fn start(name: &str, shape: Shape, small_disks: Option<u32>, plan: Plan, repeat: &str) -> Result<Self> {
        let cluster = Cluster::found(name, shape, small_disks, repeat)?;
        let observer = cluster.observe()?;
        observer.until_steady(None, STEADY_MAX)?;
        let begun = observer.now();
        let writers = Some(cluster.write(plan)?);
        Ok(Self { writers, observer, cluster, begun, tally: Tally::default(), plan })
    }

    /// The index of the node that answers for the address now, alone.
    ///
    /// # Errors
    /// When nobody does, or a stranger.
    pub fn holder(&self) -> Result<usize> {
        self.cluster.index_of_mac(self.observer.until_steady(None, STEADY_MAX)?)
    }

    /// Lets a mishap happen, heals it, waits until all is well, and judges; repeats it when the observer paused meanwhile.
    ///
    /// # Errors
    /// When it cannot be brought about or healed, or the cluster does not recover.
    pub fn suffer(&mut self, mishap: Mishap) -> Result<Outcome> {
        let mut outcome = self.suffer_once(mishap)?;
        for _ in 0..VOID_MAX {
            if !outcome.verdict.is_void() {
                break;
            }
            // What was seen is still held against it, whatever was missed.
            single(&outcome.verdict).with_context(|| mishap.to_string())?;
            outcome = self.suffer_once(mishap)?;
        }
        single(&outcome.verdict).with_context(|| mishap.to_string())?;
        Ok(outcome)
    }

    /// As [`Trial::suffer`], once and without demands.
    ///
    /// # Errors
    /// As there.
    pub fn suffer_once(&mut self, mishap: Mishap) -> Result<Outcome> {
        let before = self.holder()?;
        let begun = self.observer.now().saturating_sub(BEFORE);
        let faults = mishap.strike(&self.cluster, &self.observer, before)?;
        let struck = faults.last().map_or_else(|| self.observer.now(), |fault| self.observer.at(fault.done));
        if mishap.moves_the_address() {
            let old = self.cluster.members()[before].host.mac();
            self.observer.until_steady(Some(old), STEADY_MAX).with_context(|| mishap.to_string())?;
        }
        until_past(&self.observer, struck + mishap.lasts())?;
        heal(faults)?;
        self.cluster.until_whole(WHOLE_MAX).with_context(|| format!("after {mishap}"))?;
        let after = self.holder().with_context(|| format!("after {mishap}"))?;
        let verdict = self.observer.judge(&(begun..self.observer.now()))?;
        Ok(Outcome { verdict, before, after })
    }

    /// Stops the writers, counts back and lets new ones begin.
    ///
    /// # Errors
    /// Every broken promise.
    pub fn count_back(&mut self) -> Result<Tally> {
        let tally = self.settle()?;
        self.writers = Some(self.cluster.write(self.plan)?);
        Ok(tally)
    }

    fn settle(&mut self) -> Result<Tally> {
        let history = self.writers.take().context("writers run")?.stop()?;
        let tally = history.count_back(&self.cluster.addresses(), COUNT_BACK_MAX)?;
        self.tally.add(tally);
        Ok(tally)
    }

    /// Ends the trial: everything is counted back, and nobody may ever have answered beside the holder.
    ///
    /// # Errors
    /// Every broken promise.
    pub fn conclude(mut self) -> Result<Report> {
        self.cluster.until_whole(WHOLE_MAX)?;
        self.settle()?;
        ensure!(self.tally.acknowledged > 0, "nothing was acknowledged, so nothing was tried: {}", self.tally);
        let verdict = self.observer.judge(&(self.begun..self.observer.now()))?;
        single(&verdict)?;
        self.cluster.evidence.passed();
        Ok(Report { verdict, tally: self.tally })
    }

    /// Waits until the observer has seen another `span`.
    ///
    /// # Errors
    /// Never before that.
    pub fn watch(&self, span: Duration) -> Result<()> {
        until_past(&self.observer, self.observer.now() + span)
    }

    /// Waits until the node with this index holds the address.
    ///
    /// # Errors
    /// When it does not come to hold it.
    pub fn until_held_by(&self, index: usize) -> Result<()> {
        let mac = self.cluster.members()[index].host.mac();
        until("that node holds the address", STEADY_MAX, || Ok((self.observer.steady()? == Some(mac)).then_some(())))
    }
}

/// Heals in the order opposite to that in which things went wrong; all of them, whatever one says.
fn heal(faults: Vec<Fault>) -> Result<()> {
    faults.into_iter().rev().map(Fault::heal).fold(Ok(()), Result::and)
}

/// Demands that nobody answered beside the holder.
fn single(verdict: &Verdict) -> Result<()> {
    ensure!(verdict.overlaps.is_empty(), "two nodes answered for the address: {verdict}");
    Ok(())
}
