//! The cluster as one picture: who is there, who leads, who holds the VIP, what is missing, what to do. Pure.

use std::time::Duration;

use raft::Status;
use raft::cluster::Overview;
use raft::peer::PeerView;
use raft::state::{Member, NodeKind, State, TwoNode};
use raft::types::Timestamp;
use serde::Serialize;

use super::clock::rfc3339;
use super::concerns;
use crate::observe::Told;
use crate::replication::{copies, summary};
use crate::times::for_people;

/// How many assets with too few copies are named.
const NAMED_MAX: usize = 5;

/// The whole of it, as answers show it.
#[derive(Debug, Serialize)]
pub(super) struct Picture {
    pub(super) members: Vec<MemberView>,
    pub(super) vip: Option<VipView>,
    /// Blobs with fewer copies than they need.
    #[serde(skip)]
    pub(super) under_replicated: usize,
    /// The first names of such.
    #[serde(skip)]
    pub(super) under_replicated_names: Vec<String>,
    /// What somebody should look at; empty when all is well.
    pub(super) problems: Vec<Trouble>,
}

/// One node.
#[derive(Debug, Serialize)]
pub(super) struct MemberView {
    id: u64,
    name: String,
    kind: NodeKind,
    peer: String,
    boot: String,
    /// `voter`, `learner`, or `removed` while the others still talk to it.
    role: &'static str,
    leader: bool,
    /// Whether it answers; nothing while there is no leader to say so.
    reachable: Option<bool>,
    silent_for_millis: Option<u64>,
    /// Log entries it lacks.
    lag: Option<u64>,
    /// Blobs it should hold and does not yet.
    replicas_missing: usize,
    /// The node whose place it takes.
    replaces: Option<u64>,
    /// What it says of itself; nothing if it was not asked or did not answer.
    #[serde(flatten)]
    told: Option<ToldView>,
}

/// What a node says of itself.
#[derive(Debug, Serialize)]
struct ToldView {
    version: String,
    started_at: Option<String>,
    /// How much its clock is ahead of that of the node asked.
    clock_ahead_millis: Option<i64>,
    disk_free_bytes: Option<u64>,
    /// How it stands with the VIP there: `held`, `idle`, `claiming`, `conflict`, `survivor`, `unusable` or `none`.
    vip_state: String,
}

/// The floating address.
#[derive(Debug, Serialize)]
pub(super) struct VipView {
    address: std::net::Ipv4Addr,
    holder: Option<u64>,
    holder_name: Option<String>,
    since: Option<String>,
    /// `held`; `released`: on its way to the next; `unclaimed`: nobody has had it yet; `unknown`: no leader is known.
    state: &'static str,
}

/// Something to look at.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Trouble {
    /// In one word, for programs.
    pub(super) code: &'static str,
    pub(super) message: String,
    hint: String,
    /// Where more is written about it, in the repository or in `/usr/share/doc/raftboot`.
    page: &'static str,
}

pub(super) fn trouble(code: &'static str, message: String, hint: impl Into<String>) -> Trouble {
    Trouble { code, message, hint: hint.into(), page: "" }
}

impl Trouble {
    /// Says where more is written about it.
    pub(super) fn see(self, page: &'static str) -> Self {
        Self { page, ..self }
    }
}

