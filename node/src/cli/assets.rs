//! Assets on the command line: upload, list, download, remove.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use raft::command::Edit;
use raft::state::{Asset, check_edit};
use raft::types::Digest;
use serde_json::{Value, json};

use super::apply::{How, send_items};
use super::connect::{Connection, list};
use super::failure::Failure;
use super::objects::{changed, delete, show_list};
use super::output::{Terminal, bytes, parse, text};
use super::progress;
use crate::client::{Client, Upload};

/// What can be done with assets.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Upload a file and give it a name
    Put {
        /// Its name below /assets/
        name: String,
        /// The file
        file: PathBuf,
        /// Its sha256; the upload fails if the file has another
        #[arg(long, value_name = "SHA256")]
        digest: Option<Digest>,
        /// Content-Type to serve it with [default: by the name]
        #[arg(long, value_name = "TYPE", default_value = "", hide_default_value = true)]
        media_type: String,
        /// Give it its name although only one node holds its bytes; they are lost with that disk until another has them
        #[arg(long)]
        allow_single_copy: bool,
    },
    /// List assets
    List {
        /// Only names that begin with this
        #[arg(long)]
        prefix: Option<String>,
    },
    /// Download an asset
    Get {
        /// Its name
        name: String,
        /// Where to; - is standard output [default: the last part of the name]
        file: Option<PathBuf>,
    },
    /// Take a name away; the bytes go a day later if no other name leads to them
    Rm {
        /// The name
        name: String,
    },
}

pub(super) fn run(connection: &Connection, action: Action, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let client = connection.open()?;
    match action {
        Action::Put { name, file, digest, media_type, allow_single_copy } => {
            let origin = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            nameable(&name, &media_type, &origin)?;
            let upload = store(&client, &name, &file, digest)?;
            let item = item(&name, upload, &media_type, &origin);
            let place = format!("asset/{name}");
            let how = How { allow_single_copy, ..How::default() };
            send_items(&client, connection.format, &[item], &[&place], how, terminal)
        }
        Action::List { prefix } => {
            let items = list(&client, "/assets", &[("prefix", prefix.as_deref())])?;
            let row = |item: &Value| {
                let size = bytes(item["size"].as_u64().unwrap_or(0));
                vec![text(&item["name"]), size, text(&item["digest"]), changed(item), nodes(item)]
            };
            show_list(connection.format, &["NAME", "SIZE", "SHA256", "CHANGED", "NODES"], items, row, terminal)
        }
        Action::Get { name, file } => get(&client, &name, file.as_deref(), terminal),
        Action::Rm { name } => delete(&client, connection.format, "asset", &format!("/assets/{name}"), &name, terminal),
    }
}

/// Which nodes hold the bytes of an asset; empty where there is only one node.
fn nodes(item: &Value) -> String {
    let copies: Vec<String> = item["copies"].as_array().into_iter().flatten().map(Value::to_string).collect();
    match (item["under_replicated"] == true, item["stored"] == true) {
        (true, _) => format!("{} (too few)", copies.join(",")),
        (false, false) if copies.is_empty() => "no bytes here".into(),
        (false, _) => copies.join(","),
    }
}

/// One asset of an `apply`.
pub(super) fn item(name: &str, digest: Digest, media_type: &str, origin: &str) -> String {
    json!({"kind": "asset", "name": name, "digest": digest, "media_type": media_type, "origin": origin}).to_string()
}

/// Opens a file and reads it once for its digest.
pub(super) fn hash(name: &str, file: &Path) -> Result<Upload, Failure> {
    let size = file.metadata().map_or(0, |meta| meta.len());
    let hashing = progress::bar(&format!("reading {name}"), size);
    let upload = Upload::open(file, &|moved| hashing.inc(moved))?;
    hashing.finish_and_clear();
    Ok(upload)
}

/// Refuses a name that the server will not take, before gigabytes are sent for it.
fn nameable(name: &str, media_type: &str, origin: &str) -> Result<(), Failure> {
    let named = Asset {
        name: name.into(),
        digest: Digest([0; 32]),
        size: 0,
        media_type: media_type.into(),
        origin: origin.into(),
    };
    check_edit(&Edit::PutAsset(named)).map_err(|refusal| {
        let message = format!("asset `{}`: {}: {}", name.escape_debug(), refusal.field, refusal.message);
        Failure::new(message, refusal.hint)
    })
}

/// Sees to it that the server holds the bytes of `file`; they are sent only if it does not.
pub(super) fn store(client: &Client, name: &str, file: &Path, wanted: Option<Digest>) -> Result<Digest, Failure> {
    let mut upload = hash(name, file)?;
    if let Some(wanted) = wanted.filter(|wanted| *wanted != upload.digest) {
        let message = format!("{} has sha256 {}, not {wanted}", file.display(), upload.digest);
        return Err(Failure::new(message, "nothing was sent: get the file again"));
    }
    let path = format!("/blobs/{}", upload.digest);
    if !client.has(&path)? {
        let sending = progress::bar(&format!("sending {name}"), upload.size);
        client.upload(&path, &[], &mut upload, &|moved| sending.inc(moved))?;
        sending.finish_and_clear();
    }
    Ok(upload.digest)
}

fn get(client: &Client, name: &str, file: Option<&Path>, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let asset = parse(&client.get(&format!("/assets/{name}"), &[])?)?;
    let digest: Digest = text(&asset["digest"]).parse().map_err(|error| {
        Failure::new(format!("the server's digest of {name} is {error}"), "is the server of another version?")
    })?;
    let path = format!("/blobs/{digest}");
    if file == Some(Path::new("-")) {
        client.download(&path, digest, terminal.out, &|_| ())?;
        return Ok(());
    }
    let last = Path::new(name.rsplit('/').next().unwrap_or(name));
    let file = file.unwrap_or(last);
    let bar = progress::bar(&format!("receiving {name}"), asset["size"].as_u64().unwrap_or(0));
    let got = client.download_file(&path, digest, file, &|moved| bar.inc(moved))?;
    bar.finish_and_clear();
    terminal.print(&format!("{} {} sha256 {digest}\n", file.display(), bytes(got.size)))
}
