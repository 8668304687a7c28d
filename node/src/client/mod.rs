//! The admin API as its clients see it: one blocking connection that trusts one CA and shows a token or a certificate.

mod boot;
mod transfer;

use std::fmt;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::crypto::ring;
use serde::Deserialize;
use ureq::http::{Method, Request, Response};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, SendBody};

pub use boot::{BootAnswer, BootClient};
pub use transfer::{Download, Upload};

/// Where every path of the API begins.
const PREFIX: &str = "/api/v1";
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the server may be silent; it waits for a log sync, or for a large file to reach the disk.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// How long the server may take to say that it wants an upload.
const CONTINUE_TIMEOUT: Duration = Duration::from_secs(15);
/// How often a server is asked again that cannot say yet whether it has something.
const BUSY_TRIES_MAX: u32 = 3;
/// Size of an answer that is read whole, in bytes.
const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// How long a certificate that was made for ten minutes is used.
const MADE_USED_MAX: Duration = Duration::from_secs(300);
/// What need not be escaped in a path (RFC 3986 §2.3), and the slash that parts it.
const PATH_KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');
/// What need not be escaped in a query.
const QUERY_KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// One thing the server found wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// In one word.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// Where in the request.
    pub field: String,
    /// What to do.
    pub hint: String,
    /// Which object.
    pub object: String,
}

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server said no.
    #[error("{}", problems.first().map_or("", |problem| problem.message.as_str()))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it found wrong; never empty.
        problems: Vec<Problem>,
        /// What its log calls the request.
        request_id: String,
    },
    /// There was no answer.
    #[error("{url}: {reason}")]
    Unreachable {
        /// Who was asked.
        url: String,
        /// What happened.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// What was to be sent cannot be read, or what came cannot be written.
    #[error("{what}: {error}")]
    File {
        /// Which file, for what.
        what: String,
        /// What happened.
        error: std::io::Error,
    },
    /// What came is not what it should be.
    #[error("{0}")]
    Corrupt(String),
    /// What should be certificates to trust holds none.
    #[error("the CA file holds no PEM certificate")]
    NoCertificate,
    /// The client's own configuration cannot be used.
    #[error("{message}")]
    Configuration {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
}

/// A client's certificate and its key, both PEM.
pub type Pair = (String, String);
/// Makes a new one of those, when the one in use comes to its end.
pub type Maker = Box<dyn Fn() -> Result<Pair, String> + Send + Sync>;

/// By what right a client talks.
pub enum Right {
    /// A token, sent with each request.
    Token(String),
    /// A certificate, shown when a connection is made.
    Certificate(Pair),
    /// Certificates that are made for minutes, one after another.
    Made(Maker),
}

/// A server and the right to talk to it.
pub struct Client {
    /// And since when it is used.
    agent: Mutex<(Agent, Instant)>,
    roots: Vec<Certificate<'static>>,
    maker: Option<Maker>,
    url: String,
    bearer: Option<String>,
    source: String,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Name and value of each part of a query.
pub type Query<'a> = &'a [(&'a str, &'a str)];

impl Client {
    /// A client for `url` (`https://host:port`) that trusts the certificates in `ca` (PEM) and no others.
    ///
    /// # Errors
    /// `Configuration` or `NoCertificate` when one of the three cannot be used.
    pub fn new(url: &str, right: Right, ca: &[u8]) -> Result<Self, ClientError> {
        let wrong = |message: String, hint: &str| ClientError::Configuration { message, hint: hint.into() };
        let url = url.trim_end_matches('/');
        if !url.starts_with("https://") {
            let hint = "write it as https://HOST:8443; a token must not travel in the clear";
            return Err(wrong(format!("the server `{url}` is no https URL"), hint));
        }
        let roots: Vec<_> = certificates(ca).collect();
        if roots.is_empty() {
            return Err(ClientError::NoCertificate);
        }
        let (bearer, shown, maker) = match right {
            Right::Token(token) => (Some(format!("Bearer {}", token.trim())), None, None),
            Right::Certificate(pair) => (None, Some(pair), None),
            Right::Made(maker) => {
                let hint = "name a token with --token-file, or a certificate with --cert and --key";
                let pair = maker().map_err(|error| wrong(format!("no certificate could be made: {error}"), hint))?;
                (None, Some(pair), Some(maker))
            }
        };
        let agent = Mutex::new((agent(&roots, shown.as_ref())?, Instant::now()));
        Ok(Self { agent, roots, maker, url: url.to_owned(), bearer, source: String::new() })
    }

    /// How to talk now; a certificate that was made for minutes is replaced in time.
    fn agent(&self) -> Result<Agent, ClientError> {
        let mut current = self.agent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(maker) = self.maker.as_ref().filter(|_| current.1.elapsed() >= MADE_USED_MAX) {
            let pair = maker().map_err(|error| ClientError::Configuration {
                message: format!("no certificate could be made: {error}"),
                hint: "look at ca.crt and ca.key of the data directory".into(),
            })?;
            *current = (agent(&self.roots, Some(&pair))?, Instant::now());
        }
        Ok(current.0.clone())
    }

    /// Says where the token or the certificate was found, for the message when it is not accepted.
    #[must_use]
    pub fn with_right_from(mut self, source: impl Into<String>) -> Self {
        self.source = source.into();
        self
    }

    /// Reads something.
    ///
    /// # Errors
    /// Why not.
    pub fn get(&self, path: &str, query: Query<'_>) -> Result<String, ClientError> {
        self.call(Method::GET, path, query, SendBody::none(), &[]).and_then(|answer| self.text(answer))
    }

    /// Reads something that need not be text.
    ///
    /// # Errors
    /// Why not.
    pub fn get_bytes(&self, path: &str, query: Query<'_>) -> Result<Vec<u8>, ClientError> {
        let mut answer = self.call(Method::GET, path, query, SendBody::none(), &[])?;
        let read = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        read.map_err(|error| self.unreachable(&error))
    }

    /// Removes something.
    ///
    /// # Errors
    /// Why not.
    pub fn delete(&self, path: &str) -> Result<String, ClientError> {
        self.delete_with(path, &[])
    }

    /// Removes something in a certain way.
    ///
    /// # Errors
    /// Why not.
    pub fn delete_with(&self, path: &str, query: Query<'_>) -> Result<String, ClientError> {
        self.call(Method::DELETE, path, query, SendBody::none(), &[]).and_then(|answer| self.text(answer))
    }

    /// Sends `body` with PUT, POST or PATCH.
    ///
    /// # Errors
    /// Why not.
    pub fn send(&self, method: Method, path: &str, query: Query<'_>, body: &[u8]) -> Result<String, ClientError> {
        let mut reader = body;
        let length = body.len().to_string();
        let headers = [("content-length", length.as_str()), ("content-type", "application/json")];
        let answer = self.call(method, path, query, SendBody::from_reader(&mut reader), &headers)?;
        self.text(answer)
    }

    /// Whether the server has something at `path` that can be used. Bytes that it is still verifying are waited for; if
    /// that takes long, or they are damaged, the answer is no.
    ///
    /// # Errors
    /// Why it did not say.
    pub fn has(&self, path: &str) -> Result<bool, ClientError> {
        let mut tries = BUSY_TRIES_MAX;
        loop {
            match self.call(Method::HEAD, path, &[], SendBody::none(), &[]) {
                Ok(_) => return Ok(true),
                Err(ClientError::Refused { status: 404, .. }) => return Ok(false),
                Err(ClientError::Refused { status: 503, .. }) if tries == 0 => return Ok(false),
                // The server has waited a while itself before it said so.
                Err(ClientError::Refused { status: 503, .. }) => tries -= 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// One request; an answer other than success is an error.
    fn call(
        &self,
        method: Method,
        path: &str,
        query: Query<'_>,
        body: SendBody<'_>,
        headers: &[(&str, &str)],
    ) -> Result<Response<Body>, ClientError> {
        let mut request = Request::builder().method(method).uri(self.uri(path, query));
        if let Some(bearer) = &self.bearer {
            request = request.header("authorization", bearer);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).map_err(|error| ClientError::Configuration {
            message: format!("the request to {} cannot be written: {error}", self.url),
            hint: "check the server's URL and the token".into(),
        })?;
        let answer = self.agent()?.run(request).map_err(|error| self.unreachable(&error))?;
        if answer.status().is_success() { Ok(answer) } else { Err(self.sourced(refusal(answer))) }
    }

    /// Says in a refusal for its sake where the token or the certificate came from.
    fn sourced(&self, mut refusal: ClientError) -> ClientError {
        if let ClientError::Refused { status: 401, problems, .. } = &mut refusal
            && let Some(problem) = problems.first_mut().filter(|_| !self.source.is_empty())
        {
            problem.hint = format!("{}; {}", self.source, problem.hint);
        }
        refusal
    }

    fn uri(&self, path: &str, query: Query<'_>) -> String {
        let mut uri = format!("{}{PREFIX}{}", self.url, utf8_percent_encode(path, PATH_KEPT));
        for (at, (name, value)) in query.iter().enumerate() {
            let mark = if at == 0 { '?' } else { '&' };
            let (name, value) = (utf8_percent_encode(name, QUERY_KEPT), utf8_percent_encode(value, QUERY_KEPT));
            uri.push_str(&format!("{mark}{name}={value}"));
        }
        uri
    }

    fn text(&self, mut answer: Response<Body>) -> Result<String, ClientError> {
        let read = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        read.map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &ureq::Error) -> ClientError {
        let (reason, hint) = match error {
            _ if error.to_string().contains("received fatal alert") => (
                format!("the server does not accept this client's certificate: {error}"),
                "use a certificate of that server's cluster: `raftboot cert client` on one of its nodes",
            ),
            ureq::Error::Rustls(error) => insecure(error),
            ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => insecure(error),
            ureq::Error::Io(error) => (error.to_string(), "is `raftboot serve` running there, and is --server right?"),
            ureq::Error::Timeout(_) => (error.to_string(), "the server may be overloaded, or a firewall drops packets"),
            other => (other.to_string(), "is `raftboot serve` running there, and is --server right?"),
        };
        ClientError::Unreachable { url: self.url.clone(), reason, hint: hint.into() }
    }
}

fn agent(roots: &[Certificate<'static>], pair: Option<&Pair>) -> Result<Agent, ClientError> {
    let shown = pair.map(|(chain, key)| {
        let chain: Vec<_> = certificates(chain.as_bytes()).collect();
        let key = PrivateKey::from_pem(key.as_bytes());
        match key {
            Ok(key) if !chain.is_empty() => Ok(ClientCert::new_with_certs(&chain, key)),
            _ => Err(ClientError::Configuration {
                message: "the client's certificate or its key is not PEM".into(),
                hint: "name both as `raftboot cert client` writes them: --cert client.crt --key client.key".into(),
            }),
        }
    });
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(roots))
        .client_cert(shown.transpose()?)
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .https_only(true)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        // A token must not reach a proxy that happens to be in the environment.
        .proxy(None)
        .user_agent(concat!("raftboot/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(CONNECT_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_per_read(Some(SILENCE_MAX))
        .timeout_per_write(Some(SILENCE_MAX))
        .timeout_await_100(Some(CONTINUE_TIMEOUT))
        .build();
    Ok(config.new_agent())
}

fn certificates(pem: &[u8]) -> impl Iterator<Item = Certificate<'static>> {
    parse_pem(pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    })
}

/// No TLS at all is another mistake than a certificate that does not fit.
fn insecure(error: &dyn fmt::Display) -> (String, &'static str) {
    let text = error.to_string();
    if text.contains("corrupt message") {
        return (format!("it does not speak TLS: {text}"), "is --server right? the admin API has port 8443 by default");
    }
    let hint = "name the ca.crt of that server's data directory with --ca-file, and a name its certificate is made for";
    (format!("its certificate is not trusted: {text}"), hint)
}

/// The server's own words, or what its status says.
fn refusal(mut answer: Response<Body>) -> ClientError {
    #[derive(Deserialize)]
    struct Shape {
        #[serde(flatten)]
        first: Problem,
        #[serde(default)]
        errors: Vec<Problem>,
        #[serde(default)]
        request_id: String,
    }
    let status = answer.status();
    let mut text = String::new();
    // An answer that breaks off says less, but it has a status.
    let _ = answer.body_mut().as_reader().take(1024 * 1024).read_to_string(&mut text);
    match serde_json::from_str::<Shape>(&text) {
        Ok(Shape { first, errors, request_id }) => {
            let problems = if errors.is_empty() { vec![first] } else { errors };
            ClientError::Refused { status: status.as_u16(), problems, request_id }
        }
        Err(_) => {
            let hint = match status.as_u16() {
                // The answer to HEAD has no words.
                401 if text.is_empty() => "the token is not one of this server, or has expired or been revoked",
                403 if text.is_empty() => "the token's role does not allow this",
                500..=599 if text.is_empty() => "try again, and look at the server's log",
                _ => "is this the admin API of a raftboot server?",
            };
            let problem = Problem {
                code: "http".into(),
                message: format!("the server answered {status}"),
                hint: hint.into(),
                ..Problem::default()
            };
            ClientError::Refused { status: status.as_u16(), problems: vec![problem], request_id: String::new() }
        }
    }
}
