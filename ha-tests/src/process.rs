//! A child process with its output in a file, ended when its owner goes.

use crate::wait::until;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// Lines of a log repeated in an error message.
const TAIL_LINES_MAX: usize = 12;
/// Lines of a child that may wait to be read.
const LINES_MAX: usize = 1024;

/// A running child; killed and reaped on drop.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with stdin closed and both outputs appended to `log`.
    ///
    /// # Errors
    /// When the log cannot be opened or the program cannot be started.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("open the log {}", log.display()))?;
        let err = out.try_clone().context("share the log with stderr")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .with_context(|| format!("start {name}: {command:?}"))?;
        Ok(Self { child, name: name.to_owned(), log: log.to_owned() })
    }

    /// The file that holds what the process printed.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The kernel's number of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How the process ended, or `None` while it runs.
    ///
    /// # Errors
    /// When the kernel cannot say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("look after {}", self.name))
    }

    /// Fails when the process has ended, with the last lines it printed.
    ///
    /// # Errors
    /// As said.
    pub fn must_run(&mut self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => bail!("{} ended early ({status}); its last lines:\n{}", self.name, tail(&self.log)),
        }
    }

    /// Sends `signal`; a process already gone is not an error.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // Refused only when the process is gone, which is what the caller wants to learn from `ended`.
            let _ = kill_process(pid, signal);
        }
    }

    /// Asks the process to end (SIGTERM) and waits for it.
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub fn stop(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM);
        let name = format!("{} ends after SIGTERM", self.name);
        until(&name, limit, || self.ended())
    }

    /// Ends the process with SIGKILL and waits until it is reaped.
    ///
    /// # Errors
    /// When the kernel does not report the end.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL);
        let status = self.child.wait().context("reap a killed process")?;
        debug_assert!(status.code().is_some() || status.signal().is_some());
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ended already or killed here: either way nothing of it stays.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A child whose lines on stdout are seen as they come; killed and reaped on drop.
pub struct Lines {
    child: Child,
    lines: Receiver<String>,
}

impl Lines {
    /// Starts `command`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().with_context(|| format!("start {command:?}"))?;
        let out = BufReader::new(child.stdout.take().context("a child's stdout")?);
        let (sender, lines) = sync_channel(LINES_MAX);
        let forward = move || {
            // Nobody listens any more, or the child has ended.
            let _ = out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line));
        };
        std::thread::Builder::new().name("lines".into()).spawn(forward).context("start a thread that reads lines")?;
        Ok(Self { child, lines })
    }

    /// The next line.
    ///
    /// # Errors
    /// When none comes within `limit`.
    pub fn next_within(&mut self, limit: Duration) -> Result<String> {
        self.lines.recv_timeout(limit).with_context(|| format!("waited {limit:?} for a line"))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // Ended already or killed here; its reader ends with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `command` to its end and returns what it printed on stdout.
///
/// # Errors
/// When it cannot be started or does not exit with 0; the message holds its stderr.
pub fn run(mut command: Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?} ended with {}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `command` with `input` on its stdin and returns what it printed on stdout.
///
/// # Errors
/// As [`run`], and when the input cannot be written.
pub fn run_with_input(mut command: Command, input: &str) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("start {command:?}"))?;
    // Taken, so that it is closed after the write and the program sees the end.
    let written = child.stdin.take().context("a child's stdin")?.write_all(input.as_bytes());
    let output = child.wait_with_output().with_context(|| format!("wait for {command:?}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{command:?} ended with {}: {stderr}; its input was:\n{input}", output.status);
    }
    written.with_context(|| format!("write to {command:?}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The last lines of a log, for an error message; empty when there is no such file.
#[must_use]
pub fn tail(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(TAIL_LINES_MAX)..].join("\n")
}
