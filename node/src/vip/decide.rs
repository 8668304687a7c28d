//! Who may answer for the VIP: a decision from what is known at one instant. Pure: no clock, no socket, no waiting.

use std::time::{Duration, Instant};

use netlink::vip::{Event, MacAddress};
use raft::Lease;
use raft::state::VipRecord;
use raft::type_config::Leadership;
use raft::types::LogIndex;

use super::announce::Announcements;
use super::timing::LeaseTiming;

/// How often a claim that failed or met another holder is tried again.
const RETRY_EVERY: Duration = Duration::from_millis(250);
/// Two probes are sent, so far apart; the address is free when neither is answered within another such time.
const PROBE_EVERY: Duration = Duration::from_millis(25);
/// How often the address is made to live longer.
const REFRESH_EVERY: Duration = Duration::from_millis(500);
/// How long a node left alone waits after the lease of the last leader: the preferred one, and the other.
const SURVIVOR_FIRST: Duration = Duration::from_secs(1);
const SURVIVOR_SECOND: Duration = Duration::from_secs(2);
/// How long a leader that cannot hold the VIP leads on before it lets another one try.
const UNFIT_MAX: Duration = Duration::from_secs(1);

/// Everything a decision rests on.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// When.
    pub now: Instant,
    /// This node.
    pub own: u64,
    /// Leadership as of now.
    pub lease: Lease,
    /// Who holds the VIP, as last committed and applied here.
    pub record: Option<VipRecord>,
    /// Whether this node serves machines and its services answer.
    pub healthy: bool,
    /// Whether the interface has a carrier.
    pub carrier: bool,
    /// Whether it was asked to let go: a hand-over is under way, or the node stops.
    pub asked_to_let_go: bool,
    /// What became of the claim that was proposed last.
    pub claim: Claim,
    /// How this node may act without a quorum.
    pub survivor: Option<Survivor>,
}

/// What a node that is left alone may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survivor {
    /// Whether it goes first.
    pub first: bool,
    /// When this process began to listen for leaders.
    pub since: Instant,
}

/// What became of a proposed claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// None is under way.
    None,
    /// It is.
    Pending,
    /// Committed in that log entry.
    Committed(LogIndex),
    /// It was not committed; it may be tried again.
    Failed,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Propose that this node holds the VIP, under that leadership only.
    Propose(Leadership),
    /// Ask the link whether somebody has the address.
    Probe,
    /// Add the address and open the fence for so long.
    Take(Duration),
    /// Renew the fence for so long.
    Renew(Duration),
    /// Open a fence that had closed, for so long.
    Reopen(Duration),
    /// Make the address live longer, adding it again if somebody took it away.
    Refresh,
    /// Tell the link where the address is.
    Announce,
    /// Close the fence and remove the address, for that reason. If an epoch is given, say so in the log.
    LetGo(Why, Option<(Leadership, LogIndex)>),
    /// Let another node lead, because this one cannot hold the VIP.
    HandOver(Why),
}

/// Why the VIP is let go, or not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Another node leads, or none.
    NotLeading,
    /// No quorum has answered in time.
    LeaseOver,
    /// The services of this node do not answer.
    Unhealthy,
    /// The interface has no carrier.
    NoCarrier,
    /// It was asked to.
    Asked,
    /// A quorum is back, and with it the ordinary rule.
    QuorumIsBack,
    /// Another node holds it without a quorum too, and goes first.
    OtherSurvivor,
    /// The kernel refused what is needed to hold it.
    Kernel,
}

impl Why {
    /// For people.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::NotLeading => "this node does not lead",
            Self::LeaseOver => "no quorum has answered in time",
            Self::Unhealthy => "the services of this node do not answer",
            Self::NoCarrier => "the interface has no carrier",
            Self::Asked => "it is handed over",
            Self::QuorumIsBack => "a quorum is back",
            Self::OtherSurvivor => "the other node holds it and goes first",
            Self::Kernel => "the kernel refused what is needed to hold it",
        }
    }

    /// For metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NotLeading => "not_leading",
            Self::LeaseOver => "lease_over",
            Self::Unhealthy => "unhealthy",
            Self::NoCarrier => "no_carrier",
            Self::Asked => "asked",
            Self::QuorumIsBack => "quorum_is_back",
            Self::OtherSurvivor => "other_survivor",
            Self::Kernel => "kernel",
        }
    }
}

