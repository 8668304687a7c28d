//! Everything that may go wrong with a cluster, named by the part a node plays, so that it can be listed, repeated and drawn by lot.

use crate::cluster::{Cluster, Member, VIP};
use crate::fault::{self, Cut, Fault, Traffic, locked};
use crate::observer::{Observer, until_announced};
use crate::process::Lines;
use anyhow::{Context, Result, bail, ensure};
use std::fmt;
use std::time::Duration;

/// The fence is renewed every 50 ms and the address announced every 10 s.
const EVENT_MAX: Duration = Duration::from_secs(15);

/// Which node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The one that answers for the address.
    Holder,
    /// Another one, counted from 0 in the order of the cluster without the holder.
    Other(usize),
}

/// When exactly a holder is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Whenever.
    Any,
    /// Right after it renewed its fence.
    Renewal,
    /// Right after it announced the address.
    Announcement,
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// `kill -9`, then started again.
    Kill(Who),
    /// SIGSTOP at a moment, and SIGCONT after a time.
    Freeze(Who, Moment, Duration),
    /// The computer is gone, with its kernel.
    PowerOff(Who),
    /// The cable is pulled.
    LinkDown(Who),
    /// The two do not reach each other; clients reach both.
    CutPeers(Who, Who),
    /// The second does not hear the first.
    CutOneWay(Who, Who),
    /// Nobody of the cluster reaches this node; clients do.
    Isolate(Who),
    /// The disk takes nothing more.
    FullDisk(Who),
    /// All packet rules of the holder are flushed.
    FlushRules,
    /// The address is deleted from the holder.
    DeleteAddress,
    /// One node is deaf to the leader, then the leader is frozen: the deaf one campaigns all the while, and only the lease of the
    /// third keeps it from winning too early.
    DeafThenFreeze(Duration),
    /// Only one node acknowledges the leader; it is killed and started at once, so that it has forgotten its promise.
    ForgetfulVoter,
}

impl Mishap {
    /// Each at least once, as `verify` runs them on three nodes.
    #[must_use]
    pub fn all() -> Vec<Self> {
        use Who::{Holder, Other};
        let mut all = vec![
            Self::Kill(Holder),
            Self::Kill(Other(0)),
            Self::PowerOff(Holder),
            Self::LinkDown(Holder),
            Self::LinkDown(Other(1)),
            Self::CutPeers(Holder, Other(0)),
            Self::CutOneWay(Holder, Other(0)),
            Self::CutOneWay(Other(1), Holder),
            Self::Isolate(Holder),
            Self::FlushRules,
            Self::DeleteAddress,
            Self::DeafThenFreeze(Duration::from_secs(2)),
            Self::ForgetfulVoter,
        ];
        all.extend([50, 200, 350, 450, 700].map(|ms| Self::Freeze(Holder, Moment::Any, Duration::from_millis(ms))));
        all.push(Self::Freeze(Holder, Moment::Renewal, Duration::from_millis(600)));
        all.push(Self::Freeze(Holder, Moment::Announcement, Duration::from_millis(600)));
        all
    }

    /// Whether another node must hold the address before this is healed.
    #[must_use]
    pub fn moves_the_address(self) -> bool {
        matches!(
            self,
            Self::Kill(Who::Holder)
                | Self::PowerOff(Who::Holder)
                | Self::LinkDown(Who::Holder)
                | Self::Isolate(Who::Holder)
                | Self::DeafThenFreeze(_)
        )
    }

    /// How long it stays before it is healed.
    #[must_use]
    pub fn lasts(self) -> Duration {
        match self {
            Self::Freeze(_, _, lasts) | Self::DeafThenFreeze(lasts) => lasts,
            // What is done once and left to the product.
            Self::FlushRules | Self::DeleteAddress => Duration::from_millis(500),
            _ => Duration::from_secs(2),
        }
    }

