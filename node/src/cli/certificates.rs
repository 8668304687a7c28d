//! `cert`: issues certificates of the cluster's CA where its key is, or through the admin API; lists and revokes them.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use ureq::http::Method;

use super::Connected;
use super::connect::{Connection, list};
use super::failure::Failure;
use super::host::Here;
use super::objects::{changed, delete, show_list};
use super::output::{Format, Terminal, parse, text};
use super::tokens::RoleName;
use crate::certs::{self, Authority, CA_FILE, CA_KEY_FILE, ClientWish, Facts, LEAF_DAYS, Lifetime};

/// For whom.
#[derive(Debug, Subcommand)]
pub enum CertCommand {
    /// For a client of the admin API or of the gRPC service (Terraform): client.crt, client.key, ca.crt
    Client(ClientArguments),
    /// For a server, in matchbox's way: server.crt, server.key, ca.crt
    Server(ServerArguments),
    /// The same as `client` through the admin API, from anywhere; the key stays here
    Request(RequestArguments),
    /// Clients' certificates: those issued by `request` or used since, and those revoked
    List(Connected<Nothing>),
    /// Refuse the holder of a certificate from now on, on every node
    Revoke(Connected<RevokeArguments>),
    /// Accept a revoked certificate again, or forget one that is only known
    Unrevoke(Connected<SerialArguments>),
    /// When the certificates of the node that is asked end
    Status(Connected<Nothing>),
}

/// A command that says everything by its name.
#[derive(Debug, Args)]
pub struct Nothing {}

/// Whose certificate is refused.
#[derive(Debug, Args)]
pub struct RevokeArguments {
    /// Its serial number, or a file with it (PEM)
    #[arg(value_name = "SERIAL|FILE")]
    which: String,
    /// Why, for people
    #[arg(long, default_value = "")]
    reason: String,
}

/// A certificate that is known.
#[derive(Debug, Args)]
pub struct SerialArguments {
    /// Its serial number, or a file with it (PEM)
    #[arg(value_name = "SERIAL|FILE")]
    which: String,
}

