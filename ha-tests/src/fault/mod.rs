//! What goes wrong, as values: each happens when it is made and is put right when it goes.
//!
//! A fault knows from when to when it was brought about on the monotonic clock, which is the observer's clock as well.

mod cut;
mod disk;

use crate::lab::Host;
use crate::mac::Mac;
use crate::process::run;
use anyhow::{Context, Result};
use rustix::process::Signal;
use std::fmt;
use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub use cut::{Cut, Traffic, cut};
pub use disk::{SmallDisk, full_disk, sweep as sweep_disks};

/// A computer of the lab with the server processes that a fault may hit.
pub trait Machine: Send {
    /// Where they run.
    fn host(&self) -> &Host;
    /// The Ethernet address they answer from.
    fn host_mac(&self) -> Mac {
        self.host().mac()
    }
    /// Ends them with SIGKILL.
    ///
    /// # Errors
    /// When they were not running.
    fn kill(&mut self) -> Result<()>;
    /// Starts them again, without waiting for anything.
    ///
    /// # Errors
    /// When they run or cannot be started.
    fn launch(&mut self) -> Result<()>;
    /// Whether they have ended by themselves.
    ///
    /// # Errors
    /// When the kernel cannot say.
    fn ended(&mut self) -> Result<bool>;
    /// Sends a signal to each.
    fn signal(&self, signal: Signal);
}

/// A machine shared by those who use it and the faults that hit it.
pub type Shared<M> = Arc<Mutex<M>>;

/// Locks a shared machine; a panic elsewhere does not make it unusable.
pub fn locked<M>(machine: &Shared<M>) -> MutexGuard<'_, M> {
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}

type Heal = Box<dyn FnOnce() -> Result<()> + Send>;

/// Something that went wrong and is put right when this value goes.
pub struct Fault {
    name: String,
    /// Just before the first thing was done.
    pub begun: Instant,
    /// When all of it was done.
    pub done: Instant,
    heal: Option<Heal>,
}

impl Fault {
    /// Brings a fault about with `strike`; `heal` puts it right.
    ///
    /// # Errors
    /// Those of `strike`.
    pub fn strike(
        name: impl Into<String>,
        strike: impl FnOnce() -> Result<()>,
        heal: impl FnOnce() -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let name = name.into();
        let begun = Instant::now();
        strike().with_context(|| format!("bring about: {name}"))?;
        Ok(Self { name, begun, done: Instant::now(), heal: Some(Box::new(heal)) })
    }

    /// Puts it right and says whether that worked.
    ///
    /// # Errors
    /// When it cannot be put right.
    pub fn heal(mut self) -> Result<()> {
        self.mend()
    }

    fn mend(&mut self) -> Result<()> {
        let heal = self.heal.take();
        heal.map_or(Ok(()), |heal| heal()).with_context(|| format!("put right: {}", self.name))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        if let Err(error) = self.mend() {
            // Stderr closed: nobody is left to be told.
            let _ = writeln!(std::io::stderr(), "{error:#}");
        }
    }
}

/// `kill -9`; heals by starting again.
///
/// # Errors
/// When nothing was running.
pub fn kill<M: Machine + 'static>(machine: &Shared<M>) -> Result<Fault> {
    let again = machine.clone();
    let mut guard = locked(machine);
    let name = format!("kill -9 on {}", guard.host().name());
    Fault::strike(name, || guard.kill(), move || locked(&again).launch())
}

/// SIGSTOP; heals by SIGCONT.
///
/// # Errors
/// Never by itself; part of the common shape.
pub fn freeze<M: Machine + 'static>(machine: &Shared<M>) -> Result<Fault> {
    let again = machine.clone();
    let guard = locked(machine);
    let strike = || {
        guard.signal(Signal::STOP);
        Ok(())
    };
    Fault::strike(format!("SIGSTOP on {}", guard.host().name()), strike, move || {
        locked(&again).signal(Signal::CONT);
        Ok(())
    })
}

/// Power off: first the cable is gone from the bridge, so that this kernel can answer nobody, then the processes, then the whole
/// namespace with its addresses and rules. Heals by building the host again and starting.
///
/// # Errors
/// When the host had no cable or nothing ran on it.
pub fn power_off<M: Machine + 'static>(machine: &Shared<M>) -> Result<Fault> {
    let again = machine.clone();
    let mut guard = locked(machine);
    let host = guard.host().clone();
    let dead = host.clone();
    let strike = || {
        dead.unplug()?;
        guard.kill()?;
        dead.demolish()
    };
    Fault::strike(format!("power off {}", host.name()), strike, move || {
        host.build()?;
        locked(&again).launch()
    })
}

/// The cable is pulled at the switch: the node's carrier goes.
///
/// # Errors
/// When there is no cable.
pub fn link_down(host: &Host) -> Result<Fault> {
    let again = host.clone();
    Fault::strike(format!("link of {} down", host.name()), || host.set_carrier(false), move || again.set_carrier(true))
}

/// Somebody flushes all packet rules of the host. There is nothing to put right here: that is the product's work.
///
/// # Errors
/// When `nft` cannot.
pub fn flush_rules(host: &Host) -> Result<Fault> {
    let flush = || {
        let mut nft = host.command("nft");
        nft.args(["flush", "ruleset"]);
        run(nft).map(drop)
    };
    Fault::strike(format!("nft flush ruleset on {}", host.name()), flush, || Ok(()))
}

/// Somebody deletes the floating address from the host. There is nothing to put right here either.
///
/// # Errors
/// When the host does not have it.
pub fn delete_address(host: &Host, vip: Ipv4Addr) -> Result<Fault> {
    let delete = || {
        let shown = host.ip(&["-4", "-o", "address", "show", "dev", "eth0"])?;
        let mut words = shown.split_whitespace();
        let address = words.find(|word| word.strip_prefix(&vip.to_string()).is_some_and(|rest| rest.starts_with('/')));
        let address = address.with_context(|| format!("{} does not have {vip}:\n{shown}", host.name()))?;
        host.ip(&["address", "delete", address, "dev", "eth0"]).map(drop)
    };
    Fault::strike(format!("ip address delete {vip} on {}", host.name()), delete, || Ok(()))
}