/// Draws it from what this node knows, what the leader says, and what the nodes say of themselves, where they were asked;
/// `now` is in milliseconds since 1970.
pub(super) fn draw(state: &State, status: &Status, overview: &Overview, told: &[Told], now: u64) -> Picture {
    let copies = summary(state);
    // What this node remembers of a leader may be long over; only one that has just answered counts.
    let leader = overview.leader;
    let mut members: Vec<MemberView> = state
        .members()
        .map(|member| MemberView {
            told: told.iter().find(|one| one.id == member.id).and_then(told_view),
            ..view(member, status, overview, leader, copies.missing.get(&member.id).copied().unwrap_or(0))
        })
        .collect();
    members.extend(overview.peers.iter().filter(|peer| state.was_removed(peer.id)).map(leaving));
    let vip = vip(state, leader);
    let mut problems = Vec::new();
    quorum(status, leader, &members, &mut problems);
    nodes(&members, &mut problems);
    shape(state, status, &mut problems);
    let nowhere = if copies.nowhere > 0 { named(state, |copies| copies.is_empty()) } else { Vec::new() };
    if copies.nowhere > 0 {
        let list = listed(&nowhere, copies.nowhere);
        let message = format!("{} no copy on any node: machines that ask get an error: {list}", files(copies.nowhere));
        let hint = "bring back the node that has them; else upload them again: `raftboot asset put`";
        problems.push(trouble("no_copy", message, hint).see("docs/operate/failures.md#disks-fail"));
    }
    let few = copies.under_replicated.saturating_sub(copies.nowhere);
    let mut names = if few > 0 { named(state, |copies| !copies.is_empty()) } else { Vec::new() };
    if few > 0 {
        let message = format!("{} fewer copies than needed: {}", files(few), listed(&names, few));
        let hint = "bring back the nodes that do not answer; copies are made by themselves";
        problems.push(trouble("under_replicated", message, hint).see("docs/operate/failures.md#disks-fail"));
    }
    if let Some(vip) = &vip
        && matches!(vip.state, "unclaimed" | "released")
        && leader.is_some()
    {
        let hint = "if it stays so, look at the log of the node that leads: it says what keeps it from taking the VIP";
        let message = format!("nobody holds the VIP {}", vip.address);
        problems.push(trouble("vip_not_held", message, hint).see("docs/operate/failures.md#somebody-interferes"));
    }
    names.splice(0..0, nowhere);
    names.truncate(NAMED_MAX);
    concerns::of_nodes(state, told, status.node_id, now, &mut problems);
    Picture { members, vip, under_replicated: copies.under_replicated, under_replicated_names: names, problems }
}

/// The first names of what has too few copies, of those that have such copies.
fn named(state: &State, such: impl Fn(&[u64]) -> bool) -> Vec<String> {
    let lacking = state.assets_from("").filter(|asset| {
        let of_it = copies(state, &asset.value.digest);
        of_it.under_replicated && such(&of_it.copies)
    });
    lacking.map(|asset| asset.value.name.clone()).take(NAMED_MAX).collect()
}

fn files(count: usize) -> String {
    if count == 1 { "1 file has".into() } else { format!("{count} files have") }
}

fn listed(names: &[String], of: usize) -> String {
    let more = if of > names.len() { ", …" } else { "" };
    names.join(", ") + more
}

fn told_view(one: &Told) -> Option<ToldView> {
    let about = one.about.as_ref()?;
    Some(ToldView {
        version: about.version.clone(),
        started_at: rfc3339(Timestamp(about.started)),
        clock_ahead_millis: one.skew.map(|(ahead, _)| ahead),
        disk_free_bytes: about.disk.map(|disk| disk.free),
        vip_state: about.vip.state.clone(),
    })
}

fn view(member: &Member, status: &Status, overview: &Overview, leader: Option<u64>, missing: usize) -> MemberView {
    let peer = overview.peers.iter().find(|peer| peer.id == member.id);
    let votes = peer.map_or_else(|| status.voters.contains(&member.id), |peer| peer.voter);
    let own = member.id == status.node_id;
    MemberView {
        id: member.id,
        name: member.name.clone(),
        kind: member.kind,
        peer: member.peer.clone(),
        boot: member.boot.clone(),
        role: if votes { "voter" } else { "learner" },
        leader: leader == Some(member.id),
        reachable: if own { Some(true) } else { peer.map(PeerView::is_alive) },
        silent_for_millis: peer.and_then(|peer| peer.silent_for_millis),
        lag: peer.and_then(|peer| peer.lag),
        replicas_missing: missing,
        replaces: member.replaces,
        told: None,
    }
}

