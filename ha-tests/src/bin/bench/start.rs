//! How long a node takes from its start until it is ready.

use std::time::{Duration, Instant};

use anyhow::Result;
use raftboot_ha_tests::node::Node;

/// Starts measured; the median counts.
const STARTS: usize = 5;

/// The median time from `exec` to `/readyz` answering 200. The asking client (a `curl` with its TLS handshake)
/// is part of what is measured. The node is left running.
pub(crate) fn until_ready(node: &mut Node) -> Result<Duration> {
    let mut times = Vec::with_capacity(STARTS);
    for round in 0..STARTS {
        if round > 0 {
            node.stop()?;
        }
        let begun = Instant::now();
        node.start()?;
        times.push(begun.elapsed());
    }
    times.sort();
    Ok(times[STARTS / 2])
}
