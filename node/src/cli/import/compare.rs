//! `import matchbox --compare`: asks the old service and the new one what every group's machines get; changes nothing.

use raft::types::Digest;
use serde::Serialize;
use serde_json::json;

use super::super::connect::{Connection, boot_url};
use super::super::failure::Failure;
use super::super::output::Terminal;
use super::super::progress;
use super::check::shown;
use crate::client::{BootAnswer, BootClient};
use crate::import::compare::{Answer, Outcome, PATHS, compare, labels};
use crate::import::matchbox::Import;

/// What was asked, and how the answers differ.
#[derive(Debug, Serialize)]
struct Difference {
    /// Whether it is meant to be so.
    meant: bool,
    /// Whose machines, or which file.
    object: String,
    /// What was asked of the old one.
    old: String,
    /// What was asked of the new one.
    new: String,
    /// How the answers differ.
    message: String,
}

pub(super) fn run(
    connection: &Connection,
    old: &str,
    with: Option<&str>,
    read: &Import,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let own = boot_url(connection);
    let (old, new) = (BootClient::new(old)?, BootClient::new(with.unwrap_or(&own))?);
    let mut differences = Vec::new();
    for group in &read.groups {
        let labels = labels(group);
        for path in PATHS {
            let answers = (answer(old.get(path, &labels)?), answer(new.get(path, &labels)?));
            let (meant, message) = match compare(path, &answers.0, &answers.1) {
                Outcome::Same => continue,
                Outcome::Meant(why) => (true, why),
                Outcome::Differs(why) => (false, why),
            };
            let (old, new) = (old.address(path, &labels), new.address(path, &labels));
            differences.push(Difference { meant, object: format!("group/{}", group.id), old, new, message });
        }
    }
    for (name, _) in &read.assets {
        let path = format!("/assets/{name}");
        if let Some(message) = file(&old, &new, &path)? {
            let (old, new) = (old.address(&path, &[]), new.address(&path, &[]));
            differences.push(Difference { meant: false, object: format!("asset/{name}"), old, new, message });
        }
    }
    differences.sort_by_key(|difference| difference.meant);
    show(connection, read, &differences, terminal)
}

fn show(
    connection: &Connection,
    read: &Import,
    differences: &[Difference],
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let count = differences.iter().filter(|difference| !difference.meant).count();
    let asked = (read.groups.len(), read.assets.len());
    let value = json!({"groups": asked.0, "assets": asked.1, "differ": count, "differences": differences});
    terminal.show(connection.format, &value, || {
        let mut text = String::new();
        for Difference { meant, object, old, new, message } in differences {
            let verdict = if *meant { "meant  " } else { "differs" };
            text.push_str(&format!(
                "{verdict}  {}: {}\n         {old}\n         {new}\n",
                shown(object),
                shown(message)
            ));
        }
        text + &format!(
            "the machines of {} groups and {} assets were compared: {count} answers differ\n",
            asked.0, asked.1
        )
    })?;
    if count == 0 {
        return Ok(());
    }
    Err(Failure::new(format!("{count} answers differ, see above"), "nothing was changed"))
}

fn answer(answer: BootAnswer) -> Answer {
    Answer { status: answer.status, media: answer.media, body: answer.body }
}

/// How two files differ: by their sizes, or else by their bytes. Those of the old service are fetched for it.
fn file(old: &BootClient, new: &BootClient, path: &str) -> Result<Option<String>, Failure> {
    let (there, here) = (old.head(path)?, new.head(path)?);
    if there.status != here.status {
        return Ok(Some(format!("the old one answers {}, this one {}", there.status, here.status)));
    }
    if there.status != 200 {
        return Ok(None);
    }
    if there.length != here.length {
        return Ok(Some(format!("it had {} bytes, has {}", there.length, here.length)));
    }
    let bytes = here.length.parse().unwrap_or(u64::MAX);
    let fetched = |client: &BootClient| {
        let bar = progress::bar(&format!("comparing {path}"), bytes);
        let digest = client.digest(path, bytes, &|moved| bar.inc(moved));
        bar.finish_and_clear();
        digest
    };
    let was = fetched(old)?;
    // Ours says the digest of what it serves; with --with, the new one may be a service that does not.
    let named = here.etag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')?.parse::<Digest>().ok());
    let is = match named {
        Some(digest) => digest,
        None => fetched(new)?,
    };
    Ok((was != is).then(|| format!("it has as many bytes and others: sha256 was {was}, is {is}")))
}
