//! Threads that live in a namespace of the lab, so that sockets made there stay there.

use crate::lab::NAMED_NAMESPACES;
use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, gettid, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::thread::{Builder, JoinHandle};

/// Real-time priority of threads whose pauses would falsify what they measure; below the kernel's own threads (50 and up).
const REAL_TIME_PRIORITY: &str = "40";
/// The next best thing where real-time priorities are refused.
const NICE: i32 = -20;

/// Moves the calling thread into a named network namespace; there is no way back, so use a thread of its own.
///
/// # Errors
/// When there is no such namespace or the caller may not.
pub fn enter(netns: &str) -> Result<()> {
    let path = Path::new(NAMED_NAMESPACES).join(netns);
    let file = File::open(&path).with_context(|| format!("open the namespace {}", path.display()))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("move a thread into {netns}"))
}

/// Starts a thread inside a namespace.
///
/// # Errors
/// When the thread cannot be made; that it could not enter is the thread's own result.
pub fn spawn<T: Send + 'static>(
    name: &str,
    netns: &str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<JoinHandle<Result<T>>> {
    let netns = netns.to_owned();
    let inside = move || {
        enter(&netns)?;
        work()
    };
    Builder::new().name(name.to_owned()).spawn(inside).with_context(|| format!("start the thread {name}"))
}

/// Runs `work` in a namespace and returns what it made, for example a socket.
///
/// # Errors
/// Those of `work`, or that the namespace cannot be entered.
pub fn run_in<T: Send + 'static>(netns: &str, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    join(spawn("run_in", netns, work)?)
}

/// Waits for a thread; a panic becomes an error.
///
/// # Errors
/// The thread's own, or that it panicked.
pub fn join<T>(thread: JoinHandle<Result<T>>) -> Result<T> {
    let name = thread.thread().name().unwrap_or("unnamed").to_owned();
    match thread.join() {
        Ok(result) => result,
        Err(_) => bail!("the thread {name} panicked"),
    }
}

/// Puts the calling thread before all ordinary work of this computer; answers whether it became real-time.
pub fn raise_priority() -> bool {
    let thread = gettid().as_raw_nonzero().to_string();
    // `chrt` is part of util-linux, which every Debian has; a system call of our own would need unsafe code.
    let done = Command::new("chrt").args(["--fifo", "--pid", REAL_TIME_PRIORITY, &thread]).output();
    if done.is_ok_and(|output| output.status.success()) {
        return true;
    }
    // Refused as well: the observer's own check for pauses decides whether its rounds count.
    let _ = rustix::process::setpriority_process(None, NICE);
    false
}
