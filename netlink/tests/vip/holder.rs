//! A process that holds the VIP as a node does, to be killed.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use netlink::vip::{FenceKind, Renewed, Vip, VipConfig, VipError};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lab::{Lab, Side, VIP};

/// What the holder renews its fence for, and how often.
pub(crate) const LEASE: Duration = Duration::from_millis(200);
const HEARTBEAT: Duration = Duration::from_millis(50);
const REFRESH: Duration = Duration::from_millis(500);

const RUN_DIR: &str = "RAFTBOOT_TEST_HOLDER";

/// A child process that holds the VIP; killed on drop.
pub(crate) struct Holder(Child);

impl Holder {
    /// Starts it and waits until it holds.
    pub(crate) fn start(lab: &Lab) -> Self {
        let mut child = child(lab, &[], "holder::hold").stdout(Stdio::piped()).spawn().expect("the holder starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let held = lines.map_while(Result::ok).any(|line| line.contains("holding"));
        assert!(held, "the holder never held");
        Self(child)
    }

    /// Sends it a signal that it cannot catch, and returns when the kernel has delivered it.
    pub(crate) fn signal(&self, signal: Signal) -> Instant {
        kill(Pid::from_raw(i32::try_from(self.0.id()).expect("a process id")), signal).expect("it runs");
        Instant::now()
    }

    /// Kills it without any chance to clean up, waits until it is gone, and returns when it was killed.
    pub(crate) fn kill(mut self) -> Instant {
        let killed = self.signal(Signal::SIGKILL);
        self.0.wait().expect("it ends");
        killed
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One of the tests below as a process of its own on the node, started through `wrapper`.
pub(crate) fn child(lab: &Lab, wrapper: &[&str], test: &str) -> Command {
    let program = std::env::current_exe().expect("this program");
    let program = program.to_str().expect("a path in UTF-8");
    let mut command =
        lab.command(Side::Node, &[wrapper, &[program, "--exact", test, "--ignored", "--nocapture"]].concat());
    command.env(RUN_DIR, lab.config().run_dir);
    command
}

fn config() -> VipConfig {
    let run_dir = std::env::var_os(RUN_DIR).expect("started by `child`").into();
    VipConfig { interface: "lan".to_owned(), address: VIP, fence: FenceKind::Nftables, run_dir }
}

#[test]
#[ignore = "runs only as the child process of other tests"]
fn open_without_rights() {
    let error = Vip::open(config()).expect_err("refused");
    assert!(matches!(error, VipError::Permission { .. }), "{error:?}");
    let error = netlink::vip::fence_support("lan").expect_err("refused");
    assert!(matches!(error, VipError::Permission { .. }), "{error:?}");
    println!("refused as it should be: {error}");
}

#[test]
#[ignore = "runs only as the child process of other tests"]
fn hold() {
    let mut vip = Vip::open(config()).expect("opened");
    vip.add_address().expect("added");
    vip.open_fence(LEASE).expect("opened");
    println!("holding");
    let mut refreshed = Instant::now();
    loop {
        vip.wait(HEARTBEAT).expect("waiting works");
        if vip.renew_fence(LEASE).expect("renewed") == Renewed::WasClosed {
            vip.open_fence(LEASE).expect("reopened");
        }
        if refreshed.elapsed() >= REFRESH {
            let _ = vip.refresh_address().expect("refreshed");
            refreshed = Instant::now();
        }
    }
}
