//! Gives every request an id, and every answer with an error its body: the outermost layer.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::StatusCode;
use http::header::{ALLOW, HeaderValue};
use tracing::{debug, error};

use super::drain;
use super::error::ApiError;
use crate::request_id::{REQUEST_ID, RequestId};

pub(super) async fn stamp(request: Request, next: Next) -> Response {
    // Who serves the port has given it one.
    let RequestId(id) = request.extensions().get().cloned().unwrap_or_else(|| RequestId::of(request.headers()));
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let (request, rest) = drain::lend(request);
    let mut response = next.run(request).await;
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        rest.drain().await;
        let error = response.extensions_mut().remove::<ApiError>().unwrap_or_else(|| foreign(status));
        let problem = &error.problems()[0];
        if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
            error!(%id, %method, path, status = status.as_u16(), code = problem.code, problem = problem.message, "an admin request failed");
        } else {
            debug!(%id, %method, path, status = status.as_u16(), code = problem.code, problem = problem.message, "an admin request was refused");
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

/// An error that the HTTP library answered by itself.
fn foreign(status: StatusCode) -> ApiError {
    let message = status.canonical_reason().unwrap_or("the request was refused").to_lowercase();
    ApiError::new(status, "http", message, "check the request against the reference")
}