/// Where this node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Others hold it, or nobody.
    Idle { not_before: Option<Instant> },
    /// On the way to holding it. `leadership` is `None` for a survivor.
    Claiming { leadership: Option<Leadership>, since: Instant, epoch: Option<LogIndex>, proposed: bool, probes: Probes },
    /// The kernel lets it answer. `closed`: the fence had closed at that instant and needs a newer quorum.
    Holding {
        leadership: Option<Leadership>,
        epoch: Option<LogIndex>,
        renewed: Instant,
        refreshed: Instant,
        closed: Option<Instant>,
    },
}

/// Questions to the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Probes {
    sent: u8,
    last: Option<Instant>,
}

/// Somebody else answers for the VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conflict {
    /// Who.
    pub mac: MacAddress,
    /// Since when.
    pub since: Instant,
}

/// Decides; holds what has to be remembered between two looks.
#[derive(Debug)]
pub struct Decider {
    timing: LeaseTiming,
    phase: Phase,
    conflict: Option<Conflict>,
    announcements: Announcements,
    unfit_since: Option<Instant>,
}

impl Decider {
    /// For a node that holds nothing.
    #[must_use]
    pub fn new(timing: LeaseTiming) -> Self {
        let phase = Phase::Idle { not_before: None };
        Self { timing, phase, conflict: None, announcements: Announcements::default(), unfit_since: None }
    }

    /// Whether this node may be answering.
    #[must_use]
    pub fn holds(&self) -> bool {
        matches!(self.phase, Phase::Holding { .. })
    }

    /// Whether it holds without a quorum.
    #[must_use]
    pub fn survives(&self) -> bool {
        matches!(self.phase, Phase::Holding { leadership: None, .. })
    }

    /// Whether it is about to hold it.
    #[must_use]
    pub fn claims(&self) -> bool {
        matches!(self.phase, Phase::Claiming { .. })
    }

    /// Who else answers for the address.
    #[must_use]
    pub fn conflict(&self) -> Option<Conflict> {
        self.conflict
    }

    /// Takes note of what happened on the link.
    pub fn heard(&mut self, event: Event, now: Instant) {
        if let Event::ForeignHolder { mac } = event {
            let since = self.conflict.map_or(now, |conflict| if conflict.mac == mac { conflict.since } else { now });
            self.conflict = Some(Conflict { mac, since });
            self.announcements.contest(now);
            if let Phase::Claiming { probes, .. } = &mut self.phase {
                *probes = Probes { sent: 0, last: Some(now) };
            }
        }
        if event == Event::AddressGone
            && let Phase::Holding { refreshed, .. } = &mut self.phase
        {
            // Due at once.
            *refreshed = now.checked_sub(REFRESH_EVERY).unwrap_or(now);
        }
    }

    /// The fence turned out to be closed when it was renewed.
    pub fn fence_closed(&mut self, now: Instant) {
        if let Phase::Holding { closed, .. } = &mut self.phase {
            *closed = Some(now);
        }
    }

    /// Whether the fence is known to be closed while the VIP is held.
    #[must_use]
    pub fn fence_is_closed(&self) -> bool {
        matches!(self.phase, Phase::Holding { closed: Some(_), .. })
    }

    /// The kernel did not do what was asked: nothing is held, and it is tried again a little later.
    pub fn failed(&mut self, now: Instant) {
        self.phase = Phase::Idle { not_before: Some(now + RETRY_EVERY) };
    }

    /// Decides what is to be done now.
    pub fn step(&mut self, look: &Look) -> Vec<Act> {
        match self.phase {
            Phase::Idle { not_before } => self.idle(look, not_before),
            Phase::Claiming { .. } => self.claiming(look),
            Phase::Holding { .. } => self.holding(look),
        }
    }

