//! The catalog's answers: what replicated state means for DHCP, TFTP and boot HTTP.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use raft::command::{Command, Edit};
use raft::state::{Announcement, Asset, DhcpMode, MachinePolicy, NewMember, NodeKind, Settings};
use raft::types::{Digest, Mac, Timestamp};
use raft::{Cluster, EngineKind, Options};
use raftboot::assets::{Declared, Store};
use raftboot::boot::{self, Loader, LoaderClient, Questions as _, Seen};
use raftboot::catalog::{Catalog, Site};
use raftboot::dhcp::{
    self, Architecture, HardwareAddress, Message, Mode, Port, Questions as _, Sighting, Silence, Stage, Turn,
};
use raftboot::loaders::Loaders;
use raftboot::sightings;
use raftboot::tftp::{Client, Ending, Event, Lookup, Name, Outcome, Questions as _, Signature, What};
use raftboot::timeline::{Reader, Record};
use raftboot::vip::{self, View};

const MACHINE: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 99));
const NODE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

struct Rig {
    catalog: Catalog,
    record: Record,
    vip: vip::Handle,
    cluster: Cluster,
    store: Arc<Store>,
    runtime: tokio::runtime::Runtime,
    _data: tempfile::TempDir,
}

impl Rig {
    /// Over the boot loaders of Debian's `ipxe` package, which `ha-tests/prepare` installs.
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let cluster = Cluster::open(Options::alone(data.path().join("raft"), EngineKind::Memory)).unwrap();
        let store = Arc::new(Store::open(data.path()).unwrap());
        let loaders = Arc::new(Loaders::find(&["/usr/lib/ipxe"]));
        let site = Site { address: Ipv4Addr::new(10, 0, 0, 2), http_port: 8080 };
        let (sightings, _reporter) = sightings::channel();
        let vip = vip::Handle::default();
        let catalog = Catalog::new(cluster.clone(), site, vip.clone(), loaders, store.clone(), sightings);
        let record = Record::default();
        let catalog = catalog.with_timeline(record.clone());
        Self { catalog, record, vip, cluster, store, runtime, _data: data }
    }

    fn edit(&self, edit: Edit) {
        let command = Command {
            actor: "test".into(),
            at: Timestamp(1),
            idempotency_key: String::new(),
            fingerprint: Digest([0; 32]),
            edits: vec![edit.into()],
            replace: Vec::new(),
            allow_ties: false,
        };
        self.runtime.block_on(self.cluster.propose(command)).unwrap();
    }

    /// Makes this node, which is alone, the first of three.
    fn grow(&self) {
        let id = self.cluster.status().node_id;
        let (kind, boot) = (NodeKind::Data, "http://10.0.0.2:8080".to_owned());
        self.edit(Edit::AnnounceMember(Announcement {
            id,
            name: "one".into(),
            kind,
            peer: "10.0.0.2:7443".into(),
            boot,
        }));
        for last in [3, 4] {
            let (name, peer, boot) =
                (format!("n{last}"), format!("10.0.0.{last}:7443"), format!("http://10.0.0.{last}:8080"));
            self.edit(Edit::AddMember(NewMember { name, kind, peer, boot, instance: [last; 16] }));
        }
    }

    fn settings(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = Settings::default();
        change(&mut settings);
        self.edit(Edit::PutSettings(settings));
    }

    fn asset(&self, name: &str, bytes: &'static [u8]) {
        let mut stream = futures::stream::iter([Ok::<_, std::io::Error>(bytes::Bytes::from_static(bytes))]);
        let declared = Declared { size: None, digest: None };
        let received = self.runtime.block_on(self.store.receive(&mut stream, declared)).unwrap();
        let (name, digest, size) = (name.to_owned(), received.digest, bytes.len() as u64);
        self.edit(Edit::PutAsset(Asset { name, digest, size, media_type: String::new(), origin: String::new() }));
    }

    fn tftp(&self, name: &str, signature: Signature) -> Lookup {
        let name = Name::parse(name.as_bytes()).unwrap();
        for _ in 0..200 {
            match raftboot::tftp::Questions::open(&self.catalog, &name, &client(signature)) {
                Lookup::Busy => std::thread::park_timeout(Duration::from_millis(5)),
                answer => return answer,
            }
        }
        panic!("{name} stays busy");
    }

    /// What the timeline of the machine says.
    fn timeline(&self) -> Vec<String> {
        let reader = Reader::alone(self.cluster.clone(), self.record.clone());
        let told = self.runtime.block_on(reader.everywhere(&Mac::ethernet(MACHINE)));
        told.nodes[0].events.iter().map(|event| format!("{} {}", event.what, event.detail)).collect()
    }

    fn sent(&self, name: &str, bytes: u64) {
        let ending = Ending::Protocol(Outcome::Finished { confirmed: true });
        let what = What::Ended { ending, bytes, blocks_resent: 0, duration: Duration::from_secs(1) };
        self.catalog.event(Event { name: name.into(), client: client(Signature::Other), what });
    }
}