/// What to ask for.
#[derive(Debug, Args)]
pub struct RequestArguments {
    /// What the log calls its holder
    name: String,
    /// What its holder may do
    #[arg(long, value_enum, default_value = "operate")]
    role: RoleName,
    /// The folder for the files; made if it is not there
    #[arg(long = "out", value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// For how many days
    #[arg(long, default_value_t = LEAF_DAYS, value_parser = clap::value_parser!(u64).range(1..=3650))]
    days: u64,
    /// Write over files that are there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Who the client is.
#[derive(Debug, Args)]
pub struct ClientArguments {
    /// What the log calls its holder
    name: String,
    /// What its holder may do
    #[arg(long, value_enum, default_value = "operate")]
    role: RoleName,
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
        CertCommand::Client(ClientArguments { name, role, to }) => {
            check_name(&name)?;
            let (authority, note) = authority(&to)?;
            let wish = ClientWish { name: &name, role: Some(role.into()), lifetime: Lifetime::Days(to.days) };
            let pair = certs::client(&authority, wish, SystemTime::now()).map_err(failure)?;
            let note = format!("serial: {}\nrole: {}\n{note}", facts_of(&pair.0)?.serial, role.name());
            to.write("client", pair, &authority, &note, terminal)
        }
        CertCommand::Request(arguments) => request(&arguments, terminal),
        CertCommand::List(Connected { connection, .. }) => list_all(&connection, terminal),
        CertCommand::Revoke(Connected { connection, action }) => revoke(&connection, &action, terminal),
        CertCommand::Unrevoke(Connected { connection, action }) => {
            let (serial, _) = which(&action.which)?;
            let path = format!("/certificates/{serial}/revocation");
            delete(&connection.open()?, connection.format, "certificate", &path, &serial, terminal)
        }
        CertCommand::Status(Connected { connection, .. }) => status(&connection, terminal),
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

fn check_name(name: &str) -> Result<(), Failure> {
    let fits = |letter: char| letter.is_ascii_graphic() || letter == ' ';
    if name.trim().is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(fits) {
        let message = format!("`{}` cannot be a client's name", name.escape_debug());
        return Err(Failure::new(message, "use up to 64 letters, digits and signs, such as `terraform`"));
    }
    Ok(())
}

fn facts_of(pem: &str) -> Result<Facts, Failure> {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject as _;
    let read = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string());
    let hint = "name a file that begins with `-----BEGIN CERTIFICATE-----`, or a serial number";
    read.and_then(|der| Facts::read(&der)).map_err(|what| Failure::new(format!("it is no certificate: {what}"), hint))
}

/// A serial number, and the certificate if a file was named.
fn which(text: &str) -> Result<(String, Option<String>), Failure> {
    if Path::new(text).is_file() {
        let pem = std::fs::read_to_string(text)
            .map_err(|error| Failure::new(format!("{text}: {error}"), "name a file that can be read"))?;
        return Ok((facts_of(&pem)?.serial, Some(pem)));
    }
    let serial = certs::serial(text).ok_or_else(|| {
        let message = format!("`{}` is neither a file nor a serial number", text.escape_debug());
        Failure::new(message, "`raftboot cert list` shows serial numbers")
    })?;
    Ok((serial, None))
}

fn revoke(connection: &Connection, wanted: &RevokeArguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let (serial, certificate) = which(&wanted.which)?;
    let body = json!({ "certificate": certificate, "reason": wanted.reason }).to_string();
    let path = format!("/certificates/{serial}/revocation");
    let answer = connection.open()?.send(Method::PUT, &path, &[], body.as_bytes())?;
    terminal.written(connection.format, &format!("certificate/{serial}"), &answer)
}

fn list_all(connection: &Connection, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let items = list(&connection.open()?, "/certificates", &[])?;
    let row = |item: &Value| {
        let state = match (item["revoked"] == true, item["expired"] == true) {
            (true, _) => format!("revoked {}", text(&item["reason"])).trim_end().to_owned(),
            (false, true) => "expired".into(),
            (false, false) => "good".into(),
        };
        let columns = ["serial", "name", "role", "expires_at"].map(|name| text(&item[name]));
        columns.into_iter().chain([state, changed(item)]).collect()
    };
    show_list(connection.format, &["SERIAL", "NAME", "ROLE", "EXPIRES", "STATE", "CHANGED"], items, row, terminal)
}

fn status(connection: &Connection, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let mut value = parse(&connection.open()?.get("/certificates/node", &[])?)?;
    let Value::Array(items) = value["items"].take() else { return terminal.print("") };
    let row = |item: &Value| {
        let left = item["days_left"].as_i64().map_or_else(String::new, |days| format!("{days} days"));
        let state = if item["problem"].is_null() { text(&item["state"]) } else { text(&item["problem"]) };
        vec![text(&item["certificate"]), text(&item["not_after"]), left, state, text(&item["file"])]
    };
    show_list(connection.format, &["CERTIFICATE", "ENDS", "LEFT", "STATE", "FILE"], items, row, terminal)
}

fn request(wanted: &RequestArguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    check_name(&wanted.name)?;
    let (key, public_key) = certs::key_pair().map_err(|error| Failure::new(error, ""))?;
    let client = wanted.connection.open()?;
    let body = json!({
        "name": wanted.name, "role": wanted.role.name(), "public_key": public_key, "days": wanted.days,
    });
    // Nothing is issued that cannot be kept.
    let names = ["client.key", "client.crt", "ca.crt"].map(|name| wanted.dir.join(name));
    if let Some(there) = names[..2].iter().find(|file| !wanted.force && file.exists()) {
        return Err(taken(there));
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&wanted.dir)
        .map_err(|error| unwritable(&wanted.dir, &error))?;
    let issued = parse(&client.send(Method::POST, "/certificates", &[], body.to_string().as_bytes())?)?;
    let texts = [key, text(&issued["certificate"]), text(&issued["ca"])];
    for ((file, content), mode) in names.iter().zip(&texts).zip([0o600, 0o644, 0o644]) {
        certs::write_whole(file, content.as_bytes(), mode).map_err(|error| unwritable(file, &error))?;
    }
    terminal.show(wanted.connection.format, &issued, || {
        let [key, certificate, ca] = names.each_ref().map(|file| file.display().to_string());
        format!(
            "certificate: {certificate}\nkey: {key}\nCA of the server: {ca}\nserial: {}\nrole: {}\nvalid until {}\n",
            text(&issued["serial"]),
            text(&issued["role"]),
            text(&issued["expires_at"])
        )
    })
}

fn taken(file: &Path) -> Failure {
    let message = format!("{} is there already", file.display());
    Failure::new(message, "choose another folder with --out, or say --force to write over it")
}

fn unwritable(file: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{}: {error}", file.display()), "choose another folder with --out")
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
            return Err(taken(file));
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        made.map_err(|error| unwritable(&self.dir, &error))?;
        for (file, text, mode) in &files {
            certs::write_whole(file, text.as_bytes(), *mode).map_err(|error| unwritable(file, &error))?;
        }
        let serial = facts_of(&files[1].1)?.serial;
        let [key, certificate, ca] = files.map(|(file, ..)| file.display().to_string());
        let value = json!({ "certificate": certificate, "key": key, "ca": ca, "days": self.days, "serial": serial });
        terminal.show(self.format, &value, || {
            format!(
                "certificate: {certificate}\nkey: {key}\nCA of the server: {ca}\nvalid for {} days\n{note}",
                self.days
            )
        })
    }
}
