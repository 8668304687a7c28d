//! The admin API as seen by an outsider on the lab's network: plain HTTPS, one CA, one token.

use crate::lab::Host;
use crate::netns;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Timeout};

/// Where the API is.
const PORT: u16 = 8443;
/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// How long an answer may take to begin; longer than any election.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Connections kept open to one node.
const CONNECTIONS_MAX: usize = 96;
/// Objects in one page of a list: the most the API gives.
const PAGE: usize = 1000;
/// The longest answer read, in bytes.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// A client; clones share their connections.
#[derive(Clone)]
pub struct Admin {
    agent: Agent,
    bearer: String,
    netns: String,
}

/// What became of a write, as far as its sender can know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server said that it is kept.
    Acknowledged,
    /// It is certain that nothing was written, and why.
    Refused(String),
    /// It may or may not have been written, and why.
    Unknown(String),
}

impl Admin {
    /// A client on `host` that trusts the certificates in `ca` (PEM).
    ///
    /// # Errors
    /// When there are none in it.
    pub fn new(host: &Host, token: &str, ca: &[u8]) -> Result<Self> {
        let roots: Vec<_> = parse_pem(ca)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        if roots.is_empty() {
            bail!("the cluster's CA file holds no certificate");
        }
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .https_only(true)
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_recv_response(Some(ANSWER_MAX))
            .timeout_recv_body(Some(ANSWER_MAX))
            .max_idle_connections_per_host(CONNECTIONS_MAX)
            .max_idle_connections(CONNECTIONS_MAX * 4)
            .build();
        Ok(Self { agent: config.new_agent(), bearer: format!("Bearer {}", token.trim()), netns: host.netns() })
    }

    /// The namespace whose threads may call the functions ending in `_here`.
    #[must_use]
    pub fn netns(&self) -> &str {
        &self.netns
    }

    /// Reads `path` below `/api/v1` from one node, from any thread.
    ///
    /// # Errors
    /// When the node does not answer, or not with 200.
    pub fn get(&self, node: Ipv4Addr, path: &str) -> Result<Value> {
        let (own, path) = (self.clone(), path.to_owned());
        netns::run_in(&self.netns, move || own.get_here(node, &path))
    }

    /// Reads `path` below `/api/v1` from one node.
    ///
    /// # Errors
    /// When the node does not answer, or not with 200.
    pub fn get_here(&self, node: Ipv4Addr, path: &str) -> Result<Value> {
        let url = url(node, path);
        let answer = self.agent.get(&url).header("authorization", &self.bearer).call();
        let mut answer = answer.with_context(|| format!("GET {url}"))?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let text = text.with_context(|| format!("GET {url}"))?;
        if status != 200 {
            bail!("GET {url} answered {status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("GET {url} answered no JSON: {text}"))
    }

    /// Every item of a list whose id begins with `prefix`, page by page.
    ///
    /// # Errors
    /// When a page cannot be read.
    pub fn list(&self, node: Ipv4Addr, kind: &str, prefix: &str) -> Result<Vec<Value>> {
        let (own, kind, prefix) = (self.clone(), kind.to_owned(), prefix.to_owned());
        netns::run_in(&self.netns, move || {
            let (mut items, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = own.get_here(node, &format!("/{kind}?prefix={prefix}&limit={PAGE}{cursor}"))?;
                items.extend(page["items"].as_array().context("a list has items")?.iter().cloned());
                match page["next_cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => return Ok(items),
                }
            }
        })
    }

    /// Writes `body` to `path` through one node.
    #[must_use]
    pub fn put_here(&self, node: Ipv4Addr, path: &str, key: &str, body: &str) -> Outcome {
        let request = self.agent.put(url(node, path)).header("authorization", &self.bearer);
        match request.header("idempotency-key", key).header("content-type", "application/json").send(body) {
            Ok(mut answer) => {
                let status = answer.status().as_u16();
                // Read whole, so that the connection can be used again.
                let text = answer.body_mut().read_to_string().unwrap_or_default();
                outcome(status, &text)
            }
            Err(error) => lost(&error),
        }
    }
}

fn url(node: Ipv4Addr, path: &str) -> String {
    format!("https://{node}:{PORT}/api/v1{path}")
}

/// What an answer means for the write.
fn outcome(status: u16, text: &str) -> Outcome {
    let code = serde_json::from_str::<Value>(text).unwrap_or_default()["code"].as_str().unwrap_or_default().to_owned();
    let why = format!("{status} {code}");
    match (status, code.as_str()) {
        (200..=299, _) => Outcome::Acknowledged,
        // A node that failed over it cannot know, and says so.
        (500 | 502 | 504, _) | (503, "stopped" | "outcome_unknown") => Outcome::Unknown(why),
        _ => Outcome::Refused(why),
    }
}

/// What no answer means: certain only when there never was a connection.
fn lost(error: &ureq::Error) -> Outcome {
    let why = error.to_string();
    match error {
        ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) | ureq::Error::ConnectionFailed => {
            Outcome::Refused(why)
        }
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => Outcome::Refused(why),
        _ => Outcome::Unknown(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_certain_counts_as_refused() {
        let refused =
            |status, code: &str| matches!(outcome(status, &format!("{{\"code\":\"{code}\"}}")), Outcome::Refused(_));
        assert!(refused(503, "unavailable") && refused(422, "invalid") && refused(409, "conflict") && refused(429, ""));
        for (status, code) in [(504, "outcome_unknown"), (503, "stopped"), (500, "internal"), (502, "")] {
            assert!(!refused(status, code), "{status} {code}");
            assert_ne!(outcome(status, "{}"), Outcome::Acknowledged);
        }
        assert_eq!(outcome(201, "{}"), Outcome::Acknowledged);
    }

    #[test]
    fn a_connection_that_broke_leaves_the_outcome_open() {
        let io = |kind| lost(&ureq::Error::Io(io::Error::from(kind)));
        assert!(matches!(io(io::ErrorKind::ConnectionRefused), Outcome::Refused(_)));
        assert!(matches!(io(io::ErrorKind::ConnectionReset), Outcome::Unknown(_)));
        assert!(matches!(lost(&ureq::Error::Timeout(Timeout::RecvResponse)), Outcome::Unknown(_)));
    }
}