/// A node that is no member any more, but that Raft has not let go of yet.
fn leaving(peer: &PeerView) -> MemberView {
    MemberView {
        id: peer.id,
        name: String::new(),
        kind: NodeKind::Data,
        peer: String::new(),
        boot: String::new(),
        role: "removed",
        leader: false,
        reachable: Some(peer.is_alive()),
        silent_for_millis: peer.silent_for_millis,
        lag: peer.lag,
        replicas_missing: 0,
        replaces: None,
        told: None,
    }
}

fn vip(state: &State, leader: Option<u64>) -> Option<VipView> {
    let address = state.vip()?;
    let record = state.vip_record();
    let condition = match record {
        _ if leader.is_none() => "unknown",
        None => "unclaimed",
        Some(record) if record.released => "released",
        Some(_) => "held",
    };
    let holder = record.filter(|record| !record.released).map(|record| record.holder);
    Some(VipView {
        address,
        holder,
        holder_name: holder.and_then(|id| state.member(id)).map(|member| member.name.clone()),
        since: record.and_then(|record| rfc3339(record.since)),
        state: condition,
    })
}

fn quorum(status: &Status, leader: Option<u64>, members: &[MemberView], problems: &mut Vec<Trouble>) {
    if leader.is_some() {
        return;
    }
    let (voters, needed) = (status.voters.len(), status.voters.len() / 2 + 1);
    if voters == 0 {
        let message = "this node waits for the cluster to send it the log".to_owned();
        problems.push(
            trouble(
                "waiting",
                message,
                "nothing, if it has joined just now; else look whether the others reach its peer port",
            )
            .see("docs/operate/cluster.md"),
        );
        return;
    }
    let names: Vec<&str> =
        members.iter().filter(|member| member.id != status.node_id).map(|member| &*member.name).collect();
    let message = format!(
        "no leader: {needed} of {voters} voters must work and reach each other; changes are refused, machines still boot"
    );
    let hint = format!("start the nodes that are down, and look at the network between them ({})", names.join(", "));
    problems.push(trouble("no_leader", message, hint).see("docs/operate/lost-quorum.md"));
}

fn nodes(members: &[MemberView], problems: &mut Vec<Trouble>) {
    for member in members.iter().filter(|member| member.role != "removed") {
        let name = &member.name;
        if member.reachable == Some(false) {
            let since = member.silent_for_millis.map_or_else(
                || "since the leader began".into(),
                |millis| format!("for {}", for_people(Duration::from_millis(millis))),
            );
            let message = format!("node {name} ({}) has not answered {since}", member.id);
            let hint = format!(
                "start it again; if it is gone for good: `raftboot remove {name}`, or let a new one of that name join"
            );
            problems.push(trouble("node_silent", message, hint).see("docs/operate/failures.md#a-node-fails"));
        } else if member.role == "learner" {
            let lag = member.lag.map_or_else(String::new, |lag| format!(", {lag} log entries behind"));
            let message = format!(
                "node {name} ({}) does not vote yet: {} files to fetch{lag}",
                member.id, member.replicas_missing
            );
            let hint = "nothing: it votes as soon as it has them";
            problems.push(trouble("node_learning", message, hint).see("docs/operate/cluster.md"));
        }
    }
}

/// Clusters that cannot do what somebody may expect of them.
fn shape(state: &State, status: &Status, problems: &mut Vec<Trouble>) {
    if status.voters.len() != 2 {
        return;
    }
    let two_node = state.cluster().map_or(TwoNode::None, |stored| stored.value.two_node);
    let message = "with two voters, changes stop as soon as one of them is gone".to_owned();
    match two_node {
        TwoNode::Survivor => {}
        TwoNode::Witness => {
            problems.push(
                trouble(
                    "no_witness",
                    message,
                    "let the witness join: `raftboot join-token`, then `raftboot join … --witness` there",
                )
                .see("docs/operate/witness.md"),
            );
        }
        TwoNode::None => {
            let hint =
                "let a third node join, or a witness (`--witness`), or choose `raftboot cluster set two_node=survivor`";
            problems.push(
                trouble("two_nodes", format!("{message}, and the VIP goes"), hint).see("docs/operate/witness.md"),
            );
        }
    }
}

