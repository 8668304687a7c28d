//! A process that holds the VIP as a node does, to be killed.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use netlink::vip::{FenceKind, Renewed, Vip, VipConfig};

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
        let program = std::env::current_exe().expect("this program");
        let program = program.to_str().expect("a path in UTF-8");
        let mut child = lab
            .command(Side::Node, &[program, "--exact", "holder::hold", "--ignored", "--nocapture"])
            .env(RUN_DIR, lab.config().run_dir)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the holder starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let held = lines.map_while(Result::ok).any(|line| line.contains("holding"));
        assert!(held, "the holder never held");
        Self(child)
    }

    /// Kills it without any chance to clean up, and returns when.
    pub(crate) fn kill(mut self) -> Instant {
        let now = Instant::now();
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ends");
        now
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "runs only as the child process of other tests"]
fn hold() {
    let run_dir = std::env::var_os(RUN_DIR).expect("started by Holder::start").into();
    let config = VipConfig { interface: "lan".to_owned(), address: VIP, fence: FenceKind::Nftables, run_dir };
    let mut vip = Vip::open(config).expect("opened");
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