    /// Brings it about; `holder` is the index of the node that answers for the address.
    ///
    /// # Errors
    /// When it cannot, for example because the cluster has too few nodes.
    pub fn strike(self, cluster: &Cluster, observer: &Observer, holder: usize) -> Result<Vec<Fault>> {
        let who = |who| member(cluster, holder, who);
        let lab = cluster.lab();
        Ok(match self {
            Self::Kill(one) => vec![fault::kill(&who(one)?.node)?],
            Self::Freeze(one, moment, _) => vec![freeze_at(cluster, who(one)?, moment)?],
            Self::PowerOff(one) => vec![fault::power_off(&who(one)?.node)?],
            Self::LinkDown(one) => vec![fault::link_down(&who(one)?.host)?],
            Self::CutPeers(one, two) => {
                vec![fault::cut(lab, &who(one)?.host, &who(two)?.host, Cut::BothWays, Traffic::Peers)?]
            }
            Self::CutOneWay(one, two) => {
                vec![fault::cut(lab, &who(one)?.host, &who(two)?.host, Cut::OneWay, Traffic::Peers)?]
            }
            Self::Isolate(one) => isolate(cluster, who(one)?)?,
            Self::FullDisk(one) => {
                let member = who(one)?;
                let data = locked(&member.node).data();
                vec![fault::full_disk(&member.node, &data)?]
            }
            Self::FlushRules => vec![fault::flush_rules(&who(Who::Holder)?.host)?],
            Self::DeleteAddress => vec![fault::delete_address(&who(Who::Holder)?.host, VIP)?],
            Self::DeafThenFreeze(_) => {
                let leader = who(Who::Holder)?;
                let deaf = fault::cut(lab, &leader.host, &who(Who::Other(0))?.host, Cut::OneWay, Traffic::Peers)?;
                // Long enough for the deaf one to begin to campaign.
                crate::round::until_past(observer, observer.now() + Duration::from_secs(1))?;
                // The cut is made first and healed last, as the leader wakes up into it.
                vec![deaf, fault::freeze(&leader.node)?]
            }
            Self::ForgetfulVoter => forgetful_voter(cluster, observer, holder)?,
        })
    }
}

fn forgetful_voter(cluster: &Cluster, observer: &Observer, holder: usize) -> Result<Vec<Fault>> {
    let who = |who| member(cluster, holder, who);
    let (leader, voter, third) = (who(Who::Holder)?, who(Who::Other(0))?, who(Who::Other(1))?);
    let lab = cluster.lab();
    let deaf = fault::cut(lab, &leader.host, &third.host, Cut::BothWays, Traffic::Peers)?;
    crate::round::until_past(observer, observer.now() + Duration::from_secs(1))?;
    // From here on the leader's last acknowledgement ages; the voter comes back without knowing that it gave one.
    let cut = fault::cut(lab, &leader.host, &voter.host, Cut::BothWays, Traffic::Peers)?;
    fault::kill(&voter.node)?.heal()?;
    Ok(vec![deaf, cut])
}

fn member(cluster: &Cluster, holder: usize, who: Who) -> Result<&Member> {
    let members = cluster.members();
    match who {
        Who::Holder => members.get(holder).context("the holder is a member"),
        Who::Other(number) => {
            let others: Vec<&Member> =
                members.iter().enumerate().filter(|(at, _)| *at != holder).map(|(_, m)| m).collect();
            ensure!(!others.is_empty(), "there is nobody but the holder");
            Ok(others[number % others.len()])
        }
    }
}

fn isolate(cluster: &Cluster, one: &Member) -> Result<Vec<Fault>> {
    let others = cluster.members().iter().filter(|other| other.host.name() != one.host.name());
    others.map(|other| fault::cut(cluster.lab(), &one.host, &other.host, Cut::BothWays, Traffic::Everything)).collect()
}

fn freeze_at(cluster: &Cluster, member: &Member, moment: Moment) -> Result<Fault> {
    match moment {
        Moment::Any => {}
        Moment::Renewal => {
            let mut monitor = member.host.command("nft");
            monitor.args(["monitor"]);
            let mut lines = Lines::spawn(monitor)?;
            lines.next_within(EVENT_MAX).context("the holder renews its fence")?;
        }
        Moment::Announcement => {
            let announced = until_announced(cluster.admin_host(), VIP, EVENT_MAX)?;
            if announced != member.host.mac() {
                bail!("{announced} announced the address, {} holds it", member.host.mac());
            }
        }
    }
    fault::freeze(&member.node)
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holder => f.write_str("holder"),
            Self::Other(number) => write!(f, "other {number}"),
        }
    }
}

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(who) => write!(f, "kill -9 of {who}"),
            Self::Freeze(who, Moment::Any, lasts) => write!(f, "SIGSTOP of {who} for {} ms", lasts.as_millis()),
            Self::Freeze(who, at, lasts) => write!(f, "SIGSTOP of {who} at its {at:?} for {} ms", lasts.as_millis()),
            Self::PowerOff(who) => write!(f, "power off of {who}"),
            Self::LinkDown(who) => write!(f, "link down of {who}"),
            Self::CutPeers(one, two) => write!(f, "cut between {one} and {two}"),
            Self::CutOneWay(one, two) => write!(f, "cut from {one} to {two}"),
            Self::Isolate(who) => write!(f, "isolation of {who}"),
            Self::FullDisk(who) => write!(f, "full disk of {who}"),
            Self::FlushRules => f.write_str("nft flush ruleset"),
            Self::DeleteAddress => f.write_str("ip address delete of the floating address"),
            Self::DeafThenFreeze(lasts) => {
                write!(f, "cut from holder to other 0, then SIGSTOP for {} ms", lasts.as_millis())
            }
            Self::ForgetfulVoter => f.write_str("restart of the only acknowledging voter inside the lease"),
        }
    }
}
