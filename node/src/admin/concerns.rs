//! What somebody should look at, from what the nodes say of themselves. Pure.

use std::time::Duration;

use raft::state::State;

use super::picture::{Trouble, trouble};
use crate::observe::{About, Told};
use crate::times::for_people;

/// How far the clocks of two nodes may be apart: tokens, certificates and times in logs are judged by them.
const SKEW_MAX: Duration = Duration::from_secs(2);
/// After how long without a whole backup somebody is told, once there has been one: a nightly one was left out twice.
const BACKUP_AGE_MAX: Duration = Duration::from_hours(48);
/// How long before its end a certificate is told of. Those a node makes for itself are renewed long before.
const CERTIFICATE_NOTICE: Duration = Duration::from_hours(30 * 24);
/// From when on that is urgent.
const CERTIFICATE_URGENT: Duration = Duration::from_hours(7 * 24);
/// How long ago a machine may have asked somebody else's boot server.
const RIVAL_TOLD_FOR: Duration = Duration::from_hours(1);

/// Looks at what each node says. `now` is this node's clock, in milliseconds since 1970, and `own` its id.
pub(super) fn of_nodes(state: &State, told: &[Told], own: u64, now: u64, problems: &mut Vec<Trouble>) {
    for (one, about) in told.iter().filter_map(|one| Some((one, one.about.as_ref()?))) {
        vip(state, &one.name, about, now, problems);
        disk(&one.name, about, problems);
        if one.id != own {
            certificates(&one.name, about, now, problems);
        }
    }
    two_holders(told, problems);
    versions(told, problems);
    clocks(told, problems);
    rivals(told, now, problems);
    backup(told, now, problems);
}

fn ago(then: u64, now: u64) -> String {
    for_people(Duration::from_millis(now.saturating_sub(then)))
}

fn vip(state: &State, name: &str, about: &About, now: u64, problems: &mut Vec<Trouble>) {
    let Some(address) = state.vip() else { return };
    if let Some(rival) = &about.vip.rival {
        let since = ago(rival.at, now);
        let message = if about.vip.is_held() {
            format!("{} says that it has the VIP {address}, for {since}; node {name} holds it", rival.who)
        } else {
            format!("{} has the VIP {address}, for {since}: node {name} cannot take it", rival.who)
        };
        let hint = format!(
            "find that network card (`arping {address}` shows who answers, a switch its port) and take the address away from it, or \
             choose another VIP: `raftboot cluster set vip=ADDRESS`"
        );
        problems.push(trouble("vip_conflict", message, hint).see(SOMEBODY));
    }
    if about.vip.state == "unusable" {
        let message = format!("node {name} could not hold the VIP {address}: {}", about.vip.detail);
        let hint = "mend what it says; until then let another node lead: `raftboot transfer`";
        problems.push(trouble("vip_unusable", message, hint).see(SOMEBODY));
    }
}

const SOMEBODY: &str = "docs/operate/failures.md#somebody-interferes";

fn disk(name: &str, about: &About, problems: &mut Vec<Trouble>) {
    if let Some(disk) = about.disk.filter(|disk| disk.free < disk.reserve.saturating_mul(2)) {
        let refused = if disk.free <= disk.reserve { "uploads are refused" } else { "uploads will be refused soon" };
        let message = format!("the disk of node {name} has {} left: {refused}", size(disk.free));
        let hint = "free some space there, or remove assets that are not needed (`raftboot asset rm`; their bytes go a day later)";
        problems.push(trouble("disk_low", message, hint).see("docs/operate/full-disk.md"));
    }
    if about.quarantined > 0 {
        let files = if about.quarantined == 1 { "file".into() } else { format!("{} files", about.quarantined) };
        let message = format!("node {name} put {files} aside as damaged");
        let hint = "look at that disk (`smartctl -a`); good copies came from other nodes. Then delete what is in `quarantine` there";
        problems.push(trouble("quarantine", message, hint).see("docs/operate/corrupt-disk.md"));
    }
}

