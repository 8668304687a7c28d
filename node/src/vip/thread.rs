//! The one thread that owns the VIP: it looks, decides and does, whatever the async runtime is busy with.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use netlink::vip::{Event, FenceKind, MacAddress, Renewed, Vip, VipError, boot_time};
use raft::Cluster;
use raft::state::{NodeKind, State, TwoNode};
use raft::type_config::Leadership;
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use super::claim::Claims;
use super::decide::{Act, Decider, Look, Survivor, Why};
use super::place::Place;
use super::timing::LeaseTiming;
use super::view::{Handle, View};
use crate::metrics::counted;

/// How often it looks while it holds or claims the VIP, and otherwise.
const LOOK_BUSY: Duration = Duration::from_millis(5);
const LOOK_IDLE: Duration = Duration::from_millis(10);
/// The boot clock counts on while the computer sleeps, the other one does not: so much more means that it slept.
const SLEPT_MIN: Duration = Duration::from_millis(100);
/// How often an interface that cannot be used is tried again.
const REOPEN_EVERY: Duration = Duration::from_secs(5);
/// How long a leader that cannot use the address leads on.
const USELESS_MAX: Duration = Duration::from_secs(1);
/// How long it leads when leadership comes back to it all the same: maybe no node can use the address.
const USELESS_PAUSE: Duration = Duration::from_mins(1);
/// A decision to open the fence is carried out within this, or not at all.
const STALE_AFTER: Duration = Duration::from_millis(20);
/// Our priority over other threads of this computer.
const NICE: i32 = -15;
/// A leader heard within so many leases is there.
const LEADER_HEARD_LEASES: u32 = 2;
/// A claim of somebody else is told for so long; whoever has an address says so every few seconds.
const CLAIM_TOLD_FOR: Duration = Duration::from_secs(30);

/// What the thread shares with the rest of the node.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) stop: AtomicBool,
    /// As that leader, and until then, it must not hold the VIP: a hand-over is under way.
    pub(super) let_go_until: Mutex<Option<(Leadership, Instant)>>,
    pub(super) healthy: AtomicBool,
    pub(super) held: watch::Sender<bool>,
    pub(super) status: Mutex<Status>,
    /// When the thread last looked.
    pub(super) looked: Mutex<Instant>,
}

/// How it stands with the VIP on this node, for `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// `none`, `idle`, `claiming`, `held`, `survivor`, `conflict` or `unusable`.
    pub state: &'static str,
    /// More of it in words; empty when there is nothing to say.
    pub detail: String,
    /// Since when this node holds it.
    pub held_since: Option<SystemTime>,
    /// Who else says to have it: while this node is to take it, or holds it.
    pub rival: Option<Rival>,
}

/// Somebody else who has the VIP.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Rival {
    /// Which card answers or claims.
    pub mac: String,
    /// Since when, as far as this node knows.
    pub since: SystemTime,
}

pub(super) fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread's own belongings.
pub(super) struct Keeper {
    pub(super) cluster: Cluster,
    pub(super) place: Place,
    pub(super) timing: LeaseTiming,
    pub(super) view: Handle,
    pub(super) shared: Arc<Shared>,
    pub(super) claims: Claims,
    pub(super) since: Instant,
    /// The address as the kernel has it from us; opened before anything of this node listened, if it was known then.
    pub(super) vip: Option<Vip>,
    pub(super) decider: Decider,
    pub(super) reopen_at: Option<Instant>,
    /// Since when this node leads and cannot use the address at all.
    pub(super) useless_since: Option<Instant>,
    /// Since when the VIP is held here.
    pub(super) held_since: Option<SystemTime>,
    /// When its lease was renewed last.
    pub(super) renewed_at: Option<Instant>,
    /// Who claimed it while it was held here: since when, and when for the last time.
    pub(super) claimed_by_other: Option<(MacAddress, Instant, Instant)>,
}

impl Keeper {
    /// Runs until it is told to stop; leaves nothing of the address behind.
    pub(super) fn run(mut self) {
        let _priority = rustix::process::nice(NICE);
        let (mut slept, mut base) = (false, offset());
        while !self.shared.stop.load(Ordering::Acquire) {
            let now_offset = offset();
            if now_offset.saturating_sub(base) > SLEPT_MIN {
                warn!(slept = ?now_offset.saturating_sub(base), "this computer slept: the VIP is let go first and asked for later");
                slept = true;
            }
            base = now_offset;
            self.turn(std::mem::take(&mut slept));
        }
        self.let_go(Why::Asked);
        if let Some(vip) = self.vip.take()
            && let Err(error) = vip.shutdown()
        {
            warn!(error = chain(&error), "the VIP could not be cleared away; the kernel removes it within two seconds");
        }
        self.view.set(View::default());
    }

