//! Which server, which right, which CA: from the command line, the environment, or this host's own node.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use raft::state::Role;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::failure::Failure;
use super::output::{Format, parse};
use crate::certs::{self, Authority, CA_FILE, CA_KEY_FILE, ClientWish, Lifetime};
use crate::client::{Client, ClientError, Right};
use crate::config::Config;

/// In the data directory of a node.
const TOKEN_FILE: &str = "admin.token";
/// How long a certificate is good that is made where the CA's key is.
const LOCAL_MINUTES: u64 = 10;
/// Characters of a client's name.
const NAME_CHARS_MAX: usize = 64;
/// Holds a token itself; there is no flag for it, because others can read a process's arguments.
const TOKEN_VARIABLE: &str = "RAFTBOOT_TOKEN";
/// Items of one page of a list.
const PAGE_ITEMS: &str = "1000";

/// Which server to talk to, and how to print.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection and output")]
pub struct Connection {
    /// The admin API of a node [default: that of the node on this host, https://127.0.0.1:8443]
    #[arg(long, global = true, env = "RAFTBOOT_SERVER", value_name = "URL")]
    pub server: Option<String>,
    /// File that holds the token; RAFTBOOT_TOKEN may hold the token itself [default: admin.token of the data directory, else what its ca.key can make]
    #[arg(long, global = true, env = "RAFTBOOT_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// A client's certificate instead of a token, PEM, as `raftboot cert client` writes it
    #[arg(long, global = true, env = "RAFTBOOT_CERT", value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// The key of that certificate, PEM
    #[arg(long, global = true, env = "RAFTBOOT_KEY", value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Certificates to trust, PEM [default: ca.crt of the data directory]
    #[arg(long, global = true, env = "RAFTBOOT_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Data directory of the node on this host [default: that of its configuration]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// How to print results
    #[arg(short = 'o', long = "output", global = true, value_name = "FORMAT", value_enum, default_value_t)]
    pub format: Format,
}

impl Connection {
    /// A client for it.
    ///
    /// # Errors
    /// When the token, the certificate or the CA cannot be read (exit code 64).
    pub fn open(&self) -> Result<Client, Failure> {
        let own = own_node();
        let data_dir = self.data_dir.as_deref().unwrap_or(&own.data_dir);
        let (right, source) = self.right(data_dir)?;
        let ca_file = file(self.ca_file.as_deref(), data_dir, CA_FILE);
        let ca = read(&ca_file, "CA certificate", "--ca-file")?;
        let client = Client::new(self.server.as_ref().unwrap_or(&own_url(&own)), right, ca.as_bytes());
        match client {
            Ok(client) => Ok(client.with_right_from(source)),
            Err(error @ ClientError::NoCertificate) => {
                let hint = "name the ca.crt of the server's data directory with --ca-file";
                Err(Failure::configuration(format!("{}: {error}", ca_file.display()), hint))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// By what right, in this order: a token that was named; a certificate that was named; what the CA's key in the data
    /// directory can make; the first token there, which may have been rotated or deleted since.
    fn right(&self, data_dir: &Path) -> Result<(Right, String), Failure> {
        if let Some(file) = &self.token_file {
            let token = read(file, "token", "--token-file")?;
            return token_of(&token, &file.display().to_string());
        }
        if let Ok(token) = std::env::var(TOKEN_VARIABLE) {
            return token_of(&token, &format!("the variable {TOKEN_VARIABLE}"));
        }
        if let (Some(certificate), Some(key)) = (&self.cert, &self.key) {
            let pair = (read(certificate, "certificate", "--cert")?, read(key, "certificate's key", "--key")?);
            return Ok((Right::Certificate(pair), format!("the certificate came from {}", certificate.display())));
        }
        if let Some(made) = local(data_dir) {
            return Ok(made);
        }
        let token_file = data_dir.join(TOKEN_FILE);
        let token = fs::read_to_string(&token_file).map_err(|error| {
            let message = format!("{}: the token cannot be read: {error}", token_file.display());
            let hint = format!(
                "run this as root on a node of the cluster, which needs none, with --data-dir where its data are elsewhere; or name a token with --token-file or {TOKEN_VARIABLE}, \
                 or a client's certificate with --cert and --key"
            );
            Failure::configuration(message, hint)
        })?;
        token_of(&token, &token_file.display().to_string())
    }
}

fn token_of(token: &str, source: &str) -> Result<(Right, String), Failure> {
    if token.trim().is_empty() || token.trim().contains(char::is_whitespace) {
        let hint = "the token is one line, rbt_…, as `raftboot token create` printed it";
        return Err(Failure::configuration(format!("{source}: what should be the token is none"), hint));
    }
    Ok((Right::Token(token.to_owned()), format!("the token came from {source}")))
}

/// Whoever can read the CA's key may do everything anyway: a certificate is made in memory, for ten minutes at a time.
fn local(data_dir: &Path) -> Option<(Right, String)> {
    let is_there = |name: &str| fs::File::open(data_dir.join(name)).is_ok();
    if !is_there(CA_KEY_FILE) || !is_there(CA_FILE) {
        return None;
    }
    let dir = data_dir.to_owned();
    let name = own_name();
    let make = move || {
        let authority = Authority::open(&dir, SystemTime::now()).map_err(|error| error.to_string())?;
        let lifetime = Lifetime::Minutes(LOCAL_MINUTES);
        let wish = ClientWish { name: &name, role: Some(Role::Admin), lifetime };
        certs::client(&authority, wish, SystemTime::now()).map_err(|error| error.to_string())
    };
    let source = format!("the certificate was made with {}", data_dir.join(CA_KEY_FILE).display());
    Some((Right::Made(Box::new(make)), source))
}

/// `root@node-a`: how the log calls whoever works on a node itself.
fn own_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let user = match rustix::process::geteuid() {
        user if user.is_root() => "root".to_owned(),
        user => std::env::var("USER").unwrap_or_else(|_| user.as_raw().to_string()),
    };
    format!("{user}@{host}").chars().filter(char::is_ascii_graphic).take(NAME_CHARS_MAX).collect()
}

/// Where machines ask the server that commands are sent to: on its host, at the port that this host's node is configured for.
#[must_use]
pub(super) fn boot_url(connection: &Connection) -> String {
    let own = own_node();
    let host = connection.server.as_deref().and_then(|url| {
        let rest = url.strip_prefix("https://")?.split('/').next()?;
        let host = rest.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map_or(rest, |(host, _)| host);
        (!host.is_empty()).then(|| host.to_owned())
    });
    match host {
        Some(host) => format!("http://{host}:{}", own.boot_http.port()),
        None => format!("http://{}", crate::config::reachable(own.boot_http)),
    }
}

/// What the node on this host is configured to be; the defaults if there is no file, or none that this user may read.
fn own_node() -> Config {
    Config::load(None).unwrap_or_default()
}

/// Where that node's admin API is to be found from here.
fn own_url(own: &Config) -> String {
    let mut address = own.admin;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    format!("https://{address}")
}

fn file(named: Option<&Path>, dir: &Path, name: &str) -> PathBuf {
    named.map_or_else(|| dir.join(name), Path::to_owned)
}

fn read(file: &Path, what: &str, flag: &str) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| {
        let hint = format!(
            "name the file with {flag}, or a node's data directory with --data-dir; on a node, root finds all that is needed"
        );
        Failure::configuration(format!("{}: the {what} cannot be read: {error}", file.display()), hint)
    })
}

