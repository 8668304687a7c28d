//! One file of what all nodes have that helps to find a fault.

use std::time::SystemTime;

use super::across::Reader;
use super::archive::tar_gz;
use super::support::FileText;
use super::{Support, millis};

/// What the file says of itself.
const README: &str = "What each node of the cluster collected to help find a fault: one folder a node.\n\
    \n\
    about.json      what the node says of itself to the others (version, clock, disk, VIP, certificates)\n\
    consensus.json  its place in the cluster\n\
    parts.json      which parts of it run, and where they listen\n\
    copies.json     how its copying of files goes\n\
    metrics.txt     its numbers, as Prometheus reads them (docs/reference/metrics.md)\n\
    log.txt         its last lines of log, down to info, without what machines sent (docs/reference/logs.md)\n\
    config.txt      what it was configured to be\n\
    host.txt        kernel, memory, limits\n\
    network.txt     interfaces, addresses, neighbours, the VIP's fence\n\
    disk.txt        what takes how much of the disk\n\
    timelines.json  which machines did what, without details\n\
    \n\
    status.json, members.json and settings.json are of the cluster, as the node that was asked sees it. Left out on purpose: tokens, keys,\n\
    passphrases, the contents of templates, metadata, selectors, kernel arguments and files. Names of nodes, addresses and MACs are\n\
    in it: look through it before you give it away.\n";

impl Reader {
    /// The file, and its name without ending. `more` are texts about the cluster.
    ///
    /// # Errors
    /// What cannot be packed.
    pub async fn bundle(&self, more: Vec<FileText>) -> std::io::Result<(String, Vec<u8>)> {
        let (nodes, missing) = self.support_everywhere().await;
        let at = millis(SystemTime::now()) / 1000;
        let top = format!("raftboot-support-{at}");
        let mut files = vec![(format!("{top}/README.txt"), README.to_owned())];
        files.extend(more.into_iter().map(|FileText { name, text }| (format!("{top}/{}", plain(&name)), text)));
        if !missing.is_empty() {
            let said: String = missing.iter().map(|(node, why)| format!("{node}: {why}\n")).collect();
            files.push((format!("{top}/did-not-answer.txt"), said));
        }
        for Support { node, files: texts } in nodes {
            let folder = plain(&node);
            files.extend(
                texts.into_iter().map(|FileText { name, text }| (format!("{top}/{folder}/{}", plain(&name)), text)),
            );
        }
        let packing = tokio::task::spawn_blocking(move || {
            tar_gz(files.iter().map(|(name, text)| (name.as_str(), text.as_bytes())), at)
        });
        let bytes = packing.await.map_err(std::io::Error::other)??;
        Ok((top, bytes))
    }
}

/// A name that leads nowhere else: it comes from another node.
fn plain(name: &str) -> String {
    let kept = |letter: char| if letter.is_ascii_alphanumeric() || "-_.".contains(letter) { letter } else { '_' };
    let name: String = name.chars().take(64).map(kept).collect();
    if name.starts_with('.') || name.is_empty() { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn names_lead_nowhere_else() {
        for (name, want) in
            [("node-a", "node-a"), ("..", "_.."), ("../../etc", "_.._.._etc"), ("", "_"), ("a/b", "a_b")]
        {
            assert_eq!(plain(name), want);
        }
    }
}
