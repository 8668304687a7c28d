//! One name for a request, wherever it is dealt with: in every line logged meanwhile, in the answer, and for other nodes.

use std::future::Future;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;
use http::header::HeaderName;
use tracing::{Instrument as _, error_span};

/// The header that carries it.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Characters of an id that a client brings along.
const ID_CHARS_MAX: usize = 64;

/// The id of a request, in its extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub Arc<str>);

tokio::task_local! {
    static CURRENT: RequestId;
}

impl RequestId {
    /// The client's own id, if it is harmless in a log; else a new one.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        brought(headers).map_or_else(Self::fresh, |id| Self(id.into()))
    }

    /// A new one: random for this process, and counted on, which costs next to nothing.
    #[must_use]
    pub fn fresh() -> Self {
        static PROCESS: OnceLock<u64> = OnceLock::new();
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let process = *PROCESS.get_or_init(|| {
            let mut bytes = [0; 8];
            // Without randomness the process id tells nodes' ids apart well enough.
            let seeded = getrandom::fill(&mut bytes).map(|()| u64::from_le_bytes(bytes));
            seeded.unwrap_or_else(|_| u64::from(std::process::id())) & 0xffff_ffff
        });
        Self(format!("{process:08x}-{:06x}", NEXT.fetch_add(1, Ordering::Relaxed)).into())
    }

    /// That of the request this is done for, if there is one.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Does something for a request: every line it logs carries the id, at any level of the filter.
    pub async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        let span = error_span!("request", request_id = &*self.0);
        CURRENT.scope(self, work.instrument(span)).await
    }
}

fn brought(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(REQUEST_ID)?.to_str().ok()?;
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    (plain && !text.is_empty() && text.len() <= ID_CHARS_MAX).then_some(text)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(id: &str) -> HeaderMap {
        [(REQUEST_ID, HeaderValue::from_str(id).unwrap())].into_iter().collect()
    }

    #[test]
    fn an_id_that_is_harmless_is_kept_and_others_are_replaced() {
        assert_eq!(&*RequestId::of(&headers("deploy-7.a:b_c")).0, "deploy-7.a:b_c");
        for bad in ["", "a b", "a\"b", &"x".repeat(65)] {
            assert_ne!(&*RequestId::of(&headers(bad)).0, bad);
        }
        let (one, two) = (RequestId::fresh(), RequestId::fresh());
        assert_ne!(one, two);
        assert_eq!(one.0.split('-').next(), two.0.split('-').next());
    }

    #[tokio::test]
    async fn the_id_is_known_while_the_request_is_dealt_with() {
        assert_eq!(RequestId::current(), None);
        let id = RequestId::of(&headers("mine"));
        let seen = id.clone().scope(async { RequestId::current() }).await;
        assert_eq!((seen, RequestId::current()), (Some(id), None));
    }
}