    fn turn(&mut self, slept: bool) {
        let state = self.cluster.read();
        self.follow_settings(&state);
        let now = Instant::now();
        *lock(&self.shared.looked) = now;
        let wait = if self.vip.is_some() {
            if slept {
                self.let_go(Why::LeaseOver);
                self.decider.failed(now);
            }
            let look = self.look(&state, now);
            for act in self.decider.step(&look) {
                if !self.act(act, now) {
                    break;
                }
            }
            if self.decider.holds() || self.decider.claims() { LOOK_BUSY } else { LOOK_IDLE }
        } else {
            self.be_useless(&state, now);
            LOOK_IDLE
        };
        self.publish(&state);
        self.listen(wait);
    }

    /// Opens the address that the settings name, or lets go of one they do not name any more.
    fn follow_settings(&mut self, state: &State) {
        let serves = state.member(self.cluster.identity().node).is_none_or(|member| member.kind == NodeKind::Data);
        let wanted = state.vip().filter(|_| serves);
        if self.vip.is_some() && wanted != self.place.address() {
            self.let_go(Why::Asked);
            if let Some(Err(error)) = self.vip.take().map(Vip::shutdown) {
                warn!(error = chain(&error), "the old VIP could not be cleared away");
            }
        }
        let Some(address) = wanted else {
            self.set_status("none", String::new());
            return;
        };
        let now = Instant::now();
        if self.vip.is_some() || self.reopen_at.is_some_and(|at| now < at) {
            return;
        }
        match self.place.open(address) {
            Ok(vip) => {
                info!(%address, interface = self.place.interface(), "this node may hold the VIP");
                self.decider = Decider::new(self.timing);
                self.vip = Some(vip);
                self.reopen_at = None;
            }
            Err(error) => {
                if self.reopen_at.is_none() {
                    error!(%address, interface = self.place.interface(), error = format!("{error:#}"), "this node cannot hold the VIP");
                }
                self.set_status("unusable", format!("{error:#}"));
                self.reopen_at = Some(now + REOPEN_EVERY);
            }
        }
    }

    /// A leader that cannot even try to hold the VIP lets another one lead, now and again.
    fn be_useless(&mut self, state: &State, now: Instant) {
        let leads = state.vip().is_some() && self.reopen_at.is_some() && self.cluster.lease().leading.is_some();
        self.useless_since = leads.then(|| self.useless_since.unwrap_or(now));
        if self.useless_since.is_some_and(|since| now.saturating_duration_since(since) >= USELESS_MAX) {
            warn!("this node leads but cannot use the VIP: another one is to lead");
            self.useless_since = Some(now + USELESS_PAUSE);
            self.claims.hand_over();
        }
    }

    fn look(&self, state: &State, now: Instant) -> Look {
        let own = self.cluster.identity().node;
        let let_go = *lock(&self.shared.let_go_until);
        let lease = self.cluster.lease();
        Look {
            now,
            own,
            lease,
            record: state.vip_record().copied(),
            healthy: self.shared.healthy.load(Ordering::Acquire),
            carrier: self.vip.as_ref().is_some_and(Vip::carrier),
            asked_to_let_go: let_go.is_some_and(|(as_leader, until)| lease.leading == Some(as_leader) && now < until),
            claim: self.claims.outcome(),
            survivor: survivor(state, own, self.since),
        }
    }

    /// Does one thing; says whether the next one may follow.
    fn act(&mut self, act: Act, now: Instant) -> bool {
        match act {
            Act::Propose(leadership) => {
                info!(term = leadership.term, "this node leads and claims the VIP");
                counted::VIP_CLAIMS.one();
                self.claims.propose(leadership);
                return true;
            }
            Act::HandOver(why) => {
                warn!(reason = why.text(), "this node leads but cannot hold the VIP: another one is to lead");
                self.claims.hand_over();
                return true;
            }
            Act::LetGo(why, told) => {
                // What may still be answered for must not be given to another one at once.
                let gone = self.let_go(why);
                if let Some((leadership, epoch)) = told.filter(|_| gone) {
                    self.claims.release(leadership, epoch);
                }
                return true;
            }
            _ => {}
        }
        if matches!(act, Act::Take(_) | Act::Reopen(_)) && now.elapsed() > STALE_AFTER {
            // This process stood still since it decided; what it knew then is no ground for opening anything.
            self.let_go(Why::LeaseOver);
            self.decider.failed(Instant::now());
            return false;
        }
        let Some(vip) = &mut self.vip else { return false };
        let done = match act {
            Act::Probe => vip.probe(),
            Act::Take(open) => {
                // Held from here on, as far as anybody asks: a hand-over meanwhile waits until it is let go.
                self.shared.held.send_replace(true);
                vip.add_address().and_then(|()| vip.open_fence(open)).inspect(|()| {
                    info!(address = ?self.place.address(), survivor = self.decider.survives(), "this node holds the VIP");
                })
            }
            Act::Reopen(open) => vip.open_fence(open).inspect(|()| info!("the VIP's fence is open again")),
            Act::Renew(open) => vip.renew_fence(open).map(|renewed| {
                if renewed == Renewed::WasClosed {
                    warn!("the VIP's fence had closed before it was renewed; it opens again with the next answer of a quorum");
                    self.decider.fence_closed(now);
                }
            }),
            Act::Refresh => vip.refresh_address().map(|refreshed| {
                if refreshed == netlink::vip::Refreshed::WasMissing {
                    warn!("somebody had removed the VIP from the interface; it is back");
                }
            }),
            Act::Announce => vip.announce(),
            Act::Propose(_) | Act::HandOver(_) | Act::LetGo(..) => Ok(()),
        };
        if done.is_ok() {
            self.keep_count(act);
        }
        match done {
            // A fence that turned out closed lets nothing out: what follows waits for a newer answer of a quorum.
            Ok(()) => !self.decider.fence_is_closed(),
            Err(error) => {
                self.kernel_failed(&error, now);
                false
            }
        }
    }