    /// What keeps a leader from holding the VIP, whatever else is so.
    fn unfit(look: &Look) -> Option<Why> {
        if look.asked_to_let_go {
            Some(Why::Asked)
        } else if !look.healthy {
            Some(Why::Unhealthy)
        } else if !look.carrier {
            Some(Why::NoCarrier)
        } else {
            None
        }
    }

    fn idle(&mut self, look: &Look, not_before: Option<Instant>) -> Vec<Act> {
        if not_before.is_some_and(|at| look.now < at) {
            return Vec::new();
        }
        if let Some(why) = Self::unfit(look) {
            return self.stay_unfit(look, why);
        }
        self.unfit_since = None;
        if let Some(leadership) = look.lease.leading.filter(|_| self.fresh(look).is_some()) {
            self.conflict = None;
            let probes = Probes::default();
            self.phase =
                Phase::Claiming { leadership: Some(leadership), since: look.now, epoch: None, proposed: true, probes };
            return vec![Act::Propose(leadership)];
        }
        if self.may_survive(look) {
            self.conflict = None;
            let probes = Probes { sent: 1, last: Some(look.now) };
            self.phase = Phase::Claiming { leadership: None, since: look.now, epoch: None, proposed: false, probes };
            return vec![Act::Probe];
        }
        Vec::new()
    }

    /// A leader that cannot serve machines lets another one try, after a while.
    fn stay_unfit(&mut self, look: &Look, why: Why) -> Vec<Act> {
        if look.lease.leading.is_none() || why == Why::Asked {
            self.unfit_since = None;
            return Vec::new();
        }
        let since = *self.unfit_since.get_or_insert(look.now);
        if look.now.duration_since(since) < UNFIT_MAX {
            return Vec::new();
        }
        self.unfit_since = Some(look.now);
        vec![Act::HandOver(why)]
    }

    /// How long the fence may be open, by the quorum's last answer.
    fn fresh(&self, look: &Look) -> Option<Duration> {
        self.timing.open_for(look.lease.quorum_acked?, look.now)
    }

    /// Whether a node left alone may take the VIP now: long enough after the last leader's lease.
    fn may_survive(&self, look: &Look) -> bool {
        let Some(survivor) = look.survivor else { return false };
        let listened = look.now.saturating_duration_since(survivor.since);
        let silent = look.lease.silent_for.map_or(listened, |silent| silent.min(listened));
        let pause = if survivor.first { SURVIVOR_FIRST } else { SURVIVOR_SECOND };
        look.lease.voter && silent >= self.timing.lease + pause
    }

    fn claiming(&mut self, look: &Look) -> Vec<Act> {
        let Phase::Claiming { leadership, since, epoch, proposed, probes } = self.phase else { return Vec::new() };
        let unfit = Self::unfit(look);
        let lost = match leadership {
            Some(leadership) => look.lease.leading != Some(leadership),
            None => !self.may_survive(look),
        };
        if unfit.is_some() || lost {
            self.phase = Phase::Idle { not_before: None };
            return Vec::new();
        }
        let Some(leadership) = leadership else { return self.survive(look, probes) };
        let epoch = match (epoch, look.claim) {
            (None, Claim::Committed(at)) if proposed => Some(at),
            (None, Claim::Failed) if proposed => {
                self.phase = Phase::Idle { not_before: Some(look.now + RETRY_EVERY) };
                return Vec::new();
            }
            (known, _) => known,
        };
        self.phase = Phase::Claiming { leadership: Some(leadership), since, epoch, proposed, probes };
        let ours = |record: &VipRecord| Some(record.epoch) == epoch && record.holder == look.own;
        let Some(record) = look.record.filter(ours) else { return Vec::new() };
        if record.orderly && self.conflict.is_none() && look.survivor.is_none() {
            return self.take(look, Some(leadership), epoch);
        }
        // Where a node left alone may hold it without a word in the log, the link is asked in any case.
        let wait = if record.orderly { Duration::ZERO } else { self.timing.wait };
        // Probes are asked so that their answers are in when the wait is over; an old holder may be right to answer them
        // until shortly before.
        let waited = look.now.duration_since(since);
        if waited + PROBE_EVERY * 2 < wait {
            return Vec::new();
        }
        match self.probed(look, probes) {
            Probed::Ask => vec![Act::Probe],
            Probed::Free if waited >= wait => self.take(look, Some(leadership), epoch),
            Probed::Free | Probed::Wait => Vec::new(),
        }
    }

