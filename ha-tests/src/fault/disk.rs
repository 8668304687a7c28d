//! A disk small enough to be filled: a file system in memory below a node's data, gone with its owner.

use super::{Fault, Machine, Shared, locked};
use crate::lab::{Host, is_leftover};
use crate::process::run;
use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags, fallocate, open};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The file that takes all the room.
const FILLER: &str = "filler";
/// What the filler is made shorter by, step by step, until the rest is full.
const STEPS_BYTES: [u64; 3] = [16 << 20, 1 << 20, 4096];

/// A mounted disk; unmounted on drop.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts `mebibytes` of memory at `path`, named after the host so that leftovers can be told.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn mount(host: &Host, path: &Path, mebibytes: u32) -> Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("make {}", path.display()))?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), &host.netns()]).arg(path);
        run(mount)?;
        Ok(Self { path: path.to_owned() })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Busy or gone: detached now, freed when the last user ends.
        let _ = unmount(&self.path);
    }
}

/// Unmounts the disks of labs whose process is gone.
///
/// # Errors
/// When the kernel's list of mounts cannot be read.
pub fn sweep() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("list mounts")?;
    for line in mounts.lines() {
        let mut words = line.split_whitespace();
        if let (Some(source), Some(path)) = (words.next(), words.next())
            && is_leftover(source)
        {
            // Another lab may sweep at the same time.
            let _ = unmount(Path::new(path));
        }
    }
    Ok(())
}

fn unmount(path: &Path) -> Result<()> {
    let mut umount = Command::new("umount");
    umount.arg("--lazy").arg(path);
    run(umount).map(drop)
}

/// Fills the disk at `path` to the last block; heals by freeing it and, if the server ended over it, starting that again.
///
/// # Errors
/// When the disk cannot be filled.
pub fn full_disk<M: Machine + 'static>(machine: &Shared<M>, path: &Path) -> Result<Fault> {
    let filler = path.join(FILLER);
    let (again, remove) = (machine.clone(), filler.clone());
    let name = format!("full disk on {}", locked(machine).host().name());
    Fault::strike(
        name,
        || fill(&filler),
        move || {
            fs::remove_file(&remove).context("free the disk")?;
            let mut machine = locked(&again);
            // Running already is what was wanted.
            if machine.ended()? { machine.launch() } else { Ok(()) }
        },
    )
}

fn fill(filler: &Path) -> Result<()> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = open(filler, flags, Mode::RUSR | Mode::WUSR).context("open the filler")?;
    let mut size = 0;
    for step in STEPS_BYTES {
        while fallocate(&file, rustix::fs::FallocateFlags::empty(), size, step).is_ok() {
            size += step;
        }
    }
    anyhow::ensure!(size > 0, "the disk below {} was full already", filler.display());
    Ok(())
}
