//! A boot service as machines see it: plain HTTP, no token, nothing trusted.

use std::io;
use std::time::Duration;

use percent_encoding::utf8_percent_encode;
use raft::types::Digest;
use ureq::Agent;

use super::transfer::copy;
use super::{ClientError, PATH_KEPT, QUERY_KEPT};

/// Goes with every question: no machine asks it, so none is recorded as seen.
const PREVIEW: (&str, &str) = ("raftboot-preview", "1");

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the service may be silent; matchbox reads every group file for every question.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Size of an answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A boot service.
#[derive(Debug)]
pub struct BootClient {
    agent: Agent,
    url: String,
}

/// What it answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BootAnswer {
    /// The HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub media: String,
    /// `Content-Length`, empty where it was not said.
    pub length: String,
    /// `ETag`, empty where it was not said.
    pub etag: String,
    /// The body; empty for a question about the headers alone.
    pub body: Vec<u8>,
}

impl BootClient {
    /// A client for `url` (`http://host:port`).
    ///
    /// # Errors
    /// `Configuration` when it is no such URL.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        let url = url.trim_end_matches('/');
        if !url.starts_with("http://") {
            let hint = "write it as http://HOST:8080; machines fetch scripts without TLS".into();
            return Err(ClientError::Configuration { message: format!("`{url}` is no http URL"), hint });
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // Machines use none either.
            .proxy(None)
            .user_agent(concat!("raftboot/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_per_read(Some(SILENCE_MAX))
            .build();
        Ok(Self { agent: config.new_agent(), url: url.to_owned() })
    }

    /// The address of a question, as it is sent.
    #[must_use]
    pub fn address(&self, path: &str, query: &[(String, String)]) -> String {
        let mut address = format!("{}{}", self.url, utf8_percent_encode(path, PATH_KEPT));
        for (at, (name, value)) in query.iter().enumerate() {
            let mark = if at == 0 { '?' } else { '&' };
            let (name, value) = (utf8_percent_encode(name, QUERY_KEPT), utf8_percent_encode(value, QUERY_KEPT));
            address.push_str(&format!("{mark}{name}={value}"));
        }
        address
    }

    /// Asks what a machine that says this about itself gets.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn get(&self, path: &str, query: &[(String, String)]) -> Result<BootAnswer, ClientError> {
        let mut answer = self.ask(self.agent.get(self.address(path, query)))?;
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        Ok(BootAnswer { body: body.map_err(|error| self.unreachable(&error))?, ..head(&answer) })
    }

    /// Asks about a file without fetching it.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn head(&self, path: &str) -> Result<BootAnswer, ClientError> {
        Ok(head(&self.ask(self.agent.head(self.address(path, &[])))?))
    }

    /// Fetches a file for its sha256 alone, and no more of it than `bytes_max` and one; `moved` is told how many bytes came
    /// since the last time.
    ///
    /// # Errors
    /// When it does not come whole.
    pub fn digest(&self, path: &str, bytes_max: u64, moved: &dyn Fn(u64)) -> Result<Digest, ClientError> {
        let mut answer = self.ask(self.agent.get(self.address(path, &[])))?;
        let fail =
            |error| ClientError::File { what: format!("the download of {} broke off", self.address(path, &[])), error };
        if answer.status().as_u16() != 200 {
            return Err(fail(io::Error::other(format!("the service answers {}", answer.status()))));
        }
        let body = answer.body_mut().as_reader();
        let mut body = io::Read::take(body, bytes_max.saturating_add(1));
        copy(&mut body, &mut io::sink(), moved).map(|(digest, _)| digest).map_err(fail)
    }

    fn ask(
        &self,
        question: ureq::RequestBuilder<ureq::typestate::WithoutBody>,
    ) -> Result<http::Response<ureq::Body>, ClientError> {
        question.header(PREVIEW.0, PREVIEW.1).call().map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &ureq::Error) -> ClientError {
        let hint = "is the boot service running there, and can this host reach it?".into();
        ClientError::Unreachable { url: self.url.clone(), reason: error.to_string(), hint }
    }
}

fn head(answer: &http::Response<ureq::Body>) -> BootAnswer {
    let header = |name: &str| {
        let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let (media, length, etag) = (header("content-type"), header("content-length"), header("etag"));
    BootAnswer { status: answer.status().as_u16(), media, length, etag, body: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_written_as_machines_write_them() {
        let client = BootClient::new("http://10.0.20.5:8080/").unwrap();
        let query = [("mac".to_owned(), "52-54-00-12-34-56".to_owned()), ("serial".into(), "a b&c".into())];
        assert_eq!(
            client.address("/ipxe", &query),
            "http://10.0.20.5:8080/ipxe?mac=52-54-00-12-34-56&serial=a%20b%26c"
        );
        assert_eq!(client.address("/assets/a b", &[]), "http://10.0.20.5:8080/assets/a%20b");
        assert!(BootClient::new("https://10.0.20.5").is_err());
    }
}