/// Those of the node that is asked are told of by whoever knows more of them.
fn certificates(name: &str, about: &About, now: u64, problems: &mut Vec<Trouble>) {
    for certificate in &about.certificates {
        let left = Duration::from_millis(certificate.expires.saturating_sub(now));
        if left > CERTIFICATE_NOTICE {
            continue;
        }
        let (code, when) = match certificate.expires <= now {
            true => ("certificate_expired", "has expired".to_owned()),
            false if left <= CERTIFICATE_URGENT => {
                ("certificate_expires_soon", format!("ends in {}", for_people(left)))
            }
            false => ("certificate_expires", format!("ends in {}", for_people(left))),
        };
        let message = format!("the certificate `{}` of node {name} {when}", certificate.name);
        let hint = "a file of yours: put a new one in its place; any other: look at the log of that node, it renews them itself";
        problems.push(trouble(code, message, hint).see("docs/operate/certificates.md"));
    }
}

fn two_holders(told: &[Told], problems: &mut Vec<Trouble>) {
    let holders: Vec<&str> = told
        .iter()
        .filter(|one| one.about.as_ref().is_some_and(|about| about.vip.is_held()))
        .map(|one| &*one.name)
        .collect();
    // They were not asked at the same instant: one that has just let go may be named beside the next. Twice in a row is none.
    if holders.len() > 1 {
        let message = format!("more than one node says that it holds the VIP: {}", holders.join(", "));
        let hint = "ask again; if it stays so, the network between them is cut and the cluster is a `survivor`, or a clock or \
                    kernel misbehaves: stop one of them (`systemctl stop raftboot`)";
        problems.push(trouble("vip_two_holders", message, hint).see("docs/operate/failures.md#the-network-fails"));
    }
}

fn versions(told: &[Told], problems: &mut Vec<Trouble>) {
    let mut all: Vec<(&str, &str)> =
        told.iter().filter_map(|one| Some((&*one.about.as_ref()?.version, &*one.name))).collect();
    all.sort_unstable();
    if all.windows(2).any(|pair| pair[0].0 != pair[1].0) {
        let said: Vec<String> = all.iter().map(|(version, name)| format!("{name} runs {version}")).collect();
        let hint = "finish the upgrade, one node after the other, the leader last";
        let page = "docs/operate/upgrade.md";
        problems.push(
            trouble("versions_differ", format!("nodes run different versions: {}", said.join(", ")), hint).see(page),
        );
    }
}

fn clocks(told: &[Told], problems: &mut Vec<Trouble>) {
    for one in told {
        let Some((ahead, unsure)) = one.skew else { continue };
        let most = u64::try_from(SKEW_MAX.as_millis()).unwrap_or(u64::MAX).saturating_add(unsure);
        if ahead.unsigned_abs() <= most {
            continue;
        }
        let way = if ahead > 0 { "ahead of" } else { "behind" };
        let by = for_people(Duration::from_millis(ahead.unsigned_abs()));
        let message = format!("the clock of node {} is {by} {way} that of the node asked", one.name);
        let hint = "set both by NTP (`timedatectl`, `chronyc tracking`): tokens and certificates are judged by them";
        problems.push(trouble("clock_skew", message, hint).see("docs/reference/metrics.md#what-the-alerts-mean"));
    }
}

fn rivals(told: &[Told], now: u64, problems: &mut Vec<Trouble>) {
    let heard = told.iter().filter_map(|one| one.about.as_ref()?.dhcp_rival.as_ref());
    let recent = |at: u64| Duration::from_millis(now.saturating_sub(at)) <= RIVAL_TOLD_FOR;
    if let Some(rival) = heard.filter(|rival| recent(rival.at)).max_by_key(|rival| rival.at) {
        let message = format!("a machine asked another boot server, {}, {} ago", rival.who, ago(rival.at, now));
        let hint = "if you do not know it, find it and stop it: a machine takes the first boot offer it likes";
        problems.push(trouble("dhcp_rival", message, hint).see(SOMEBODY));
    }
}

