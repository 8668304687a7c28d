//! What is served beside a path under its name with `.sig` or `.asc`: a signature of what the path itself answers.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use tokio::sync::Semaphore;
use tracing::warn;

use super::body::Body;
use super::respond::{self, Answer};
use super::signature::Signer;

/// Signatures made at once; one by a large RSA key takes a core for 20 ms, and nobody is turned away, only made to wait.
const SIGNING_MAX: usize = 2;

/// The paths beside which there are signatures: those of matchbox.
const PATHS: [&str; 8] =
    ["/grub", "/boot.ipxe", "/boot.ipxe.0", "/ipxe", "/ignition", "/cloud", "/generic", "/metadata"];

/// The two forms of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `.sig`: the bytes of the packet.
    Binary,
    /// `.asc`: the same as text.
    Armored,
}

/// The path that is signed and the form wanted, if this is the path of a signature.
#[must_use]
pub(super) fn wanted(path: &[u8]) -> Option<(&'static str, Form)> {
    let path = std::str::from_utf8(path).ok()?;
    let (base, form) = match path.strip_suffix(".sig") {
        Some(base) => (base, Form::Binary),
        None => (path.strip_suffix(".asc")?, Form::Armored),
    };
    PATHS.iter().find(|known| **known == base).map(|known| (*known, form))
}

/// The request for what is to be signed: the whole of it, whatever part or condition was asked for.
#[must_use]
pub(super) fn request_for(path: &str, parts: &Parts) -> Option<Parts> {
    let query = parts.uri.query().map_or_else(String::new, |query| format!("?{query}"));
    let mut inner = parts.clone();
    inner.uri = format!("{path}{query}").parse().ok()?;
    inner.method = http::Method::GET;
    for name in [header::RANGE, header::IF_RANGE, header::IF_MATCH, header::IF_NONE_MATCH] {
        inner.headers.remove(name);
    }
    for name in [header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE] {
        inner.headers.remove(name);
    }
    Some(inner)
}

/// Makes signatures, a few at a time.
pub(super) struct Signing {
    signer: Signer,
    turns: Semaphore,
}

impl Signing {
    pub(super) fn new(signer: Signer) -> Self {
        Self { signer, turns: Semaphore::new(SIGNING_MAX) }
    }

    /// The signature of an answer, errors included: whoever verifies wants to know that a 404 is ours. Its status stays, its
    /// headers do not.
    pub(super) async fn sign(self: &Arc<Self>, answer: Answer, form: Form) -> Answer {
        let (head, body) = answer.into_parts();
        let Body::Bytes(bytes) = body else {
            // None of the signed paths answers with a file.
            return respond::error(StatusCode::INTERNAL_SERVER_ERROR, FAILED);
        };
        let _turn = self.turns.acquire().await;
        let own = self.clone();
        let made = tokio::task::spawn_blocking(move || {
            let (bytes, now) = (bytes.unwrap_or_default(), SystemTime::now());
            match form {
                Form::Binary => own.signer.binary(&bytes, now),
                Form::Armored => own.signer.armored(&bytes, now).map(String::into_bytes),
            }
        });
        let media = HeaderValue::from_static(match form {
            Form::Binary => "application/octet-stream",
            Form::Armored => "text/plain; charset=utf-8",
        });
        match made.await {
            Ok(Ok(signature)) => respond::whole(head.status, media, Bytes::from(signature)),
            Ok(Err(error)) => {
                warn!(%error, "an answer could not be signed");
                respond::error(StatusCode::INTERNAL_SERVER_ERROR, FAILED)
            }
            Err(error) => {
                warn!(%error, "an answer could not be signed");
                respond::error(StatusCode::INTERNAL_SERVER_ERROR, FAILED)
            }
        }
    }
}

const FAILED: &str = "500 the answer could not be signed\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_lie_beside_the_paths_of_matchbox_only() {
        for (path, want) in [
            ("/ipxe.sig", Some(("/ipxe", Form::Binary))),
            ("/boot.ipxe.0.asc", Some(("/boot.ipxe.0", Form::Armored))),
            ("/metadata.asc", Some(("/metadata", Form::Armored))),
            ("/.sig", None),
            ("/assets/x.sig", None),
            ("/ipxe.sig.sig", None),
            ("/ipxe", None),
        ] {
            assert_eq!(wanted(path.as_bytes()), want, "{path}");
        }
    }
}
