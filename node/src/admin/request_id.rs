//! Gives every request an id, and every answer with an error its body: the outermost layer.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::{ALLOW, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use tracing::{debug, error};

use super::drain;
use super::error::ApiError;
use super::secret::random_hex;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Characters of an id that a client brings along.
const ID_CHARS_MAX: usize = 64;

pub(super) async fn stamp(request: Request, next: Next) -> Response {
    let id = brought(request.headers()).unwrap_or_else(fresh);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let (request, rest) = drain::lend(request);
    let mut response = next.run(request).await;
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        rest.drain().await;
        let error = response.extensions_mut().remove::<ApiError>().unwrap_or_else(|| foreign(status));
        let problem = &error.problems()[0];
        if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
            error!(%id, %method, path, status = status.as_u16(), code = problem.code, message = problem.message, "an admin request failed");
        } else {
            debug!(%id, %method, path, status = status.as_u16(), code = problem.code, message = problem.message, "an admin request was refused");
        }
        let allow = response.headers().get(ALLOW).cloned();
        response = error.render(&id);
        if let Some(allow) = allow {
            response.headers_mut().insert(ALLOW, allow);
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// The client's own id, if it is harmless in a log.
fn brought(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(REQUEST_ID)?.to_str().ok()?;
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    (plain && !text.is_empty() && text.len() <= ID_CHARS_MAX).then(|| text.to_owned())
}

fn fresh() -> String {
    random_hex::<8>().unwrap_or_else(|_| "0".repeat(16))
}

/// An error that the HTTP library answered by itself.
fn foreign(status: StatusCode) -> ApiError {
    let message = status.canonical_reason().unwrap_or("the request was refused").to_lowercase();
    ApiError::new(status, "http", message, "check the request against the reference")
}