fn backup(told: &[Told], now: u64, problems: &mut Vec<Trouble>) {
    let Some(last) = last_backup(told) else { return };
    if Duration::from_millis(now.saturating_sub(last)) > BACKUP_AGE_MAX {
        let message = format!("the last whole backup is {} old", ago(last, now));
        let hint = "make one (`raftboot backup FILE`), and look why the timer did not: `systemctl list-timers raftboot-backup.timer`";
        problems.push(trouble("backup_old", message, hint).see("docs/operate/backup.md"));
    }
}

/// When any node gave the last whole backup, in milliseconds since 1970.
#[must_use]
pub(super) fn last_backup(told: &[Told]) -> Option<u64> {
    told.iter().filter_map(|one| one.about.as_ref()?.last_backup).max()
}

fn size(bytes: u64) -> String {
    match bytes >> 20 {
        mib @ 0..10_240 => format!("{mib} MiB"),
        mib => format!("{} GiB", mib >> 10),
    }
}

#[cfg(test)]
mod tests {
    use raft::command::{Command, Edit};
    use raft::state::ClusterSettings;
    use raft::types::{Digest, LogIndex, Timestamp};

    use super::*;
    use crate::observe::{Certificate, Disk, Rival, VipHere};

    const NOW: u64 = 1_795_254_847_000;
    const HOUR: u64 = 3_600_000;

    fn with_vip() -> State {
        let mut state = State::default();
        let vip = Some(std::net::Ipv4Addr::new(10, 0, 20, 5));
        let edit = Edit::PutCluster(ClusterSettings { vip, ..ClusterSettings::default() });
        let command = Command {
            actor: "test".into(),
            at: Timestamp(NOW),
            idempotency_key: String::new(),
            fingerprint: Digest([0; 32]),
            edits: vec![edit.into()],
            replace: Vec::new(),
            allow_ties: false,
        };
        state.apply(LogIndex(1), &command);
        state
    }

    fn fine(id: u64) -> Told {
        let name = ["", "a", "b", "c"][usize::try_from(id).unwrap()].to_owned();
        let gib = 1 << 30;
        let about = About {
            name: name.clone(),
            version: "1.2".into(),
            now: NOW,
            vip: VipHere { state: "idle".into(), ..VipHere::default() },
            disk: Some(Disk { free: 9 * gib, reserve: gib }),
            last_backup: Some(NOW - HOUR),
            certificates: vec![Certificate { name: "admin".into(), expires: NOW + 90 * 24 * HOUR }],
            ..About::default()
        };
        Told { id, name, about: Some(about), skew: Some((3, 1)) }
    }

