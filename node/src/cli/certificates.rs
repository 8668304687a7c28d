//! `cert`: issues certificates of the cluster's CA, on a node, which has its key.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, Subcommand};
use serde_json::json;

use super::failure::Failure;
use super::host::Here;
use super::output::{Format, Terminal};
use crate::certs::{self, Authority, CA_FILE, CA_KEY_FILE, LEAF_DAYS};

/// For whom.
#[derive(Debug, Subcommand)]
pub enum CertCommand {
    /// For a client of the gRPC service (Terraform): client.crt, client.key, ca.crt
    Client(ClientArguments),
    /// For a server, in matchbox's way: server.crt, server.key, ca.crt
    Server(ServerArguments),
}

/// Who the client is.
#[derive(Debug, Args)]
pub struct ClientArguments {
    /// What the log calls its holder
    name: String,
    #[command(flatten)]
    to: To,
}

/// Where the server is reached.
#[derive(Debug, Args)]
pub struct ServerArguments {
    /// A name or address of the server; may be given several times
    #[arg(long = "san", value_name = "NAME", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    to: To,
}

/// Where the files go.
#[derive(Debug, Args)]
struct To {
    #[command(flatten)]
    here: Here,
    /// The folder for the files; made if it is not there
    #[arg(long = "out", value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// For how many days
    #[arg(long, default_value_t = LEAF_DAYS, value_parser = clap::value_parser!(u64).range(1..=3650))]
    days: u64,
    /// Write over files that are there
    #[arg(long)]
    force: bool,
    /// How to print the result
    #[arg(short = 'o', long = "output", value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

/// Characters of a client's name.
const NAME_CHARS_MAX: usize = 64;

pub(super) fn run(command: CertCommand, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match command {
        CertCommand::Client(ClientArguments { name, to }) => {
            let fits = |letter: char| letter.is_ascii_graphic() || letter == ' ';
            if name.trim().is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(fits) {
                let message = format!("`{}` cannot be a client's name", name.escape_debug());
                return Err(Failure::new(message, "use up to 64 letters, digits and signs, such as `terraform`"));
            }
            let (authority, note) = authority(&to)?;
            let pair = certs::client(&authority, &name, to.days, SystemTime::now());
            to.write("client", pair.map_err(failure)?, &authority, note, terminal)
        }
        CertCommand::Server(ServerArguments { names, to }) => {
            if let Some(wrong) =
                names.iter().find(|name| rustls_pki_types::ServerName::try_from(name.as_str()).is_err())
            {
                let message = format!("`{}` is neither a DNS name nor an address", wrong.escape_debug());
                return Err(Failure::new(message, "write it as boot.example.org or 10.0.20.5"));
            }
            let (authority, _) = authority(&to)?;
            let pair = certs::server(&authority, &names, to.days, SystemTime::now());
            to.write("server", pair.map_err(failure)?, &authority, "", terminal)
        }
    }
}

/// The CA of the cluster that this node belongs to, never a new one; and what to know about the server's certificate.
fn authority(to: &To) -> Result<(Authority, &'static str), Failure> {
    let config = to.here.config()?;
    let dir = &config.data_dir;
    if !dir.join(CA_FILE).exists() || !dir.join(CA_KEY_FILE).exists() {
        let message = format!("there is no CA in {}: it holds no {CA_FILE} and {CA_KEY_FILE}", dir.display());
        return Err(Failure::new(
            message,
            "run this on a node of the cluster, as a user who may read its data directory",
        ));
    }
    let note = match (&config.grpc_certificates, &config.certificate) {
        (Some(_), _) => "`grpc.client_ca` is set: this node lets in clients of that CA, not of the cluster's\n",
        (None, Some(_)) => {
            "`tls.cert` is set: clients must trust the CA of that certificate, not the ca.crt written here\n"
        }
        (None, None) => "",
    };
    Ok((Authority::open(dir, SystemTime::now()).map_err(failure)?, note))
}

fn failure(error: certs::CertError) -> Failure {
    Failure::new(error.to_string(), "")
}

impl To {
    fn write(
        &self,
        kind: &str,
        (chain, key): (String, String),
        authority: &Authority,
        note: &str,
        terminal: &mut Terminal<'_>,
    ) -> Result<(), Failure> {
        let data_dir = self.here.config()?.data_dir;
        let same = |one: &Path| one.canonicalize().ok();
        if same(&self.dir).is_some_and(|dir| Some(dir) == same(&data_dir)) {
            let message = format!("{} is where the node keeps its own certificates", data_dir.display());
            return Err(Failure::new(message, "choose another folder with --out"));
        }
        let ca = authority.certificate().map_err(failure)?;
        let place = |name: &str| self.dir.join(name);
        let files = [
            (place(&format!("{kind}.key")), key, 0o600),
            (place(&format!("{kind}.crt")), chain, 0o644),
            (place("ca.crt"), ca, 0o644),
        ];
        // Whatever it is that is there, unless it is just the same.
        let differs = |file: &Path, text: &str| {
            file.exists() && std::fs::read(file).map_or(true, |there| there != text.as_bytes())
        };
        if let Some((file, ..)) = files.iter().find(|(file, text, _)| !self.force && differs(file, text)) {
            let message = format!("{} is there already", file.display());
            return Err(Failure::new(message, "choose another folder with --out, or say --force to write over it"));
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        let unwritable = |file: &Path, error| {
            Failure::new(format!("{}: {error}", file.display()), "choose another folder with --out")
        };
        made.map_err(|error| unwritable(&self.dir, error))?;
        for (file, text, mode) in &files {
            certs::write_whole(file, text.as_bytes(), *mode).map_err(|error| unwritable(file, error))?;
        }
        let [key, certificate, ca] = files.map(|(file, ..)| file.display().to_string());
        let value = json!({ "certificate": certificate, "key": key, "ca": ca, "days": self.days });
        terminal.show(self.format, &value, || {
            format!(
                "certificate: {certificate}\nkey: {key}\nCA of the server: {ca}\nvalid for {} days\n{note}",
                self.days
            )
        })
    }
}