    fn survive(&mut self, look: &Look, probes: Probes) -> Vec<Act> {
        match self.probed(look, probes) {
            Probed::Ask => vec![Act::Probe],
            Probed::Free => self.take(look, None, None),
            Probed::Wait => Vec::new(),
        }
    }

    /// Asks twice; an answer starts all over, after a pause.
    fn probed(&mut self, look: &Look, probes: Probes) -> Probed {
        let contested = probes.sent == 0 && self.conflict.is_some();
        let pause = if contested { PROBE_EVERY * 4 } else { PROBE_EVERY };
        if probes.last.is_some_and(|last| look.now.duration_since(last) < pause) {
            return Probed::Wait;
        }
        if probes.sent >= 2 {
            self.conflict = None;
            return Probed::Free;
        }
        if let Phase::Claiming { probes, .. } = &mut self.phase {
            *probes = Probes { sent: probes.sent + 1, last: Some(look.now) };
        }
        Probed::Ask
    }

    fn take(&mut self, look: &Look, leadership: Option<Leadership>, epoch: Option<LogIndex>) -> Vec<Act> {
        let open = match leadership {
            Some(_) => self.fresh(look),
            None => Some(self.timing.fence),
        };
        let Some(open) = open else { return Vec::new() };
        let (renewed, refreshed) = (look.now, look.now);
        self.phase = Phase::Holding { leadership, epoch, renewed, refreshed, closed: None };
        self.announcements.begin(look.now);
        let mut acts = vec![Act::Take(open)];
        acts.extend(self.announcements.due(look.now).then_some(Act::Announce));
        acts
    }

    fn holding(&mut self, look: &Look) -> Vec<Act> {
        let Phase::Holding { leadership, epoch, renewed, refreshed, closed } = self.phase else { return Vec::new() };
        let why = Self::unfit(look).or_else(|| self.over(look, leadership));
        if let Some(why) = why {
            self.phase = Phase::Idle { not_before: None };
            let told = leadership.zip(epoch).filter(|(leadership, _)| look.lease.leading == Some(*leadership));
            return vec![Act::LetGo(why, told)];
        }
        let open = match leadership {
            Some(_) => self.fresh(look),
            None => Some(self.timing.fence),
        };
        let Some(open) = open else { return Vec::new() };
        let mut acts = Vec::new();
        let mut next = (renewed, refreshed, closed);
        if let Some(at) = closed {
            // Only a quorum that answered after the fence had closed says that nobody else was elected meanwhile.
            if leadership.is_none() || look.lease.quorum_acked.is_some_and(|acked| acked > at) {
                next = (look.now, next.1, None);
                self.announcements.begin(look.now);
                acts.push(Act::Reopen(open));
            }
        } else if look.now.duration_since(renewed) >= self.timing.renew {
            next.0 = look.now;
            acts.push(Act::Renew(open));
        }
        if look.now.duration_since(refreshed) >= REFRESH_EVERY {
            next.1 = look.now;
            acts.push(Act::Refresh);
        }
        self.phase = Phase::Holding { leadership, epoch, renewed: next.0, refreshed: next.1, closed: next.2 };
        if next.2.is_none() && self.announcements.due(look.now) {
            acts.push(Act::Announce);
        }
        acts
    }

    /// Why what is held is held no longer.
    fn over(&self, look: &Look, leadership: Option<Leadership>) -> Option<Why> {
        match leadership {
            Some(leadership) if look.lease.leading != Some(leadership) => Some(Why::NotLeading),
            Some(_) => self.fresh(look).is_none().then_some(Why::LeaseOver),
            None if look.survivor.is_none() || !self.may_survive(look) => Some(Why::QuorumIsBack),
            None if self.conflict.is_some() && look.survivor.is_some_and(|survivor| !survivor.first) => {
                Some(Why::OtherSurvivor)
            }
            None => None,
        }
    }
}

enum Probed {
    Ask,
    Wait,
    Free,
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