/// All items of a list, page by page.
///
/// # Errors
/// Why not.
pub(super) fn list(client: &Client, path: &str, filters: &[(&str, Option<&str>)]) -> Result<Vec<Value>, Failure> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let mut query: Vec<(&str, &str)> = vec![("limit", PAGE_ITEMS)];
        query.extend(filters.iter().filter_map(|(name, value)| value.map(|value| (*name, value))));
        if !cursor.is_empty() {
            query.push(("cursor", &cursor));
        }
        let mut page = parse(&client.get(path, &query)?)?;
        if let Value::Array(more) = page["items"].take() {
            items.extend(more);
        }
        match page["next_cursor"].as_str() {
            Some(next) if next != cursor => next.clone_into(&mut cursor),
            _ => return Ok(items),
        }
    }
}

/// All items of a list, byte for byte as the server wrote them: numbers would not survive more than that.
///
/// # Errors
/// Why not.
pub(super) fn list_raw(client: &Client, path: &str) -> Result<Vec<Box<RawValue>>, Failure> {
    #[derive(Deserialize)]
    struct Page {
        items: Vec<Box<RawValue>>,
        next_cursor: Option<String>,
    }
    let mut items = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut query: Vec<(&str, &str)> = vec![("limit", PAGE_ITEMS)];
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let page: Page = serde_json::from_str(&client.get(path, &query)?).map_err(|error| {
            Failure::new(format!("the server's answer cannot be read: {error}"), "is the server of another version?")
        })?;
        items.extend(page.items);
        match page.next_cursor {
            Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
            _ => return Ok(items),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_on_this_host_is_found_where_it_listens() {
        for (listen, url) in [
            ("0.0.0.0:8443", "https://127.0.0.1:8443"),
            ("[::]:9443", "https://[::1]:9443"),
            ("10.0.20.7:8443", "https://10.0.20.7:8443"),
        ] {
            let own = Config { admin: listen.parse().unwrap(), ..Config::default() };
            assert_eq!(own_url(&own), url);
        }
    }

    #[test]
    fn machines_ask_the_host_that_commands_are_sent_to() {
        for (server, url) in [
            (None, "http://127.0.0.1:8080"),
            (Some("https://10.0.20.7:8443"), "http://10.0.20.7:8080"),
            (Some("https://[fd00::7]:8443/"), "http://[fd00::7]:8080"),
            (Some("https://[fd00::7]"), "http://[fd00::7]:8080"),
            (Some("https://boot.lab"), "http://boot.lab:8080"),
        ] {
            let format = Format::default();
            let server = server.map(str::to_owned);
            let (token_file, cert, key, ca_file, data_dir) = Default::default();
            let connection = Connection { server, token_file, cert, key, ca_file, data_dir, format };
            assert_eq!(boot_url(&connection), url);
        }
    }
}
