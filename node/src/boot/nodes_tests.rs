//! Lists of nodes for states with several, and what must never be in one.

use raft::command::{Command, Edit, Outcome};
use raft::state::{Asset, NewMember, NodeKind};
use raft::types::{Digest, LogIndex, Timestamp};

use super::*;

const VIP: &str = "http://10.0.0.10:8080";

fn apply(state: &mut State, edit: Edit) {
    let command = Command {
        actor: "test".into(),
        at: Timestamp(1),
        idempotency_key: String::new(),
        fingerprint: Digest([0; 32]),
        edits: vec![edit.into()],
        replace: Vec::new(),
        allow_ties: false,
    };
    let (outcome, _) = state.apply(LogIndex(state.applied().0 + 1), &command);
    assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
}

/// Nodes 1 and up; each at 10.0.0.ID, or where it says.
fn cluster(boots: &[(NodeKind, &str)]) -> State {
    let mut state = State::default();
    for (at, (kind, boot)) in boots.iter().enumerate() {
        let id = at + 1;
        let boot = if boot.is_empty() { format!("http://10.0.0.{id}:8080") } else { (*boot).to_owned() };
        let (name, peer) = (format!("n{id}"), format!("10.0.0.{id}:7443"));
        let instance = [u8::try_from(id).unwrap(); 16];
        apply(&mut state, Edit::AddMember(NewMember { name, kind: *kind, peer, boot, instance }));
    }
    assert_eq!(state.members().len(), boots.len());
    state
}

fn three() -> State {
    cluster(&[(NodeKind::Data, ""); 3])
}

fn asset(state: &mut State, name: &str, holders: &[u64]) {
    let digest = Digest::of(name.as_bytes());
    for holder in holders {
        apply(state, Edit::ReportBlobs(*holder, vec![(digest, 1)]));
    }
    let name = name.to_owned();
    apply(state, Edit::PutAsset(Asset { name, digest, size: 1, media_type: String::new(), origin: String::new() }));
}

fn at(node: u64, holder_known: bool) -> Whereabouts {
    Whereabouts { node, floating: Some(VIP.into()), holder_known }
}

fn boot(kernel: &str, initrd: &str) -> NetBoot {
    NetBoot { kernel: kernel.into(), initrd: vec![initrd.into()], args: Vec::new() }
}

/// The last byte of each address, in order.
fn hosts(list: &[String]) -> Vec<&str> {
    list.iter().map(|base| base.trim_start_matches("http://10.0.0.").trim_end_matches(":8080")).collect()
}

fn files(state: &State, place: &Whereabouts, machine: &str, boot: &NetBoot) -> Vec<String> {
    for_files(state, place, VIP, machine, boot)
}

#[test]
fn a_question_goes_first_where_it_was_answered_then_to_the_floating_address_then_to_all() {
    let state = three();
    let own = "http://10.0.0.2:8080";
    assert_eq!(hosts(&for_questions(&state, &at(2, true), own)), ["2", "10", "1", "3"]);
    assert_eq!(hosts(&for_questions(&state, &at(2, true), VIP)), ["10", "1", "3", "2"]);
    let none = Whereabouts { node: 2, ..Whereabouts::default() };
    assert_eq!(hosts(&for_questions(&state, &none, own)), ["2", "1", "3"]);
}

#[test]
fn a_node_that_is_alone_names_no_host() {
    let own = "http://10.0.0.1:8080";
    for state in [State::default(), cluster(&[(NodeKind::Data, "")]), cluster(&[(NodeKind::Witness, "")])] {
        let place = Whereabouts { node: 1, ..Whereabouts::default() };
        assert!(for_questions(&state, &place, own).is_empty());
        assert!(for_files(&state, &place, own, "m", &boot("/assets/k", "/assets/i")).is_empty());
    }
}

#[test]
fn files_are_spread_over_the_nodes_and_every_machine_has_all_of_them_to_go_to() {
    let mut state = three();
    asset(&mut state, "k", &[1, 2, 3]);
    let mut firsts = std::collections::BTreeMap::new();
    for machine in 0..300 {
        let list = files(&state, &at(2, true), &format!("52:54:00:00:00:{machine:03}"), &boot("/assets/k", ""));
        let mut hosts = hosts(&list);
        *firsts.entry(hosts[0].to_owned()).or_insert(0) += 1;
        assert_eq!(hosts.pop(), Some("10"), "the floating address, which was asked, comes last: {list:?}");
        hosts.sort_unstable();
        assert_eq!(hosts, ["1", "2", "3"]);
    }
    assert!(firsts.len() == 3 && firsts.values().all(|count| *count > 60), "{firsts:?}");
}

#[test]
fn files_are_fetched_only_from_nodes_that_hold_them_all() {
    let mut state = three();
    asset(&mut state, "k", &[1, 2]);
    asset(&mut state, "i", &[2, 3]);
    let list = |boot: &NetBoot| {
        let list = files(&state, &at(1, true), "m", boot);
        let mut hosts: Vec<String> = hosts(&list).into_iter().map(str::to_owned).collect();
        hosts.sort_unstable();
        hosts.join(" ")
    };
    assert_eq!(list(&boot("/assets/k", "/assets/i")), "10 2");
    assert_eq!(list(&boot("/assets/k", "http://elsewhere/i")), "1 10 2");
    assert_eq!(list(&boot("${base_url}/assets/k", "/assets/${buildarch}")), "1 10 2");
    assert_eq!(list(&boot("/assets/k quiet", "--name x /assets/k")), "1 10 2");
    assert_eq!(list(&boot("/assets/none", "/loaders/x")), "1 10 2 3", "nobody knows better");
    asset(&mut state, "lonely", &[]);
    let list = files(&state, &at(1, true), "m", &boot("/assets/lonely", ""));
    assert_eq!(list.len(), 4, "held by nobody as far as is known: any node may fetch it meanwhile");
}

#[test]
fn a_witness_is_never_named() {
    let state = cluster(&[(NodeKind::Data, ""), (NodeKind::Witness, ""), (NodeKind::Data, "")]);
    let place = Whereabouts { node: 1, ..Whereabouts::default() };
    let own = "http://10.0.0.1:8080";
    assert_eq!(hosts(&for_questions(&state, &place, own)), ["1", "3"]);
    assert_eq!(for_files(&state, &place, own, "m", &boot("/assets/k", "")).len(), 2);
}

#[test]
fn an_address_that_is_no_plain_one_is_never_named() {
    let bad = ["http://10.0.0.9:8080 || shell", "https://10.0.0.9", "http://${x}:8080", "http://", "10.0.0.9:8080", ""];
    for (boot, want) in bad.map(|bad| (bad, None)).into_iter().chain([
        ("http://10.0.0.9:8080/", Some("http://10.0.0.9:8080")),
        ("http://[2001:db8::1]:8080", Some("http://[2001:db8::1]:8080")),
    ]) {
        let member = Member {
            id: 1,
            name: "n".into(),
            kind: NodeKind::Data,
            peer: String::new(),
            boot: boot.into(),
            instance: [0; 16],
            replaces: None,
        };
        assert_eq!(base(&member), want, "{boot}");
    }
}

#[test]
fn what_is_used_late_is_told_the_floating_address_while_a_holder_is_known() {
    let own = "http://10.0.0.2:8080";
    for (place, asked, want) in [
        (at(2, true), own, VIP),
        (at(2, true), VIP, VIP),
        (at(2, false), own, own),
        (at(2, false), VIP, VIP),
        (Whereabouts { node: 2, ..Whereabouts::default() }, own, own),
    ] {
        assert_eq!(place.lasting(asked), want);
    }
}