    /// Codes and messages once `change` has been done to what b says.
    fn when(change: impl FnOnce(&mut Told, &mut About)) -> Vec<(&'static str, String)> {
        let mut b = fine(2);
        let mut about = b.about.take().unwrap();
        change(&mut b, &mut about);
        b.about = Some(about);
        let (state, mut problems) = (with_vip(), Vec::new());
        of_nodes(&state, &[fine(1), b, fine(3)], 1, NOW, &mut problems);
        problems.into_iter().map(|problem| (problem.code, problem.message)).collect()
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Told, &mut About), code: &str, words: &str) {
        let found = when(change);
        assert!(found.len() == 1 && found[0].0 == code && found[0].1.contains(words), "{found:?}");
    }

    #[test]
    fn nodes_that_are_well_say_nothing() {
        assert_eq!(when(|_, _| ()), []);
        assert_eq!(when(|b, about| (b.skew, *about) = (None, About { version: "1.2".into(), ..About::default() })), []);
    }

    #[test]
    fn somebody_else_with_the_vip_is_named_by_the_card_and_since_when() {
        let rival = Some(Rival { who: "52:54:00:aa:bb:cc".into(), at: NOW - 3 * HOUR });
        let words = "52:54:00:aa:bb:cc has the VIP 10.0.20.5, for 3 hours: node b cannot take it";
        check(
            |_, about| (about.vip.state, about.vip.rival) = ("conflict".into(), rival.clone()),
            "vip_conflict",
            words,
        );
        let words = "says that it has the VIP 10.0.20.5, for 3 hours; node b holds it";
        check(|_, about| (about.vip.held_since, about.vip.rival) = (Some(1), rival), "vip_conflict", words);
        let words = "node b could not hold the VIP 10.0.20.5: no nftables";
        let unusable = VipHere { state: "unusable".into(), detail: "no nftables".into(), ..VipHere::default() };
        check(|_, about| about.vip = unusable, "vip_unusable", words);
    }

    #[test]
    fn two_holders_are_named() {
        let (state, mut problems) = (with_vip(), Vec::new());
        let told = [fine(1), fine(2)].map(|mut one| {
            if let Some(about) = &mut one.about {
                about.vip.held_since = Some(NOW);
            }
            one
        });
        of_nodes(&state, &told, 1, NOW, &mut problems);
        assert_eq!(problems.iter().map(|problem| problem.code).collect::<Vec<_>>(), ["vip_two_holders"]);
        assert!(problems[0].message.ends_with("a, b"));
    }

    #[test]
    fn disks_clocks_versions_certificates_and_backups_are_told_with_the_node() {
        let low = |free| Some(Disk { free, reserve: 1 << 30 });
        check(
            |_, about| about.disk = low(3 << 29),
            "disk_low",
            "node b has 1536 MiB left: uploads will be refused soon",
        );
        check(|_, about| about.disk = low(1 << 20), "disk_low", "1 MiB left: uploads are refused");
        check(|_, about| about.quarantined = 2, "quarantine", "node b put 2 files aside");
        check(|_, about| about.version = "1.3".into(), "versions_differ", "a runs 1.2, c runs 1.2, b runs 1.3");
        check(|b, _| b.skew = Some((-90_000, 5)), "clock_skew", "clock of node b is 90 seconds behind");
        assert_eq!(when(|b, _| b.skew = Some((2300, 350))), [], "no more than the asking may have taken");
        let ends = |expires| vec![Certificate { name: "admin".into(), expires }];
        let words = "`admin` of node b ends in 3 days";
        check(|_, about| about.certificates = ends(NOW + 72 * HOUR), "certificate_expires_soon", words);
        let words = "`admin` of node b ends in 20 days";
        check(|_, about| about.certificates = ends(NOW + 480 * HOUR), "certificate_expires", words);
        check(|_, about| about.certificates = ends(NOW - 1), "certificate_expired", "has expired");
        let asked = |hours| Some(Rival { who: "10.0.20.99".into(), at: NOW - hours * HOUR });
        check(|_, about| about.dhcp_rival = asked(0), "dhcp_rival", "10.0.20.99");
        assert_eq!(when(|_, about| about.dhcp_rival = asked(2)), [], "long ago");
    }

    #[test]
    fn a_backup_of_any_node_counts_and_none_at_all_is_no_fault() {
        let told = |hours: Option<u64>| {
            let mut one = fine(1);
            one.about.as_mut().unwrap().last_backup = hours.map(|hours| NOW - hours * HOUR);
            one
        };
        let codes = |told: &[Told]| {
            let mut problems = Vec::new();
            of_nodes(&with_vip(), told, 1, NOW, &mut problems);
            problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>()
        };
        assert_eq!(codes(&[told(None)]), Vec::<String>::new());
        assert_eq!(codes(&[told(Some(72)), told(Some(1))]), Vec::<String>::new());
        assert_eq!(codes(&[told(Some(72)), told(None)]), ["the last whole backup is 3 days old"]);
    }
}