/// The status as it is once the leader was asked: one that is remembered but does not answer is none.
#[must_use]
pub(super) fn asked(status: Status, overview: &Overview) -> Status {
    Status { leader: overview.leader, ..status }
}

#[cfg(test)]
mod tests {
    use raft::command::{Command, Edit};
    use raft::state::{Announcement, ClusterSettings, NewMember};
    use raft::types::{Digest, LogIndex, Timestamp};

    use super::*;

    fn cluster(two_node: TwoNode) -> State {
        let mut state = State::default();
        let node = |name: &str, id: u8| NewMember {
            name: name.into(),
            kind: NodeKind::Data,
            peer: format!("10.0.0.{id}:7443"),
            boot: format!("http://10.0.0.{id}:8080"),
            instance: [id; 16],
        };
        let NewMember { name, kind, peer, boot, .. } = node("a", 1);
        let vip = Some(std::net::Ipv4Addr::new(10, 0, 0, 9));
        let edits = [
            Edit::AnnounceMember(Announcement { id: 1, name, kind, peer, boot }),
            Edit::AddMember(node("b", 2)),
            Edit::PutCluster(ClusterSettings { vip, two_node, ..ClusterSettings::default() }),
            Edit::ClaimVip(1),
        ];
        let command = Command {
            actor: "test".into(),
            at: Timestamp(1_700_000_000_000),
            idempotency_key: String::new(),
            fingerprint: Digest([0; 32]),
            edits: edits.into_iter().map(Into::into).collect(),
            replace: Vec::new(),
            allow_ties: false,
        };
        state.apply(LogIndex(5), &command);
        state
    }

    fn status(voters: &[u64], leader: Option<u64>) -> Status {
        Status {
            cluster_id: String::new(),
            generation: 1,
            node_id: 1,
            role: "leader".into(),
            term: 1,
            leader,
            voters: voters.to_vec(),
            last_log: LogIndex(5),
            applied: LogIndex(5),
            snapshot: None,
            caught_up: true,
        }
    }

    fn peer(id: u64, voter: bool, silent: u64) -> PeerView {
        PeerView { id, voter, silent_for_millis: Some(silent), lag: Some(0) }
    }

    fn drawn(state: &State, status: &Status, overview: &Overview) -> Picture {
        draw(state, status, overview, &[], 1_700_000_000_000)
    }

