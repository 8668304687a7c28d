//! How much memory a node holds, at rest and while it moves large files.

use std::fs;
use std::process::Child;

use anyhow::{Context, Result, ensure};
use raftboot_ha_tests::lab::Host;
use raftboot_ha_tests::node::Node;
use raftboot_ha_tests::process::run;

/// Size of the uploaded file, in MiB.
const UPLOAD_MIB: u32 = 2048;
/// Downloads of it at once.
const DOWNLOADS: usize = 64;

/// Resident memory in MiB: before, and the most seen during each kind of work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Flatness {
    pub(crate) before: f64,
    pub(crate) uploading: f64,
    pub(crate) downloading: f64,
}

/// Resident memory of the node's process, in MiB (VmRSS).
pub(crate) fn resident(node: &Node) -> Result<f64> {
    let id = node.id().context("the node runs")?;
    let status = fs::read_to_string(format!("/proc/{id}/status")).context("read the node's memory use")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("the kernel says VmRSS")?;
    let kib: f64 = line.split_whitespace().nth(1).context("a number")?.parse().context("a number")?;
    Ok(kib / 1024.0)
}

/// Uploads one large file, then has it downloaded many times at once, and watches the node's memory meanwhile.
pub(crate) fn under_transfers(node: &Node, host: &Host) -> Result<Flatness> {
    let before = resident(node)?;
    let file = node.data().with_file_name("large");
    let mut make = host.command("dd");
    make.args(["if=/dev/urandom", "bs=1M", &format!("count={UPLOAD_MIB}"), "status=none"]);
    run({
        make.arg(format!("of={}", file.display()));
        make
    })?;
    let mut upload = node.client();
    upload.args(["asset", "put", "large"]).arg(&file);
    let uploading = watch(node, vec![upload.spawn().context("start the upload")?])?;
    let downloads: Result<Vec<Child>> = (0..DOWNLOADS)
        .map(|_| {
            let mut curl = host.command("curl");
            curl.args([
                "--silent",
                "--show-error",
                "--fail",
                "--output",
                "/dev/null",
                "http://127.0.0.1:8080/assets/large",
            ]);
            curl.spawn().context("start a download")
        })
        .collect();
    let downloading = watch(node, downloads?)?;
    fs::remove_file(&file).context("remove the large file")?;
    Ok(Flatness { before, uploading, downloading })
}

/// The most memory seen until all children have ended well.
fn watch(node: &Node, mut children: Vec<Child>) -> Result<f64> {
    let mut most = resident(node)?;
    while !children.is_empty() {
        most = most.max(resident(node)?);
        let mut left = Vec::with_capacity(children.len());
        for mut child in children {
            match child.try_wait().context("look after a transfer")? {
                None => left.push(child),
                Some(status) => ensure!(status.success(), "a transfer ended with {status}"),
            }
        }
        children = left;
        // One look each 20 ms: enough to see a buffer grow, little enough not to disturb.
        #[expect(clippy::disallowed_methods, reason = "this paces sampling, it waits for nothing")]
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    Ok(most)
}
