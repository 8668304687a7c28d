//! One round under an observer: a steady holder, a fault, whoever comes after, everything whole again, a verdict.

use crate::fault::{self, Fault, Machine, Shared, locked};
use crate::lab::Host;
use crate::mac::Mac;
use crate::observer::{Observer, Verdict};
use crate::wait::until;
use anyhow::{Context, Result, bail};
use std::fmt;
use std::ops::Range;
use std::time::Duration;

/// How long somebody may take to be steady before a round, or again after it.
pub const STEADY_MAX: Duration = Duration::from_secs(30);
/// How long another node may take to answer; beyond everything promised or measured.
const TAKEOVER_MAX: Duration = Duration::from_secs(15);
/// What is looked at before a fault: less than what [`Observer::until_steady`] has just found whole.
pub const BEFORE: Duration = Duration::from_millis(200);
/// What is looked at after a takeover: time for an old holder to show itself.
const AFTER: Duration = Duration::from_millis(500);
/// Void rounds in a row after which the computer is called too busy.
const VOID_MAX: usize = 20;

/// What is done to the holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// `kill -9`.
    Kill,
    /// The cable is pulled.
    LinkDown,
    /// The computer is gone at once.
    PowerOff,
    /// SIGSTOP, and SIGCONT that much later.
    Freeze(Duration),
}

impl Blow {
    /// Those after which another node must answer.
    pub const DEADLY: [Self; 3] = [Self::Kill, Self::LinkDown, Self::PowerOff];

    /// Brings it about.
    ///
    /// # Errors
    /// When it cannot.
    pub fn strike<M: Machine + 'static>(self, machine: &Shared<M>) -> Result<Fault> {
        match self {
            Self::Kill => fault::kill(machine),
            Self::LinkDown => {
                let host: Host = locked(machine).host().clone();
                fault::link_down(&host)
            }
            Self::PowerOff => fault::power_off(machine),
            Self::Freeze(_) => fault::freeze(machine),
        }
    }
}

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => f.write_str("kill -9"),
            Self::LinkDown => f.write_str("link down"),
            Self::PowerOff => f.write_str("power off"),
            Self::Freeze(lasts) => write!(f, "SIGSTOP for {} ms", lasts.as_millis()),
        }
    }
}

/// What a round showed.
#[derive(Clone, Debug)]
pub struct Round {
    /// The longest silence of the worst path, until shortly after somebody else answered.
    pub outage: Duration,
    /// From the fault to the first answer of another node; `None` when the holder stayed.
    pub takeover: Option<Duration>,
    /// About the whole round, healing included.
    pub verdict: Verdict,
}

/// Hits the holder, waits for another one, heals, waits for `whole`, and judges; repeats rounds in which the observer paused.
///
/// # Errors
/// When nobody takes over, the fault cannot be healed, `whole` fails, or every round is void.
pub fn round<M: Machine + 'static>(
    observer: &Observer,
    machines: &[Shared<M>],
    blow: Blow,
    mut whole: impl FnMut() -> Result<()>,
) -> Result<(Round, usize)> {
    for void in 0..VOID_MAX {
        let round = attempt(observer, machines, blow, &mut whole)?;
        observer.forget_before(observer.now())?;
        if !round.verdict.is_void() {
            return Ok((round, void));
        }
    }
    bail!("the observer paused in {VOID_MAX} rounds in a row: this computer is too busy to measure on")
}

fn attempt<M: Machine + 'static>(
    observer: &Observer,
    machines: &[Shared<M>],
    blow: Blow,
    whole: &mut impl FnMut() -> Result<()>,
) -> Result<Round> {
    let holder = observer.until_steady(None, STEADY_MAX)?;
    let machine = machines.iter().find(|machine| locked(machine).host_mac() == holder);
    let machine = machine.with_context(|| format!("{holder} holds the address and is nobody's"))?;
    let begun = observer.now().saturating_sub(BEFORE);
    let fault = blow.strike(machine)?;
    let struck = observer.at(fault.begun);
    let takeover = match blow {
        Blow::Freeze(lasts) => {
            until_past(observer, struck + lasts)?;
            None
        }
        _ => Some(until_taken_over(observer, holder, struck, begun)?),
    };
    let first = begun..observer.now();
    let outage = observer.judge(&first)?.outage();
    fault.heal()?;
    whole()?;
    observer.until_steady(None, STEADY_MAX)?;
    let verdict = observer.judge(&(begun..observer.now()))?;
    // A frozen holder's silence is over only when somebody is steady again.
    let outage = if takeover.is_some() { outage } else { verdict.outage() };
    Ok(Round { outage, takeover, verdict })
}

fn until_taken_over(observer: &Observer, old: Mac, struck: Duration, begun: Duration) -> Result<Duration> {
    let window = || begun..observer.now();
    let taken = until("another node answers", TAKEOVER_MAX, || Ok(observer.judge(&window())?.takeover(old, struck)));
    let taken = taken.with_context(|| describe(observer, &window()))?;
    until_past(observer, struck + taken + AFTER)?;
    Ok(taken)
}

/// Waits until the observer's time is past `time`: the length of a fault is part of it.
///
/// # Errors
/// Never before that.
pub fn until_past(observer: &Observer, time: Duration) -> Result<()> {
    let left = time.saturating_sub(observer.now());
    until("the fault has lasted", left * 2 + STEADY_MAX, || Ok((observer.now() >= time).then_some(())))
}

fn describe(observer: &Observer, window: &Range<Duration>) -> String {
    match observer.judge(window) {
        Ok(verdict) => verdict.to_string(),
        Err(error) => error.to_string(),
    }
}
