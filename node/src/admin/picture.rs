//! The cluster as one picture: who is there, who leads, who holds the VIP, what is missing, what to do. Pure.

use raft::Status;
use raft::cluster::Overview;
use raft::peer::PeerView;
use raft::state::{Member, NodeKind, State, TwoNode};
use serde::Serialize;

use super::clock::rfc3339;
use crate::replication::summary;

/// The whole of it, as answers show it.
#[derive(Debug, Serialize)]
pub(super) struct Picture {
    pub(super) members: Vec<MemberView>,
    pub(super) vip: Option<VipView>,
    /// Blobs with fewer copies than they need.
    #[serde(skip)]
    pub(super) under_replicated: usize,
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
    code: &'static str,
    message: String,
    hint: String,
}

fn trouble(code: &'static str, message: String, hint: impl Into<String>) -> Trouble {
    Trouble { code, message, hint: hint.into() }
}

/// Draws it from what this node knows and what the leader says.
pub(super) fn draw(state: &State, status: &Status, overview: &Overview) -> Picture {
    let copies = summary(state);
    // What this node remembers of a leader may be long over; only one that has just answered counts.
    let leader = overview.leader;
    let mut members: Vec<MemberView> = state
        .members()
        .map(|member| view(member, status, overview, leader, copies.missing.get(&member.id).copied().unwrap_or(0)))
        .collect();
    members.extend(overview.peers.iter().filter(|peer| state.was_removed(peer.id)).map(leaving));
    let vip = vip(state, leader);
    let mut problems = Vec::new();
    quorum(status, leader, &members, &mut problems);
    nodes(&members, &mut problems);
    shape(state, status, &mut problems);
    if copies.nowhere > 0 {
        let message =
            format!("{} files have no copy on any node: machines that ask for them are refused", copies.nowhere);
        let hint = "bring back the node that has them; else `raftboot asset list` shows which, and `raftboot asset put` mends them";
        problems.push(trouble("no_copy", message, hint));
    }
    if copies.under_replicated > copies.nowhere {
        let message = format!("{} blobs have fewer copies than they need", copies.under_replicated - copies.nowhere);
        problems.push(trouble(
            "under_replicated",
            message,
            "bring back the nodes that do not answer; copies are made by themselves",
        ));
    }
    if let Some(vip) = &vip
        && matches!(vip.state, "unclaimed" | "released")
        && leader.is_some()
    {
        let hint = "if it stays so, look at the log of the node that leads: it says what keeps it from taking the VIP";
        problems.push(trouble("vip_not_held", format!("nobody holds the VIP {}", vip.address), hint));
    }
    Picture { members, vip, under_replicated: copies.under_replicated, problems }
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
        problems.push(trouble(
            "waiting",
            message,
            "nothing, if it has joined just now; else look whether the others reach its peer port",
        ));
        return;
    }
    let names: Vec<&str> =
        members.iter().filter(|member| member.id != status.node_id).map(|member| &*member.name).collect();
    let message = format!(
        "no leader: {needed} of {voters} voters must work and reach each other; changes are refused, machines still boot"
    );
    let hint = format!("start the nodes that are down, and look at the network between them ({})", names.join(", "));
    problems.push(trouble("no_leader", message, hint));
}

fn nodes(members: &[MemberView], problems: &mut Vec<Trouble>) {
    for member in members.iter().filter(|member| member.role != "removed") {
        let name = &member.name;
        if member.reachable == Some(false) {
            let since = member
                .silent_for_millis
                .map_or_else(|| "since the leader began".into(), |millis| format!("for {} s", millis / 1000));
            let message = format!("node {name} ({}) has not answered {since}", member.id);
            let hint = format!(
                "start it again; if it is gone for good: `raftboot remove {name}`, or let a new one of that name join"
            );
            problems.push(trouble("node_silent", message, hint));
        } else if member.role == "learner" {
            let lag = member.lag.map_or_else(String::new, |lag| format!(", {lag} log entries behind"));
            let message = format!(
                "node {name} ({}) does not vote yet: {} blobs to fetch{lag}",
                member.id, member.replicas_missing
            );
            problems.push(trouble("node_learning", message, "nothing: it votes as soon as it has them"));
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
            problems.push(trouble(
                "no_witness",
                message,
                "let the witness join: `raftboot join-token`, then `raftboot join … --witness` there",
            ));
        }
        TwoNode::None => {
            let hint =
                "let a third node join, or a witness (`--witness`), or choose `raftboot cluster set two_node=survivor`";
            problems.push(trouble("two_nodes", format!("{message}, and the VIP goes"), hint));
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

    fn codes(picture: &Picture) -> Vec<&'static str> {
        picture.problems.iter().map(|problem| problem.code).collect()
    }

    #[test]
    fn a_healthy_cluster_has_no_problems() {
        let overview = Overview { leader: Some(1), peers: vec![peer(1, true, 0), peer(2, true, 40)] };
        let picture = draw(&cluster(TwoNode::Survivor), &status(&[1, 2], Some(1)), &overview);
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
        let picture = draw(&state, &status(&[1, 2], Some(1)), &silent);
        assert_eq!(codes(&picture), ["node_silent", "two_nodes"]);
        assert!(picture.problems[0].message.contains("node b (2) has not answered for 34 s"), "{:?}", picture.problems);

        let picture = draw(&state, &status(&[1, 2], None), &Overview::default());
        assert_eq!(codes(&picture), ["no_leader", "two_nodes"]);
        assert_eq!(picture.vip.as_ref().unwrap().state, "unknown");
        assert_eq!(picture.members[1].reachable, None, "nobody can say");

        let learning = Overview { leader: Some(1), peers: vec![peer(1, true, 0), peer(2, false, 10)] };
        assert_eq!(codes(&draw(&state, &status(&[1], Some(1)), &learning)), ["node_learning"]);
        assert_eq!(
            codes(&draw(
                &cluster(TwoNode::Witness),
                &status(&[1, 2], Some(1)),
                &Overview { leader: Some(1), peers: vec![peer(2, true, 1)] }
            )),
            ["no_witness"]
        );
        assert_eq!(codes(&draw(&State::default(), &status(&[], None), &Overview::default())), ["waiting"]);
    }
}
