//! Refuses writes and downloads that a web page of somebody else has a browser send: the browser may hold a certificate for this API.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::{HOST, HeaderName, ORIGIN};
use http::{HeaderMap, Method, StatusCode, Uri};

use super::error::{Answer, ApiError};

/// Where the page is, by the browser (W3C Fetch Metadata).
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

pub(super) async fn refuse_foreign(request: Request, next: Next) -> Answer<Response> {
    let writes = !matches!(*request.method(), Method::GET | Method::HEAD);
    // A page cannot read what it has the browser fetch, but these would be kept on that computer's disk.
    let downloads = ["/api/v1/backup", "/api/v1/support"].contains(&request.uri().path());
    if (writes || downloads) && is_foreign(request.headers(), request.uri()) {
        let message = "a web page of another site had the browser send this";
        let hint = "use the command line, or a program that is no web page";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "cross_site", message, hint));
    }
    Ok(next.run(request).await)
}

/// Programs say nothing of either kind. Browsers say both, those of before 2023 perhaps only the origin.
fn is_foreign(headers: &HeaderMap, uri: &Uri) -> bool {
    if let Some(site) = headers.get(SITE) {
        return !matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let host = uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = host.or_else(|| headers.get(HOST).map(|host| host.as_bytes()));
    origin.as_bytes().strip_prefix(b"https://") != host
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_sites_are_foreign() {
        for (headers, foreign) in [
            (&[][..], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "same-origin"), ("origin", "https://node:8443")], false),
            (&[("sec-fetch-site", "same-site")], true),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://node:8443")], true),
            (&[("origin", "https://node:8443")], false),
            (&[("origin", "https://node")], true),
            (&[("origin", "http://node:8443")], true),
            (&[("origin", "null")], true),
        ] {
            let mut map = HeaderMap::new();
            map.insert(HOST, "node:8443".parse().unwrap());
            map.extend(
                headers
                    .iter()
                    .map(|(name, value)| (HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap())),
            );
            assert_eq!(is_foreign(&map, &Uri::from_static("/x")), foreign, "{headers:?}");
            map.remove(HOST);
            assert_eq!(is_foreign(&map, &Uri::from_static("https://node:8443/x")), foreign, "HTTP/2: {headers:?}");
        }
    }
}
