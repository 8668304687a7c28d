//! Two machines on one cable, as network namespaces: `node` runs the code under test, `peer` is everybody else.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use netlink::vip::{Event, FenceKind, MacAddress, Vip, VipConfig};
use nix::sched::{CloneFlags, setns};

pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
pub(crate) const NODE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub(crate) const PEER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// Longer than any state takes to come, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Which of the two machines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Node,
    Peer,
}

/// What the node's `lan` is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// The end of the cable itself.
    Plain,
    /// A bridge with the cable as its only port, as on a host of virtual machines.
    Bridge,
}

/// Two namespaces joined by a veth pair called `lan` on both ends; removed on drop.
pub(crate) struct Lab {
    node: String,
    peer: String,
    run_dir: tempfile::TempDir,
}

impl Lab {
    /// Builds it, and moves the calling thread into `node`.
    pub(crate) fn new() -> Self {
        Self::with(Kind::Plain)
    }

    /// The same with another kind of interface as the node's `lan`.
    pub(crate) fn with(kind: Kind) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = |side| format!("rbv-{}-{number}-{side}", std::process::id());
        let lab = Self { node: name("n"), peer: name("p"), run_dir: tempfile::tempdir().expect("a directory") };
        for namespace in [&lab.node, &lab.peer] {
            run("ip", &["netns", "add", namespace]);
            run("ip", &["-n", namespace, "link", "set", "lo", "up"]);
        }
        lab.create_link(kind);
        let namespace = std::fs::File::open(format!("/run/netns/{}", lab.node)).expect("a namespace");
        setns(namespace, CloneFlags::CLONE_NEWNET).expect("root may enter it");
        lab.await_carrier();
        lab
    }

    pub(crate) fn config(&self) -> VipConfig {
        VipConfig {
            interface: "lan".to_owned(),
            address: VIP,
            fence: FenceKind::Nftables,
            run_dir: self.run_dir.path().to_owned(),
        }
    }

    pub(crate) fn open(&self) -> Vip {
        Vip::open(self.config()).expect("the VIP opens")
    }

    /// Runs a command on a machine and returns what it printed; it must succeed.
    pub(crate) fn run(&self, side: Side, command: &[&str]) -> String {
        let output = self.try_run(side, command);
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn try_run(&self, side: Side, command: &[&str]) -> Output {
        self.command(side, command).output().expect("the command runs")
    }

    pub(crate) fn command(&self, side: Side, command: &[&str]) -> Command {
        let mut wrapped = Command::new("ip");
        wrapped.args(["netns", "exec", self.name(side)]).args(command).stdin(Stdio::null());
        wrapped
    }

    /// Runs code on a machine, in a thread of its own.
    pub(crate) fn on<T: Send>(&self, side: Side, code: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.name(side));
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let namespace = std::fs::File::open(path).expect("a namespace");
                setns(namespace, CloneFlags::CLONE_NEWNET).expect("root may enter it");
                code()
            });
            thread.join().expect("the code does not panic")
        })
    }

    /// Where a machine believes the VIP to be.
    pub(crate) fn neighbour(&self, side: Side) -> String {
        self.run(side, &["ip", "-4", "neigh", "show", &VIP.to_string(), "dev", "lan"])
    }

    pub(crate) fn mac(&self, side: Side) -> MacAddress {
        let text = self.run(side, &["cat", "/sys/class/net/lan/address"]);
        let mut mac = [0; 6];
        for (byte, part) in mac.iter_mut().zip(text.trim().split(':')) {
            *byte = u8::from_str_radix(part, 16).expect("a hexadecimal byte");
        }
        MacAddress(mac)
    }

    /// Whether the VIP is an address of the machine.
    pub(crate) fn has_vip(&self, side: Side) -> bool {
        self.run(side, &["ip", "-4", "address", "show", "dev", "lan"]).contains(&format!("{VIP}/"))
    }

    /// Replaces the cable and the interfaces on its ends by new ones of the same name.
    pub(crate) fn recreate_link(&self) {
        run("ip", &["-n", &self.node, "link", "del", "lan"]);
        self.create_link(Kind::Plain);
        self.await_carrier();
    }

    fn create_link(&self, kind: Kind) {
        let (node, peer) = (&self.node, &self.peer);
        let ip = |namespace: &str, arguments: &str| {
            run("ip", &[&["-n", namespace][..], &arguments.split(' ').collect::<Vec<_>>()].concat());
        };
        let wire = if kind == Kind::Bridge { "port" } else { "lan" };
        ip(node, &format!("link add {wire} type veth peer name lan netns {peer}"));
        if kind == Kind::Bridge {
            ip(node, "link add lan type bridge");
            ip(node, "link set port master lan");
            ip(node, "link set port up");
        }
        for (namespace, address) in [(node, NODE), (peer, PEER)] {
            ip(namespace, &format!("address add {address}/24 dev lan"));
            ip(namespace, "link set lan up");
        }
    }

    fn await_carrier(&self) {
        eventually("both ends have carrier", || {
            [Side::Node, Side::Peer].iter().all(|side| self.run(*side, &["cat", "/sys/class/net/lan/carrier"]) == "1\n")
        });
    }

    fn name(&self, side: Side) -> &str {
        match side {
            Side::Node => &self.node,
            Side::Peer => &self.peer,
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in [&self.node, &self.peer] {
            let removed = Command::new("ip").args(["netns", "del", namespace]).status();
            if !removed.is_ok_and(|status| status.success()) {
                let _ = writeln!(std::io::stderr(), "namespace {namespace} could not be removed");
            }
        }
    }
}

/// Waits until `state` holds.
#[expect(clippy::disallowed_methods, reason = "the one place that polls, for states that nothing announces")]
pub(crate) fn eventually(what: &str, mut state: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !state() {
        assert!(begin.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for an event and returns it; others before it are passed over.
pub(crate) fn await_event(vip: &mut Vip, wanted: impl Fn(&Event) -> bool) -> Event {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        let events = vip.wait(Duration::from_millis(100)).expect("waiting works");
        if let Some(event) = events.into_iter().find(|event| wanted(event)) {
            return event;
        }
    }
    panic!("the event never came");
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect("the program is installed");
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