    /// Notes for monitoring what has been done.
    fn keep_count(&mut self, act: Act) {
        let now = Instant::now();
        match act {
            Act::Take(_) => {
                counted::VIP_TAKES.one();
                self.held_since = Some(SystemTime::now());
                self.renewed_at = Some(now);
            }
            Act::Renew(_) | Act::Reopen(_) => {
                let gap = self.renewed_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
                counted::VIP_RENEW_GAP_MAX_MICROS.raise(u64::try_from(gap.as_micros()).unwrap_or(u64::MAX));
                self.renewed_at = Some(now);
                if self.decider.fence_is_closed() {
                    counted::VIP_FENCE_CLOSED.one();
                    // What follows is no renewal but a wait for a quorum.
                    self.renewed_at = None;
                } else if matches!(act, Act::Reopen(_)) {
                    counted::VIP_FENCE_REOPENED.one();
                }
            }
            _ => {}
        }
    }

    fn kernel_failed(&mut self, error: &VipError, now: Instant) {
        if matches!(error, VipError::TimeoutTooShort { .. }) {
            debug!("too little is left of the lease to renew the fence");
            return;
        }
        warn!(error = chain(error), "the VIP cannot be held; trying again");
        self.let_go(Why::Kernel);
        self.decider.failed(now);
        if let VipError::FenceMissing = error
            && let Some(vip) = &mut self.vip
            && let Err(error) = vip.reinstall_fence()
        {
            error!(error = chain(&error), "the VIP's fence cannot be installed again");
            self.close_up();
        } else if matches!(
            error,
            VipError::NoInterface { .. } | VipError::FenceOwnedByOther | VipError::AddressTaken { .. }
        ) {
            // Nothing that a quarter of a second would mend: somebody has the address, or the interface is gone.
            self.set_status("unusable", chain(error));
            self.close_up();
        }
    }

    /// Gives the address up until it can be opened afresh.
    fn close_up(&mut self) {
        self.vip = None;
        self.reopen_at = Some(Instant::now() + REOPEN_EVERY);
    }

    /// Says whether the address is gone for sure.
    fn let_go(&mut self, why: Why) -> bool {
        let was_held = *self.shared.held.borrow();
        let mut gone = true;
        if let Some(vip) = &mut self.vip {
            let mute = self.place.fence() == FenceKind::Nftables;
            if let Err(error) = vip.close_fence() {
                gone = false;
                warn!(error = chain(&error), "the VIP's fence cannot be closed; its lease closes it");
            }
            if let Err(error) = vip.remove_address() {
                gone &= mute;
                warn!(error = chain(&error), "the VIP cannot be removed; the kernel removes it within two seconds");
            }
        }
        if was_held {
            counted::VIP_RELEASES.one(why.word());
            (self.held_since, self.renewed_at, self.claimed_by_other) = (None, None, None);
            info!(reason = why.text(), "this node has let go of the VIP");
        }
        if gone {
            self.shared.held.send_replace(false);
        }
        gone
    }

    fn listen(&mut self, wait: Duration) {
        let Some(vip) = &mut self.vip else {
            std::thread::park_timeout(wait);
            return;
        };
        let events = match vip.wait(wait) {
            Ok(events) => events,
            Err(error) => {
                warn!(error = chain(&error), "the kernel's notifications about the VIP cannot be read");
                self.close_up();
                return;
            }
        };
        let now = Instant::now();
        for event in events {
            self.heard(event, now);
        }
    }

