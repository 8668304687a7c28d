//! Which server, which token, which CA: from the command line, the environment, or this host's own node.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::failure::Failure;
use super::output::{Format, parse};
use crate::client::{Client, ClientError};
use crate::config::Config;

/// In the data directory of a node.
const TOKEN_FILE: &str = "admin.token";
const CA_FILE: &str = "ca.crt";
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
    /// File that holds the token; RAFTBOOT_TOKEN may hold the token itself [default: admin.token of the data directory]
    #[arg(long, global = true, env = "RAFTBOOT_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
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
    /// When the token or the CA cannot be read (exit code 64).
    pub fn open(&self) -> Result<Client, Failure> {
        let own = own_node();
        let data_dir = self.data_dir.as_deref().unwrap_or(&own.data_dir);
        let (token, source) = match std::env::var(TOKEN_VARIABLE) {
            Ok(token) if self.token_file.is_none() => (token, format!("the variable {TOKEN_VARIABLE}")),
            _ => {
                let file = file(self.token_file.as_deref(), data_dir, TOKEN_FILE);
                (read(&file, "token", "--token-file")?, file.display().to_string())
            }
        };
        let ca_file = file(self.ca_file.as_deref(), data_dir, CA_FILE);
        let ca = read(&ca_file, "CA certificate", "--ca-file")?;
        if token.trim().is_empty() || token.trim().contains(char::is_whitespace) {
            let hint = "the token is one line, rbt_…, as `raftboot token create` printed it";
            return Err(Failure::configuration(format!("{source}: what should be the token is none"), hint));
        }
        let client = Client::new(self.server.as_ref().unwrap_or(&own_url(&own)), &token, ca.as_bytes());
        match client {
            Ok(client) => Ok(client.with_token_from(source)),
            Err(error @ ClientError::NoCertificate) => {
                let hint = "name the ca.crt of the server's data directory with --ca-file";
                Err(Failure::configuration(format!("{}: {error}", ca_file.display()), hint))
            }
            Err(error) => Err(error.into()),
        }
    }
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
            "name the file with {flag}, or the node's data directory with --data-dir; the node that founded the cluster has \
             both there, one that joined has the CA only: copy the token, or set {TOKEN_VARIABLE}"
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
            let connection = Connection { server, token_file: None, ca_file: None, data_dir: None, format };
            assert_eq!(boot_url(&connection), url);
        }
    }
}