    fn codes(picture: &Picture) -> Vec<&'static str> {
        picture.problems.iter().map(|problem| problem.code).collect()
    }

    #[test]
    fn a_healthy_cluster_has_no_problems() {
        let overview = Overview { leader: Some(1), peers: vec![peer(1, true, 0), peer(2, true, 40)] };
        let picture = drawn(&cluster(TwoNode::Survivor), &status(&[1, 2], Some(1)), &overview);
        assert_eq!(codes(&picture), Vec::<&str>::new());
        let vip = picture.vip.unwrap();
        assert_eq!((vip.state, vip.holder, vip.holder_name.as_deref()), ("held", Some(1), Some("a")));
        let seen: Vec<_> = picture.members.iter().map(|m| (m.id, m.role, m.leader, m.reachable)).collect();
        assert_eq!(seen, [(1, "voter", true, Some(true)), (2, "voter", false, Some(true))]);
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_do() {
        let state = cluster(TwoNode::None);
        let silent = Overview { leader: Some(1), peers: vec![peer(1, true, 0), peer(2, true, 34_000)] };
        let picture = drawn(&state, &status(&[1, 2], Some(1)), &silent);
        assert_eq!(codes(&picture), ["node_silent", "two_nodes"]);
        assert!(
            picture.problems[0].message.contains("node b (2) has not answered for 34 seconds"),
            "{:?}",
            picture.problems
        );

        let picture = drawn(&state, &status(&[1, 2], None), &Overview::default());
        assert_eq!(codes(&picture), ["no_leader", "two_nodes"]);
        assert_eq!(picture.vip.as_ref().unwrap().state, "unknown");
        assert_eq!(picture.members[1].reachable, None, "nobody can say");

        let learning = Overview { leader: Some(1), peers: vec![peer(1, true, 0), peer(2, false, 10)] };
        assert_eq!(codes(&drawn(&state, &status(&[1], Some(1)), &learning)), ["node_learning"]);
        assert_eq!(
            codes(&drawn(
                &cluster(TwoNode::Witness),
                &status(&[1, 2], Some(1)),
                &Overview { leader: Some(1), peers: vec![peer(2, true, 1)] }
            )),
            ["no_witness"]
        );
        assert_eq!(codes(&drawn(&State::default(), &status(&[], None), &Overview::default())), ["waiting"]);
    }

    #[test]
    fn what_has_too_few_copies_is_named() {
        let mut state = cluster(TwoNode::Survivor);
        let digest = |letter: u8| Digest([letter; 32]);
        let edits = (0..7_u8).map(|at| {
            Edit::PutAsset(raft::state::Asset {
                name: format!("talos/{at}"),
                digest: digest(at),
                size: 1,
                media_type: String::new(),
                origin: String::new(),
            })
        });
        let command = Command {
            actor: "test".into(),
            at: Timestamp(1_700_000_000_000),
            idempotency_key: String::new(),
            fingerprint: Digest([0; 32]),
            edits: edits.chain([Edit::ReportBlobs(1, vec![(digest(6), 1)])]).map(Into::into).collect(),
            replace: Vec::new(),
            allow_ties: false,
        };
        state.apply(LogIndex(6), &command);
        let overview = Overview { leader: Some(1), peers: vec![peer(1, true, 0), peer(2, true, 40)] };
        let picture = drawn(&state, &status(&[1, 2], Some(1)), &overview);
        assert_eq!(codes(&picture), ["no_copy", "under_replicated"]);
        let said: Vec<&str> = picture.problems.iter().map(|problem| &*problem.message).collect();
        let list = "talos/0, talos/1, talos/2, talos/3, talos/4, …";
        let nowhere = format!("6 files have no copy on any node: machines that ask get an error: {list}");
        assert_eq!(said, [nowhere.as_str(), "1 file has fewer copies than needed: talos/6"]);
        assert_eq!(picture.under_replicated_names.len(), NAMED_MAX);
    }

    #[test]
    fn every_page_that_is_named_exists_with_its_heading() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let anchor = |line: &str| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            title
                .chars()
                .filter_map(|c| if c == ' ' { Some('-') } else { Some(c).filter(|c| c.is_alphanumeric() || *c == '-') })
                .collect::<String>()
        };
        let mut pages = Vec::new();
        for source in [include_str!("picture.rs"), include_str!("concerns.rs")] {
            let code = source.split("#[cfg(test)]").next().unwrap_or_default();
            pages.extend(
                code.split("\"docs/").skip(1).filter_map(|rest| Some(format!("docs/{}", rest.split('"').next()?))),
            );
        }
        assert!(pages.len() > 8, "{pages:?}");
        for page in pages {
            let (file, heading) = page.split_once('#').unwrap_or((&page, ""));
            let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{page}: {error}"));
            let found = heading.is_empty() || text.lines().any(|line| line.starts_with('#') && anchor(line) == heading);
            assert!(found, "{page}: no such heading");
        }
    }
}