    fn heard(&mut self, event: Event, now: Instant) {
        match event {
            Event::FenceTampered => {
                warn!("somebody changed the VIP's fence: the VIP is let go and the fence installed again");
                self.let_go(Why::LeaseOver);
                self.decider.failed(now);
                if let Some(Err(error)) = self.vip.as_mut().map(Vip::reinstall_fence) {
                    error!(error = chain(&error), "the VIP's fence cannot be installed again");
                    self.close_up();
                }
            }
            Event::AddressTakenByOther => {
                error!("the VIP is on this computer, and not from us: remove it from the network configuration");
                self.let_go(Why::LeaseOver);
                self.decider.failed(now);
            }
            Event::ForeignHolder { mac } => {
                self.note_other(mac, now);
                if self.decider.conflict().is_none_or(|conflict| conflict.mac != mac) {
                    if self.decider.holds() {
                        warn!(%mac, "somebody else says that it has the VIP");
                    } else if self.decider.claims() {
                        warn!(%mac, "somebody else answers for the VIP that this node is about to hold");
                    } else {
                        debug!(%mac, "somebody has the VIP");
                    }
                }
                self.decider.heard(event, now);
            }
            Event::LinkDown | Event::LinkUp => {
                info!(?event, "the link of the VIP has changed");
                self.decider.heard(event, now);
            }
            Event::AddressGone | Event::Overflow | Event::Woken => self.decider.heard(event, now),
        }
    }

    fn note_other(&mut self, mac: MacAddress, now: Instant) {
        if self.decider.holds() {
            counted::VIP_FOREIGN_CLAIMS.one();
            let since = self.claimed_by_other.filter(|(known, ..)| *known == mac).map_or(now, |(_, since, _)| since);
            self.claimed_by_other = Some((mac, since, now));
        } else if self.decider.claims() {
            counted::VIP_PROBE_CONFLICTS.one();
        }
    }

    /// Who else has the VIP. That another node has it while this one stands by is as it should be.
    fn rival(&self) -> Option<Rival> {
        let (mac, since) = if self.decider.holds() {
            let (mac, since, last) = self.claimed_by_other?;
            (last.elapsed() < CLAIM_TOLD_FOR).then_some((mac, since))?
        } else {
            let conflict = self.decider.conflict().filter(|_| self.decider.claims())?;
            (conflict.mac, conflict.since)
        };
        let since = SystemTime::now().checked_sub(since.elapsed())?;
        Some(Rival { mac: mac.to_string(), since })
    }

    fn publish(&self, state: &State) {
        let address = state.vip();
        let lease = self.cluster.lease();
        let heard = lease.silent_for.is_some_and(|silent| silent < self.timing.lease * LEADER_HEARD_LEASES);
        let committed = state.vip_record().is_some_and(|record| !record.released);
        let held_here = self.decider.holds() && self.vip.is_some();
        self.view.set(View { address, holder_known: address.is_some() && committed && heard, held_here });
        if self.vip.is_some() {
            let (state, detail) = self.state_words();
            self.set_status(state, detail);
        }
    }

    fn state_words(&self) -> (&'static str, String) {
        match self.decider.conflict() {
            Some(conflict) if !self.decider.holds() && self.decider.claims() => {
                let since = conflict.since.elapsed().as_secs();
                ("conflict", format!("{} has answered for the VIP for {since} s", conflict.mac))
            }
            _ if self.decider.survives() => {
                ("survivor", "held without a quorum: only what was committed is served".into())
            }
            _ if self.decider.holds() => ("held", "this node holds it".into()),
            _ if self.decider.claims() => ("claiming", "this node is about to hold it".into()),
            _ => ("idle", "another node holds it, or nobody".into()),
        }
    }

    fn set_status(&self, state: &'static str, detail: String) {
        let rival = self.rival();
        let mut status = lock(&self.shared.status);
        let same_rival = status.rival.as_ref().map(|rival| &rival.mac) == rival.as_ref().map(|rival| &rival.mac);
        if status.state != state || status.detail != detail || status.held_since != self.held_since || !same_rival {
            *status = Status { state, detail, held_since: self.held_since, rival };
        }
    }
}

/// What this node may do when it is left alone, by the settings.
fn survivor(state: &State, own: u64, since: Instant) -> Option<Survivor> {
    let settings = &state.cluster()?.value;
    let data: Vec<u64> = state.data_nodes().map(|member| member.id).collect();
    if settings.two_node != TwoNode::Survivor || state.members().len() != 2 || data.len() != 2 || !data.contains(&own) {
        return None;
    }
    let first = settings.preferred.filter(|preferred| data.contains(preferred)).or(data.first().copied());
    Some(Survivor { first: first == Some(own), since })
}

/// How much further the boot clock is than the other one.
fn offset() -> Duration {
    let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(monotonic.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(monotonic.tv_nsec).unwrap_or_default();
    boot_time().saturating_sub(Duration::new(seconds, nanos))
}

/// An error with what caused it, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