fn client(signature: Signature) -> Client {
    Client { address: SocketAddr::new(CLIENT, 2070), local: NODE, interface: None, signature }
}

/// What was given, in one word.
fn word(lookup: &Lookup) -> String {
    match lookup {
        Lookup::Bytes(bytes) if bytes.starts_with(b"#!ipxe") => "script".into(),
        Lookup::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Lookup::File { size, .. } => format!("file of {size}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn dhcp_follows_the_settings_without_a_restart() {
    let rig = Rig::new();
    assert_eq!(rig.catalog.facts().mode, Mode::Proxy);
    rig.settings(|settings| settings.dhcp_mode = DhcpMode::Off);
    assert_eq!(rig.catalog.facts().mode, Mode::Off);
    rig.settings(|settings| drop(settings.loaders.insert("uefi-x64".into(), "ipxe.efi".into())));
    let facts = rig.catalog.facts();
    assert_eq!(facts.mode, Mode::Proxy);
    assert_eq!(facts.loader(Architecture::UefiX64), Some("ipxe.efi"));
    assert_eq!(facts.own.script_url, "http://10.0.0.2:8080/boot.ipxe");
}

#[test]
fn dhcp_follows_the_floating_address_without_a_change_of_the_state() {
    let rig = Rig::new();
    assert_eq!(rig.catalog.facts().turn, Turn::Alone);
    rig.grow();
    let this = rig.cluster.status().node_id;
    let all: Vec<u64> = rig.cluster.read().data_nodes().map(|member| member.id).collect();
    assert_eq!((all.len(), rig.catalog.facts().floating.clone()), (3, None));
    assert_eq!(rig.catalog.facts().turn, Turn::Shared { this, nodes: all.clone() });

    let vip = Ipv4Addr::new(10, 0, 0, 10);
    let view = View { address: Some(vip), holder_known: false, held_here: false };
    rig.vip.set(view);
    assert_eq!(rig.catalog.facts().turn, Turn::Shared { this, nodes: all.clone() });
    rig.vip.set(View { holder_known: true, ..view });
    assert_eq!(rig.catalog.facts().turn, Turn::Backup);
    rig.vip.set(View { holder_known: true, held_here: true, ..view });
    let facts = rig.catalog.facts();
    assert_eq!(facts.turn, Turn::Holder);
    let floating = facts.floating.clone().unwrap();
    assert_eq!((floating.address, &*floating.script_url), (vip, "http://10.0.0.10:8080/boot.ipxe"));
    assert_eq!(facts.own.script_url, "http://10.0.0.2:8080/boot.ipxe");
}

#[test]
fn while_nobody_holds_the_floating_address_the_node_that_held_it_last_is_passed_over() {
    let rig = Rig::new();
    rig.grow();
    let this = rig.cluster.status().node_id;
    let all: Vec<u64> = rig.cluster.read().data_nodes().map(|member| member.id).collect();
    rig.vip.set(View { address: Some(Ipv4Addr::new(10, 0, 0, 10)), holder_known: false, held_here: false });
    for gone in &all {
        rig.edit(Edit::ClaimVip(*gone));
        let nodes = all.iter().copied().filter(|node| node != gone).collect();
        assert_eq!(rig.catalog.facts().turn, Turn::Shared { this, nodes }, "on every node, itself included");
    }
}

#[test]
fn scripts_by_tftp_and_in_place_of_a_loader_name_the_other_nodes() {
    let rig = Rig::new();
    rig.grow();
    rig.vip.set(View { address: Some(Ipv4Addr::new(10, 0, 0, 10)), holder_known: true, held_here: false });
    let Lookup::Bytes(script) = rig.tftp("autoexec.ipxe", Signature::Ipxe) else { panic!("no script") };
    let script = String::from_utf8(script.to_vec()).unwrap();
    let named: Vec<&str> = script.lines().filter_map(|line| line.strip_prefix("set node")).collect();
    let want =
        ["0 http://10.0.0.2:8080", "1 http://10.0.0.10:8080", "2 http://10.0.0.3:8080", "3 http://10.0.0.4:8080"];
    assert_eq!(named, want);
}

#[test]
fn dhcp_names_only_boot_loaders_that_are_really_served() {
    let rig = Rig::new();
    assert_eq!(rig.catalog.facts().loader(Architecture::Bios), Some("undionly.kpxe"));
    assert_eq!(rig.catalog.facts().loader(Architecture::UefiArm64), None, "Debian has none");
    assert!(!rig.catalog.facts().raspberry_pi);
    rig.asset("snponly-arm64.efi", b"MZ arm64");
    assert_eq!(rig.catalog.facts().loader(Architecture::UefiArm64), Some("snponly-arm64.efi"));
    rig.asset("pi4/start4.elf", b"elf");
    assert!(rig.catalog.facts().raspberry_pi);
}

#[test]
fn a_machine_on_hold_is_not_answered_and_may_have_its_own_loader() {
    let rig = Rig::new();
    let machine = || rig.catalog.machine(HardwareAddress(MACHINE), None);
    assert_eq!(machine(), None);
    let policy = MachinePolicy { hold: true, loader: "ipxe.efi".into(), discovery_control: true };
    rig.edit(Edit::SetMachinePolicy(Mac::ethernet(MACHINE), policy.into()));
    let facts = machine().unwrap();
    assert!(facts.hold);
    assert_eq!(facts.boot_file.as_deref(), Some("ipxe.efi"));
    assert_eq!(facts.discovery_control, Some(true));
}

#[test]
fn tftp_gives_loaders_scripts_and_assets_by_name() {
    let rig = Rig::new();
    let loader = word(&rig.tftp("undionly.kpxe", Signature::Other));
    assert!(loader.ends_with("bytes"), "{loader}");
    for same in ["/undionly.kpxe", "UNDIONLY.KPXE", "undionly.kpxe.0", "ipxe\\undionly.kpxe"] {
        assert_eq!(word(&rig.tftp(same, Signature::Other)), loader, "{same}");
    }
    for script in ["autoexec.ipxe", "x64/autoexec.ipxe", "boot.ipxe", "boot.ipxe.0"] {
        assert_eq!(word(&rig.tftp(script, Signature::Other)), "script", "{script}");
    }
    assert_eq!(word(&rig.tftp("no/such/file", Signature::Other)), "NotFound");
    for other in ["arm64/snponly.efi", "i386/ipxe.efi"] {
        assert_eq!(word(&rig.tftp(other, Signature::Other)), "NotFound", "{other} is for another processor than ours");
    }
    rig.asset("undionly.kpxe", b"our own build");
    assert_eq!(word(&rig.tftp("undionly.kpxe", Signature::Other)), "file of 13", "an import replaces the packaged one");
}

#[test]
fn the_script_names_the_address_that_was_asked() {
    let rig = Rig::new();
    let Lookup::Bytes(script) = rig.tftp("autoexec.ipxe", Signature::Ipxe) else { panic!("no script") };
    let script = String::from_utf8(script.to_vec()).unwrap();
    assert!(script.contains("\nset node0 http://10.0.0.2:8080\n"), "{script}");
    assert!(script.contains(" ${node${at}}/boot.ipxe "), "{script}");
}

#[test]
fn an_ipxe_that_loads_ipxe_again_by_tftp_is_given_the_script() {
    let rig = Rig::new();
    let Lookup::Bytes(loader) = rig.tftp("undionly.kpxe", Signature::Ipxe) else { panic!("no loader") };
    assert!(!loader.starts_with(b"#!ipxe"), "the first iPXE may be a card's old one: it gets ours");
    rig.sent("undionly.kpxe", loader.len() as u64);
    assert_eq!(word(&rig.tftp("undionly.kpxe", Signature::Ipxe)), "script");
    let firmware = word(&rig.tftp("undionly.kpxe", Signature::Other));
    assert!(firmware.ends_with("bytes"), "firmware always gets the binary: {firmware}");
}

#[test]
fn an_ipxe_that_loads_ipxe_again_by_http_is_given_the_script() {
    let rig = Rig::new();
    let ask = |ipxe, gets| {
        let client = LoaderClient { address: CLIENT, local: NODE, ipxe, gets };
        match rig.catalog.loader("snponly.efi", client).unwrap() {
            Loader::Bytes(bytes) if bytes.starts_with(b"#!ipxe") => "script",
            Loader::Bytes(_) => "binary",
            Loader::Asset(_) => "asset",
        }
    };
    assert_eq!(ask(false, false), "binary");
    assert_eq!(ask(true, true), "binary", "only looking at it was no boot");
    assert_eq!(ask(true, true), "script");
    assert_eq!(ask(false, true), "binary", "firmware always gets the binary");
    rig.asset("snponly.efi", b"our own build");
    assert_eq!(ask(false, true), "asset");
}

/// A packet of the machine's firmware.
fn dhcp(message: &'static str, address: Option<IpAddr>, outcome: dhcp::Outcome) -> Sighting {
    Sighting {
        mac: HardwareAddress(MACHINE),
        uuid: None,
        stage: Stage::Firmware,
        architecture: Some(Architecture::UefiX64),
        architecture_codes: vec![7],
        vendor_class: None,
        user_class: None,
        message,
        port: Port::Discover,
        xid: 1,
        secs: 0,
        address: address.and_then(|address| address.to_string().parse().ok()),
        chosen_server: None,
        relay: None,
        outcome,
    }
}

fn heard(rig: &Rig, sighting: Sighting) {
    dhcp::Questions::seen(&rig.catalog, sighting);
}

fn over_http(rig: &Rig, mac: Option<&Mac>, event: boot::Event<'_>) {
    boot::Questions::seen(&rig.catalog, Seen { mac, uuid: "", serial: "", arch: "", address: CLIENT, event });
}

#[test]
fn the_timeline_of_a_machine_joins_what_all_protocols_saw_of_it() {
    let (rig, mac) = (Rig::new(), Mac::ethernet(MACHINE));
    let offer = dhcp::Outcome::Answered { message: Message::Offer, boot_file: Some("snponly.efi".into()) };
    heard(&rig, dhcp("DISCOVER", None, offer));
    heard(&rig, dhcp("REQUEST", Some(CLIENT), dhcp::Outcome::Silent(Silence::OtherServer)));
    rig.sent("snponly.efi", 1234);
    let refused = What::Refused(raftboot::tftp::Refusal::NotFound);
    rig.catalog.event(Event { name: "grub.cfg".into(), client: client(Signature::Other), what: refused });
    over_http(&rig, Some(&mac), boot::Event::Script { group: "g", profile: "p" });
    over_http(&rig, None, boot::Event::Asset("talos/vmlinuz"));
    over_http(&rig, Some(&mac), boot::Event::Refused { reason: "generic template `t`: no" });
    over_http(&rig, Some(&Mac::ethernet([2, 0, 0, 0, 0, 1])), boot::Event::Held);
    let want = [
        "dhcp_answered DISCOVER of firmware, uefi-x64: snponly.efi",
        "dhcp_silent REQUEST of firmware, uefi-x64: other_server",
        "tftp_sent snponly.efi, 1234 bytes",
        "refused TFTP grub.cfg: there is no such file",
        "script group g, profile p",
        "asset talos/vmlinuz",
        "refused generic template `t`: no",
    ];
    assert_eq!(rig.timeline(), want);
}

#[test]
fn a_node_that_leaves_the_answer_to_another_learns_who_is_where_and_notes_nothing_else() {
    let rig = Rig::new();
    heard(&rig, dhcp("REQUEST", Some(CLIENT), dhcp::Outcome::Silent(Silence::OtherNodeAnswers)));
    assert_eq!(rig.timeline(), [""; 0]);
    rig.sent("snponly.efi", 1234);
    assert_eq!(rig.timeline(), ["tftp_sent snponly.efi, 1234 bytes"]);
}
