//! Asks a node as Prometheus does, and reads what it answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{HeaderValue, Request};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::node::Node;

/// What was read: the kind of each family, and each sample with its labels as written.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) families: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

impl Numbers {
    /// Reads the text format (0.0.4), strictly: a sample belongs to the family named last, and none is there twice.
    pub(crate) fn read(text: &str) -> Self {
        let mut read = Self::default();
        let (mut family, mut helped) = (String::new(), String::new());
        assert!(text.ends_with('\n'), "the last line must end");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                rest.split_once(' ').expect("a help text").0.clone_into(&mut helped);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert_eq!(name, helped, "help comes before the type");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(read.families.insert(name.into(), kind.into()), None, "{name} is there twice");
                name.clone_into(&mut family);
            } else {
                let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
                let name = sample.split('{').next().unwrap_or_default();
                let bare = ["_bucket", "_sum", "_count"].iter().find_map(|ending| name.strip_suffix(ending));
                let is_histogram = read.families.get(&family).is_some_and(|kind| kind == "histogram");
                assert_eq!(if is_histogram { bare.unwrap_or(name) } else { name }, family, "{line}");
                let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
                assert_eq!(read.samples.insert(sample.into(), value), None, "{sample} is there twice");
            }
        }
        read
    }

    pub(crate) fn value(&self, sample: &str) -> f64 {
        *self.samples.get(sample).unwrap_or_else(|| panic!("{sample} is not there: {:#?}", self.samples))
    }
}

fn agent(node: &Node) -> ureq::Agent {
    let ca = std::fs::read(node.data().join("ca.crt")).expect("a CA");
    let roots: Vec<_> = parse_pem(&ca)
        .filter_map(|item| match item.expect("PEM") {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let config = ureq::Agent::config_builder().tls_config(tls).http_status_as_error(false).proxy(None);
    config.timeout_global(Some(Duration::from_secs(30))).build().new_agent()
}

fn admin_token(node: &Node) -> String {
    std::fs::read_to_string(node.data().join("admin.token")).expect("the founder's token").trim().to_owned()
}

fn ask(node: &Node, path: &str, token: Option<&str>, headers: &[(&str, &str)]) -> (u16, Option<String>, String) {
    let mut request = Request::get(format!("https://localhost:{}{path}", node.admin));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value.as_bytes());
        request = request.header(*name, value.unwrap_or_else(|_| HeaderValue::from_static("a b")));
    }
    let mut answer = agent(node).run(request.body(()).expect("a request")).expect("an answer");
    let id = answer.headers().get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let text = answer.body_mut().with_config().limit(1 << 24).read_to_vec().expect("a body");
    (answer.status().as_u16(), id, String::from_utf8_lossy(&text).into_owned())
}

/// The numbers as text, asked as the founder's administrator.
pub(crate) fn scrape(node: &Node, path: &str) -> String {
    let (status, _, text) = ask(node, path, Some(&admin_token(node)), &[]);
    assert_eq!(status, 200, "{text}");
    text
}

pub(crate) fn status(node: &Node, path: &str, token: Option<&str>) -> u16 {
    ask(node, path, token, &[]).0
}

/// Status and request id.
pub(crate) fn call(node: &Node, path: &str, headers: &[(&str, &str)]) -> (u16, Option<String>) {
    let (status, id, _) = ask(node, path, Some(&admin_token(node)), headers);
    (status, id)
}
