//! lsyncd with rsync between two hosts, as used to copy assets from one boot server to the other.

use crate::evidence::Evidence;
use crate::lab::Lab;
use crate::process::Process;
use crate::wait::until;
use anyhow::{Context, Result, bail};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where rsync's own server listens.
const RSYNC_PORT: u16 = 873;
/// From start to watching; both read one small file.
const READY_MAX: Duration = Duration::from_secs(20);
/// Default delay, transfer and room to spare.
const COPIED_MAX: Duration = Duration::from_secs(120);

/// A running pair; ends with this value.
pub struct Pair {
    source: PathBuf,
    target: PathBuf,
    _lsyncd: Process,
    _rsync: Process,
}

impl Pair {
    /// Starts rsync's server on one host and lsyncd on another; `delay` of `None` is lsyncd's default of 15 s.
    ///
    /// # Errors
    /// When either does not start.
    pub fn start(lab: &Lab, evidence: &Evidence, name: &str, last: u8, delay: Option<u32>) -> Result<Self> {
        let (from, to) = (lab.host(&format!("{name}-from"), last)?, lab.host(&format!("{name}-to"), last + 1)?);
        let directory = evidence.file(name);
        let (source, target) = (directory.join("source"), directory.join("target"));
        for path in [&source, &target] {
            fs::create_dir_all(path).with_context(|| format!("make {}", path.display()))?;
        }
        let server = directory.join("rsyncd.conf");
        let text = format!(
            "use chroot = no\nuid = root\ngid = root\n[assets]\n  path = {}\n  read only = no\n",
            target.display()
        );
        fs::write(&server, text).context("write rsync's configuration")?;
        let mut command = to.command("rsync");
        command.args(["--daemon", "--no-detach", &format!("--port={RSYNC_PORT}")]);
        command.arg(format!("--config={}", server.display()));
        let mut rsync = Process::spawn("rsync", command, &directory.join("rsync.log"))?;
        let address = std::net::SocketAddr::from((to.address(), RSYNC_PORT));
        until("rsync listens", READY_MAX, || {
            rsync.must_run()?;
            let reached = crate::netns::run_in(&from.netns(), move || Ok(TcpStream::connect(address).is_ok()))?;
            Ok(reached.then_some(()))
        })?;
        let log = directory.join("lsyncd.log");
        let config = directory.join("lsyncd.lua");
        fs::write(&config, lua(&source, &format!("rsync://{}/assets", to.address()), delay))
            .context("write lsyncd's")?;
        let mut command = from.command("lsyncd");
        command.args(["-nodaemon", "-log", "all"]).arg(&config);
        let mut lsyncd = Process::spawn("lsyncd", command, &log)?;
        until("lsyncd has copied what was there", READY_MAX, || {
            lsyncd.must_run()?;
            let text = fs::read_to_string(&log).unwrap_or_default();
            Ok(text.contains("Startup of").then_some(()).filter(|()| text.contains("finished")))
        })?;
        Ok(Self { source, target, _lsyncd: lsyncd, _rsync: rsync })
    }

    /// Puts `file` where lsyncd watches, in one step as an upload does, and answers how long until the other host has it whole.
    ///
    /// # Errors
    /// When it never has.
    pub fn copy(&mut self, file: &Path) -> Result<Duration> {
        let name = file.file_name().context("a file has a name")?;
        let size = fs::metadata(file).with_context(|| format!("look at {}", file.display()))?.len();
        let temporary = self.source.with_extension("upload");
        fs::copy(file, &temporary).context("copy the file beside the watched directory")?;
        let begun = Instant::now();
        fs::rename(&temporary, self.source.join(name)).context("put the file into the watched directory")?;
        // rsync writes under another name and renames when all is there.
        let there = self.target.join(name);
        until("the other host has the file", COPIED_MAX, || match fs::metadata(&there) {
            Ok(found) if found.len() == size => Ok(Some(())),
            Ok(found) => bail!("{} bytes of {size} became visible", found.len()),
            Err(_) => Ok(None),
        })?;
        Ok(begun.elapsed())
    }
}

fn lua(source: &Path, target: &str, delay: Option<u32>) -> String {
    let delay = delay.map_or(String::new(), |seconds| format!("    delay = {seconds},\n"));
    format!(
        "settings {{ nodaemon = true }}\nsync {{\n    default.rsync,\n    source = \"{}\",\n    target = \"{target}\",\n{delay}}}\n",
        source.display()
    )
}
