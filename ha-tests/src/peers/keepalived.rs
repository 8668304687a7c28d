//! A pair of keepalived with its defaults, as found beside dnsmasq and nginx.

use super::Services;
use crate::evidence::Evidence;
use crate::fault::{Machine, Shared};
use crate::lab::{Host, Lab};
use crate::process::Process;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// Priorities of the pair, the usual ones: the first is master whenever it runs.
const PRIORITIES: [u8; 2] = [100, 90];
/// Services the observer asks.
const UDP_PORT: u16 = 69;
const TCP_PORT: u16 = 8080;

/// One computer with keepalived and what it is there for.
pub struct Router {
    host: Host,
    vip: Ipv4Addr,
    config: PathBuf,
    log: PathBuf,
    running: Option<Process>,
    services: Option<Services>,
}

/// Starts a pair at 10.88.0.2 and 10.88.0.3.
///
/// # Errors
/// When either does not start.
pub fn pair(lab: &Lab, vip: Ipv4Addr, evidence: &Evidence) -> Result<Vec<Shared<Router>>> {
    let mut pair = Vec::with_capacity(PRIORITIES.len());
    for (last, priority) in (2..).zip(PRIORITIES) {
        let host = lab.host(&format!("keepalived-{last}"), last)?;
        let config = evidence.file(&format!("keepalived-{last}.conf"));
        fs::write(&config, text(vip, priority)).context("write keepalived's configuration")?;
        let log = evidence.file(&format!("keepalived-{last}.log"));
        let mut router = Router { host, vip, config, log, running: None, services: None };
        router.launch()?;
        pair.push(Arc::new(Mutex::new(router)));
    }
    Ok(pair)
}

/// `advert_int` and everything else is left as it comes.
fn text(vip: Ipv4Addr, priority: u8) -> String {
    format!(
        "vrrp_instance vip {{\n    state BACKUP\n    interface eth0\n    virtual_router_id 51\n    priority {priority}\n    \
         virtual_ipaddress {{\n        {vip}/24\n    }}\n}}\n"
    )
}

/// The children of a process; of keepalived, the one that does the work.
fn children(parent: u32) -> Vec<Pid> {
    let listed = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|word| word.parse().ok()).filter_map(Pid::from_raw).collect()
}

impl Machine for Router {
    fn host(&self) -> &Host {
        &self.host
    }

    /// The services run on: they are other programs.
    fn kill(&mut self) -> Result<()> {
        let mut running = self.running.take().context("kill keepalived that runs")?;
        // The parent must not start another child, and the child must not be told that its parent died: it would hand over.
        running.signal(Signal::STOP);
        for pid in children(running.id()) {
            // Gone by itself: fine.
            let _ = kill_process(pid, Signal::KILL);
        }
        running.kill()
    }

    fn launch(&mut self) -> Result<()> {
        if self.running.is_some() {
            bail!("keepalived runs already on {}", self.host.name());
        }
        // Those of a host that was demolished are in its old namespace.
        self.services = None;
        self.services = Some(Services::start(&self.host, self.vip, UDP_PORT, TCP_PORT)?);
        let mut command = self.host.command("keepalived");
        command.args(["--dont-fork", "--log-console", "--vrrp"]);
        command.arg("--use-file").arg(&self.config);
        for (option, name) in [("--pid", "pid"), ("--vrrp_pid", "vrrp.pid")] {
            command.arg(option).arg(self.config.with_extension(name));
        }
        self.running = Some(Process::spawn("keepalived", command, &self.log)?);
        Ok(())
    }

    fn ended(&mut self) -> Result<bool> {
        self.running.as_mut().map_or(Ok(true), |process| Ok(process.ended()?.is_some()))
    }

    fn signal(&self, signal: Signal) {
        let Some(parent) = &self.running else { return };
        parent.signal(signal);
        for pid in children(parent.id()) {
            // Gone by itself: fine.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
